/*
 * guardian.c: the forked child that removes health files whose lease has run out.
 *
 * It runs in a copy of a process that has not started yet, so it may use async-signal-safe calls
 * only: no allocation, no stdio, no locks. It keeps the page and the read end of the pipe and
 * closes everything else; the directory is opened by its path when there is something to do,
 * since it may be made, or made anew, later than this. It has no death signal from its parent: to
 * outlive it is its purpose. Signals of the terminal and of a service manager's stop are ignored
 * for the same reason; it leaves by itself when nothing is left to guard.
 *
 * Invariant: a file is removed only if its lease had run out and `.owner` was ours (or nobody's)
 * right before; so what a new agent has taken over stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease_page.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/lease.h"

/*
 * Longest sleep. A lease that is new, or shortened, is seen within it without a word from the
 * agent, and poll's clock, which stands still during a suspend, is never more than this behind.
 */
#define GUARDIAN_NAP_MS 400
/* A dead agent's file that cannot be removed (read-only file system) is not tried for ever. */
#define GUARDIAN_GIVE_UP_MS (10 * 60 * 1000)
#define LEASE_NONE          INT64_MAX

enum ownership { OWNER_OURS, OWNER_OTHER, OWNER_UNREADABLE };

struct lease_shared *lease_shared_map(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(struct lease_shared)) {
        errno = EINVAL;
        return NULL;
    }
    void *p = mmap(NULL, sizeof(struct lease_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

void lease_entry_name(const struct lease_entry *entry, char out[LEASE_NAME_MAX])
{
    for (size_t i = 0; i < LEASE_NAME_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&entry->name[i], memory_order_acquire);
        memcpy(out + i * sizeof word, &word, sizeof word);
    }
    out[LEASE_NAME_MAX - 1] = '\0';
}

/* clock.h may carry a fake clock of the parent, and is not promised to be signal-safe. */
static int64_t boot_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int open_dir(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum ownership owner_of(const struct lease_shared *shared, int dir_fd)
{
    char line[LEASE_OWNER_BYTES];
    int fd = openat(dir_fd, LEASE_OWNER, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? OWNER_OURS : OWNER_UNREADABLE;
    ssize_t got = read(fd, line, sizeof line);
    close(fd);
    if (got < 0)
        return OWNER_UNREADABLE;
    /* Shorter: somebody failed to write the first owner ever; it is nobody's. */
    if (got < (ssize_t)sizeof line)
        return OWNER_OURS;
    return memcmp(line, shared->generation, sizeof line - 1) == 0 ? OWNER_OURS : OWNER_OTHER;
}

/* The file of an entry that ran out at `end`; false when it could not be removed: try again. */
static bool remove_expired(struct lease_shared *shared, struct lease_entry *entry, int64_t end,
                           const char *dir, int *dir_fd)
{
    char name[LEASE_NAME_MAX];
    if (*dir_fd < 0)
        *dir_fd = open_dir(dir);
    if (*dir_fd < 0 && errno != ENOENT)
        return false;
    if (*dir_fd >= 0) {
        lease_entry_name(entry, name);
        if (owner_of(shared, *dir_fd) != OWNER_OURS)
            return false;
        /* Renewed, or another name by now: not ours to judge. */
        if (atomic_load_explicit(&entry->until, memory_order_acquire) != end)
            return true;
        if (unlinkat(*dir_fd, name, 0) != 0 && errno != ENOENT)
            return false;
    }
    atomic_compare_exchange_strong(&entry->until, &end, 0);
    return true;
}

/*
 * One round over all entries. Gives the end of the next lease, 0 when something must be tried
 * again, LEASE_NONE when there is nothing.
 */
static int64_t sweep(struct lease_shared *shared, const char *dir, int64_t now)
{
    uint32_t used = atomic_load_explicit(&shared->used, memory_order_acquire);
    int64_t next = LEASE_NONE;
    int dir_fd = -1;
    for (uint32_t i = 0; i < used && i < LEASE_ENTRIES_MAX; i++) {
        struct lease_entry *entry = &shared->entries[i];
        int64_t end = atomic_load_explicit(&entry->until, memory_order_acquire);
        if (end == 0)
            continue;
        if (end > now)
            next = i64_min(next, end);
        else if (!remove_expired(shared, entry, end, dir, &dir_fd))
            next = 0;
    }
    if (dir_fd >= 0)
        close(dir_fd);
    return next;
}

static bool replaced(const struct lease_shared *shared, const char *dir)
{
    int dir_fd = open_dir(dir);
    if (dir_fd < 0)
        return false;
    enum ownership owner = owner_of(shared, dir_fd);
    close(dir_fd);
    return owner == OWNER_OTHER;
}

/* At most ms; true once the agent's end of the pipe is closed. Nothing is ever written to it. */
static bool nap(int pipe_fd, int64_t ms)
{
    struct pollfd p = {.fd = pipe_fd, .events = POLLIN};
    return poll(&p, 1, (int)ms) > 0;
}

static void close_others(int keep)
{
    if (keep > 0)
        close_range(0, (unsigned)keep - 1, 0);
    close_range((unsigned)keep + 1, ~0U, 0);
}

static void reset_signals(void)
{
    static const int ignored[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE,
                                  SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP};
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &action, NULL);
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        sigaction(ignored[i], &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int lease_guardian_run(struct lease_shared *shared, int pipe_fd, const char *dir)
{
    reset_signals();
    close_others(pipe_fd);
    prctl(PR_SET_NAME, "pgvigil-guard");
    bool dead = false;
    int64_t last_end = boot_ms(); /* the latest time at which a lease was still valid */
    for (;;) {
        int64_t now = boot_ms();
        int64_t next = sweep(shared, dir, now);
        if (dead && (next == LEASE_NONE || replaced(shared, dir)))
            return 0;
        if (!dead || next > now)
            last_end = now;
        else if (now - last_end > GUARDIAN_GIVE_UP_MS)
            return 1;
        int64_t wait = next > now ? i64_min(next - now, GUARDIAN_NAP_MS) : GUARDIAN_NAP_MS;
        if (!dead)
            dead = nap(pipe_fd, wait);
        else
            poll(NULL, 0, (int)wait);
    }
}

static bool parse_fd(const char *text, int *fd)
{
    int64_t value;
    if (!str_parse_i64(text, 0, INT32_MAX, &value))
        return false;
    *fd = (int)value;
    return true;
}

int lease_guardian_main(int argc, char **argv)
{
    int page_fd, pipe_fd;
    if (argc < 4 || !parse_fd(argv[argc - 3], &page_fd) || !parse_fd(argv[argc - 2], &pipe_fd))
        return 2;
    struct lease_shared *shared = lease_shared_map(page_fd);
    if (!shared || shared->magic != LEASE_MAGIC)
        return 2;
    return lease_guardian_run(shared, pipe_fd, argv[argc - 1]);
}
