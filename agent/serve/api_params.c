/*
 * api_params.c: the checks that endpoints share. Texts are those of Prometheus, because Grafana
 * shows them and people search for them; Go's own errors are part of them.
 */
#include "api_params.h"

#include <stdarg.h>

#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"
#include "query.h"

const char *api_given(const struct params *p, const char *name)
{
    const char *text = params_get(p, name);
    return text != NULL && *text != '\0' ? text : NULL;
}

bool api_refuse(struct reply *reply, const char *name, const char *fmt, ...)
{
    char why[ERR_TEXT_MAX + 100];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    api_fail(reply, API_BAD_DATA, "invalid parameter \"%s\": %s", name, why);
    return false;
}

bool api_time(const struct params *p, const char *name, struct reply *reply, int64_t *t)
{
    const char *text = api_given(p, name);
    if (text == NULL || param_time(text, t))
        return true;
    return api_refuse(reply, name,
                      "Invalid time value for '%s': cannot parse \"%.100s\" to a valid timestamp",
                      name, text);
}

bool api_limit(const struct params *p, struct reply *reply, size_t *limit)
{
    int64_t n = 0;
    const char *text = api_given(p, "limit");
    *limit = 0;
    if (text == NULL)
        return true;
    if (!str_parse_i64(text, INT64_MIN, INT64_MAX, &n))
        return api_refuse(reply, "limit", "strconv.Atoi: parsing \"%.100s\": invalid syntax", text);
    if (n < 0)
        return api_refuse(reply, "limit", "limit must be non-negative");
    *limit = (size_t)n;
    return true;
}

static bool need(const struct params *p, const char *name, struct reply *reply,
                 bool (*parse)(const char *text, int64_t *ms), int64_t *ms)
{
    const char *text = params_get(p, name);
    if (text != NULL && parse(text, ms))
        return true;
    return api_refuse(reply, name, "cannot parse \"%.100s\" to a valid %s",
                      text != NULL ? text : "", parse == param_time ? "timestamp" : "duration");
}

bool api_need_time(const struct params *p, const char *name, struct reply *reply, int64_t *t)
{
    return need(p, name, reply, param_time, t);
}

bool api_need_duration(const struct params *p, const char *name, struct reply *reply, int64_t *ms)
{
    return need(p, name, reply, param_duration, ms);
}

/* ---- match[] ---- */

static bool is_selective(const struct promql_expr *expr)
{
    static const struct labels nothing = {0};
    size_t n;
    matcher_regex_fn regex;
    struct err ignored; /* what gives up over nothing may match it */
    const struct matcher *m = promql_selector(expr, &n, &regex);
    bool match = true;
    for (size_t i = 0; match && m != NULL && i < n; i++)
        match = !matchers_match(&m[i], 1, regex, &nothing, &match, &ignored) || match;
    return !match;
}

static bool add_match(const char *text, struct matcher_sets *sets, struct err *err)
{
    struct promql_error why;
    if (sets->n == API_MATCH_MAX)
        return err_set(err, ERR_LIMIT, "more than %d selectors", API_MATCH_MAX);
    struct promql_expr *expr = promql_parse_selector(text, &why);
    if (expr == NULL)
        return err_set(err, ERR_INVALID, "%s", why.text);
    sets->v[sets->n++] = expr;
    return true;
}

static bool read_match(const struct params *p, struct matcher_sets *sets, struct err *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(p->v[i].name, "match[]") && !add_match(p->v[i].value, sets, err))
            return false;
    for (size_t i = 0; i < sets->n; i++)
        if (!is_selective(sets->v[i]))
            return err_set(err, ERR_INVALID, "match[] must contain at least one non-empty matcher");
    return true;
}

bool api_match(const struct params *p, bool named, struct reply *reply, struct matcher_sets *sets)
{
    struct err err = {0};
    *sets = (struct matcher_sets){0};
    if (read_match(p, sets, &err))
        return true;
    if (named)
        return api_refuse(reply, "match[]", "%s", err.text);
    api_fail(reply, API_BAD_DATA, "%s", err.text);
    return false;
}

void api_match_free(struct matcher_sets *sets)
{
    for (size_t i = 0; i < sets->n; i++)
        promql_destroy(&sets->v[i]);
}
