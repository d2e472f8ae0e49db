/*
 * reader.h: how PromQL reads samples, whoever holds them (head, history.db, tests).
 */
#ifndef PGVIGIL_MODEL_READER_H
#define PGVIGIL_MODEL_READER_H

#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"

struct point {
    int64_t t; /* milliseconds since 1970 */
    double v;
};

/* The NaN that ends a series (Prometheus' stale marker). Compare bits, never values. */
#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002)
bool point_is_stale(double v);
double point_stale_value(void);

enum match_op { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE };

struct matcher {
    enum match_op op;
    const char *name, *value;
    const void *regex; /* compiled by promql for RE and NRE; see matcher_regex_fn */
};

/* GAVE_UP: a limit ended the search before it was known. */
enum regex_outcome { REGEX_NO_MATCH, REGEX_MATCH, REGEX_GAVE_UP };

/* Whole-string match of a compiled regex; given by promql so that readers need not know pcre2. */
typedef enum regex_outcome (*matcher_regex_fn)(const void *regex, const char *text);

struct read_request {
    const struct matcher *matchers;
    size_t matcher_count;
    matcher_regex_fn regex_match;
    int64_t t_min, t_max; /* points with t_min < t <= t_max */
    bool last_only;       /* only the newest point of each series in the range */
    bool labels_only;     /* series that may have points there; points do not matter */
    /*
     * With step_ms > 0 only the view from each of the times grid_start + i * step_ms matters: of
     * the points between two of them the newest is enough. A reader may still give all of them.
     */
    int64_t grid_start, step_ms;
    size_t max_points; /* ERR_LIMIT over it */
    /* True: give up with ERR_TIMEOUT; asked while series are matched. May be NULL. */
    bool (*cancelled)(void *arg);
    void *arg;
};

struct read_series {
    struct labels labels; /* borrowed until the arena is reset */
    struct point *points; /* in time order, in the arena; stale markers included */
    size_t n;
};

struct read_result {
    struct read_series *series; /* unordered */
    size_t n;
};

struct reader {
    bool (*select)(struct reader *reader, const struct read_request *req, struct arena *arena,
                   struct read_result *out, struct err *err);
    void *impl;
};

/* Called before series i is matched; asks `cancelled` now and then. False: ERR_TIMEOUT is set. */
bool read_goes_on(const struct read_request *req, size_t i, struct err *err) MUST_CHECK;
/* The metric name that an equality matcher asks for, or NULL: readers keep series by name. */
const char *matchers_metric(const struct matcher *m, size_t n);
/*
 * Do the labels satisfy all matchers? An absent label is "". False with ERR_LIMIT when a regex gave
 * up: then nobody knows, and the next series would take as long, so the reader ends.
 */
bool matchers_match(const struct matcher *m, size_t n, matcher_regex_fn regex_match,
                    const struct labels *labels, bool *match, struct err *err) MUST_CHECK;

#endif
