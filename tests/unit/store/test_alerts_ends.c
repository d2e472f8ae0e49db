/* alerts.db: what was acknowledged outlives every end; what damage leaves whole is carried over. */
#include "alerts_world.h"
#include "fault_child.h"

static const char *victim;

/* ---- ends at every write ---- */
enum { PAIRS = 5 };

static void commit_acknowledged(int fd)
{
    struct world w;

    start(&w, victim);
    for (int i = 1; i <= PAIRS; i++) {
        struct reply r = {0};
        commit_pair(&w, i, &r);
        if (!wait_reply(&w, &r))
            _exit(1);
        if (r.ok)
            acknowledge(fd);
    }
    stop(&w);
}

/* How many pairs the file holds; they must be whole and the first ones. */
static int check_pairs(void)
{
    struct world w;

    start(&w, victim);
    assert_false(stats_of(&w).degraded);
    size_t n = w.image.outbox_count;
    assert_int_equal(w.image.alert_count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(w.image.outbox[i].seq, i + 1);
        assert_true(w.image.alerts[i]->fingerprint == UINT64_C(0xf000000000000001) + i);
    }
    stop(&w);
    assert_intact(victim);
    return (int)n;
}

static void end_at_every_write(enum fault_kind kind)
{
    long at;

    victim = scratch("end.db");
    for (at = 1; at < 2000; at++) {
        bool killed;
        int acks = run_faulted(commit_acknowledged, victim, kind, at, &killed);
        int found = check_pairs();
        if (found < acks)
            fail_msg("operation %ld: %d acknowledged, %d found", at, acks, found);
        if (kind == FAULT_KILL || kind == FAULT_POWER ? !killed : acks == PAIRS && at > 100)
            break;
    }
    print_message("%ld operations\n", at);
    assert_in_range(at, 30, 1000);
    assert_int_equal(set_aside_count(), 0);
}

/* ST8 */
static void test_kill_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_KILL);
}

/* ST9 */
static void test_power_loss_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_POWER);
}

/* ST2, ST3, ST4 */
static void test_full_disk_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_ENOSPC);
}

static void test_io_error_at_every_write(void **state)
{
    (void)state;
    end_at_every_write(FAULT_EIO);
}

/* ---- damage ---- */
static void copy_file(const char *from, const char *to)
{
    char command[300];

    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void overwrite(const char *path, long offset, size_t n, unsigned seed)
{
    FILE *f = fopen(path, "r+b");

    assert_non_null(f);
    fseek(f, offset, SEEK_SET);
    for (size_t i = 0; i < n; i++)
        fputc((int)(rand_r(&seed) & 0xff), f);
    fclose(f);
}

static void forget_set_aside(void)
{
    char command[160];

    snprintf(command, sizeof(command), "rm -f '%s'/damaged.db*", scratch_dir);
    assert_int_equal(system(command), 0);
}

/* Starts on the damaged file; returns the outbox rows that are left. */
static size_t start_damaged(const char *path)
{
    struct world w;
    struct reply r = {0};

    start(&w, path);
    assert_false(stats_of(&w).degraded);
    size_t n = w.image.outbox_count;
    commit_pair(&w, 999, &r);
    assert_true(wait_reply(&w, &r));
    if (!r.ok)
        fail_msg("not stored: %s", r.err.text);
    stop(&w);
    assert_intact(path);
    return n;
}

/* ST7: every page once; what is not damaged is carried over. */
static void test_damaged_pages(void **state)
{
    enum { ROWS = 300 };
    const char *good = scratch("good.db"), *bad = scratch("damaged.db");
    struct stat st;
    size_t best = 0, sum = 0;
    (void)state;

    commit_pairs(good, ROWS);
    assert_int_equal(stat(good, &st), 0);
    long pages = st.st_size / 4096;
    for (long page = 0; page < pages; page++) {
        forget_set_aside();
        copy_file(good, bad);
        overwrite(bad, page * 4096, 4096, (unsigned)page);
        size_t left = start_damaged(bad);
        best = left > best ? left : best;
        sum += left;
        assert_int_equal(set_aside_count(), page == 1 ? set_aside_count() : 1);
    }
    print_message("%ld pages; on average %zu of %d rows are left\n", pages, sum / (size_t)pages,
                  ROWS);
    assert_int_equal(best, ROWS);
    assert_true(sum / (size_t)pages > ROWS / 2);
    forget_set_aside();
}

static void test_flipped_bytes(void **state)
{
    const char *good = scratch("good2.db"), *bad = scratch("damaged.db");
    unsigned seed = 20240601;
    struct stat st;
    (void)state;

    commit_pairs(good, 60);
    assert_int_equal(stat(good, &st), 0);
    for (int i = 0; i < 150; i++) {
        forget_set_aside();
        copy_file(good, bad);
        for (int k = 0; k < 4; k++)
            overwrite(bad, rand_r(&seed) % st.st_size, 1, seed);
        struct world w;
        start(&w, bad);
        stop(&w);
    }
    forget_set_aside();
}

/* ST10 */
static void test_lost_wal(void **state)
{
    static const char *const lost[] = {"-wal", "-shm"};
    bool killed;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        char name[256];
        victim = scratch(i == 0 ? "wal1.db" : "wal2.db");
        fault_reset();
        fault_plan.kind = FAULT_KILL;
        fault_plan.at = 60;
        run_child(commit_acknowledged, &killed);
        assert_true(killed);
        fault_reset();
        snprintf(name, sizeof(name), "%s%s", victim, lost[i]);
        unlink(name);
        check_pairs();
    }
}

static int lines;

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_at_every_write),
        cmocka_unit_test(test_power_loss_at_every_write),
        cmocka_unit_test(test_full_disk_at_every_write),
        cmocka_unit_test(test_io_error_at_every_write),
        cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_lost_wal),
    };
    fault_vfs_register();
    log_set_sink(drop_line, &lines);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
