/*
 * api_params.h: parameters of Prometheus' API with its checks and its texts. Each function answers
 * a parameter that is wrong itself and returns false.
 */
#ifndef AGENT_SERVE_API_PARAMS_H
#define AGENT_SERVE_API_PARAMS_H

#include "params.h"
#include "serve_private.h"

/* An empty parameter is an absent one, as in Prometheus. */
const char *api_given(const struct params *p, const char *name);
/* `invalid parameter "name": why` */
bool api_refuse(struct reply *reply, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Left as they are when absent. */
bool api_time(const struct params *p, const char *name, struct reply *reply, int64_t *t);
/* 0 = none, for all answers that are lists. */
bool api_limit(const struct params *p, struct reply *reply, size_t *limit);
/* Must be there. */
bool api_need_time(const struct params *p, const char *name, struct reply *reply, int64_t *t);
bool api_need_duration(const struct params *p, const char *name, struct reply *reply, int64_t *ms);

#define API_TRUNCATED "results truncated due to limit"

/* ---- match[] ---- */
#define API_MATCH_MAX 64 /* of one request */

struct promql_expr;
struct matcher_sets {
    struct promql_expr *v[API_MATCH_MAX];
    size_t n;
};

/*
 * Reads all match[] of the request; freed by the caller in any case. named: errors begin with
 * `invalid parameter "match[]": `, which Prometheus has for series only.
 */
bool api_match(const struct params *p, bool named, struct reply *reply, struct matcher_sets *sets);
void api_match_free(struct matcher_sets *sets);

#endif
