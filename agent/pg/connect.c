/*
 * connect.c: from a DSN to a session, step by step, each where it may block.
 *
 * plan (worker) -> resolve (worker, one job per name; skipped for addresses and sockets) -> start
 * and poll (the loop waits for the socket, a worker makes the step) -> check (loop; servers only).
 * Each PQconnectPoll runs in a worker, because it reads certificates, may ask a KDC, and computes
 * as many SCRAM rounds as the server likes (the default 4096 take some 10 ms, and nothing bounds
 * the number). One deadline covers all steps, because libpq keeps none of its own here. When the
 * resolver has not answered in half of it, the last good address of the name is taken.
 * Jobs own their data: a job that was cancelled may still run, and must not touch the session. So
 * conn->pg is NULL while a step has it.
 */
#include "conn_private.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct plan_job {
    struct pg_conn *conn; /* valid in done() unless cancelled */
    char *dsn, *options;
    enum config_secret_modes modes;
    bool console;
    struct pg_plan *plan; /* result */
    struct err err;
};

struct resolve_job {
    struct pg_conn *conn;
    char *host;
    struct resolve_answer answer;
    bool ok, stale;
    struct err err;
};

struct step_job {
    struct pg_conn *conn;
    struct pg_plan *plan; /* first step only, as the next two */
    struct resolve_answer addrs;
    unsigned first;
    PGconn *pg; /* NULL before the first step */
    PostgresPollingStatusType next;
};

/* A full queue leaves the step without a job; the deadline ends it. */
static void submit(struct pg_conn *conn, enum pg_step step, const char *key,
                   const struct workers_ops *ops, void *job)
{
    conn->step = step;
    conn->job = workers_submit(conn->workers, key, ops, job);
    if (!conn->job)
        ops->dispose(job);
}

/* ---- check ---- */

/*
 * A pooler answers the start-up itself with a key of its own, so the process number that it told
 * is not the one of the server process behind it.
 */
static void begin_check(struct pg_conn *conn)
{
    static const char sql[] = "SELECT pg_catalog.pg_backend_pid()";
    conn->step = STEP_CHECK;
    if (!PQenterPipelineMode(conn->pg) ||
        !PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 0) ||
        !PQpipelineSync(conn->pg) || !conn_flush(conn))
        conn_fail_libpq(conn, PG_FAIL_CLOSED);
}

static void connected(struct pg_conn *conn)
{
    const char *version = PQparameterStatus(conn->pg, "server_version");
    PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(conn->pg, conn_on_notice, conn);
    PQsetnonblocking(conn->pg, 1);
    conn->server_version = PQserverVersion(conn->pg);
    conn->backend_pid = PQbackendPID(conn->pg);
    if (!conn_watch(conn, LOOP_READ))
        return;
    if (conn->console) {
        conn->step = STEP_NONE;
        conn_established(conn);
    } else if (version && strcasestr(version, "bouncer")) {
        conn_fail(conn, PG_FAIL_CONFIG, "%s", pg_pooler_text);
    } else {
        begin_check(conn);
    }
}

static bool is_own_pid(const struct pg_conn *conn, const PGresult *result)
{
    int64_t pid;
    return PQntuples(result) == 1 && PQnfields(result) == 1 &&
           str_parse_i64(PQgetvalue(result, 0, 0), 0, INT32_MAX, &pid) && pid == conn->backend_pid;
}

/* True while more replies are needed. */
static bool take_check_reply(struct pg_conn *conn, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        if (is_own_pid(conn, result))
            return true;
        conn_fail(conn, PG_FAIL_CONFIG, "%s", pg_pooler_text);
        return false;
    case PGRES_PIPELINE_SYNC:
        conn->step = STEP_NONE;
        conn_established(conn);
        return false;
    default:
        conn_fail_libpq(conn,
                        PQstatus(conn->pg) == CONNECTION_BAD ? PG_FAIL_CLOSED : PG_FAIL_PROTOCOL);
        return false;
    }
}

static void check_step(struct pg_conn *conn)
{
    bool is_wanting = true;
    int nulls = 0;
    while (is_wanting && nulls < 3 && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        nulls = result ? 0 : nulls + 1;
        if (result)
            is_wanting = take_check_reply(conn, result);
        PQclear(result);
    }
}

/* ---- start and poll ---- */

static void step_work(void *arg)
{
    struct step_job *job = arg;
    if (job->pg) {
        job->next = PQconnectPoll(job->pg);
        return;
    }
    job->pg = pg_plan_connect(job->plan, &job->addrs, job->first);
    bool failed = PQstatus(job->pg) == CONNECTION_BAD;
    job->next = failed ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
}

static void step_dispose(void *arg)
{
    struct step_job *job = arg;
    PQfinish(job->pg);
    pg_plan_destroy(&job->plan);
    mem_free(job);
}

static void connect_failed(struct pg_conn *conn)
{
    const char *text = PQerrorMessage(conn->pg);
    enum pg_failure failure = pg_classify_connect(conn->pg, text);
    if (!conn->console && strstr(text, "unsupported startup parameter"))
        conn_fail(conn, PG_FAIL_CONFIG, "%s", pg_pooler_text);
    else
        conn_fail_libpq(conn, failure);
}

/* The watch is new each time: libpq may have opened another socket, even with the same number. */
static void step_done(void *arg, bool cancelled)
{
    struct step_job *job = arg;
    struct pg_conn *conn = job->conn;
    if (cancelled)
        return;
    conn->job = NULL;
    conn->pg = job->pg;
    job->pg = NULL;
    conn->step = STEP_POLL;
    switch (job->next) {
    case PGRES_POLLING_READING:
        conn_watch(conn, LOOP_READ);
        break;
    case PGRES_POLLING_WRITING:
        conn_watch(conn, LOOP_WRITE);
        break;
    case PGRES_POLLING_OK:
        connected(conn);
        break;
    default:
        connect_failed(conn);
        break;
    }
}

/* Keyed by session: one that hangs in a step holds one thread, however often it tries again. */
static void submit_step(struct pg_conn *conn, enum pg_step step, struct step_job *job)
{
    static const struct workers_ops ops = {step_work, step_done, step_dispose};
    char key[32];
    snprintf(key, sizeof(key), "session %p", (void *)conn);
    submit(conn, step, key, &ops, job);
}

static void begin_start(struct pg_conn *conn, const struct resolve_answer *addrs)
{
    struct step_job *job = mem_alloc(sizeof(*job));
    loop_timer_stop(conn->pause);
    job->conn = conn;
    job->plan = conn->plan;
    conn->plan = NULL;
    if (addrs)
        job->addrs = *addrs;
    job->first = conn->addr_first;
    submit_step(conn, STEP_START, job);
}

static void next_step(struct pg_conn *conn)
{
    struct step_job *job = mem_alloc(sizeof(*job));
    loop_poll_destroy(&conn->poll); /* before libpq may close the descriptor */
    job->conn = conn;
    job->pg = conn->pg;
    conn->pg = NULL;
    submit_step(conn, STEP_POLL, job);
}

/* ---- resolve ---- */

static void resolve_work(void *arg)
{
    struct resolve_job *job = arg;
    job->ok = resolve_host(job->host, &job->answer, &job->stale, &job->err);
}

static void resolve_dispose(void *arg)
{
    struct resolve_job *job = arg;
    mem_free(job->host);
    mem_free(job);
}

static void resolve_done(void *arg, bool cancelled)
{
    struct resolve_job *job = arg;
    struct pg_conn *conn = job->conn;
    if (cancelled)
        return;
    conn->job = NULL;
    if (job->ok)
        begin_start(conn, &job->answer);
    else
        conn_fail(conn, PG_FAIL_RESOLVE, "%s", job->err.text);
}

static void begin_resolve(struct pg_conn *conn)
{
    static const struct workers_ops ops = {resolve_work, resolve_done, resolve_dispose};
    struct resolve_job *job = mem_alloc(sizeof(*job));
    job->conn = conn;
    job->host = mem_strdup(conn->plan->host);
    loop_timer_start(conn->pause, conn->connect_timeout_ms / 2);
    submit(conn, STEP_RESOLVE, conn->plan->host, &ops, job);
}

void connect_on_patience(struct pg_conn *conn)
{
    struct resolve_answer answer;
    if (conn->step != STEP_RESOLVE || !resolve_last_good(conn->plan->host, &answer))
        return;
    log_debug("resolver is slow, last good address taken target=%s role=%s", conn->name,
              conn->role);
    if (conn->job)
        workers_cancel(conn->workers, conn->job);
    conn->job = NULL;
    begin_start(conn, &answer);
}

/* ---- plan ---- */

static void plan_work(void *arg)
{
    struct plan_job *job = arg;
    job->plan = pg_plan_create(job->dsn, job->modes, job->console, job->options, &job->err);
}

static void plan_dispose(void *arg)
{
    struct plan_job *job = arg;
    pg_plan_destroy(&job->plan);
    mem_free(job->dsn);
    mem_free(job->options);
    mem_free(job);
}

static void plan_done(void *arg, bool cancelled)
{
    struct plan_job *job = arg;
    struct pg_conn *conn = job->conn;
    if (cancelled)
        return;
    conn->job = NULL;
    if (!job->plan) {
        conn_fail(conn, PG_FAIL_CONFIG, "%s", job->err.text);
        return;
    }
    conn->plan = job->plan;
    job->plan = NULL;
    if (conn->plan->needs_resolve)
        begin_resolve(conn);
    else
        begin_start(conn, NULL);
}

void connect_begin(struct pg_conn *conn)
{
    static const struct workers_ops ops = {plan_work, plan_done, plan_dispose};
    struct plan_job *job = mem_alloc(sizeof(*job));
    job->conn = conn;
    job->dsn = mem_strdup(conn->dsn);
    job->options = conn->options ? mem_strdup(conn->options) : NULL;
    job->modes = conn->secret_modes;
    job->console = conn->console;
    loop_timer_start(conn->deadline, conn->connect_timeout_ms);
    submit(conn, STEP_PLAN, NULL, &ops, job);
}

/* ---- events ---- */

void connect_on_event(struct pg_conn *conn, int events)
{
    if (conn->step == STEP_POLL) {
        next_step(conn);
    } else if (conn->step == STEP_CHECK) {
        if ((events & LOOP_WRITE) && !conn_flush(conn))
            conn_fail_libpq(conn, PG_FAIL_CLOSED);
        else if (conn_read_input(conn))
            check_step(conn);
    }
}

void connect_on_deadline(struct pg_conn *conn)
{
    long long ms = conn->connect_timeout_ms;
    switch (conn->step) {
    case STEP_RESOLVE:
        conn_fail(conn, PG_FAIL_RESOLVE, "host '%s' was not resolved within %lld ms",
                  conn->plan->host, ms);
        break;
    case STEP_POLL:
    case STEP_CHECK:
        conn_fail(conn, PG_FAIL_TIMEOUT, "no answer within %lld ms", ms);
        break;
    case STEP_NONE:
    case STEP_PLAN:
    case STEP_START:
        conn_fail(conn, PG_FAIL_TIMEOUT, "connect was not started within %lld ms", ms);
        break;
    }
}

void connect_abort(struct pg_conn *conn)
{
    if (conn->job)
        workers_cancel(conn->workers, conn->job);
    conn->job = NULL;
    pg_plan_destroy(&conn->plan);
    conn->step = STEP_NONE;
}
