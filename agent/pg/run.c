/*
 * run.c: a list of statements in one round trip.
 *
 * Servers: pipeline mode with a sync behind each statement, so that one that fails aborts nothing
 * but itself. libpq before 17 sends at every sync; TCP_CORK makes one segment of it again.
 * PgBouncer's console knows the simple protocol only, so there the next statement goes out when the
 * previous one is answered.
 * Invariant: replies come in the order of `queue`; queue[answered] is the slot that a reply is for.
 */
#include "conn_private.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* In a healthy pipeline libpq never says "nothing" more than once between two replies. */
#define IDLE_NULLS_MAX 3

/* ---- prepared statements of this session ---- */

static size_t find_prepared(const struct pg_conn *conn, const struct pg_stmt *stmt)
{
    size_t i = 0;
    while (i < conn->prepared_count && !str_eq(conn->prepared[i]->name, stmt->name))
        i++;
    return i;
}

static bool is_prepared(const struct pg_conn *conn, const struct pg_stmt *stmt)
{
    return find_prepared(conn, stmt) < conn->prepared_count;
}

static void note_prepared(struct pg_conn *conn, const struct pg_stmt *stmt)
{
    if (conn->prepared_count == conn->prepared_cap) {
        conn->prepared_cap = conn->prepared_cap ? conn->prepared_cap * 2 : 16;
        conn->prepared =
            mem_realloc_array(conn->prepared, conn->prepared_cap, sizeof(*conn->prepared));
    }
    conn->prepared[conn->prepared_count++] = stmt;
}

static void note_unprepared(struct pg_conn *conn, const struct pg_stmt *stmt)
{
    size_t i = find_prepared(conn, stmt);
    if (i < conn->prepared_count)
        conn->prepared[i] = conn->prepared[--conn->prepared_count];
}

void run_forget_prepared(struct pg_conn *conn)
{
    conn->prepared_count = 0;
}

/* ---- sending ---- */

static const struct pg_stmt *current_stmt(const struct pg_conn *conn)
{
    return conn->run.spec.stmts[conn->run.queue[conn->run.answered]];
}

static struct run_slot *current_slot(const struct pg_conn *conn)
{
    return &conn->run.slots[conn->run.queue[conn->run.answered]];
}

static bool send_sync(PGconn *pg)
{
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    return PQsendPipelineSync(pg) == 1;
#else
    return PQpipelineSync(pg) == 1;
#endif
}

static bool send_deallocate(PGconn *pg, const struct pg_stmt *stmt)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "DEALLOCATE \"%s\"", stmt->name);
    return PQsendQueryParams(pg, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static bool send_slot(struct pg_conn *conn, struct run_slot *slot, const struct pg_stmt *stmt)
{
    bool ok = true;
    slot->steps_left = 0;
    slot->is_answered = false;
    if (slot->deallocate) {
        slot->steps_left++;
        ok = send_deallocate(conn->pg, stmt);
    }
    if (ok && !is_prepared(conn, stmt)) {
        slot->steps_left++;
        note_prepared(conn, stmt); /* for the next in this list; taken back if it is refused */
        ok = PQsendPrepare(conn->pg, stmt->name, stmt->sql, 0, NULL) == 1;
    }
    return ok && PQsendQueryPrepared(conn->pg, stmt->name, 0, NULL, NULL, NULL, 0) == 1 &&
           send_sync(conn->pg);
}

/* No effect, and no harm, on a Unix socket. */
static void set_cork(struct pg_conn *conn, int on)
{
    (void)!setsockopt(PQsocket(conn->pg), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static bool send_pipeline(struct pg_conn *conn)
{
    struct conn_run *run = &conn->run;
    const bool several = run->queued > 1; /* one goes out in one write anyway */
    bool ok = true;
    if (several)
        set_cork(conn, 1);
    for (size_t i = 0; ok && i < run->queued; i++)
        ok = send_slot(conn, &run->slots[run->queue[i]], run->spec.stmts[run->queue[i]]);
    ok = ok && conn_flush(conn);
    if (several)
        set_cork(conn, 0);
    return ok;
}

/* A failed send is told from the loop, never from inside pg_conn_run. */
static void send_round(struct pg_conn *conn)
{
    conn->run.answered = 0;
    bool ok = conn->console
                  ? PQsendQuery(conn->pg, current_stmt(conn)->sql) == 1 && conn_flush(conn)
                  : send_pipeline(conn);
    if (ok)
        return;
    conn->run.send_failed = true;
    loop_timer_start(conn->deadline, 0);
}

bool pg_conn_run(struct pg_conn *conn, const struct pg_run *spec)
{
    struct conn_run *run = &conn->run;
    if (conn->state != PG_READY || spec->count == 0)
        return false;
    const struct pg_stmt **stmts = mem_alloc_array(spec->count, sizeof(*stmts));
    memcpy(stmts, spec->stmts, spec->count * sizeof(*stmts));
    *run = (struct conn_run){.spec = *spec, .queued = spec->count};
    run->spec.stmts = stmts;
    run->slots = mem_alloc_array(spec->count, sizeof(*run->slots));
    run->queue = mem_alloc_array(spec->count, sizeof(*run->queue));
    for (size_t i = 0; i < spec->count; i++)
        run->queue[i] = i;
    conn->bytes_in = 0;
    conn_apply(conn, EV_RUN);
    loop_timer_start(conn->deadline, spec->deadline_ms);
    send_round(conn);
    return true;
}

void run_release(struct pg_conn *conn)
{
    union {
        const struct pg_stmt *const *borrowed;
        void *owned;
    } stmts = {.borrowed = conn->run.spec.stmts};
    mem_free(stmts.owned);
    mem_free(conn->run.slots);
    mem_free(conn->run.queue);
    conn->run = (struct conn_run){0};
}

void run_on_deadline(struct pg_conn *conn)
{
    if (conn->run.send_failed)
        conn_fail_libpq(conn, PG_FAIL_CLOSED);
    else
        conn_fail(conn, PG_FAIL_TIMEOUT, "no answer within %lld ms",
                  (long long)conn->run.spec.deadline_ms);
}

/* ---- replies ---- */

static void finish_run(struct pg_conn *conn)
{
    void (*on_done)(bool ok, void *arg) = conn->run.spec.on_done;
    void *arg = conn->run.spec.arg;
    run_release(conn);
    loop_timer_stop(conn->deadline);
    conn->attempts = 0;
    conn_apply(conn, EV_RUN_DONE);
    on_done(true, arg);
}

/* Those whose plan was lost go out a second time, once. */
static void finish_round(struct pg_conn *conn)
{
    struct conn_run *run = &conn->run;
    run->queued = 0;
    for (size_t i = 0; i < run->spec.count && !run->is_second_round; i++) {
        if (run->slots[i].again)
            run->queue[run->queued++] = i;
    }
    if (run->queued == 0) {
        finish_run(conn);
        return;
    }
    run->is_second_round = true;
    send_round(conn);
}

static void deliver(struct pg_conn *conn, struct run_slot *slot, const PGresult *result)
{
    slot->is_answered = true;
    conn->run.spec.on_result(conn->run.queue[conn->run.answered], result, conn->run.spec.arg);
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

static bool ends_session(const struct pg_conn *conn, const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return PQstatus(conn->pg) == CONNECTION_BAD ||
           (severity && (str_eq(severity, "FATAL") || str_eq(severity, "PANIC")));
}

/* 26000: somebody dropped the plan. 0A000: a table under it has changed its columns. */
static bool lost_its_plan(struct pg_conn *conn, struct run_slot *slot, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!sqlstate || conn->run.is_second_round)
        return false;
    slot->deallocate = str_eq(sqlstate, "0A000");
    slot->again = slot->deallocate || str_eq(sqlstate, "26000");
    if (slot->again)
        note_unprepared(conn, current_stmt(conn));
    return slot->again;
}

static void take_step_reply(struct pg_conn *conn, struct run_slot *slot, const PGresult *result)
{
    slot->steps_left--;
    if (!is_error(result))
        return;
    note_unprepared(conn, current_stmt(conn));
    deliver(conn, slot, result);
}

static void take_answer(struct pg_conn *conn, struct run_slot *slot, const PGresult *result)
{
    if (is_error(result) && !conn->console && lost_its_plan(conn, slot, result))
        slot->is_answered = true;
    else
        deliver(conn, slot, result);
}

static void unexpected(struct pg_conn *conn, const char *what)
{
    conn_fail(conn, PG_FAIL_PROTOCOL, "unexpected answer: %s", what);
}

static void take_sync(struct pg_conn *conn)
{
    if (!current_slot(conn)->is_answered) {
        unexpected(conn, "statement without result");
        return;
    }
    if (++conn->run.answered == conn->run.queued)
        finish_round(conn);
}

static void take_result(struct pg_conn *conn, const PGresult *result)
{
    struct run_slot *slot = current_slot(conn);
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        take_sync(conn);
        break;
    case PGRES_PIPELINE_ABORTED:
        if (!slot->is_answered)
            unexpected(conn, "aborted without an error");
        break;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
        if (slot->is_answered)
            break; /* a console statement with several results: the first counts */
        if (slot->steps_left > 0)
            take_step_reply(conn, slot, result);
        else
            take_answer(conn, slot, result);
        break;
    default: /* COPY would wait for us for ever */
        unexpected(conn, PQresStatus(PQresultStatus(result)));
        break;
    }
}

/* The simple protocol marks the end of a statement by "no result". */
static void console_next(struct pg_conn *conn)
{
    struct conn_run *run = &conn->run;
    if (!current_slot(conn)->is_answered) {
        unexpected(conn, "statement without result");
        return;
    }
    if (++run->answered == run->queued)
        finish_run(conn);
    else if (PQsendQuery(conn->pg, current_stmt(conn)->sql) != 1 || !conn_flush(conn))
        conn_fail_libpq(conn, PG_FAIL_CLOSED);
}

static void take_null(struct pg_conn *conn)
{
    if (conn->console)
        console_next(conn);
    else if (++conn->run.idle_nulls >= IDLE_NULLS_MAX)
        unexpected(conn, "nothing in flight");
}

static void take_reply(struct pg_conn *conn, const PGresult *result)
{
    if (!result) {
        take_null(conn);
        return;
    }
    conn->run.idle_nulls = 0;
    conn->run.result_bytes += PQresultMemorySize(result);
    if (is_error(result) && ends_session(conn, result)) {
        char text[ERR_TEXT_MAX];
        pg_clean_text(text, sizeof(text), PQresultErrorMessage(result), PQpass(conn->pg));
        conn_fail(conn, PG_FAIL_CLOSED, "%s", text);
    } else if (conn->run.result_bytes > conn->max_result_bytes) {
        conn_fail(conn, PG_FAIL_PROTOCOL, "results are larger than %zu bytes",
                  conn->max_result_bytes);
    } else {
        take_result(conn, result);
    }
}

/* A callback may destroy the session: its state is then no longer PG_RUNNING. */
void run_on_event(struct pg_conn *conn)
{
    while (conn->state == PG_RUNNING && !conn->run.send_failed && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        take_reply(conn, result);
        PQclear(result);
    }
}
