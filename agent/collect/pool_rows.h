/*
 * pool_rows.h: what PgBouncer's SHOW commands said, by name, and the arithmetic of pool limits.
 * Pure data; several processes behind one port (so_reuseport) add up.
 */
#ifndef AGENT_COLLECT_POOL_ROWS_H
#define AGENT_COLLECT_POOL_ROWS_H

#include <libpq-fe.h>

#include "pgvigil/model/batch.h"

#define POOL_ROWS_MAX 2000
#define POOL_NAME_MAX 64 /* PostgreSQL's names are shorter */

/* SHOW POOLS: one row per database and user. */
struct pool_row {
    char database[POOL_NAME_MAX], user[POOL_NAME_MAX];
    int64_t busy, idle, waiting;
    double max_wait_s;
};

/* SHOW DATABASES and SHOW STATS: one row per database. */
struct pool_database {
    char name[POOL_NAME_MAX];
    int64_t pool_size, reserve, max_connections; /* limits; 0 = unlimited */
    int64_t queries, xacts, wait_us;             /* totals */
    double mean_wait_s;                          /* of the last interval */
};

struct pool_rows {
    struct pool_row *rows;
    size_t row_count;
    struct pool_database *databases;
    size_t database_count;
    int64_t user_max; /* max_user_connections; 0 = unlimited */
    int processes;    /* that answered */
};

void pool_rows_deinit(struct pool_rows *r);
/* The results of SHOW POOLS, STATS, DATABASES and CONFIG of one process are added. */
void pool_rows_add_pools(struct pool_rows *r, const PGresult *result);
void pool_rows_add_stats(struct pool_rows *r, const PGresult *result);
void pool_rows_add_databases(struct pool_rows *r, const PGresult *result);
void pool_rows_add_config(struct pool_rows *r, const PGresult *result);
/* Mean waits from the totals of the poll before; a counter that went back gives none. */
void pool_rows_mean_waits(struct pool_rows *r, const struct pool_rows *before);
/*
 * Effective limit of server connections of a row: the smallest of pool_size + reserve, the
 * database's and the user's cap; 0 = unlimited. *utilization: the largest share of busy connections
 * in any of the three (a cap is shared by all pools of the database or user); -1 = unlimited.
 */
int64_t pool_rows_limit(const struct pool_rows *r, const struct pool_row *row, double *utilization);
/* All samples of the pool. */
void pool_rows_samples(const struct pool_rows *r, struct batch_builder *builder);

#endif
