/*
 * query.h: one request of Prometheus' API that must read samples or series: what it asks, how long
 * it may take, and its answer. Runs in a query worker; pure but for asking the clock for its
 * deadline.
 */
#ifndef AGENT_SERVE_QUERY_H
#define AGENT_SERVE_QUERY_H

#include <stdatomic.h>

#include "params.h"
#include "pgvigil/base/clock.h"
#include "pgvigil/model/reader.h"
#include "serve_private.h"

#define QUERY_TIMEOUT_MS  10000
#define QUERY_ARENA_MAX   (128 * 1024 * 1024)
#define QUERY_SAMPLES_MAX 5000000

enum query_kind {
    QUERY_INSTANT,
    QUERY_RANGE,
    QUERY_SERIES,
    QUERY_LABELS,
    QUERY_LABEL_VALUES,
    QUERY_FORMAT, /* no samples, but a long expression takes its time */
    QUERY_PARSE
};

struct query_budget {
    int64_t timeout_ms;
    size_t arena_max, samples_max;
};

struct query {
    enum query_kind kind;
    struct query_budget budget; /* that of the API unless the creator changes it */
    struct params params;
    char *label;   /* label values: NAME of the path */
    bool gzip;     /* the client takes it */
    wall_ms now;   /* default of `time` */
    mono_ms began; /* when the request came: waiting counts */
    /* set by query_run */
    mono_ms deadline;
    struct arena *arena;
    struct reader *reader;
    const char *warnings[4];
    size_t warning_count;
    const struct promql_note *notes; /* in the arena */
    size_t note_count;
    atomic_bool given_up; /* set by any thread: nobody waits for the answer */
    struct reply reply;
};

struct query *query_create(enum query_kind kind);
void query_destroy(struct query **q);
/* Has its time passed, or has it been given up? arg is the query. */
bool query_cancelled(void *arg);
/* Fills q->reply. reader_warning is read after the evaluation; may be NULL. */
void query_run(struct query *q, struct reader *reader, const char *reader_warning);

/* ---- answers (api_reply.c) ---- */
enum api_error {
    API_BAD_DATA,
    API_EXECUTION,
    API_TIMEOUT,
    API_CANCELED,
    API_INTERNAL,
    API_UNAVAILABLE,
    API_NOT_FOUND
};
void api_fail(struct reply *reply, enum api_error type, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Compresses the body if that is worth it. */
void reply_gzip(struct reply *reply);

#endif
