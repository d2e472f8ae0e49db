/*
 * Health files: whole lines only, the directory must be ours, a full disk changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "gate/scratch.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/files.h"

#define FAR_MS 60000
#define READS  100000

struct fixture {
    char *dir;
    struct lease_page *page;
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err;
    f->dir = scratch_make();
    f->page = f->dir ? lease_start(f->dir, &err) : NULL;
    *state = f;
    return f->page ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    scratch_remove(&f->dir);
    /* The leases of these tests are long. */
    kill(lease_guardian_pid(f->page), SIGKILL);
    lease_close(&f->page);
    mem_free(f);
    return 0;
}

static struct now far(void)
{
    struct now now = clock_read();
    return (struct now){mono_add(now.mono, FAR_MS), wall_add(now.wall, FAR_MS)};
}

static struct files *open_ok(const struct fixture *f, const char *const *keep, size_t n)
{
    struct err err = {0};
    struct files *files = files_open(f->dir, f->page, keep, n, &err);
    if (!files)
        print_message("%s\n", err.text);
    assert_non_null(files);
    return files;
}

static void put_ok(struct files *files, const char *name, int weight, int64_t lag_ms)
{
    struct err err = {0};
    struct files_line line = {
        .weight = weight, .lag_ms = lag_ms, .until = far().wall, .reason = "lag"};
    if (!files_put(files, name, &line, far().mono, &err))
        fail_msg("%s", err.text);
}

static void remove_ok(struct files *files, const char *name)
{
    struct err err = {0};
    if (!files_remove(files, name, &err))
        fail_msg("%s", err.text);
}

/* ---- the line ---- */

static void test_line(void **state)
{
    static const struct {
        int weight;
        int64_t lag_ms, until_ms;
        const char *reason, *want;
    } cases[] = {
        {100, 0, 1700000010999, "ok", "up 100% lag=0.0 until=1700000010 reason=ok"},
        {10, 59990, 1700000010000, "lag", "up 10% lag=59.9 until=1700000010 reason=lag"},
        {50, LAG_UNKNOWN, 1000, "held", "up 50% lag=? until=1 reason=held"},
        {100, LAG_INFINITE, 1000, "no_replicas", "up 100% lag=inf until=1 reason=no_replicas"},
        {100, 250, 1000, "a_reason_that_is_as_long_as_a_reason_may_ever_be__",
         "up 100% lag=0.2 until=1 reason=a_reason_that_is_as_long_as_a_reason_may_ever_be"},
    };
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        char got[FILES_LINE + 8], want[FILES_LINE + 1];
        struct files_line line = {
            cases[i].weight, cases[i].lag_ms, {cases[i].until_ms}, cases[i].reason};
        assert_true(files_put(files, "pg1.read", &line, far().mono, &err));
        assert_int_equal(scratch_read(f->dir, "pg1.read", got, sizeof(got)), FILES_LINE);
        snprintf(want, sizeof(want), "%-*s\n", FILES_LINE - 1, cases[i].want);
        assert_string_equal(got, want);
        assert_true(files_present(files, "pg1.read"));
        assert_false(scratch_has(f->dir, ".pg1.read.tmp"));
    }
    files_close(&files);
    assert_true(scratch_has(f->dir, "pg1.read"));
}

static void test_put_and_remove(void **state)
{
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    mode_t old = umask(077);
    put_ok(files, "pg1.read", 100, 0);
    put_ok(files, "pg1.write", 100, 0);
    umask(old);
    struct stat st;
    assert_int_equal(fstatat(files_dir_fd(files), "pg1.read", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    remove_ok(files, "pg1.read");
    remove_ok(files, "pg1.read");
    remove_ok(files, "never.read");
    assert_false(scratch_has(f->dir, "pg1.read"));
    assert_false(files_present(files, "pg1.read"));
    assert_true(scratch_has(f->dir, "pg1.write"));
    put_ok(files, "pg1.read", 100, 0);
    assert_true(scratch_has(f->dir, "pg1.read"));
    /* Put there by somebody else, for a node that is not healthy. */
    int fd = openat(files_dir_fd(files), "pg2.read", O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    remove_ok(files, "pg2.read");
    assert_false(scratch_has(f->dir, "pg2.read"));
    files_close(&files);
}

static void test_bad_names(void **state)
{
    static const char too_long[] = "0123456789012345678901234567890123456789"
                                   "0123456789012345678901234567890123456789";
    static const char *const names[] = {"", ".hidden", "../up", "a/b", too_long};
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct err err;
        struct files_line line = {.reason = "x"};
        assert_false(files_put(files, names[i], &line, far().mono, &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
    files_close(&files);
}

/* ---- the last run's files ---- */

static void test_keep(void **state)
{
    static const char *const keep[] = {"kept.read", "lapsed.read", "empty.read", "absent.read"};
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    struct err err;
    put_ok(files, "kept.read", 70, 100);
    put_ok(files, "other.read", 100, 0);
    put_ok(files, "kept.write", 100, 0);
    struct files_line past = {.until = {clock_read().wall.ms - 2000}, .reason = "x"};
    assert_true(files_put(files, "lapsed.read", &past, far().mono, &err));
    int fd = openat(files_dir_fd(files), "empty.read", O_CREAT | O_WRONLY, 0644);
    close(fd);
    fd = openat(files_dir_fd(files), "notes.txt", O_CREAT | O_WRONLY, 0644);
    close(fd);
    /* Killed between link and rename. */
    assert_int_equal(
        linkat(files_dir_fd(files), ".kept.read.a", files_dir_fd(files), ".kept.read.tmp", 0), 0);
    files_close(&files);

    files = open_ok(f, keep, ARRAY_LEN(keep));
    assert_true(scratch_has(f->dir, "kept.read"));
    assert_true(files_present(files, "kept.read"));
    assert_false(scratch_has(f->dir, "other.read"));
    assert_false(scratch_has(f->dir, "kept.write"));
    assert_false(scratch_has(f->dir, "lapsed.read"));
    assert_false(scratch_has(f->dir, "empty.read"));
    assert_true(scratch_has(f->dir, "notes.txt"));
    /* More turns than inodes: the one on show is never chosen, the leftover is no obstacle. */
    for (int i = 0; i < 7; i++) {
        struct stat before, after;
        assert_int_equal(fstatat(files_dir_fd(files), "kept.read", &before, 0), 0);
        put_ok(files, "kept.read", 10 * i, 0);
        assert_int_equal(fstatat(files_dir_fd(files), "kept.read", &after, 0), 0);
        assert_int_not_equal(before.st_ino, after.st_ino);
        assert_false(scratch_has(f->dir, ".kept.read.tmp"));
    }
    files_close(&files);
}

/* A kept file has a lease at once, and no longer one than its line says. */
static void test_kept_lease_ends(void **state)
{
    static const char *const keep[] = {"pg1.read"};
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    struct err err;
    struct files_line line = {.until = wall_add(clock_read().wall, 2000), .reason = "x"};
    assert_true(files_put(files, "pg1.read", &line, far().mono, &err));
    files_close(&files);
    files = open_ok(f, keep, 1);
    assert_true(scratch_has(f->dir, "pg1.read"));
    assert_true(WAIT_FOR(!scratch_has(f->dir, "pg1.read"), 3500));
    files_close(&files);
}

/* ---- the directory ---- */

static void expect_refused(struct fixture *f, const char *dir, const char *part)
{
    struct err err = {0};
    struct files *files = files_open(dir, f->page, NULL, 0, &err);
    if (files)
        fail_msg("%s was accepted", dir);
    if (!strstr(err.text, part))
        fail_msg("'%s' does not say '%s'", err.text, part);
}

static void test_directory(void **state)
{
    struct fixture *f = *state;
    char path[600], target[600];
    snprintf(target, sizeof(target), "%s/real", f->dir);
    mode_t old = umask(077);
    struct err err;
    struct files *files = files_open(target, f->page, NULL, 0, &err);
    umask(old);
    assert_non_null(files);
    struct stat st;
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    files_close(&files);

    snprintf(path, sizeof(path), "%s/link", f->dir);
    assert_int_equal(symlink(target, path), 0);
    expect_refused(f, path, "not a real directory");
    snprintf(path, sizeof(path), "%s/link/", f->dir);
    expect_refused(f, path, "not a real directory");
    snprintf(path, sizeof(path), "%s/file", f->dir);
    close(open(path, O_CREAT | O_WRONLY, 0644));
    expect_refused(f, path, "not a real directory");
    snprintf(path, sizeof(path), "%s/no/parent", f->dir);
    expect_refused(f, path, "cannot make directory");
    static const mode_t modes[] = {0777, 0775, 01777, 0757};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(target, modes[i]), 0);
        expect_refused(f, target, "writable by others");
    }
    assert_int_equal(chmod(target, 0755), 0);
    files = files_open(target, f->page, NULL, 0, &err);
    assert_non_null(files);
    files_close(&files);
}

static void test_foreign_directory(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0) {
        expect_refused(f, "/usr", "belongs to uid 0");
        return;
    }
    char path[600];
    snprintf(path, sizeof(path), "%s/foreign", f->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chown(path, 65534, 65534), 0);
    expect_refused(f, path, "belongs to uid 65534");
}

static void test_planted_links(void **state)
{
    static const char *const planted[] = {".pg1.read.b", ".owner"};
    struct fixture *f = *state;
    char path[600], victim[600];
    snprintf(victim, sizeof(victim), "%s/victim", f->dir);
    close(open(victim, O_CREAT | O_WRONLY, 0644));
    for (size_t i = 0; i < ARRAY_LEN(planted); i++) {
        struct err err;
        struct files_line line = {.reason = "x"};
        snprintf(path, sizeof(path), "%s/%s", f->dir, planted[i]);
        unlink(path);
        assert_int_equal(symlink(victim, path), 0);
        struct files *files = files_open(f->dir, f->page, NULL, 0, &err);
        assert_true(!files || !files_put(files, "pg1.read", &line, far().mono, &err));
        files_close(&files);
        unlink(path);
    }
    struct stat st;
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 0);
}

/* The directory vanishes under us: an error, and a new one works. */
static void test_directory_removed(void **state)
{
    const struct fixture *f = *state;
    struct files *files = open_ok(f, NULL, 0);
    put_ok(files, "pg1.read", 100, 0);
    scratch_empty(f->dir);
    assert_int_equal(rmdir(f->dir), 0);
    struct err err = {0};
    struct files_line line = {.reason = "x"};
    assert_false(files_put(files, "pg1.read", &line, far().mono, &err));
    assert_non_null(strstr(err.text, ".pg1.read."));
    files_close(&files);
    files = open_ok(f, NULL, 0);
    put_ok(files, "pg1.read", 100, 0);
    assert_true(scratch_has(f->dir, "pg1.read"));
    files_close(&files);
}

/* ---- readers ---- */

struct writer {
    struct files *files;
    _Atomic bool done, failed;
};

/* Three ticks in less than a millisecond are a thousand times the real pace. */
static void *write_all(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; !w->done; i++) {
        struct err err;
        int weight = i % 100 + 1;
        struct files_line line = {.weight = weight,
                                  .lag_ms = weight * 1000,
                                  .until = {weight * 1000},
                                  .reason = weight % 2 ? "odd" : "even"};
        w->failed |= !files_put(w->files, "pg1.read", &line, far().mono, &err);
        struct timespec pace = {0, 200000};
        nanosleep(&pace, NULL);
    }
    return NULL;
}

static bool is_whole(const char *line, size_t n)
{
    char want[FILES_LINE + 1], text[FILES_LINE];
    int weight;
    if (n != FILES_LINE || sscanf(line, "up %d%%", &weight) != 1)
        return false;
    snprintf(text, sizeof(text), "up %d%% lag=%d.0 until=%d reason=%s", weight, weight, weight,
             weight % 2 ? "odd" : "even");
    snprintf(want, sizeof(want), "%-*s\n", FILES_LINE - 1, text);
    return strcmp(line, want) == 0;
}

static void test_readers_never_see_a_part(void **state)
{
    const struct fixture *f = *state;
    struct writer w = {.files = open_ok(f, NULL, 0)};
    struct files_line line = {.weight = 1, .lag_ms = 1000, .until = {1000}, .reason = "odd"};
    struct err err;
    assert_true(files_put(w.files, "pg1.read", &line, far().mono, &err));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_all, &w), 0);
    size_t bad = 0, changes = 0;
    char last[FILES_LINE + 8] = "";
    for (int i = 0; i < READS; i++) {
        char got[FILES_LINE + 8] = "";
        int fd = openat(files_dir_fd(w.files), "pg1.read", O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);
        if (fd >= 0)
            close(fd);
        bad += n < 0 || !is_whole(got, (size_t)n);
        changes += strcmp(got, last) != 0;
        str_copy(last, sizeof(last), got);
    }
    w.done = true;
    pthread_join(thread, NULL);
    assert_int_equal(bad, 0);
    assert_false(w.failed);
    assert_true(changes > 100);
    files_close(&w.files);
}

/* ---- a full disk ---- */

enum { FULL_OK = 0, FULL_SKIPPED = 77 };

static bool fill_disk(const char *dir)
{
    char path[600], block[4096];
    snprintf(path, sizeof(path), "%s/filler", dir);
    memset(block, 'x', sizeof(block));
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    ssize_t n;
    while ((n = write(fd, block, sizeof(block))) > 0)
        ;
    bool full = n < 0 && errno == ENOSPC;
    close(fd);
    return full;
}

#define NEED(cond, code)   \
    do {                   \
        if (!(cond))       \
            return (code); \
    } while (0)

/* In a mount namespace of its own; exit code: which step failed. */
static int full_disk_child(const char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0755") != 0)
        return FULL_SKIPPED;
    struct err err;
    char got[FILES_LINE + 8];
    struct lease_page *page = lease_start(dir, &err);
    NEED(page, 1);
    struct files *files = files_open(dir, page, NULL, 0, &err);
    struct files_line line = {.weight = 100, .reason = "before"};
    NEED(files && files_put(files, "pg1.read", &line, far().mono, &err), 2);
    NEED(fill_disk(dir), 3);
    line.reason = "full";
    for (int i = 0; i < 10; i++) {
        line.weight = 10 * i;
        NEED(files_put(files, "pg1.read", &line, far().mono, &err), 4);
        NEED(scratch_read(dir, "pg1.read", got, sizeof(got)) == FILES_LINE, 5);
        NEED(strstr(got, "reason=full"), 6);
    }
    NEED(files_remove(files, "pg1.read", &err) && !scratch_has(dir, "pg1.read"), 7);
    NEED(files_put(files, "pg1.read", &line, far().mono, &err) && scratch_has(dir, "pg1.read"), 8);
    /* A name that is new has no inodes yet: an error, and no half file. */
    NEED(!files_put(files, "pg2.read", &line, far().mono, &err), 9);
    NEED(strstr(err.text, "No space left") && !scratch_has(dir, "pg2.read"), 10);
    /* A start on the full disk takes over and goes on. */
    files_close(&files);
    files = files_open(dir, page, NULL, 0, &err);
    NEED(files && files_put(files, "pg1.read", &line, far().mono, &err), 11);
    files_close(&files);
    kill(lease_guardian_pid(page), SIGKILL);
    lease_close(&page);
    return FULL_OK;
}

static void test_full_disk(void **state)
{
    const struct fixture *f = *state;
    if (geteuid() != 0) {
        print_message("skipped: a small file system can be mounted by root only\n");
        skip();
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(full_disk_child(f->dir));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == FULL_SKIPPED) {
        print_message("skipped: no small file system can be mounted here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), FULL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_and_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kept_lease_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_planted_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_readers_never_see_a_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
