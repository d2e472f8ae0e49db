/*
 * query_stats.c: timings and samples in Prometheus' shape. Reading is what it calls preparation;
 * sorting is part of the evaluation here, so its own time is 0. Points are counted as they are
 * read, once for a query: a window that slides over them does not read them again.
 */
#include <math.h>

#include "query_private.h"

static bool counted_select(struct reader *reader, const struct read_request *req,
                           struct arena *arena, struct read_result *out, struct err *err)
{
    struct query_stats *stats = reader->impl;
    uint64_t begin = clock_stage_ns();
    bool ok = stats->inner->select(stats->inner, req, arena, out, err);
    stats->read_ns += clock_stage_ns() - begin;
    for (size_t i = 0; ok && i < out->n; i++)
        stats->points += out->series[i].n;
    return ok;
}

void query_stats_begin(struct query_stats *stats, struct query *q)
{
    *stats = (struct query_stats){
        .reader = {counted_select, stats}, .inner = q->reader, .began_ns = clock_stage_ns()};
}

static void add_seconds(struct buf *out, const char *key, double seconds)
{
    buf_printf(out, "\"%s\":", key);
    buf_add_double(out, round(fmax(0, seconds) * 1e9) / 1e9);
}

void query_stats_print(const struct query_stats *stats, const struct query *q, size_t held,
                       struct buf *out)
{
    double read = (double)stats->read_ns / 1e9;
    double evaluated = (double)(clock_stage_ns() - stats->began_ns) / 1e9;
    double total = (double)mono_diff(clock_read().mono, q->began) / 1000;
    buf_add_str(out, ",\"stats\":{\"timings\":{");
    add_seconds(out, "evalTotalTime", evaluated);
    buf_add_str(out, ",\"resultSortTime\":0,");
    add_seconds(out, "queryPreparationTime", read);
    buf_add_char(out, ',');
    add_seconds(out, "innerEvalTime", evaluated - read);
    buf_add_char(out, ',');
    add_seconds(out, "execQueueTime", total - evaluated);
    buf_add_char(out, ',');
    add_seconds(out, "execTotalTime", fmax(total, evaluated));
    buf_printf(out, "},\"samples\":{\"totalQueryableSamples\":%zu,\"peakSamples\":%zu}}",
               stats->points, held);
}
