/*
 * test_conn.c: sessions against a scripted server, and against a real one if PG_TEST_DSN names it.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_pg.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/resolve.h"
#include "pgvigil/pg/conn.h"

#define WAIT_MS     4000
#define RESULTS_MAX 16
#ifdef __SANITIZE_THREAD__
#define SANITIZER_THREADS 1
#else
#define SANITIZER_THREADS 0
#endif

static struct loop *loop;
static struct workers *workers;
static struct pg_conn *conn;
static int64_t clock_ahead_ms; /* lets a backoff pass */

static struct {
    int ready, backoff; /* calls of on_state */
    int results, dones;
    bool done_ok;
    char values[RESULTS_MAX][64]; /* by index: value, or !sqlstate */
    bool destroys_in_result, destroys_in_state;
} seen;

static struct now shifted_clock(void *arg)
{
    struct timespec ts;
    (void)arg;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    int64_t ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + clock_ahead_ms;
    return (struct now){{ms}, {ms}};
}

static void on_state(struct pg_conn *c, enum pg_state state, void *arg)
{
    (void)arg;
    assert_int_equal(pg_conn_state(c), state);
    seen.ready += state == PG_READY;
    seen.backoff += state == PG_BACKOFF;
    if (seen.destroys_in_state)
        pg_conn_destroy(&conn);
}

static void on_result(size_t index, const PGresult *result, void *arg)
{
    char *out = seen.values[index];
    (void)arg;
    assert_true(index < RESULTS_MAX);
    assert_string_equal(out, ""); /* once for each statement */
    seen.results++;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        str_copy(out, 64, PQntuples(result) ? PQgetvalue(result, 0, 0) : "(none)");
    else
        snprintf(out, 64, "!%s", PQresultErrorField(result, PG_DIAG_SQLSTATE));
    if (seen.destroys_in_result)
        pg_conn_destroy(&conn);
}

static void on_done(bool ok, void *arg)
{
    (void)arg;
    seen.dones++;
    seen.done_ok = ok;
}

static void ignore_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    assert_null(strstr(line, "s3cret"));
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    memset(&seen, 0, sizeof(seen));
    clock_ahead_ms = 0;
    clock_set_source(shifted_clock, NULL);
    log_set_sink(ignore_line, NULL);
    loop = loop_create("test", &err);
    workers = workers_create(loop, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pg_conn_destroy(&conn);
    workers_destroy(&workers);
    loop_destroy(&loop);
    resolve_set_source(NULL, NULL);
    clock_set_source(NULL, NULL);
    log_set_sink(NULL, NULL);
    return 0;
}

static int teardown_fake(void **state)
{
    teardown(state);
    fake_stop();
    return 0;
}

static void open_dsn(const char *dsn, bool console, int64_t timeout_ms)
{
    struct pg_conn_opts opts = {.name = "pg1",
                                .role = "probe",
                                .dsn = dsn,
                                .secret_modes = SECRET_MODES_STRICT,
                                .console = console,
                                .options = console ? NULL : "-c lock_timeout=500",
                                .connect_timeout_ms = timeout_ms,
                                .max_result_bytes = 256 * 1024,
                                .on_state = on_state};
    conn = pg_conn_create(loop, workers, &opts);
    pg_conn_start(conn);
    assert_int_equal(seen.ready + seen.backoff, 0); /* told from the loop only */
}

static void open_fake(enum fake_mode mode, const char *more, bool console, int64_t timeout_ms)
{
    char dsn[256];
    fake_start(mode);
    snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%d user=u dbname=d %s", fake.port, more);
    open_dsn(dsn, console, timeout_ms);
}

static void run_until(const int *what, int n)
{
    mono_ms end = mono_add(clock_read().mono, WAIT_MS);
    while (*what < n && mono_before(clock_read().mono, end))
        loop_run_once(loop, true);
    assert_int_equal(*what, n);
}

static bool start_run(const struct pg_stmt *const *stmts, size_t count, int64_t deadline_ms)
{
    struct pg_run run = {.stmts = stmts,
                         .count = count,
                         .deadline_ms = deadline_ms,
                         .on_result = on_result,
                         .on_done = on_done};
    memset(seen.values, 0, sizeof(seen.values));
    seen.results = seen.dones = 0;
    return pg_conn_run(conn, &run);
}

static const struct pg_stmt one = {"one", "1"}, two = {"two", "2"}, fail = {"fail", "fail"},
                            badparse = {"badparse", "badparse"}, hang = {"hang", "hang"},
                            die = {"die", "die"}, endless = {"endless", "endless"},
                            giant = {"giant", "giant"}, copy = {"copy", "copy"},
                            lost = {"lost", "lost"}, changed = {"changed", "changed"},
                            changes = {"changes", "changes"};

static void run_expecting(const struct pg_stmt *const *stmts, size_t count,
                          const char *const *expect)
{
    assert_true(start_run(stmts, count, 2000));
    assert_int_equal(seen.results, 0);
    assert_int_equal(pg_conn_state(conn), PG_RUNNING);
    run_until(&seen.dones, 1);
    assert_true(seen.done_ok);
    assert_int_equal(seen.results, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(seen.values[i], expect[i]);
    assert_int_equal(pg_conn_state(conn), PG_READY);
}

/* ---- runs ---- */

static void a_run_answers_each_statement(void **state)
{
    static const struct pg_stmt *const stmts[] = {&one, &fail, &two, &badparse, &one};
    static const char *const expect[] = {"1", "!42P01", "2", "!42601", "1"};
    (void)state;
    open_fake(FAKE_GOOD, "", false, 2000);
    assert_false(start_run(stmts, 5, 1000)); /* not ready yet */
    run_until(&seen.ready, 1);
    assert_int_equal(pg_conn_server_version(conn), 150004);
    assert_int_equal(pg_conn_backend_pid(conn), FAKE_PID);
    run_expecting(stmts, 5, expect);
    assert_int_equal(fake.parses, 3); /* "one" is twice in the list; "badparse" never gets one */
}

static void statements_are_prepared_once_a_session(void **state)
{
    static const struct pg_stmt *const stmts[] = {&one, &two, &fail};
    static const char *const expect[] = {"1", "2", "!42P01"};
    (void)state;
    open_fake(FAKE_GOOD, "", false, 2000);
    run_until(&seen.ready, 1);
    for (int i = 0; i < 5; i++)
        run_expecting(stmts, 3, expect);
    assert_int_equal(fake.parses, 3);
    assert_int_equal(fake.accepted, 1);
}

static void a_lost_plan_is_prepared_again(void **state)
{
    static const struct pg_stmt *const stmts[] = {&one, &lost, &changed, &two};
    static const char *const expect[] = {"1", "lost", "changed", "2"};
    static const struct pg_stmt *const hopeless[] = {&changes, &one};
    static const char *const given_up[] = {"!0A000", "1"};
    (void)state;
    open_fake(FAKE_GOOD, "", false, 2000);
    run_until(&seen.ready, 1);
    run_expecting(stmts, 4, expect);
    assert_int_equal(fake.parses, 6);
    assert_int_equal(fake.deallocates, 1);
    run_expecting(stmts, 4, expect);
    assert_int_equal(fake.parses, 6);
    run_expecting(hopeless, 2, given_up);
}

static void the_startup_says_who_we_are(void **state)
{
    static const char *const expect[] = {"application_name pgvigil ", "client_encoding UTF8 ",
                                         "options -c a=b -c lock_timeout=500 "};
    (void)state;
    open_fake(FAKE_GOOD, "options='-c a=b'", false, 2000);
    run_until(&seen.ready, 1);
    for (size_t i = 0; i < ARRAY_LEN(expect); i++)
        assert_non_null(strstr(fake.startup, expect[i]));
}

static void the_console_gets_simple_queries_and_no_options(void **state)
{
    static const struct pg_stmt *const stmts[] = {&one, &fail, &two};
    static const char *const expect[] = {"1", "!42P01", "2"};
    (void)state;
    open_fake(FAKE_POOLER, "", true, 2000);
    run_until(&seen.ready, 1);
    run_expecting(stmts, 3, expect);
    run_expecting(stmts, 3, expect);
    assert_int_equal(fake.parses, 0);
    assert_null(strstr(fake.startup, "options"));
    assert_null(strstr(fake.startup, "client_encoding"));
}

static void runs_that_lose_the_session(void **state)
{
    static const struct {
        const struct pg_stmt *stmt;
        bool console;
        enum pg_failure failure;
        const char *text;
    } cases[] = {
        {&hang, false, PG_FAIL_TIMEOUT, "no answer within 300 ms"},
        {&hang, true, PG_FAIL_TIMEOUT, "no answer within 300 ms"},
        {&die, false, PG_FAIL_CLOSED, "administrator command"},
        {&die, true, PG_FAIL_CLOSED, "administrator command"},
        {&endless, false, PG_FAIL_PROTOCOL, "larger than 262144 bytes"},
        {&endless, true, PG_FAIL_PROTOCOL, "larger than 262144 bytes"},
        {&giant, false, PG_FAIL_PROTOCOL, "larger than 262144 bytes"},
        {&copy, false, PG_FAIL_PROTOCOL, "COPY"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct pg_stmt *const stmts[] = {&one, cases[i].stmt, &two};
        setup(NULL);
        open_fake(FAKE_GOOD, "", cases[i].console, 2000);
        run_until(&seen.ready, 1);
        mono_ms begin = clock_read().mono;
        assert_true(start_run(stmts, 3, cases[i].failure == PG_FAIL_TIMEOUT ? 300 : 3000));
        run_until(&seen.backoff, 1);
        assert_in_range(mono_diff(clock_read().mono, begin), 0, 2500);
        assert_int_equal(seen.dones, 1);
        assert_false(seen.done_ok);
        assert_string_equal(seen.values[0], "1");
        assert_string_equal(seen.values[2], "");
        if (pg_conn_failure(conn) != cases[i].failure ||
            !strstr(pg_conn_error(conn), cases[i].text))
            fail_msg("case %zu: %s: %s", i, pg_failure_name(pg_conn_failure(conn)),
                     pg_conn_error(conn));
        teardown_fake(NULL);
    }
}

/* ---- connects ---- */

static void connects_that_fail_are_told_apart(void **state)
{
    static const struct {
        enum fake_mode mode;
        const char *sqlstate, *text;
        enum pg_failure failure;
        const char *error;
    } cases[] = {
        {FAKE_HANG, "", "", PG_FAIL_TIMEOUT, "no answer within 300 ms"},
        {FAKE_HANG_AFTER_AUTH, "", "", PG_FAIL_TIMEOUT, "no answer"},
        {FAKE_DRIP, "", "", PG_FAIL_TIMEOUT, "no answer"},
        {FAKE_GARBAGE_TYPE, "", "", PG_FAIL_PROTOCOL, ""},
        {FAKE_GARBAGE_LENGTH, "", "", PG_FAIL_PROTOCOL, ""},
        {FAKE_CLOSES, "", "", PG_FAIL_CONNECT, "closed the connection"},
        {FAKE_REFUSES, "28P01", "no", PG_FAIL_AUTH, "28P01"},
        {FAKE_REFUSES, "28000", "no entry", PG_FAIL_AUTH, "no entry"},
        {FAKE_REFUSES, "57P03", "the database system is starting up", PG_FAIL_STARTING, "starting"},
        {FAKE_REFUSES, "53300", "sorry, too many clients", PG_FAIL_SATURATED, "too many"},
        {FAKE_REFUSES, "3D000", "database \"d\" does not exist", PG_FAIL_CONFIG, "does not exist"},
        {FAKE_REFUSES, "42501", "permission denied for database \"d\"", PG_FAIL_GRANT, "denied"},
        {FAKE_REFUSES, "08P01", "unsupported startup parameter: options", PG_FAIL_CONFIG,
         "this is a PgBouncer, not a server"},
        {FAKE_REFUSES, "XX000", "\033[31mhm\r\nLOCATION: x", PG_FAIL_CONNECT, "[31mhm"},
        {FAKE_POOLER, "", "", PG_FAIL_CONFIG,
         "this is a PgBouncer, not a server: use its host "
         "and port in pools, and the server's in nodes"},
        {FAKE_ASKS_PASSWORD, "", "", PG_FAIL_AUTH, "password \"******\" is wrong"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setup(NULL);
        fake.sqlstate = cases[i].sqlstate;
        fake.text = cases[i].text;
        mono_ms begin = clock_read().mono;
        open_fake(cases[i].mode, "password=s3cret", false, 300);
        run_until(&seen.backoff, 1);
        assert_in_range(mono_diff(clock_read().mono, begin), 0, 1500);
        if (pg_conn_failure(conn) != cases[i].failure ||
            !strstr(pg_conn_error(conn), cases[i].error))
            fail_msg("case %zu: %s: %s", i, pg_failure_name(pg_conn_failure(conn)),
                     pg_conn_error(conn));
        assert_null(strstr(pg_conn_error(conn), "s3cret"));
        assert_null(strpbrk(pg_conn_error(conn), "\n\r\033"));
        teardown_fake(NULL);
    }
}

static void unusable_dsns_are_refused_without_telling_them(void **state)
{
    static const struct {
        const char *dsn, *error;
        enum pg_failure failure;
    } cases[] = {
        {"host=127.0.0.1 password=s3cret s3cret", "neither a keyword=value", PG_FAIL_CONFIG},
        {"s3cret", "neither a keyword=value", PG_FAIL_CONFIG},
        {"host=a,b password=s3cret", "several hosts", PG_FAIL_CONFIG},
        {"postgresql://u:s3cret@a,b/d", "several hosts", PG_FAIL_CONFIG},
        {"service=no_such_service password=s3cret", "no_such_service", PG_FAIL_CONFIG},
        {"host=127.0.0.1 port=1 sslmode=s3cre", "sslmode", PG_FAIL_CONFIG},
        {"host=127.0.0.1 password=${file:/nonexistent/s}", "/nonexistent/s", PG_FAIL_CONFIG},
        {"host=127.0.0.1 port=1 password=s3cret", "refused", PG_FAIL_CONNECT},
        {"host=/nonexistent password=s3cret", "/nonexistent", PG_FAIL_CONNECT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setup(NULL);
        open_dsn(cases[i].dsn, false, 2000);
        run_until(&seen.backoff, 1);
        if (pg_conn_failure(conn) != cases[i].failure ||
            !strstr(pg_conn_error(conn), cases[i].error))
            fail_msg("case %zu: %s: %s", i, pg_failure_name(pg_conn_failure(conn)),
                     pg_conn_error(conn));
        assert_null(strstr(pg_conn_error(conn), "s3cret"));
        teardown(NULL);
    }
}

/* DB21: libpq computes as many rounds as it is told; that must not be on the loop's time. */
static void endless_scram_does_not_block_the_loop(void **state)
{
    (void)state;
    open_fake(FAKE_SCRAM_FOR_EVER, "password=s3cret", false, 300);
    run_until(&seen.backoff, 1);
    assert_int_equal(fake.startups, 1);
    assert_int_equal(pg_conn_failure(conn), PG_FAIL_TIMEOUT);
    assert_true(hist_quantile_s(loop_turn_time(loop), 1.0) <= 0.1);
}

/* ---- names ---- */

static atomic_bool resolver_hangs, resolver_fails;

static bool fake_resolver(const char *host, struct resolve_answer *out, struct err *err, void *arg)
{
    (void)arg;
    for (int i = 0; i < 60000 && resolver_hangs; i++)
        usleep(1000);
    if (resolver_fails)
        return err_set(err, ERR_NET, "host '%s' cannot be resolved: gone", host);
    out->count = 2;
    str_copy(out->addrs[0], RESOLVE_TEXT_MAX, "127.0.0.9"); /* nobody listens there */
    str_copy(out->addrs[1], RESOLVE_TEXT_MAX, "127.0.0.1");
    return true;
}

static void a_hanging_resolver_delays_only_until_the_last_good_answer(void **state)
{
    char dsn[128];
    (void)state;
    resolve_set_source(fake_resolver, NULL);
    resolver_hangs = resolver_fails = false;
    fake_start(FAKE_GOOD);
    snprintf(dsn, sizeof(dsn), "host=db-hang.test port=%d user=u dbname=d", fake.port);
    open_dsn(dsn, false, 1000);
    run_until(&seen.ready, 1);
    pg_conn_destroy(&conn);
    resolver_hangs = true;
    seen.ready = 0;
    mono_ms begin = clock_read().mono;
    open_dsn(dsn, false, 1000);
    run_until(&seen.ready, 1);
    assert_in_range(mono_diff(clock_read().mono, begin), 400, 990);
    pg_conn_destroy(&conn);
    seen.ready = 0; /* again, while the first look-up still hangs */
    open_dsn(dsn, false, 1000);
    run_until(&seen.ready, 1);
    assert_true(hist_quantile_s(loop_turn_time(loop), 1.0) <= 0.25);
    resolver_hangs = false;
}

static void a_name_that_does_not_resolve_is_its_own_failure(void **state)
{
    (void)state;
    resolve_set_source(fake_resolver, NULL);
    resolver_fails = true;
    open_dsn("host=never.test user=u", false, 300);
    run_until(&seen.backoff, 1);
    assert_int_equal(pg_conn_failure(conn), PG_FAIL_RESOLVE);
    assert_non_null(strstr(pg_conn_error(conn), "never.test"));
    resolver_fails = false;
    resolver_hangs = true;
    clock_ahead_ms += 2000;
    run_until(&seen.backoff, 2);
    assert_int_equal(pg_conn_failure(conn), PG_FAIL_RESOLVE);
    assert_non_null(strstr(pg_conn_error(conn), "within 300 ms"));
    resolver_hangs = false;
}

/* ---- backoff ---- */

/* How long it waits, in steps of half a second of the fake clock. */
static int64_t measure_backoff(const int *told, int n)
{
    int64_t waited = 0;
    while (fake.startups < n && waited < 60000) {
        waited += 500;
        clock_ahead_ms += 500;
        for (int i = 0; i < 20 && fake.startups < n; i++) {
            loop_run_once(loop, false);
            usleep(500);
        }
    }
    run_until(told, n);
    return waited;
}

static void failed_connects_are_tried_again_later_and_later(void **state)
{
    static const struct {
        int64_t least, most;
    } cases[] = {{500, 1500},    {1500, 3000},   {3500, 5500},  {7500, 10500},
                 {15500, 20500}, {23500, 31000}, {23500, 31000}};
    (void)state;
    fake.sqlstate = "57P03";
    fake.text = "the database system is starting up";
    open_fake(FAKE_REFUSES, "sslmode=disable", false, 2000);
    run_until(&seen.backoff, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_in_range(measure_backoff(&seen.backoff, (int)i + 2), cases[i].least, cases[i].most);
    fake.mode = FAKE_GOOD;
    clock_ahead_ms += 31000;
    run_until(&seen.ready, 1);
}

/* DB8 */
static void a_refused_login_waits_half_a_minute(void **state)
{
    (void)state;
    fake.sqlstate = "28P01";
    fake.text = "no";
    open_fake(FAKE_REFUSES, "sslmode=disable", false, 2000);
    run_until(&seen.backoff, 1);
    assert_in_range(measure_backoff(&seen.backoff, 2), 28500, 30500);
    fake.mode = FAKE_GOOD;
    pg_conn_retry_now(conn); /* the operator says that it is fixed */
    run_until(&seen.ready, 1);
}

static void a_lost_session_comes_back(void **state)
{
    static const struct pg_stmt *const good[] = {&one}, *const bad[] = {&die};
    static const char *const expect[] = {"1"};
    (void)state;
    open_fake(FAKE_GOOD, "", false, 2000);
    for (int i = 1; i <= 20; i++) {
        run_until(&seen.ready, i);
        run_expecting(good, 1, expect);
        assert_true(start_run(bad, 1, 1000));
        run_until(&seen.backoff, i);
        clock_ahead_ms += 1300; /* a good run makes the first backoff the shortest again */
    }
    run_until(&seen.ready, 21);
    assert_int_equal(fake.accepted, 21);
    assert_in_range(fake.open, 1, 2);
    assert_int_equal(fake.parses, 20 * 2);
}

/* ---- callbacks that destroy ---- */

static void the_session_may_be_destroyed_by_its_callbacks(void **state)
{
    static const struct pg_stmt *const stmts[] = {&one, &two};
    (void)state;
    open_fake(FAKE_GOOD, "", false, 2000);
    run_until(&seen.ready, 1);
    seen.destroys_in_result = true;
    assert_true(start_run(stmts, 2, 1000));
    run_until(&seen.results, 1);
    assert_null(conn);
    assert_int_equal(seen.dones, 0);
    seen.destroys_in_state = true;
    char dsn[128];
    snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%d user=u", fake.port);
    seen.ready = 0;
    open_dsn(dsn, false, 2000);
    run_until(&seen.ready, 1);
    assert_null(conn);
    seen.ready = 0;
    open_dsn("host=127.0.0.1 port=1", false, 2000);
    run_until(&seen.backoff, 1);
    assert_null(conn);
}

static void it_may_be_destroyed_at_any_step(void **state)
{
    (void)state;
    fake_start(FAKE_GOOD);
    char dsn[128];
    snprintf(dsn, sizeof(dsn), "host=127.0.0.1 port=%d user=u", fake.port);
    for (int turns = 0; turns < 60; turns++) {
        seen.ready = seen.backoff = 0;
        open_dsn(dsn, false, 2000);
        for (int i = 0; i < turns; i++) {
            loop_run_once(loop, false);
            usleep(100);
        }
        pg_conn_destroy(&conn);
    }
}

/* ---- a real server ---- */

static void a_real_server_answers(void **state)
{
    static const struct pg_stmt version = {"v", "SHOW server_version_num"},
                                missing = {"m", "SELECT 1 FROM no_such_table"},
                                broken = {"b", "SELECT"
                                               " FROM WHERE"},
                                divide = {"d", "SELECT 1/0"}, timeout = {"t", "SHOW lock_timeout"},
                                app = {"a", "SHOW application_name"};
    static const struct pg_stmt *const stmts[] = {&missing, &timeout, &broken,
                                                  &divide,  &app,     &version};
    (void)state;
    const char *dsn = getenv("PG_TEST_DSN");
    if (!dsn)
        skip();
    open_dsn(dsn, false, 2000);
    run_until(&seen.ready, 1);
    char number[32];
    snprintf(number, sizeof(number), "%d", pg_conn_server_version(conn));
    const char *const expect[] = {"!42P01", "500ms", "!42601", "!22012", "pgvigil", number};
    for (int i = 0; i < 3; i++)
        run_expecting(stmts, 6, expect);
}

/* A worker that still computes would meet OpenSSL's clean-up at exit. */
static int wait_for_threads(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++) {
        int count = 0;
        DIR *dir = opendir("/proc/self/task");
        while (dir && readdir(dir))
            count++;
        closedir(dir);
        if (count <= 3 + SANITIZER_THREADS) /* ".", ".." and ourselves */
            return 0;
        usleep(1000);
    }
    return 0;
}

int main(void)
{
    alarm(120); /* a hang is a failure too */
    unsetenv("PGSERVICE");
#define FAKE(f)  cmocka_unit_test_setup_teardown(f, setup, teardown_fake)
#define PLAIN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        FAKE(a_run_answers_each_statement),
        FAKE(statements_are_prepared_once_a_session),
        FAKE(a_lost_plan_is_prepared_again),
        FAKE(the_startup_says_who_we_are),
        FAKE(the_console_gets_simple_queries_and_no_options),
        cmocka_unit_test(runs_that_lose_the_session),
        cmocka_unit_test(connects_that_fail_are_told_apart),
        FAKE(endless_scram_does_not_block_the_loop),
        cmocka_unit_test(unusable_dsns_are_refused_without_telling_them),
        FAKE(a_hanging_resolver_delays_only_until_the_last_good_answer),
        PLAIN(a_name_that_does_not_resolve_is_its_own_failure),
        FAKE(failed_connects_are_tried_again_later_and_later),
        FAKE(a_refused_login_waits_half_a_minute),
        FAKE(a_lost_session_comes_back),
        FAKE(the_session_may_be_destroyed_by_its_callbacks),
        FAKE(it_may_be_destroyed_at_any_step),
        PLAIN(a_real_server_answers),
    };
    return cmocka_run_group_tests(tests, NULL, wait_for_threads);
}
