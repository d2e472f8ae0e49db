/* Any bytes as a configuration: a valid one or findings, never both, and values inside limits. */
#include "pgvigil/model/config.h"

#include "pgvigil/base/mem.h"

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_nodes(const struct config *c)
{
    size_t local = 0;

    require(c->node_count <= NODES_MAX && c->pool_count <= POOLS_MAX);
    for (size_t i = 0; i < c->node_count; i++) {
        const struct config_node *node = &c->nodes[i];
        char *masked = config_mask_dsn(node->dsn);

        require(node->name[0] != '\0' && strlen(node->name) < NODE_NAME_MAX);
        require(config_node_find(c, node->name) == node); /* unique */
        require(node->hard_lag_ms > node->max_lag_ms && node->max_lag_ms > 0);
        local += node->local;
        mem_free(masked);
    }
    require(local <= 1);
    for (size_t i = 0; i < c->pool_count; i++)
        require(c->pools[i].dsn_count > 0 || c->pools[i].name[0] != '\0');
}

static void check(const struct config *c)
{
    require(c->listen_host[0] != '\0' && c->listen_port >= 0 && c->listen_port <= 65535);
    require(c->state_dir[0] == '/' && c->health_dir[0] == '/');
    require(c->gate.hard_lag_ms > c->gate.max_lag_ms);
    require(c->gate.lease_ms >= 2 * c->intervals.replication_ms);
    require(c->gate.guard_weight > 0 && c->gate.guard_weight <= 1);
    require(c->history.retention_ms > 0 && c->history.max_size_bytes > 0);
    check_nodes(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag diag;
    struct buf out;

    diag_init(&diag);
    buf_init(&out, (size_t)1 << 20);
    struct config *c = config_parse("fuzz", (const char *)data, size, &diag);
    require((c != NULL) == (diag.count == 0));
    if (c != NULL)
        check(c);
    diag_print(&diag, &out);
    require(buf_ok(&out));
    for (size_t i = 0; i < diag.count; i++)
        require(diag.entries[i].line >= 1 && diag.entries[i].col >= 1);
    config_unref(&c);
    buf_deinit(&out);
    diag_deinit(&diag);
    return 0;
}
