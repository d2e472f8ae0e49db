/*
 * params.c: decoding of form texts, and the forms of time that Prometheus takes.
 *
 * Our own decoder because libmicrohttpd's keeps one value per name, takes broken escapes as they
 * are and wants its post processor fed piecewise. Invariant: names and values are NUL-terminated
 * copies in the arena without a NUL inside.
 */
#include "params.h"

#include <math.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/str.h"

void params_init(struct params *p)
{
    *p = (struct params){.arena = arena_create(0, ARENA_NO_LIMIT)};
    p->v = arena_alloc_array(p->arena, PARAMS_MAX, sizeof(*p->v));
}

void params_deinit(struct params *p)
{
    arena_destroy(&p->arena);
    *p = (struct params){0};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static char *decode(struct arena *arena, const char *s, size_t n, struct err *err)
{
    char *text = arena_alloc(arena, n + 1), *out = text;
    for (size_t i = 0; i < n; i++) {
        char c = s[i] == '+' ? ' ' : s[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_value(s[i + 1]) : -1;
            int low = i + 2 < n ? hex_value(s[i + 2]) : -1;
            if (high < 0 || low < 0) {
                err_set(err, ERR_INVALID, "invalid URL escape \"%.*s\"", (int)size_min(3, n - i),
                        s + i);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            err_set(err, ERR_INVALID, "a parameter has a NUL character");
            return NULL;
        }
        *out++ = c;
    }
    return text;
}

static bool add_pair(struct params *p, const char *s, size_t n, struct err *err)
{
    const char *equals = memchr(s, '=', n);
    size_t name_len = equals != NULL ? (size_t)(equals - s) : n;
    if (p->n == PARAMS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d parameters", PARAMS_MAX);
    const char *name = decode(p->arena, s, name_len, err);
    const char *value = equals == NULL ? "" : NULL;
    if (name != NULL && equals != NULL)
        value = decode(p->arena, equals + 1, n - name_len - 1, err);
    if (name == NULL || value == NULL)
        return false;
    p->v[p->n++] = (struct param){name, value};
    return true;
}

bool params_add(struct params *p, const char *text, size_t len, struct err *err)
{
    if (len > PARAMS_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "parameters are longer than %d bytes", PARAMS_BYTES_MAX);
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '&', len - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : len - at;
        if (n > 0 && !add_pair(p, text + at, n, err))
            return false;
        at += n + 1;
    }
    return true;
}

const char *params_get(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(p->v[i].name, name))
            return p->v[i].value;
    return NULL;
}

/* ---- times ---- */

static bool seconds(const char *text, double limit_ms, int64_t *ms)
{
    double s;
    if (!str_parse_double(text, &s) || !(fabs(s * 1000) <= limit_ms))
        return false;
    *ms = (int64_t)llround(s * 1000);
    return true;
}

bool param_time(const char *text, int64_t *ms)
{
    wall_ms wall;
    if (seconds(text, (double)PARAM_TIME_MAX, ms))
        return true;
    if (clock_parse_rfc3339(text, &wall)) {
        *ms = wall.ms;
        return true;
    }
    if (str_eq(text, "-292273086-05-16T16:47:06Z"))
        *ms = -PARAM_TIME_MAX;
    else if (str_eq(text, "292277025-08-18T07:12:54.999999999Z"))
        *ms = PARAM_TIME_MAX;
    else
        return false;
    return true;
}

bool param_duration(const char *text, int64_t *ms)
{
    return seconds(text, 9e15, ms) || str_parse_duration(text, ms);
}
