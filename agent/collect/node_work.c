/*
 * The work session of a node. One timer at the fastest cadence; each run sends the statements that
 * are due in one flush. Each statement is a source of its own: one that fails (a missing grant or
 * view, a timeout) marks only itself, and a missing thing is asked again at a slow pace instead of
 * each time. A run that is still going when the next is due makes that one skipped, never queued.
 */
#include "cadence.h"
#include "collect_private.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define CONNECT_TIMEOUT_MS 10000
#define RUN_DEADLINE_MS    5000
#define RESULT_BYTES_MAX   (8 * 1024 * 1024)
#define MISSING_RETRY_MS   (10 * 60 * 1000)
#define SQLSTATE_DENIED    "42501"

/* The server ends a statement before the client gives up on the session. */
#define WORK_OPTIONS                                                                         \
    "-c default_transaction_read_only=on -c search_path=pg_catalog -c statement_timeout=4s " \
    "-c lock_timeout=500ms -c idle_in_transaction_session_timeout=30s -c jit=off"

struct due_query {
    const struct node_query *query;
    struct source_state *source;
    int64_t interval_ms;
    mono_ms next;
};

struct node_work {
    struct collect_env *env;
    char name[NODE_NAME_MAX], cluster[NODE_NAME_MAX];
    char *dsn;
    struct cadence cadence;
    struct pg_conn *conn;
    struct loop_timer *timer;
    struct due_query queries[NODE_QUERIES_MAX];
    size_t count;
    size_t running[NODE_QUERIES_MAX]; /* indexes of the run in flight */
    const struct pg_stmt *stmts[NODE_QUERIES_MAX];
    uint64_t started_ns;
};

static void run_due(struct node_work *w);

static enum source_refusal refusal_of(enum pg_failure failure)
{
    if (failure == PG_FAIL_AUTH)
        return REFUSAL_LOGIN;
    return failure == PG_FAIL_GRANT ? REFUSAL_GRANT : REFUSAL_NONE;
}

/* The session has logged why. */
static void fail_all(struct node_work *w, enum pg_failure failure, const char *text)
{
    for (size_t i = 0; i < w->count; i++) {
        collect_failed(w->env, w->queries[i].source, text);
        sources_refused(w->queries[i].source, refusal_of(failure));
    }
}

static void on_state(struct pg_conn *conn, enum pg_state state, void *arg)
{
    struct node_work *w = arg;
    if (state == PG_BACKOFF)
        fail_all(w, pg_conn_failure(conn), pg_conn_error(conn));
    if (state == PG_READY)
        run_due(w);
}

static void emit(struct node_work *w, struct due_query *q, const PGresult *result)
{
    char source[BATCH_SOURCE_MAX];
    struct now now = loop_now(w->env->opts.loop);
    const char *const common[] = {"cluster", w->cluster, "node", w->name, NULL};
    batch_begin(w->env->builder, collect_source(q->source, source), now.wall, common);
    node_query_samples(w->env->builder, result);
    sources_good(q->source, now, (int64_t)((clock_stage_ns() - w->started_ns) / 1000));
    w->env->opts.emit(batch_finish(w->env->builder), w->env->opts.arg);
}

/* Without the grant the view has the rows and hides what is in them: no error, wrong figures. */
static bool is_granted(const PGresult *result)
{
    int col = PQfnumber(result, NODE_QUERY_GRANTED);
    return col < 0 || PQntuples(result) == 0 || *PQgetvalue(result, 0, col) == 't';
}

static void statement_failed(struct node_work *w, struct due_query *q, const char *sqlstate,
                             const char *text)
{
    char quoted[512];
    if (!q->source->failing)
        log_warn("collector failed node=%s collector=%s sqlstate=%s error=%s", w->name,
                 q->query->collector, sqlstate, log_quote(quoted, sizeof(quoted), text));
    collect_failed(w->env, q->source, text);
    if (str_eq(sqlstate, SQLSTATE_DENIED))
        sources_refused(q->source, REFUSAL_GRANT);
}

static void on_result(size_t index, const PGresult *result, void *arg)
{
    struct node_work *w = arg;
    struct due_query *q = &w->queries[w->running[index]];
    if (PQresultStatus(result) == PGRES_TUPLES_OK && is_granted(result)) {
        emit(w, q, result);
        return;
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        statement_failed(w, q, SQLSTATE_DENIED,
                         "the role is not a member of pg_monitor, see 'pgvigil grants'");
        return;
    }
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (pg_result_is_missing(result))
        q->next = mono_add(loop_now(w->env->opts.loop).mono, MISSING_RETRY_MS);
    statement_failed(w, q, sqlstate != NULL ? sqlstate : "?",
                     text != NULL ? text : "unknown error");
}

static void on_done(bool ok, void *arg)
{
    struct node_work *w = arg;
    (void)w;
    (void)ok; /* a lost session is told by on_state */
}

/* Is the query due at this time? Its next time is moved on. */
static bool take_due(const struct node_work *w, struct due_query *q, mono_ms now)
{
    if (mono_diff(q->next, now) > cadence_slack(q->interval_ms) ||
        q->query->min_version > pg_conn_server_version(w->conn))
        return false;
    q->next = cadence_next(&w->cadence, q->interval_ms, now);
    return true;
}

static void skip_due(struct node_work *w)
{
    mono_ms now = loop_now(w->env->opts.loop).mono;
    for (size_t i = 0; i < w->count; i++)
        if (take_due(w, &w->queries[i], now))
            w->queries[i].source->skipped_total++;
}

static void run_due(struct node_work *w)
{
    mono_ms now = loop_now(w->env->opts.loop).mono;
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (!take_due(w, &w->queries[i], now))
            continue;
        w->running[n] = i;
        w->stmts[n++] = &w->queries[i].query->stmt;
    }
    if (n == 0)
        return;
    w->started_ns = clock_stage_ns();
    struct pg_run run = {.stmts = w->stmts,
                         .count = n,
                         .deadline_ms = RUN_DEADLINE_MS,
                         .on_result = on_result,
                         .on_done = on_done,
                         .arg = w};
    if (!pg_conn_run(w->conn, &run))
        log_debug("work session was not ready node=%s", w->name);
}

static void on_timer(void *arg)
{
    struct node_work *w = arg;
    if (pg_conn_state(w->conn) == PG_READY)
        run_due(w);
    else if (pg_conn_state(w->conn) == PG_RUNNING)
        skip_due(w);
}

static int64_t cadence_ms(const struct config *config, enum query_cadence cadence)
{
    switch (cadence) {
    case CADENCE_ACTIVITY:
        return config->intervals.activity_ms;
    case CADENCE_STATEMENTS:
        return config->intervals.statements_ms;
    case CADENCE_SCHEMA:
        return config->intervals.schema_ms;
    }
    return config->intervals.activity_ms;
}

/* Returns the shortest interval. */
static int64_t add_queries(struct node_work *w, const struct config *config, mono_ms now)
{
    size_t n;
    int64_t shortest = config->intervals.activity_ms;
    const struct node_query *all = node_queries(&n);
    for (size_t i = 0; i < n && w->count < NODE_QUERIES_MAX; i++) {
        struct due_query *q = &w->queries[w->count++];
        q->query = &all[i];
        q->interval_ms = cadence_ms(config, all[i].cadence);
        q->next = now;
        q->source = sources_get(w->env->opts.sources, w->name, all[i].collector);
        q->source->configured = true;
        q->source->interval_ms = q->interval_ms;
        shortest = i64_min(shortest, q->interval_ms);
    }
    return shortest;
}

struct node_work *node_work_create(struct collect_env *env, const struct config *config,
                                   const struct config_node *node)
{
    struct node_work *w = mem_alloc(sizeof(*w));
    w->env = env;
    str_copy(w->name, sizeof(w->name), node->name);
    str_copy(w->cluster, sizeof(w->cluster), node->cluster);
    w->dsn = mem_strdup(node->dsn);
    w->conn = pg_conn_create(env->opts.loop, env->opts.workers,
                             &(struct pg_conn_opts){.name = w->name,
                                                    .role = "work",
                                                    .dsn = w->dsn,
                                                    .secret_modes = config->secret_modes,
                                                    .options = WORK_OPTIONS,
                                                    .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                    .max_result_bytes = RESULT_BYTES_MAX,
                                                    .on_state = on_state,
                                                    .arg = w});
    mono_ms now = loop_now(env->opts.loop).mono;
    w->cadence = cadence_of(w->name, now);
    int64_t period = add_queries(w, config, now);
    w->timer = loop_timer_create(env->opts.loop, on_timer, w);
    loop_timer_start_period(w->timer, cadence_wait(&w->cadence, period, now), period, NULL);
    pg_conn_start(w->conn);
    return w;
}

void node_work_destroy(struct node_work **work)
{
    struct node_work *w = *work;
    if (w == NULL)
        return;
    pg_conn_destroy(&w->conn);
    loop_timer_destroy(&w->timer);
    mem_free(w->dsn);
    MEM_FREE_NULL(work);
}

bool node_work_same(const struct node_work *w, const struct config *config,
                    const struct config_node *node)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->queries[i].interval_ms != cadence_ms(config, w->queries[i].query->cadence))
            return false;
    return str_eq(w->name, node->name) && str_eq(w->dsn, node->dsn) &&
           str_eq(w->cluster, node->cluster);
}
