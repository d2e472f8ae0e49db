/*
 * Leases and the guardian: however the agent ends, its files stay until their lease has run out,
 * and are gone then; a new agent within the lease takes them over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "gate/scratch.h"
#include "pgvigil/gate/files.h"

/* The promise is lease + 1 s; the rest is for a loaded machine. */
#define GONE_MS     1000
#define SLACK_MS    500
#define PATIENCE_MS 5000

/* What an agent-like child tells, in shared memory because it dies without a word. */
struct told {
    _Atomic int64_t lease_end; /* of the newest put */
    _Atomic int puts, failures;
    _Atomic pid_t guardian;
};

struct fixture {
    char *dir;
    struct told *told; /* of up to two agents */
};

static int set_up(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    f->dir = scratch_make();
    f->told =
        mmap(NULL, 2 * sizeof(*f->told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *state = f;
    return f->dir && f->told != MAP_FAILED ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    scratch_remove(&f->dir);
    munmap(f->told, 2 * sizeof(*f->told));
    mem_free(f);
    return 0;
}

static int64_t now_ms(void)
{
    return clock_read().mono.ms;
}

/* Publishes every 20 ms, as an agent does every second, until it is killed. */
static void agent_main(const char *dir, struct told *told, int64_t lease_ms,
                       const char *const *keep, size_t keep_count)
{
    struct err err;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing running */
    struct lease_page *page = lease_start(dir, &err);
    struct files *files = page ? files_open(dir, page, keep, keep_count, &err) : NULL;
    if (!files)
        _exit(1);
    told->guardian = lease_guardian_pid(page);
    for (;;) {
        struct now now = clock_read();
        mono_ms until = mono_add(now.mono, lease_ms);
        struct files_line line = {
            .weight = 100, .until = wall_add(now.wall, lease_ms), .reason = "ok"};
        bool ok = files_put(files, "pg1.read", &line, until, &err) &&
                  files_put(files, "pg2.read", &line, until, &err);
        told->failures += !ok;
        told->lease_end = until.ms;
        told->puts++;
        nap_ms(20);
    }
}

static pid_t agent_start(struct fixture *f, struct told *told, int64_t lease_ms,
                         const char *const *keep, size_t keep_count)
{
    pid_t pid = fork();
    if (pid == 0)
        agent_main(f->dir, told, lease_ms, keep, keep_count);
    assert_true(WAIT_FOR(told->puts > 2, PATIENCE_MS));
    assert_int_equal(told->failures, 0);
    return pid;
}

static void reap(pid_t pid)
{
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool is_gone(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) != 0;
}

/* There until `end`, gone at most GONE_MS after it. */
static void expect_end(const char *dir, const char *name, int64_t end)
{
    bool there;
    int64_t at;
    do {
        there = scratch_has(dir, name);
        at = now_ms();
        nap_ms(2);
    } while (there && at < end + GONE_MS + SLACK_MS);
    if (there)
        fail_msg("%s is still there %lld ms after its lease", name, (long long)(at - end));
    if (at < end)
        fail_msg("%s was gone %lld ms before its lease", name, (long long)(end - at));
}

static void expect_both_end(const struct fixture *f, int64_t end)
{
    expect_end(f->dir, "pg1.read", end);
    assert_true(WAIT_FOR(!scratch_has(f->dir, "pg2.read"), SLACK_MS));
}

static void test_killed(void **state)
{
    static const int64_t leases_ms[] = {300, 50, 700};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(leases_ms); i++) {
        memset(f->told, 0, sizeof(*f->told));
        pid_t agent = agent_start(f, f->told, leases_ms[i], NULL, 0);
        kill(agent, SIGKILL);
        reap(agent);
        expect_both_end(f, f->told->lease_end);
        pid_t guardian = f->told->guardian;
        assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    }
}

static void test_frozen(void **state)
{
    struct fixture *f = *state;
    pid_t agent = agent_start(f, f->told, 300, NULL, 0);
    for (int round = 0; round < 2; round++) {
        int status;
        kill(agent, SIGSTOP);
        assert_int_equal(waitpid(agent, &status, WUNTRACED), agent);
        expect_both_end(f, f->told->lease_end);
        int puts = f->told->puts;
        kill(agent, SIGCONT);
        assert_true(WAIT_FOR(f->told->puts > puts + 2, PATIENCE_MS));
        assert_true(scratch_has(f->dir, "pg1.read"));
        assert_true(scratch_has(f->dir, "pg2.read"));
        assert_int_equal(f->told->failures, 0);
    }
    kill(agent, SIGKILL);
    reap(agent);
    expect_both_end(f, f->told->lease_end);
}

/* A terminal's Ctrl-C and a stop reach the whole group. */
static void test_guardian_ignores_stops(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE, SIGUSR1};
    struct fixture *f = *state;
    pid_t agent = agent_start(f, f->told, 300, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        kill(f->told->guardian, signals[i]);
    kill(agent, SIGKILL);
    reap(agent);
    expect_both_end(f, f->told->lease_end);
}

static void test_taken_over(void **state)
{
    static const char *const keep[] = {"pg1.read", "pg2.read"};
    struct fixture *f = *state;
    pid_t first = agent_start(f, &f->told[0], 1500, NULL, 0);
    kill(first, SIGKILL);
    reap(first);
    pid_t second = agent_start(f, &f->told[1], 1500, keep, 2);
    pid_t guardian = f->told[0].guardian;
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    /* The old one left before its leases had run out: it has not touched anything. */
    assert_true(now_ms() < f->told[0].lease_end);
    while (now_ms() < f->told[0].lease_end + 300) {
        assert_true(scratch_has(f->dir, "pg1.read"));
        assert_true(scratch_has(f->dir, "pg2.read"));
        nap_ms(1);
    }
    kill(second, SIGKILL);
    reap(second);
    expect_both_end(f, f->told[1].lease_end);
}

/* The old agent is not dead but frozen: its guardian stays, and keeps its hands off. */
static void test_taken_over_from_a_frozen_one(void **state)
{
    static const char *const keep[] = {"pg1.read", "pg2.read"};
    struct fixture *f = *state;
    int status;
    pid_t first = agent_start(f, &f->told[0], 1200, NULL, 0);
    kill(first, SIGSTOP);
    assert_int_equal(waitpid(first, &status, WUNTRACED), first);
    pid_t second = agent_start(f, &f->told[1], 1200, keep, 2);
    while (now_ms() < f->told[0].lease_end + 1000) {
        assert_true(scratch_has(f->dir, "pg1.read"));
        nap_ms(1);
    }
    kill(first, SIGKILL);
    reap(first);
    pid_t guardian = f->told[0].guardian;
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    kill(second, SIGKILL);
    reap(second);
    expect_both_end(f, f->told[1].lease_end);
}

/* The new agent has other nodes: what it does not cover goes at once. */
static void test_taken_over_with_less(void **state)
{
    struct fixture *f = *state;
    pid_t first = agent_start(f, &f->told[0], 5000, NULL, 0);
    kill(first, SIGKILL);
    reap(first);
    struct err err;
    struct lease_page *page = lease_start(f->dir, &err);
    struct files *files = files_open(f->dir, page, (const char *const[]){"pg2.read"}, 1, &err);
    assert_non_null(files);
    assert_false(scratch_has(f->dir, "pg1.read"));
    assert_true(scratch_has(f->dir, "pg2.read"));
    pid_t guardian = f->told[0].guardian;
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    files_close(&files);
    pid_t own = lease_guardian_pid(page);
    kill(own, SIGKILL);
    reap(own);
    lease_close(&page);
}

/* ---- the page in one process ---- */

static struct files *publish(const struct fixture *f, struct lease_page *page, const char *name,
                             int64_t lease_ms)
{
    struct err err;
    struct files *files = files_open(f->dir, page, NULL, 0, &err);
    struct files_line line = {.weight = 100, .reason = "ok"};
    assert_non_null(files);
    assert_true(files_put(files, name, &line, mono_add(clock_read().mono, lease_ms), &err));
    return files;
}

static size_t count_fds(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    size_t n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static void expect_small(pid_t pid)
{
    char proc[64], comm[64];
    snprintf(proc, sizeof(proc), "/proc/%d", (int)pid);
    assert_true(WAIT_FOR(scratch_read(proc, "comm", comm, sizeof(comm)) > 0 &&
                             strcmp(comm, "pgvigil-guard\n") == 0,
                         PATIENCE_MS));
    assert_true(WAIT_FOR(count_fds(pid) == 1, PATIENCE_MS));
}

static void test_respawn(void **state)
{
    const struct fixture *f = *state;
    struct err err;
    int more = open("/dev/null", O_RDONLY); /* without close-on-exec: the guardian closes it */
    struct lease_page *page = lease_start(f->dir, &err);
    assert_non_null(page);
    expect_small(lease_guardian_pid(page));
    struct files *files = publish(f, page, "pg1.read", 100000);
    for (int round = 0; round < 2; round++) {
        pid_t old = lease_guardian_pid(page);
        kill(old, SIGKILL);
        int64_t killed_at = now_ms();
        assert_true(WAIT_FOR((lease_check_guardian(page, clock_read().mono),
                              lease_guardian_pid(page) > 0 && lease_guardian_pid(page) != old),
                             PATIENCE_MS));
        assert_true(now_ms() - killed_at <= GONE_MS + SLACK_MS);
        expect_small(lease_guardian_pid(page));
        assert_true(scratch_has(f->dir, "pg1.read"));
    }
    /* Alive: nothing is started. */
    pid_t last = lease_guardian_pid(page);
    lease_check_guardian(page, mono_add(clock_read().mono, 100000));
    assert_int_equal(lease_guardian_pid(page), last);
    int64_t end = now_ms() + 300;
    assert_true(lease_set(page, "pg1.read", (mono_ms){end}));
    expect_end(f->dir, "pg1.read", end);
    files_close(&files);
    lease_close(&page);
    assert_true(WAIT_FOR(is_gone(last), PATIENCE_MS));
    close(more);
}

static void test_extended_and_cleared(void **state)
{
    const struct fixture *f = *state;
    struct err err;
    struct lease_page *page = lease_start(f->dir, &err);
    struct files *files = publish(f, page, "pg1.read", 200);
    int64_t end = now_ms() + 1200;
    lease_extend_all(page, (mono_ms){end});
    lease_extend_all(page, (mono_ms){end - 1000}); /* never shorter */
    assert_true(lease_set(page, "pg2.read", (mono_ms){end}));
    assert_true(files_remove(files, "pg2.read", &err));
    int fd = openat(files_dir_fd(files), "gone.read", O_CREAT | O_WRONLY, 0644);
    close(fd);
    assert_true(lease_set(page, "gone.read", (mono_ms){now_ms() + 100}));
    lease_clear(page, "gone.read");
    lease_clear(page, "never.read");
    pid_t guardian = lease_guardian_pid(page);
    lease_close(&page);
    expect_end(f->dir, "pg1.read", end);
    /* Not in the page any more: not the guardian's. */
    assert_true(scratch_has(f->dir, "gone.read"));
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    files_close(&files);
}

static void test_page_is_full(void **state)
{
    const struct fixture *f = *state;
    struct err err;
    struct lease_page *page = lease_start(f->dir, &err);
    mono_ms until = mono_add(clock_read().mono, 1);
    char name[FILES_NAME_MAX];
    for (int i = 0; i < 2 * NODES_MAX; i++) {
        snprintf(name, sizeof(name), "n%d.read", i);
        assert_true(lease_set(page, name, mono_add(until, 100000)));
    }
    assert_false(lease_set(page, "more.read", until));
    assert_true(lease_set(page, "n77.read", until));
    lease_clear(page, "n5.read");
    assert_true(lease_set(page, "more.read", until));
    for (int i = 0; i < 2 * NODES_MAX; i++) {
        snprintf(name, sizeof(name), "n%d.read", i);
        lease_clear(page, name);
    }
    pid_t guardian = lease_guardian_pid(page);
    lease_close(&page);
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
}

/* The directory may be made after the guardian, and vanish before it. */
static void test_directory_comes_and_goes(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_int_equal(rmdir(f->dir), 0);
    char *slashed = mem_printf("%s//", f->dir);
    struct lease_page *page = lease_start(slashed, &err);
    struct files *files = publish(f, page, "pg1.read", 300);
    int64_t end = now_ms() + 300;
    expect_end(f->dir, "pg1.read", end - 50);
    files_close(&files);
    scratch_empty(f->dir);
    assert_int_equal(rmdir(f->dir), 0);
    assert_true(lease_set(page, "pg1.read", mono_add(clock_read().mono, 100)));
    pid_t guardian = lease_guardian_pid(page);
    lease_close(&page);
    assert_true(WAIT_FOR(is_gone(guardian), PATIENCE_MS));
    mem_free(slashed);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    char name[] = "pgvigil", sub[] = "guardian", bad[] = "x", none[] = "-1", high[] = "9999",
         dir[] = "/tmp";
    char *cases[][6] = {{name, sub, NULL},
                        {name, sub, bad, high, dir, NULL},
                        {name, sub, none, high, dir, NULL},
                        {name, sub, high, high, dir, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(lease_guardian_main(i == 0 ? 2 : 5, cases[i]), 2);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "guardian") == 0)
        return lease_guardian_main(argc, argv);
    /* Guardians of agents that were killed become our children: their end can be seen. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frozen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_guardian_ignores_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_over_from_a_frozen_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_over_with_less, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_respawn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extended_and_cleared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_page_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory_comes_and_goes, set_up, tear_down),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
