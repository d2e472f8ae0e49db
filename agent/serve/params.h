/*
 * params.h: parameters of an API request: the query string and a form body, decoded by ourselves.
 *
 * Both are `name=value&name=value` with percent escapes and `+` for a blank. Body and URL are one
 * list; what is added first is found first (Prometheus: the body before the URL).
 */
#ifndef AGENT_SERVE_PARAMS_H
#define AGENT_SERVE_PARAMS_H

#include "pgvigil/base/arena.h"
#include "pgvigil/base/err.h"

#define PARAMS_MAX       256
#define PARAMS_BYTES_MAX (64 * 1024) /* of one text */

struct param {
    const char *name, *value;
};

struct params {
    struct arena *arena;
    struct param *v;
    size_t n;
};

void params_init(struct params *p);
void params_deinit(struct params *p);
/* ERR_INVALID for a broken escape or a NUL, ERR_LIMIT for too many or too long. */
bool params_add(struct params *p, const char *text, size_t len, struct err *err) MUST_CHECK;
/* The first value of this name, or NULL. */
const char *params_get(const struct params *p, const char *name);

/* Unix seconds with a fraction or RFC 3339; also Prometheus' names of the first and last time. */
#define PARAM_TIME_MAX INT64_C(8000000000000000)
bool param_time(const char *text, int64_t *ms) MUST_CHECK;
/* Seconds with a fraction or a duration such as 1h30m; may be zero or negative. */
bool param_duration(const char *text, int64_t *ms) MUST_CHECK;

#endif
