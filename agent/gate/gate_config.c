/*
 * gate_config.c: from a configuration to clusters, judges, nodes and probes.
 *
 * Nodes and clusters live on the heap one by one, because probes hold pointers to them: what stays
 * over a reload is moved from the old list to the new one and keeps its session and its state.
 *
 * Invariant: gate->nodes holds each cluster's nodes one after the other, in the order of its judge.
 */
#include "gate_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct old_parts {
    struct gate_cluster **clusters;
    size_t cluster_count;
    struct gate_node **nodes;
    size_t node_count;
    const struct config *config;
};

static void node_destroy(struct gate_node **node)
{
    if (!*node)
        return;
    probe_destroy(&(*node)->probe);
    mem_free((*node)->dsn);
    MEM_FREE_NULL(node);
}

static void cluster_destroy(struct gate_cluster **cluster)
{
    if (!*cluster)
        return;
    judge_destroy(&(*cluster)->judge);
    MEM_FREE_NULL(cluster);
}

/* ---- probes ---- */

static void node_connect(struct gate *gate, struct gate_node *node, const struct config_node *cn)
{
    const struct config *config = gate->config;
    probe_destroy(&node->probe);
    mem_free(node->dsn);
    node->dsn = mem_strdup(cn->dsn);
    struct probe_opts opts = {.node = cn,
                              .secret_modes = config->secret_modes,
                              .timeout_ms = config->gate.probe_timeout_ms,
                              .on_result = gate_on_result,
                              .arg = node};
    node->probe = probe_create(gate->loop, gate->workers, &opts);
}

static struct gate_node *node_take(struct old_parts *old, const char *name)
{
    for (size_t i = 0; i < old->node_count; i++) {
        struct gate_node *node = old->nodes[i];
        if (node && str_eq(node->name, name)) {
            old->nodes[i] = NULL;
            return node;
        }
    }
    return NULL;
}

static struct gate_node *node_make(const struct config_node *cn)
{
    struct gate_node *node = mem_alloc(sizeof(*node));
    str_copy(node->name, sizeof(node->name), cn->name);
    snprintf(node->read_file, sizeof(node->read_file), "%s.read", cn->name);
    snprintf(node->write_file, sizeof(node->write_file), "%s.write", cn->name);
    return node;
}

static struct gate_node *node_for(struct gate *gate, struct old_parts *old,
                                  const struct config_node *cn)
{
    struct gate_node *node = node_take(old, cn->name);
    bool same = node && str_eq(node->dsn, cn->dsn) &&
                old->config->secret_modes == gate->config->secret_modes &&
                old->config->gate.probe_timeout_ms == gate->config->gate.probe_timeout_ms;
    if (!node)
        node = node_make(cn);
    if (!same)
        node_connect(gate, node, cn);
    return node;
}

/* ---- clusters ---- */

static struct gate_cluster *cluster_take(struct old_parts *old, const char *name)
{
    for (size_t i = 0; i < old->cluster_count; i++) {
        struct gate_cluster *cluster = old->clusters[i];
        if (cluster && str_eq(cluster->name, name)) {
            old->clusters[i] = NULL;
            return cluster;
        }
    }
    return NULL;
}

/* nodes: those of this cluster only. */
static struct gate_cluster *cluster_for(struct gate *gate, struct old_parts *old,
                                        const struct config_node *nodes, size_t n, struct now now)
{
    const struct config *config = gate->config;
    struct judge_opts opts = {.cluster = nodes[0].cluster,
                              .scope = config->scope,
                              .gate = &config->gate,
                              .nodes = nodes,
                              .node_count = n,
                              .interval_ms = config->intervals.replication_ms,
                              .on_flip = gate_on_flip,
                              .arg = gate};
    struct gate_cluster *cluster = cluster_take(old, nodes[0].cluster);
    if (cluster) {
        judge_reconfigure(cluster->judge, &opts, now);
        return cluster;
    }
    cluster = mem_alloc(sizeof(*cluster));
    cluster->gate = gate;
    cluster->timeline_told = MONO_UNSET;
    str_copy(cluster->name, sizeof(cluster->name), nodes[0].cluster);
    cluster->judge = judge_create(&opts, now);
    return cluster;
}

static bool cluster_known(const struct gate *gate, const char *name)
{
    for (size_t i = 0; i < gate->cluster_count; i++) {
        if (str_eq(gate->clusters[i]->name, name))
            return true;
    }
    return false;
}

/* The cluster of nodes[first] with all its nodes, which come from there on. */
static void add_cluster(struct gate *gate, struct old_parts *old, size_t first,
                        struct config_node *scratch, struct now now)
{
    const struct config *config = gate->config;
    size_t n = 0;
    for (size_t i = first; i < config->node_count; i++) {
        if (str_eq(config->nodes[i].cluster, config->nodes[first].cluster))
            scratch[n++] = config->nodes[i];
    }
    struct gate_cluster *cluster = cluster_for(gate, old, scratch, n, now);
    gate->clusters[gate->cluster_count++] = cluster;
    for (size_t i = 0; i < n; i++) {
        struct gate_node *node = node_for(gate, old, &scratch[i]);
        node->cluster = cluster;
        node->index = i;
        gate->nodes[gate->node_count++] = node;
    }
}

static void drop_old(struct gate *gate, struct old_parts *old)
{
    for (size_t i = 0; i < old->node_count; i++) {
        struct gate_node *node = old->nodes[i];
        struct err err;
        /* A fault here is left to the lease, which is not renewed any more. */
        if (node && gate->files &&
            (!files_remove(gate->files, node->read_file, &err) ||
             !files_remove(gate->files, node->write_file, &err)))
            log_warn("cannot remove the health files of a node that was dropped node=%s: %s",
                     node->name, err.text);
        node_destroy(&old->nodes[i]);
    }
    for (size_t i = 0; i < old->cluster_count; i++)
        cluster_destroy(&old->clusters[i]);
    mem_free(old->nodes);
    mem_free(old->clusters);
}

void gate_apply_config(struct gate *gate, struct now now)
{
    const struct config *config = gate->config;
    struct old_parts old = {
        .clusters = gate->clusters,
        .cluster_count = gate->cluster_count,
        .nodes = gate->nodes,
        .node_count = gate->node_count,
        /* The one before this, if there was one. */
        .config = gate->retired_count ? gate->retired[gate->retired_count - 1] : config,
    };
    size_t n = config->node_count;
    struct config_node *scratch = mem_alloc_array(n, sizeof(*scratch));
    gate->clusters = mem_alloc_array(n, sizeof(*gate->clusters));
    gate->nodes = mem_alloc_array(n, sizeof(*gate->nodes));
    gate->cluster_count = gate->node_count = 0;
    gate->verdicts = mem_realloc_array(gate->verdicts, n, sizeof(*gate->verdicts));
    gate->cluster_verdicts =
        mem_realloc_array(gate->cluster_verdicts, n, sizeof(*gate->cluster_verdicts));
    for (size_t i = 0; i < n; i++) {
        if (!cluster_known(gate, config->nodes[i].cluster))
            add_cluster(gate, &old, i, scratch, now);
    }
    mem_free(scratch);
    drop_old(gate, &old);
    if (!str_eq(config->health_dir, gate->health_dir))
        log_warn("health_dir cannot change while the agent runs: '%s' stays in use until a restart",
                 gate->health_dir);
}

void gate_drop_config(struct gate *gate)
{
    for (size_t i = 0; i < gate->node_count; i++)
        node_destroy(&gate->nodes[i]);
    for (size_t i = 0; i < gate->cluster_count; i++)
        cluster_destroy(&gate->clusters[i]);
    gate->node_count = gate->cluster_count = 0;
    MEM_FREE_NULL(&gate->nodes);
    MEM_FREE_NULL(&gate->clusters);
    MEM_FREE_NULL(&gate->verdicts);
    MEM_FREE_NULL(&gate->cluster_verdicts);
}
