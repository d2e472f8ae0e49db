/*
 * The facade: makes, keeps and ends the collectors that the configuration names. A reload keeps
 * the sessions and counters of what stays as it was; what is gone takes its sources and series with
 * it.
 */
#include "collect_private.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct collect {
    struct collect_env env;
    struct config *config;
    struct replication *replication;
    struct node_work **nodes;
    size_t node_count;
    struct pool_work **pools;
    size_t pool_count;
    struct log_tail **tails;
    size_t tail_count;
};

const char *collect_source(const struct source_state *st, char out[BATCH_SOURCE_MAX])
{
    snprintf(out, BATCH_SOURCE_MAX, "%s/%s", st->target, st->collector);
    return out;
}

void collect_failed(struct collect_env *env, struct source_state *st, const char *text)
{
    char source[BATCH_SOURCE_MAX];
    sources_bad(st, text);
    env->opts.drop(collect_source(st, source), loop_now(env->opts.loop).wall, env->opts.arg);
}

/* ---- what stays ---- */

static struct node_work *keep_node(struct collect *c, const struct config *config,
                                   const struct config_node *node)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (c->nodes[i] == NULL || !node_work_same(c->nodes[i], config, node))
            continue;
        struct node_work *kept = c->nodes[i];
        c->nodes[i] = NULL;
        return kept;
    }
    return NULL;
}

static struct pool_work *keep_pool(struct collect *c, const struct config *config,
                                   const struct config_pool *pool)
{
    for (size_t i = 0; i < c->pool_count; i++) {
        if (c->pools[i] == NULL || !pool_work_same(c->pools[i], config, pool))
            continue;
        struct pool_work *kept = c->pools[i];
        c->pools[i] = NULL;
        return kept;
    }
    return NULL;
}

static struct log_tail *keep_tail(struct collect *c, const struct config *config,
                                  const struct config_log *log)
{
    for (size_t i = 0; i < c->tail_count; i++) {
        if (c->tails[i] == NULL || !log_tail_same(c->tails[i], config, log))
            continue;
        struct log_tail *kept = c->tails[i];
        c->tails[i] = NULL;
        return kept;
    }
    return NULL;
}

/* ---- what is gone ---- */

static bool log_listed(const struct config *config, const char *pool)
{
    for (size_t i = 0; i < config->log_count; i++)
        if (str_eq(config->logs[i].pool, pool))
            return true;
    return false;
}

static bool pool_listed(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (str_eq(config->pools[i].name, name))
            return true;
    return false;
}

/* Nobody expects the source any more, and what it showed ends. */
static void end_source(struct collect *c, const char *target, const char *collector)
{
    char source[BATCH_SOURCE_MAX];
    struct source_state *st = sources_get(c->env.opts.sources, target, collector);
    st->configured = false;
    c->env.opts.drop(collect_source(st, source), loop_now(c->env.opts.loop).wall, c->env.opts.arg);
}

struct dropping {
    struct collect *collect;
    const char *target;
    bool is_pool;
};

static void drop_source(const struct source_state *st, void *arg)
{
    struct dropping *d = arg;
    bool is_of_pool = str_eq(st->collector, "pools") || str_eq(st->collector, "log");
    if (str_eq(st->target, d->target) && is_of_pool == d->is_pool)
        end_source(d->collect, st->target, st->collector);
}

/* A node and a pool may share a name, that of their host: the other one keeps its sources. */
static void drop_target(struct collect *c, const struct config *config, const char *target,
                        bool is_pool)
{
    struct dropping d = {c, target, is_pool};
    sources_each(c->env.opts.sources, drop_source, &d);
    if (config_node_find(config, target) == NULL && !pool_listed(config, target))
        sources_remove_target(c->env.opts.sources, target);
}

static void end_works(struct collect *c)
{
    for (size_t i = 0; i < c->node_count; i++)
        node_work_destroy(&c->nodes[i]);
    for (size_t i = 0; i < c->pool_count; i++)
        pool_work_destroy(&c->pools[i]);
    for (size_t i = 0; i < c->tail_count; i++)
        log_tail_destroy(&c->tails[i]);
    mem_free(c->nodes);
    mem_free(c->pools);
    mem_free(c->tails);
}

/* Before works are made: the sources of a target that is gone must not be found again. */
static void drop_unlisted(struct collect *c, const struct config *config)
{
    const struct config *old = c->config;
    for (size_t i = 0; i < old->node_count; i++)
        if (config_node_find(config, old->nodes[i].name) == NULL)
            drop_target(c, config, old->nodes[i].name, false);
    for (size_t i = 0; i < old->pool_count; i++)
        if (!pool_listed(config, old->pools[i].name))
            drop_target(c, config, old->pools[i].name, true);
    for (size_t i = 0; i < old->log_count; i++)
        if (!log_listed(config, old->logs[i].pool) && pool_listed(config, old->logs[i].pool))
            end_source(c, old->logs[i].pool, "log");
}

void collect_reconfigure(struct collect *c, struct config *config)
{
    struct node_work **nodes = mem_alloc_array(config->node_count + 1, sizeof(struct node_work *));
    struct pool_work **pools = mem_alloc_array(config->pool_count + 1, sizeof(struct pool_work *));
    struct log_tail **tails = mem_alloc_array(config->log_count + 1, sizeof(struct log_tail *));
    for (size_t i = 0; i < config->node_count; i++)
        nodes[i] = keep_node(c, config, &config->nodes[i]);
    for (size_t i = 0; i < config->pool_count; i++)
        pools[i] = keep_pool(c, config, &config->pools[i]);
    for (size_t i = 0; i < config->log_count; i++)
        tails[i] = keep_tail(c, config, &config->logs[i]);
    end_works(c);
    if (c->config != NULL)
        drop_unlisted(c, config);
    c->nodes = nodes;
    c->pools = pools;
    c->tails = tails;
    c->node_count = config->node_count;
    c->pool_count = config->pool_count;
    c->tail_count = config->log_count;
    for (size_t i = 0; i < c->node_count; i++)
        if (nodes[i] == NULL)
            nodes[i] = node_work_create(&c->env, config, &config->nodes[i]);
    for (size_t i = 0; i < c->pool_count; i++)
        if (pools[i] == NULL)
            pools[i] = pool_work_create(&c->env, config, &config->pools[i]);
    for (size_t i = 0; i < c->tail_count; i++)
        if (tails[i] == NULL)
            tails[i] = log_tail_create(&c->env, config, &config->logs[i]);
    replication_config(c->replication, config);
    config_unref(&c->config);
    c->config = config_ref(config);
}

struct collect *collect_create(const struct collect_opts *opts)
{
    struct collect *c = mem_alloc(sizeof(*c));
    c->env.opts = *opts;
    c->env.builder = batch_builder_create(opts->series);
    c->replication = replication_create(&c->env);
    collect_reconfigure(c, opts->config);
    return c;
}

void collect_destroy(struct collect **collect)
{
    struct collect *c = *collect;
    if (c == NULL)
        return;
    end_works(c);
    replication_destroy(&c->replication);
    batch_builder_destroy(&c->env.builder);
    config_unref(&c->config);
    MEM_FREE_NULL(collect);
}

void collect_gate_report(struct collect *c, const struct gate_report *report)
{
    replication_report(c->replication, report);
}

void collect_gate_flush(struct collect *c, struct now now)
{
    replication_flush(c->replication, now);
}
