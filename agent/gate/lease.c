/*
 * lease.c: the shared page of leases and the agent's side of the guardian.
 *
 * A health file must not outlive the agent's last turn by more than its lease, whatever became of
 * the agent: killed, frozen, swapped out. The agent cannot promise that about itself, so a second
 * process does; it needs nothing but a page of names and lease ends. Entries are fixed slots of
 * atomic words. A slot is free when its end is 0; a name is written only while it is free, so the
 * guardian, which reads end, name, end again, never acts on half a name.
 *
 * Invariant: an entry is in the page before its file is in the directory, and leaves after it.
 */
#include "pgvigil/gate/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lease_page.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* A second, less the jitter of a tick of one second. */
#define RESPAWN_EVERY_MS 900

struct lease_page {
    struct lease_shared *shared;
    int page_fd;
    int pipe_read, pipe_write; /* our copy of the read end is for a guardian started again */
    char *dir;
    _Atomic pid_t guardian;
    mono_ms spawned_at;
    uint32_t cursor; /* names come in the same order each tick: the next one is mostly here */
};

/* ---- life cycle ---- */

static struct lease_shared *page_make(int *fd, struct err *err)
{
    *fd = memfd_create("pgvigil-leases", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, sizeof(struct lease_shared)) != 0) {
        err_set(err, ERR_IO, "cannot make the lease page: %s", strerror(errno));
        return NULL;
    }
    struct lease_shared *shared = lease_shared_map(*fd);
    if (!shared) {
        err_set(err, ERR_IO, "cannot map the lease page: %s", strerror(errno));
        return NULL;
    }
    shared->magic = LEASE_MAGIC;
    str_random_hex(shared->generation);
    return shared;
}

/* Forked with every signal blocked, so that no handler of ours runs in the child. */
static bool fork_guardian(struct lease_page *page, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        _exit(lease_guardian_run(page->shared, page->pipe_read, page->dir));
    int cause = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return err_set(err, ERR_IO, "cannot fork the guardian: %s", strerror(cause));
    atomic_store(&page->guardian, pid);
    return true;
}

struct lease_page *lease_start(const char *dir, struct err *err)
{
    struct lease_page *page = mem_alloc(sizeof *page);
    page->page_fd = page->pipe_read = page->pipe_write = -1;
    page->spawned_at = MONO_UNSET;
    page->dir = mem_strdup(dir);
    /* A trailing slash would make O_NOFOLLOW follow. */
    for (size_t n = strlen(page->dir); n > 1 && page->dir[n - 1] == '/'; n--)
        page->dir[n - 1] = '\0';
    int ends[2];
    bool ok = false;
    page->shared = page_make(&page->page_fd, err);
    if (page->shared && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        err_set(err, ERR_IO, "cannot make the guardian's pipe: %s", strerror(errno));
    } else if (page->shared) {
        page->pipe_read = ends[0];
        page->pipe_write = ends[1];
        ok = fork_guardian(page, err);
    }
    if (!ok)
        lease_close(&page);
    return page;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void lease_close(struct lease_page **page)
{
    struct lease_page *p = *page;
    if (!p)
        return;
    /* The end of the pipe is the whole message. */
    close_fd(&p->pipe_write);
    close_fd(&p->pipe_read);
    if (p->shared)
        munmap(p->shared, sizeof *p->shared);
    close_fd(&p->page_fd);
    mem_free(p->dir);
    MEM_FREE_NULL(page);
}

/* ---- entries ---- */

static struct lease_entry *find(struct lease_page *page, const char *name)
{
    struct lease_shared *shared = page->shared;
    uint32_t used = atomic_load_explicit(&shared->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        uint32_t at = (page->cursor + i) % used;
        char got[LEASE_NAME_MAX];
        if (atomic_load_explicit(&shared->entries[at].until, memory_order_relaxed) == 0)
            continue;
        lease_entry_name(&shared->entries[at], got);
        if (strcmp(got, name) == 0) {
            page->cursor = at + 1;
            return &shared->entries[at];
        }
    }
    return NULL;
}

static struct lease_entry *take_free(struct lease_page *page, const char *name)
{
    struct lease_shared *shared = page->shared;
    uint32_t used = atomic_load_explicit(&shared->used, memory_order_relaxed);
    uint32_t at = 0;
    while (at < used && atomic_load_explicit(&shared->entries[at].until, memory_order_relaxed) != 0)
        at++;
    if (at == LEASE_ENTRIES_MAX)
        return NULL;
    uint64_t words[LEASE_NAME_WORDS] = {0};
    memcpy(words, name, strlen(name));
    for (size_t i = 0; i < LEASE_NAME_WORDS; i++)
        atomic_store_explicit(&shared->entries[at].name[i], words[i], memory_order_release);
    if (at == used)
        atomic_store_explicit(&shared->used, used + 1, memory_order_release);
    page->cursor = at + 1;
    return &shared->entries[at];
}

bool lease_set(struct lease_page *page, const char *name, mono_ms until)
{
    if (strlen(name) >= LEASE_NAME_MAX)
        return false;
    struct lease_entry *entry = find(page, name);
    if (!entry)
        entry = take_free(page, name);
    if (!entry)
        return false;
    /* 0 means free: an end at the start of time is 1. */
    atomic_store_explicit(&entry->until, i64_max(until.ms, 1), memory_order_release);
    return true;
}

void lease_clear(struct lease_page *page, const char *name)
{
    struct lease_entry *entry = find(page, name);
    if (entry)
        atomic_store_explicit(&entry->until, 0, memory_order_release);
}

void lease_extend_all(struct lease_page *page, mono_ms until)
{
    uint32_t used = atomic_load_explicit(&page->shared->used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        _Atomic int64_t *end = &page->shared->entries[i].until;
        int64_t old = atomic_load_explicit(end, memory_order_relaxed);
        /* The guardian may free the entry meanwhile; then there is nothing to extend. */
        while (old != 0 && old < until.ms && !atomic_compare_exchange_weak(end, &old, until.ms))
            ;
    }
}

bool lease_take_over(struct lease_page *page, int dir_fd, struct err *err)
{
    /*
     * Written in place, not renamed: a file that is there keeps its block, so this works on a
     * full disk. A guardian that reads half of it sees another owner: the old one may leave, ours
     * waits for its next round.
     */
    int fd =
        openat(dir_fd, LEASE_OWNER, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        return err_set(err, ERR_IO, "cannot open '%s': %s", LEASE_OWNER, strerror(errno));
    char line[LEASE_OWNER_BYTES];
    memcpy(line, page->shared->generation, sizeof line - 1);
    line[sizeof line - 1] = '\n';
    struct stat st;
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
    if (!ok) {
        err_set(err, ERR_PERMISSION, "'%s' is not a file of ours", LEASE_OWNER);
    } else if (pwrite(fd, line, sizeof line, 0) != (ssize_t)sizeof line ||
               (st.st_size > (off_t)sizeof line && ftruncate(fd, sizeof line) != 0)) {
        ok = err_set(err, ERR_IO, "cannot write '%s': %s", LEASE_OWNER, strerror(errno));
    }
    close(fd);
    return ok;
}

/* ---- the guardian, seen from the agent ---- */

static bool guardian_alive(pid_t pid)
{
    pid_t got = waitpid(pid, NULL, WNOHANG);
    if (got == 0)
        return true;
    /* Not our child to wait for any more: the signal tells whether it is there. */
    return got < 0 && errno == ECHILD && kill(pid, 0) == 0;
}

static void spawn_guardian(struct lease_page *page)
{
    char page_arg[16], pipe_arg[16], name[] = "pgvigil", sub[] = "guardian";
    snprintf(page_arg, sizeof page_arg, "%d", page->page_fd);
    snprintf(pipe_arg, sizeof pipe_arg, "%d", page->pipe_read);
    char *const argv[] = {name, sub, page_arg, pipe_arg, page->dir, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all;
    pid_t pid = 0;
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    /* A dup2 onto itself only drops close-on-exec, and only in the child. */
    posix_spawn_file_actions_adddup2(&actions, page->page_fd, page->page_fd);
    posix_spawn_file_actions_adddup2(&actions, page->pipe_read, page->pipe_read);
    /* Blocked until it ignores them itself: a Ctrl-C in between must not end it. */
    posix_spawnattr_setsigmask(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    int rc = posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        log_error("cannot start the guardian again: %s", strerror(rc));
        return;
    }
    atomic_store(&page->guardian, pid);
    log_warn("guardian had ended and was started again pid=%d", (int)pid);
}

void lease_check_guardian(struct lease_page *page, mono_ms now)
{
    pid_t pid = atomic_load(&page->guardian);
    if (pid > 0 && guardian_alive(pid))
        return;
    atomic_store(&page->guardian, 0);
    if (mono_is_set(page->spawned_at) && mono_diff(now, page->spawned_at) < RESPAWN_EVERY_MS)
        return;
    page->spawned_at = now;
    spawn_guardian(page);
}

pid_t lease_guardian_pid(const struct lease_page *page)
{
    return atomic_load(&page->guardian);
}
