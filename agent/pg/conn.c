/*
 * conn.c: life of a session: states, failures, backoff.
 *
 * All state changes go through the table below. A failure at any point ends in conn_fail(): the
 * session is closed first, then told, so a callback finds everything settled and may destroy the
 * session or ask for a retry. The struct itself is released at the end of the turn
 * (loop_defer), so code that has just called back may still look at is_destroyed.
 * Invariants: the watch never outlives the socket it was made for; while a job has the PGconn, `pg`
 * is NULL; a job is in flight only while PG_CONNECTING.
 */
#include "conn_private.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_LAST_MS  24000 /* with its jitter of up to a quarter: 30 s */
#define BACKOFF_LOGIN_MS 30000
/* libpq makes at least this much room before it reads. */
#define LIBPQ_READ_MIN 8192
#define READS_PER_TURN 8

static const struct {
    enum pg_state from;
    enum conn_event event;
    enum pg_state to;
    const char *reason;
} transitions[] = {
    {PG_IDLE, EV_START, PG_CONNECTING, "started"},
    {PG_CONNECTING, EV_CONNECTED, PG_READY, "session is up"},
    {PG_CONNECTING, EV_FAIL, PG_BACKOFF, "connect failed"},
    {PG_READY, EV_RUN, PG_RUNNING, "statements sent"},
    {PG_READY, EV_FAIL, PG_BACKOFF, "session lost"},
    {PG_RUNNING, EV_RUN_DONE, PG_READY, "all answered"},
    {PG_RUNNING, EV_FAIL, PG_BACKOFF, "session lost in a run"},
    {PG_BACKOFF, EV_RETRY, PG_CONNECTING, "trying again"},
};

void conn_apply(struct pg_conn *conn, enum conn_event event)
{
    for (size_t i = 0; i < ARRAY_LEN(transitions); i++) {
        if (transitions[i].from != conn->state || transitions[i].event != event)
            continue;
        conn->state = transitions[i].to;
        log_debug("session target=%s role=%s state=%s reason=\"%s\"", conn->name, conn->role,
                  pg_state_name(conn->state), transitions[i].reason);
        return;
    }
    abort(); /* our own bug */
}

/* ---- watching and reading ---- */

static void on_event(int events, void *arg);

/* The server's last words before it closes an idle session come as a notice. */
void conn_on_notice(void *arg, const PGresult *result)
{
    struct pg_conn *conn = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && (str_eq(severity, "FATAL") || str_eq(severity, "PANIC")))
        pg_clean_text(conn->last_notice, sizeof(conn->last_notice), PQresultErrorMessage(result),
                      PQpass(conn->pg));
}

static void on_event(int events, void *arg)
{
    struct pg_conn *conn = arg;
    switch (conn->state) {
    case PG_CONNECTING:
        connect_on_event(conn, events);
        break;
    case PG_READY:
        conn_read_input(conn);
        break;
    case PG_RUNNING:
        if ((events & LOOP_WRITE) && !conn_flush(conn))
            conn_fail_libpq(conn, PG_FAIL_CLOSED);
        else if (conn_read_input(conn))
            run_on_event(conn);
        break;
    case PG_IDLE:
    case PG_BACKOFF:
        break;
    }
}

bool conn_watch(struct pg_conn *conn, int events)
{
    struct err err = {0};
    if (!conn->poll)
        conn->poll = loop_poll_create(conn->loop, PQsocket(conn->pg), on_event, conn, &err);
    if (!conn->poll) {
        conn_fail(conn, PG_FAIL_CONNECT, "%s", err.text);
        return false;
    }
    loop_poll_set(conn->poll, events);
    return true;
}

static size_t unread_bytes(const struct pg_conn *conn)
{
    int n = 0;
    if (ioctl(PQsocket(conn->pg), FIONREAD, &n) != 0 || n < 0)
        return 0;
    return (size_t)n;
}

/* False when the cap is passed. What arrived during the read hides some bytes: hence the minimum.
 */
static bool count_input(struct pg_conn *conn, size_t before)
{
    size_t after = unread_bytes(conn), least = size_min(before, LIBPQ_READ_MIN);
    size_t taken = before > after ? before - after : 0;
    conn->bytes_in += taken > least ? taken : least;
    return conn->bytes_in <= conn->max_result_bytes;
}

static void drop_notifications(PGconn *pg)
{
    PGnotify *notify;
    while ((notify = PQnotifies(pg)))
        PQfreemem(notify);
}

/* One read. False after a failure. */
static bool read_once(struct pg_conn *conn, size_t *before)
{
    *before = unread_bytes(conn);
    bool ok = PQconsumeInput(conn->pg) != 0;
    drop_notifications(conn->pg);
    if (!ok) {
        conn_fail_libpq(conn, PG_FAIL_CLOSED);
        return false;
    }
    if (!count_input(conn, *before)) {
        conn_fail(conn, PG_FAIL_PROTOCOL, "answer is larger than %zu bytes",
                  conn->max_result_bytes);
        return false;
    }
    return true;
}

static void read_again(void *arg)
{
    struct pg_conn *conn = arg;
    conn->reads_again = false;
    if (conn->poll)
        on_event(LOOP_READ, conn);
}

/*
 * A TLS record of up to 16 KiB may be left inside the TLS library, where no descriptor shows it;
 * two reads of 8 KiB after the socket ran dry get it out. A server that sends faster than we read
 * gets its share of a turn, and the rest in the next.
 */
bool conn_read_input(struct pg_conn *conn)
{
    size_t before;
    int empty = 0;
    for (int reads = 0; empty < 2; reads++) {
        if (reads == READS_PER_TURN && !conn->reads_again) {
            conn->reads_again = true;
            loop_defer(conn->loop, read_again, conn);
        }
        if (reads == READS_PER_TURN)
            break;
        if (!read_once(conn, &before))
            return false;
        if (!PQsslInUse(conn->pg))
            break;
        empty = before == 0 ? empty + 1 : 0;
    }
    return true;
}

bool conn_flush(struct pg_conn *conn)
{
    int rc = PQflush(conn->pg);
    if (rc < 0)
        return false;
    loop_poll_set(conn->poll, rc > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return true;
}

/* ---- failures ---- */

static void close_session(struct pg_conn *conn)
{
    connect_abort(conn);
    run_release(conn);
    run_forget_prepared(conn);
    loop_timer_stop(conn->deadline);
    loop_timer_stop(conn->pause);
    loop_poll_destroy(&conn->poll); /* before libpq closes the descriptor */
    PQfinish(conn->pg);
    conn->pg = NULL;
    conn->bytes_in = 0;
    conn->last_notice[0] = '\0';
}

static int64_t random_below(int64_t n)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != (ssize_t)sizeof(r))
        r = (uint32_t)clock_stage_ns();
    return n > 0 ? r % n : 0;
}

/* Logins that were refused and wrong settings do not heal in a second, and each try is logged. */
static int64_t backoff_ms(const struct pg_conn *conn)
{
    if (conn->failure == PG_FAIL_AUTH || conn->failure == PG_FAIL_GRANT ||
        conn->failure == PG_FAIL_CONFIG)
        return BACKOFF_LOGIN_MS;
    int64_t base = BACKOFF_LAST_MS;
    if (conn->attempts <= 5)
        base = i64_min(base, (int64_t)BACKOFF_FIRST_MS << (conn->attempts - 1));
    return base + random_below(base / 4);
}

static void log_failure(struct pg_conn *conn)
{
    char quoted[ERR_TEXT_MAX];
    if (conn->told == conn->failure) {
        conn->untold++;
        return;
    }
    conn->told = conn->failure;
    conn->untold = 0;
    log_warn("session failed target=%s role=%s failure=%s error=%s", conn->name, conn->role,
             pg_failure_name(conn->failure), log_quote(quoted, sizeof(quoted), conn->error));
}

/* conn->failure and conn->error are set. */
static void settle_failure(struct pg_conn *conn)
{
    bool was_running = conn->state == PG_RUNNING;
    void (*on_done)(bool ok, void *arg) = conn->run.spec.on_done;
    void *run_arg = conn->run.spec.arg;
    close_session(conn);
    conn->attempts++;
    conn->addr_first++;
    conn_apply(conn, EV_FAIL);
    log_failure(conn);
    loop_timer_start(conn->pause, backoff_ms(conn));
    if (was_running)
        on_done(false, run_arg);
    if (!conn->is_destroyed && conn->state == PG_BACKOFF)
        conn->on_state(conn, PG_BACKOFF, conn->arg);
}

void conn_fail(struct pg_conn *conn, enum pg_failure failure, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(conn->error, sizeof(conn->error), fmt, args);
    va_end(args);
    conn->failure = failure;
    settle_failure(conn);
}

void conn_fail_libpq(struct pg_conn *conn, enum pg_failure failure)
{
    conn->failure = failure;
    if (conn->last_notice[0])
        str_copy(conn->error, sizeof(conn->error), conn->last_notice);
    else
        pg_clean_text(conn->error, sizeof(conn->error), PQerrorMessage(conn->pg), PQpass(conn->pg));
    settle_failure(conn);
}

/* ---- timers ---- */

static void on_deadline(void *arg)
{
    struct pg_conn *conn = arg;
    if (conn->state == PG_CONNECTING)
        connect_on_deadline(conn);
    else if (conn->state == PG_RUNNING)
        run_on_deadline(conn);
}

static void on_pause_over(void *arg)
{
    struct pg_conn *conn = arg;
    if (conn->state == PG_BACKOFF) {
        conn_apply(conn, EV_RETRY);
        connect_begin(conn);
    } else if (conn->state == PG_CONNECTING) {
        connect_on_patience(conn);
    }
}

void conn_established(struct pg_conn *conn)
{
    loop_timer_stop(conn->deadline);
    conn->bytes_in = 0;
    log_info("session up target=%s role=%s version=%d pid=%d failures=%u", conn->name, conn->role,
             conn->server_version, conn->backend_pid,
             conn->told == PG_FAIL_NONE ? 0 : conn->untold + 1);
    conn->told = PG_FAIL_NONE;
    conn->untold = 0;
    conn_apply(conn, EV_CONNECTED);
    conn->on_state(conn, PG_READY, conn->arg);
}

/* ---- the header's functions ---- */

struct pg_conn *pg_conn_create(struct loop *loop, struct workers *workers,
                               const struct pg_conn_opts *opts)
{
    struct pg_conn *conn = mem_alloc(sizeof(*conn));
    conn->loop = loop;
    conn->workers = workers;
    conn->name = mem_strdup(opts->name);
    conn->role = mem_strdup(opts->role);
    conn->dsn = mem_strdup(opts->dsn);
    conn->options = opts->options ? mem_strdup(opts->options) : NULL;
    conn->secret_modes = opts->secret_modes;
    conn->console = opts->console;
    conn->connect_timeout_ms = opts->connect_timeout_ms;
    conn->max_result_bytes = opts->max_result_bytes;
    conn->on_state = opts->on_state;
    conn->arg = opts->arg;
    conn->deadline = loop_timer_create(loop, on_deadline, conn);
    conn->pause = loop_timer_create(loop, on_pause_over, conn);
    return conn;
}

static void conn_free(void *arg)
{
    struct pg_conn *conn = arg;
    mem_free(conn->prepared);
    mem_free(conn->name);
    mem_free(conn->role);
    mem_free(conn->dsn);
    mem_free(conn->options);
    mem_free(conn);
}

void pg_conn_destroy(struct pg_conn **conn)
{
    struct pg_conn *c = *conn;
    if (!c)
        return;
    *conn = NULL;
    close_session(c);
    loop_timer_destroy(&c->deadline);
    loop_timer_destroy(&c->pause);
    c->state = PG_IDLE;
    c->is_destroyed = true;
    loop_defer(c->loop, conn_free, c);
}

void pg_conn_start(struct pg_conn *conn)
{
    if (conn->state != PG_IDLE)
        return;
    conn_apply(conn, EV_START);
    connect_begin(conn);
}

void pg_conn_retry_now(struct pg_conn *conn)
{
    conn->attempts = 0;
    if (conn->state != PG_BACKOFF)
        return;
    loop_timer_stop(conn->pause);
    conn_apply(conn, EV_RETRY);
    connect_begin(conn);
}

enum pg_state pg_conn_state(const struct pg_conn *conn)
{
    return conn->state;
}

enum pg_failure pg_conn_failure(const struct pg_conn *conn)
{
    return conn->failure;
}

const char *pg_conn_error(const struct pg_conn *conn)
{
    return conn->error;
}

int pg_conn_server_version(const struct pg_conn *conn)
{
    return conn->server_version;
}

int pg_conn_backend_pid(const struct pg_conn *conn)
{
    return conn->backend_pid;
}
