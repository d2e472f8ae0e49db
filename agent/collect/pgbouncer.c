/*
 * One PgBouncer: a console session per process (several behind one port with so_reuseport). The
 * console speaks the simple protocol only, so each SHOW is a round trip of its own. A poll ends
 * when every process has answered or failed; with one process missing the sums would lie, so the
 * poll fails as a whole.
 */
#include "collect_private.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pool_rows.h"

#define CONNECT_TIMEOUT_MS 5000
#define RUN_DEADLINE_MS    3000
#define RESULT_BYTES_MAX   (4 * 1024 * 1024)

struct console {
    struct pool_work *pool;
    struct pg_conn *conn;
};

struct pool_work {
    struct collect_env *env;
    char name[NODE_NAME_MAX], cluster[NODE_NAME_MAX];
    char *dsns[POOL_DSNS_MAX];
    struct console consoles[POOL_DSNS_MAX];
    size_t count;
    struct loop_timer *timer;
    int64_t interval_ms;
    struct source_state *source;
    struct pool_rows rows, before; /* this poll, and the last good one */
    size_t pending;                /* consoles that have not answered yet */
    bool broken;                   /* one failed in this poll */
    uint64_t started_ns;
};

static const struct pg_stmt show_pools = {"pools", "SHOW POOLS"};
static const struct pg_stmt show_stats = {"stats", "SHOW STATS"};
static const struct pg_stmt show_databases = {"databases", "SHOW DATABASES"};
static const struct pg_stmt show_config = {"config", "SHOW CONFIG"};
static const struct pg_stmt *const stmts[] = {&show_pools, &show_stats, &show_databases,
                                              &show_config};
static void (*const adders[])(struct pool_rows *r, const PGresult *result) = {
    pool_rows_add_pools, pool_rows_add_stats, pool_rows_add_databases, pool_rows_add_config};

static void answer_refused(struct pool_work *p, const char *text)
{
    char quoted[512];
    if (!p->source->failing)
        log_warn("pool cannot be polled pool=%s error=%s", p->name,
                 log_quote(quoted, sizeof(quoted), text));
    collect_failed(p->env, p->source, text);
}

static void poll_done(struct pool_work *p)
{
    char source[BATCH_SOURCE_MAX];
    struct now now = loop_now(p->env->opts.loop);
    const char *const common[] = {"cluster", p->cluster, "pool", p->name, NULL};
    if (p->broken) {
        pool_rows_deinit(&p->rows);
        return;
    }
    pool_rows_mean_waits(&p->rows, &p->before);
    batch_begin(p->env->builder, collect_source(p->source, source), now.wall, common);
    pool_rows_samples(&p->rows, p->env->builder);
    sources_good(p->source, now, (int64_t)((clock_stage_ns() - p->started_ns) / 1000));
    p->env->opts.emit(batch_finish(p->env->builder), p->env->opts.arg);
    pool_rows_deinit(&p->before);
    p->before = p->rows;
    p->rows = (struct pool_rows){0};
}

static void on_result(size_t index, const PGresult *result, void *arg)
{
    struct console *c = arg;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        adders[index](&c->pool->rows, result);
        return;
    }
    c->pool->broken = true;
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    answer_refused(c->pool, text != NULL ? text : "unexpected answer");
}

static void on_done(bool ok, void *arg)
{
    struct pool_work *p = ((struct console *)arg)->pool;
    p->broken = p->broken || !ok; /* a lost session is told by on_state */
    if (--p->pending == 0)
        poll_done(p);
}

static void on_state(struct pg_conn *conn, enum pg_state state, void *arg)
{
    struct pool_work *p = ((struct console *)arg)->pool;
    if (state == PG_BACKOFF) /* the session has logged why */
        collect_failed(p->env, p->source, pg_conn_error(conn));
}

static bool all_ready(const struct pool_work *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (pg_conn_state(p->consoles[i].conn) != PG_READY)
            return false;
    return true;
}

static void on_timer(void *arg)
{
    struct pool_work *p = arg;
    if (p->pending > 0) {
        p->source->skipped_total++;
        return;
    }
    if (!all_ready(p))
        return;
    p->broken = false;
    p->started_ns = clock_stage_ns();
    for (size_t i = 0; i < p->count; i++) {
        struct pg_run run = {.stmts = stmts,
                             .count = ARRAY_LEN(stmts),
                             .deadline_ms = RUN_DEADLINE_MS,
                             .on_result = on_result,
                             .on_done = on_done,
                             .arg = &p->consoles[i]};
        if (pg_conn_run(p->consoles[i].conn, &run))
            p->pending++;
        else
            p->broken = true;
    }
}

static void open_console(struct pool_work *p, size_t i, enum config_secret_modes modes)
{
    struct console *c = &p->consoles[i];
    c->pool = p;
    c->conn = pg_conn_create(p->env->opts.loop, p->env->opts.workers,
                             &(struct pg_conn_opts){.name = p->name,
                                                    .role = "console",
                                                    .dsn = p->dsns[i],
                                                    .secret_modes = modes,
                                                    .console = true,
                                                    .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                    .max_result_bytes = RESULT_BYTES_MAX,
                                                    .on_state = on_state,
                                                    .arg = c});
    pg_conn_start(c->conn);
}

struct pool_work *pool_work_create(struct collect_env *env, const struct config *config,
                                   const struct config_pool *pool)
{
    struct pool_work *p = mem_alloc(sizeof(*p));
    p->env = env;
    str_copy(p->name, sizeof(p->name), pool->name);
    str_copy(p->cluster, sizeof(p->cluster), pool->cluster);
    p->interval_ms = config->intervals.pools_ms;
    p->source = sources_get(env->opts.sources, p->name, "pools");
    p->source->configured = true;
    p->source->interval_ms = p->interval_ms;
    p->count = pool->dsn_count;
    for (size_t i = 0; i < p->count; i++) {
        p->dsns[i] = mem_strdup(pool->dsns[i]);
        open_console(p, i, config->secret_modes);
    }
    p->timer = loop_timer_create(env->opts.loop, on_timer, p);
    loop_timer_start_period(p->timer, i64_min(500, p->interval_ms), p->interval_ms, NULL);
    return p;
}

void pool_work_destroy(struct pool_work **work)
{
    struct pool_work *p = *work;
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++) {
        pg_conn_destroy(&p->consoles[i].conn);
        mem_free(p->dsns[i]);
    }
    loop_timer_destroy(&p->timer);
    pool_rows_deinit(&p->rows);
    pool_rows_deinit(&p->before);
    MEM_FREE_NULL(work);
}

bool pool_work_same(const struct pool_work *p, const struct config *config,
                    const struct config_pool *pool)
{
    if (!str_eq(p->name, pool->name) || !str_eq(p->cluster, pool->cluster) ||
        p->count != pool->dsn_count || p->interval_ms != config->intervals.pools_ms)
        return false;
    for (size_t i = 0; i < p->count; i++)
        if (!str_eq(p->dsns[i], pool->dsns[i]))
            return false;
    return true;
}
