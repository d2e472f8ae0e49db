/*
 * config_check.c: what one setting alone cannot tell: defaults that depend on others, and checks
 * of settings against each other.
 *
 * Runs once, after all files were read, also when there are findings already: people want all of
 * them at once. A finding points to the setting that was written; of two the one that was set last.
 */
#include "config_internal.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* hard_lag, where it is not given. */
#define HARD_LAG_FACTOR 5

static const struct origin *top_origin(const struct config_build *b, const char *key)
{
    return &b->origins[config_row(config_table_top(), key)];
}

static bool is_set(const struct config_build *b, const char *key)
{
    return top_origin(b, key)->file != NULL;
}

/* The place of the first of two keys that was written; NULL: one is wrong, nothing to compare. */
static const struct origin *blame(const struct config_build *b, const char *key, const char *other)
{
    if (top_origin(b, key)->is_wrong || top_origin(b, other)->is_wrong)
        return NULL;
    return is_set(b, key) ? top_origin(b, key) : top_origin(b, other);
}

/* ---- intervals and the gate ---- */

static void check_lag(struct config_build *b, const struct origin *at, const char *key,
                      int64_t max_lag_ms, int64_t hard_lag_ms)
{
    char max_lag[32], hard_lag[32];
    if (at == NULL || hard_lag_ms > max_lag_ms)
        return;
    str_format_duration(max_lag_ms, max_lag, sizeof(max_lag));
    str_format_duration(hard_lag_ms, hard_lag, sizeof(hard_lag));
    config_complain(b, at, "'%s' (%s) must be more than max_lag (%s)", key, hard_lag, max_lag);
}

static void check_gate(struct config_build *b)
{
    struct config *c = b->config;
    char interval[32];
    str_format_duration(c->intervals.replication_ms, interval, sizeof(interval));
    if (!is_set(b, "gate.hard_lag"))
        c->gate.hard_lag_ms = HARD_LAG_FACTOR * c->gate.max_lag_ms;
    check_lag(b, blame(b, "gate.hard_lag", "gate.max_lag"), "gate.hard_lag", c->gate.max_lag_ms,
              c->gate.hard_lag_ms);
    const struct origin *at = blame(b, "gate.max_lag", "intervals.replication");
    if (at != NULL && c->gate.max_lag_ms < c->intervals.replication_ms)
        config_complain(b, at, "'gate.max_lag' must be at least 'intervals.replication' (%s)",
                        interval);
    at = blame(b, "gate.lease", "intervals.replication");
    if (at != NULL && c->gate.lease_ms < 2 * c->intervals.replication_ms) {
        config_complain(b, at,
                        "'gate.lease' must be at least twice 'intervals.replication' (%s), or the "
                        "files end between two probes",
                        interval);
    }
    at = blame(b, "gate.probe_timeout", "gate.lease");
    if (at != NULL && c->gate.probe_timeout_ms >= c->gate.lease_ms)
        config_complain(b, at, "'gate.probe_timeout' must be less than 'gate.lease'");
}

/* ---- nodes ---- */

static const struct origin *node_origin(const struct config_build *b, size_t i, const char *key)
{
    return &b->nodes.items[i].origins[config_row(config_table_node(), key)];
}

static void node_lag(struct config_build *b, size_t i, struct config_node *node)
{
    const struct origin *max_at = node_origin(b, i, "max_lag");
    const struct origin *hard_at = node_origin(b, i, "hard_lag");
    if (max_at->file == NULL)
        node->max_lag_ms = b->config->gate.max_lag_ms;
    if (max_at->is_wrong || hard_at->is_wrong || top_origin(b, "gate.max_lag")->is_wrong)
        return;
    if (hard_at->file == NULL) {
        node->hard_lag_ms =
            max_at->file == NULL ? b->config->gate.hard_lag_ms : HARD_LAG_FACTOR * node->max_lag_ms;
    } else {
        check_lag(b, hard_at, "hard_lag", node->max_lag_ms, node->hard_lag_ms);
    }
    if (max_at->file != NULL && node->max_lag_ms < b->config->intervals.replication_ms)
        config_complain(b, max_at, "'max_lag' must be at least 'intervals.replication'");
}

static void node_dsn(struct config_build *b, size_t i, const struct config_node *node,
                     struct dsn_facts *facts)
{
    struct err err = {0};
    const struct origin *at = node_origin(b, i, "dsn");
    if (at->file == NULL && !b->discovered)
        config_complain(b, &b->nodes.items[i].at, "a node needs 'dsn'");
    if (node->dsn == NULL || at->is_wrong)
        return;
    if (!config_dsn_check(node->dsn, b->config->secret_modes, facts, &err))
        config_complain(b, at, "'dsn': %s", err.text);
    else if (facts->several_hosts)
        config_complain(b, at, "'dsn' names several hosts: a node is one host");
}

/* Whom /primary and /replica speak of without ?node=. */
static void choose_local(struct config_build *b, const struct dsn_facts *facts)
{
    struct config_node *nodes = b->nodes.array;
    size_t on_socket = 0, which = 0, first = b->nodes.n;
    bool is_given = false;
    for (size_t i = 0; i < b->nodes.n; i++) {
        const struct origin *at = node_origin(b, i, "local");
        is_given = is_given || at->file != NULL;
        if (at->file == NULL && facts[i].unix_socket) {
            on_socket++;
            which = i;
        }
        if (nodes[i].local && first < b->nodes.n) {
            config_complain(b, at, "two nodes are local: '%s' and '%s'", nodes[first].name,
                            nodes[i].name);
        } else if (nodes[i].local) {
            first = i;
        }
    }
    if (first < b->nodes.n)
        return;
    if (b->nodes.n == 1 && !is_given)
        nodes[0].local = true;
    else if (on_socket == 1)
        nodes[which].local = true;
}

/* Names that became equal by expansion; others were told when they were read. */
static void check_names(struct config_build *b, const struct list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *name = (const char *)list->array + i * list->size;
        if (list->items[i].origins[0].file == NULL && !b->discovered)
            config_complain(b, &list->items[i].at, "a %s needs 'name'", list->what);
        for (size_t j = 0; b->diag->count == 0 && name[0] != '\0' && j < i; j++) {
            if (str_eq(name, (const char *)list->array + j * list->size))
                config_complain(b, &list->items[i].at, "duplicate %s '%s'", list->what, name);
        }
    }
}

static void check_nodes(struct config_build *b)
{
    struct config_node *nodes = b->nodes.array;
    struct dsn_facts *facts = mem_alloc_array(b->nodes.n, sizeof(*facts));
    check_names(b, &b->nodes);
    for (size_t i = 0; i < b->nodes.n; i++) {
        /* a discovered one of several keeps its own unless the file names one for all */
        bool own = nodes[i].cluster[0] != '\0' && b->config->cluster[0] == '\0';
        if (node_origin(b, i, "cluster")->file == NULL && !own)
            str_copy(nodes[i].cluster, sizeof(nodes[i].cluster), b->config->cluster);
        node_lag(b, i, &nodes[i]);
        node_dsn(b, i, &nodes[i], &facts[i]);
    }
    choose_local(b, facts);
    mem_free(facts);
    if (!is_set(b, "scope"))
        b->config->scope = b->nodes.n > 1 && !b->discovered ? SCOPE_CLUSTER : SCOPE_NODE;
}

/* ---- pools and logs ---- */

static const struct origin *pool_dsn_origin(const struct config_build *b, size_t i)
{
    const struct origin *one = &b->pools.items[i].origins[config_row(config_table_pool(), "dsn")];
    const struct origin *many = &b->pools.items[i].origins[config_row(config_table_pool(), "dsns")];
    if (one->file == NULL && many->file == NULL)
        return NULL;
    return one->file != NULL ? one : many;
}

static void check_pools(struct config_build *b)
{
    struct config_pool *pools = b->pools.array;
    const size_t cluster = config_row(config_table_pool(), "cluster");
    check_names(b, &b->pools);
    for (size_t i = 0; i < b->pools.n; i++) {
        const struct origin *at = pool_dsn_origin(b, i);
        if (b->pools.items[i].origins[cluster].file == NULL)
            str_copy(pools[i].cluster, sizeof(pools[i].cluster), b->config->cluster);
        if (at != NULL && at->is_wrong)
            continue;
        if (at == NULL) {
            config_complain(b, &b->pools.items[i].at, "a pool needs 'dsn' or 'dsns'");
            continue;
        }
        for (size_t j = 0; j < pools[i].dsn_count; j++) {
            struct dsn_facts facts = {0};
            struct err err = {0};
            if (!config_dsn_check(pools[i].dsns[j], b->config->secret_modes, &facts, &err))
                config_complain(b, at, "'dsn': %s", err.text);
            else if (facts.several_hosts)
                config_complain(b, at, "'dsn' names several hosts: list them in 'dsns'");
        }
    }
}

static bool pool_exists(const struct config_build *b, const char *name)
{
    const struct config_pool *pools = b->pools.array;
    for (size_t i = 0; i < b->pools.n; i++) {
        if (str_eq(pools[i].name, name))
            return true;
    }
    return false;
}

static void check_logs(struct config_build *b)
{
    const struct config_log *logs = b->logs.array;
    const size_t path = config_row(config_table_log(), "path");
    for (size_t i = 0; i < b->logs.n; i++) {
        const struct item *item = &b->logs.items[i];
        if (item->origins[0].file == NULL || item->origins[path].file == NULL)
            config_complain(b, &item->at, "a log needs 'pool' and 'path'");
        else if (logs[i].pool[0] != '\0' && !pool_exists(b, logs[i].pool))
            config_complain(b, &item->origins[0], "no pool is named '%s'", logs[i].pool);
    }
}

/* ---- the rest ---- */

static void check_listen(struct config_build *b)
{
    const struct config *c = b->config;
    if (!config_host_is_loopback(c->listen_host) && !c->insecure &&
        !top_origin(b, "insecure")->is_wrong) {
        config_complain(b, top_origin(b, "listen"),
                        "'listen': '%s' is not a loopback address, and this version has no TLS and "
                        "no users: set 'insecure: true' to open metrics, API and page to everyone "
                        "who can reach it",
                        c->listen_host);
    }
}

static void check_paths(struct config_build *b)
{
    const struct config *c = b->config;
    const struct origin *at = blame(b, "health_dir", "state_dir");
    if (at != NULL && str_eq(c->state_dir, c->health_dir))
        config_complain(b, at, "'health_dir' and 'state_dir' must not be the same directory");
    at = blame(b, "outgoing.cert", "outgoing.key");
    if (at != NULL && (c->outgoing.cert[0] != '\0') != (c->outgoing.key[0] != '\0'))
        config_complain(b, at, "'outgoing.cert' and 'outgoing.key' need each other");
}

void config_check(struct config_build *b)
{
    check_listen(b);
    check_paths(b);
    check_gate(b);
    check_nodes(b);
    check_pools(b);
    check_logs(b);
}
