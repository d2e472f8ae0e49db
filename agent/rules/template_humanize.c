/*
 * template_humanize.c: numbers for people, and texts as numbers.
 *
 * Prometheus' scales: four digits and a prefix; durations from a minute on in whole units.
 */
#include "template_private.h"

#include <math.h>

#include "pgvigil/base/str.h"

const char *tpl_c_string(struct tpl_call *call, const struct tpl_value *v)
{
    return arena_strndup(call->arena, v->n > 0 ? v->s : "", v->n);
}

bool tpl_text_result(struct tpl_value *out, const char *s)
{
    *out = tpl_string(s);
    return true;
}

static bool parse_float(struct tpl_call *call, const struct tpl_value *v, double *out)
{
    const char *s = tpl_c_string(call, v);
    struct buf quoted;
    /* Go wants an exponent in hexadecimal floats. */
    bool is_hex = strpbrk(s, "xX") != NULL && strpbrk(s, "pP") == NULL;
    if (!is_hex && str_parse_double(s, out))
        return true;
    buf_init(&quoted, 2048);
    tpl_quote(&quoted, v->s, v->n, false);
    /* strtod gives infinity for digits that are too large, and only letters ask for it by name */
    bool out_of_range = isinf(strtod(s, NULL)) && strpbrk(s, "iI") == NULL;
    tpl_fail(call, "strconv.ParseFloat: parsing %s: %s", quoted.data,
             out_of_range ? "value out of range" : "invalid syntax");
    buf_deinit(&quoted);
    return false;
}

bool tpl_to_float(struct tpl_call *call, const struct tpl_value *v, double *out)
{
    enum tpl_kind kind = v->type != NULL ? v->type->kind : TPL_ANY;
    if (v->type == &tpl_type_string)
        return parse_float(call, v, out);
    if (v->type == &tpl_type_duration)
        *out = (double)v->i / 1e9;
    else if (kind == TPL_FLOAT)
        *out = v->f;
    else if (v->type == &tpl_type_int || v->type == &tpl_type_int64)
        *out = (double)v->i;
    else
        return tpl_fail(call, "can't convert %s to float",
                        v->type != NULL ? v->type->name : "<nil>");
    return true;
}

/* Go's %.4g with something behind. */
static bool digits4(struct tpl_call *call, double v, const char *unit, struct tpl_value *out)
{
    char text[TPL_FLOAT_MAX];
    if (isnan(v) || isinf(v))
        (void)tpl_float_text(v, text);
    else
        snprintf(text, sizeof(text), "%.4g", v);
    return tpl_text_result(out, arena_printf(call->arena, "%s%s", text, unit));
}

/* ---- humanize ---- */

static const char *const down[] = {"m", "u", "n", "p", "f", "a", "z", "y"};

static double scale_up(double v, double base, const char *const *units, const char **unit)
{
    *unit = "";
    for (size_t i = 0; i < 8 && fabs(v) >= base; i++) {
        *unit = units[i];
        v /= base;
    }
    return v;
}

static double scale_down(double v, const char **unit)
{
    *unit = "";
    for (size_t i = 0; i < ARRAY_LEN(down) && fabs(v) < 1; i++) {
        *unit = down[i];
        v *= 1000;
    }
    return v;
}

static bool is_plain(double v)
{
    return v == 0 || isnan(v) || isinf(v);
}

/* Below 1 only thousands have prefixes. */
static bool humanize(struct tpl_call *call, const struct tpl_value *arg, double base,
                     const char *const up[8], struct tpl_value *out)
{
    const char *unit = "";
    double v;
    if (!tpl_to_float(call, arg, &v))
        return false;
    if (!is_plain(v))
        v = base == 1000 && fabs(v) < 1 ? scale_down(v, &unit) : scale_up(v, base, up, &unit);
    return digits4(call, v, unit, out);
}

bool tpl_fn_humanize(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    static const char *const up[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
    (void)n;
    return humanize(call, &args[0], 1000, up, out);
}

bool tpl_fn_humanize1024(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out)
{
    static const char *const up[] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"};
    (void)n;
    return humanize(call, &args[0], 1024, up, out);
}

bool tpl_fn_humanize_percentage(struct tpl_call *call, const struct tpl_value *args, size_t n,
                                struct tpl_value *out)
{
    double v;
    (void)n;
    return tpl_to_float(call, &args[0], &v) && digits4(call, v * 100, "%", out);
}

/* From a minute on whole units, "1h 2m 5s"; below, four digits and a prefix. */
static const char *duration_text(struct tpl_call *call, double v)
{
    const char *sign = v < 0 ? "-" : "";
    /* Beyond it seconds are no integer any more: what Go makes of it, depends on the processor. */
    int64_t s = fabs(v) < 9.2e18 ? (int64_t)fabs(v) : INT64_MAX;
    long long days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60, seconds = s % 60;
    if (days > 0)
        return arena_printf(call->arena, "%s%lldd %lldh %lldm %llds", sign, days, hours, minutes,
                            seconds);
    if (hours > 0)
        return arena_printf(call->arena, "%s%lldh %lldm %llds", sign, hours, minutes, seconds);
    if (minutes > 0)
        return arena_printf(call->arena, "%s%lldm %llds", sign, minutes, seconds);
    return arena_printf(call->arena, "%.4gs", v);
}

bool tpl_fn_humanize_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                              struct tpl_value *out)
{
    const char *unit;
    double v;
    (void)n;
    if (!tpl_to_float(call, &args[0], &v))
        return false;
    if (isnan(v) || isinf(v))
        return digits4(call, v, "", out);
    if (v == 0)
        return digits4(call, v, "s", out);
    if (fabs(v) >= 1)
        return tpl_text_result(out, duration_text(call, v));
    v = scale_down(v, &unit);
    return digits4(call, v, arena_printf(call->arena, "%ss", unit), out);
}

bool tpl_fn_parse_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                           struct tpl_value *out)
{
    struct buf quoted;
    int64_t ms;
    (void)n;
    if (args[0].n == 0)
        return tpl_fail(call, "empty duration string");
    if (str_parse_duration(tpl_c_string(call, &args[0]), &ms)) {
        *out = tpl_float((double)ms / 1000);
        return true;
    }
    buf_init(&quoted, 2048);
    tpl_quote(&quoted, args[0].s, args[0].n, false);
    tpl_fail(call, "not a valid duration string: %s", quoted.data);
    buf_deinit(&quoted);
    return false;
}
