/*
 * collect_private.h: what the collectors of this folder share.
 */
#ifndef AGENT_COLLECT_PRIVATE_H
#define AGENT_COLLECT_PRIVATE_H

#include "pgvigil/collect/collect.h"
#include "pgvigil/pg/conn.h"

/* What every collector needs of its surroundings; borrowed from struct collect. */
struct collect_env {
    struct collect_opts opts;
    struct batch_builder *builder;
};

/* ---- node_queries.c: statements as data ---- */

enum query_cadence { CADENCE_ACTIVITY, CADENCE_STATEMENTS, CADENCE_SCHEMA };

struct node_query {
    struct pg_stmt stmt;
    const char *collector;
    enum query_cadence cadence;
    int min_version; /* of the server; 0 = any */
};

#define NODE_QUERIES_MAX 16
/* A column of this name is no metric: false in it means that the role may not see the figures. */
#define NODE_QUERY_GRANTED "granted"

const struct node_query *node_queries(size_t *n);
/*
 * Adds the samples of a result. Its columns say what they are: `l_<name>` is a label of the row,
 * any other column is a metric, with fixed labels after bars: `db_connections|state=active`. NULL
 * gives no sample.
 */
void node_query_samples(struct batch_builder *builder, const PGresult *result);

/* ---- node_work.c: the work session of a node ---- */
struct node_work;
struct node_work *node_work_create(struct collect_env *env, const struct config *config,
                                   const struct config_node *node);
void node_work_destroy(struct node_work **work);
/* Would a new one be just the same? */
bool node_work_same(const struct node_work *work, const struct config *config,
                    const struct config_node *node);

/* ---- pgbouncer.c: the pools of one PgBouncer ---- */
struct pool_work;
struct pool_work *pool_work_create(struct collect_env *env, const struct config *config,
                                   const struct config_pool *pool);
void pool_work_destroy(struct pool_work **work);
bool pool_work_same(const struct pool_work *work, const struct config *config,
                    const struct config_pool *pool);

/* ---- log_tail.c: PgBouncer's log of one pool ---- */
struct log_tail;
struct log_tail *log_tail_create(struct collect_env *env, const struct config *config,
                                 const struct config_log *log);
void log_tail_destroy(struct log_tail **tail);
bool log_tail_same(const struct log_tail *tail, const struct config *config,
                   const struct config_log *log);

/* ---- replication.c: samples of the gate's reports ---- */
struct replication;
struct replication *replication_create(struct collect_env *env);
void replication_destroy(struct replication **r);
void replication_config(struct replication *r, struct config *config);
void replication_report(struct replication *r, const struct gate_report *report);
void replication_flush(struct replication *r, struct now now);

/* ---- shared: the end of a poll ---- */
void collect_failed(struct collect_env *env, struct source_state *st, const char *text);
/* "<target>/<collector>" into out. */
const char *collect_source(const struct source_state *st, char out[BATCH_SOURCE_MAX]);

#endif
