/*
 * query_private.h: what the query endpoints share: one answer is begun, printed and ended.
 */
#ifndef AGENT_SERVE_QUERY_PRIVATE_H
#define AGENT_SERVE_QUERY_PRIVATE_H

#include "api_params.h"
#include "pgvigil/promql/promql.h"
#include "query.h"

/* `{"status":"success","data":`; query_run puts warnings, infos and the end behind it. */
void query_begin_answer(struct query *q);
void query_warn(struct query *q, const char *text);
/* Answers an evaluation or a read that has failed. */
void query_fail(struct query *q, const struct err *err);

/* query_series.c. True: an answer was begun. */
bool query_run_series(struct query *q);
bool query_run_labels(struct query *q);
bool query_run_label_values(struct query *q);

/* ---- query_stats.c: the object that `stats` asks for ---- */
/* Stands between the evaluation and q->reader and counts what goes through. */
struct query_stats {
    struct reader reader;
    struct reader *inner;
    uint64_t began_ns, read_ns;
    size_t points;
};
void query_stats_begin(struct query_stats *stats, struct query *q);
/* `,"stats":{...}`; held: points that the evaluation had in hand. */
void query_stats_print(const struct query_stats *stats, const struct query *q, size_t held,
                       struct buf *out);

#endif
