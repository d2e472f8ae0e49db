/*
 * template_time.c: points in time and durations, as Go's time.Time and time.Duration print them.
 *
 * Prometheus' times are UTC with milliseconds, so both are a number of milliseconds or nanoseconds
 * in the value itself.
 */
#include "template_private.h"

#include <math.h>

#define NS_PER_S INT64_C(1000000000)

/* ---- time.Time ---- */

static void print_time(const struct tpl_value *v, struct buf *out)
{
    static const char layout[] = "2006-01-02 15:04:05.999999999 -0700 MST";
    struct tpl_moment m = tpl_moment_of(v->i);
    tpl_add_layout(layout, strlen(layout), &m, out);
}

static bool time_format(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    struct tpl_moment m = tpl_moment_of(args[0].i);
    struct buf text;
    (void)n;
    tpl_begin_text(&text);
    tpl_add_layout(args[1].s, args[1].n, &m, &text);
    return tpl_end_text(call, &text, out);
}

static bool print_to_text(struct tpl_call *call, const struct tpl_value *args, size_t n,
                          struct tpl_value *out)
{
    struct buf text;
    (void)n;
    tpl_begin_text(&text);
    args[0].type->print(&args[0], &text);
    return tpl_end_text(call, &text, out);
}

static void print_month(const struct tpl_value *v, struct buf *out)
{
    buf_add_str(out, tpl_months[v->i - 1]);
}

static void print_weekday(const struct tpl_value *v, struct buf *out)
{
    buf_add_str(out, tpl_days[v->i]);
}

static const struct tpl_function month_members[] = {{.name = "String", .run = print_to_text}};
static const struct tpl_type type_month = {.name = "time.Month",
                                           .kind = TPL_INT,
                                           .members = month_members,
                                           .member_count = 1,
                                           .print = print_month};
static const struct tpl_type type_weekday = {.name = "time.Weekday",
                                             .kind = TPL_INT,
                                             .members = month_members,
                                             .member_count = 1,
                                             .print = print_weekday};

#define TIME_NUMBER(fn, expr)                                                     \
    static bool fn(struct tpl_call *call, const struct tpl_value *args, size_t n, \
                   struct tpl_value *out)                                         \
    {                                                                             \
        struct tpl_moment m = tpl_moment_of(args[0].i);                           \
        (void)call;                                                               \
        (void)n;                                                                  \
        *out = tpl_int(expr);                                                     \
        return true;                                                              \
    }

TIME_NUMBER(time_year, m.year)
TIME_NUMBER(time_day, m.day)
TIME_NUMBER(time_hour, m.hour)
TIME_NUMBER(time_minute, m.minute)
TIME_NUMBER(time_second, m.second)
TIME_NUMBER(time_nanosecond, m.nanos)
TIME_NUMBER(time_year_day, m.year_day)

static bool time_month(struct tpl_call *call, const struct tpl_value *args, size_t n,
                       struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &type_month, .i = tpl_moment_of(args[0].i).month};
    return true;
}

static bool time_weekday(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &type_weekday, .i = tpl_moment_of(args[0].i).weekday};
    return true;
}

static bool time_unix(struct tpl_call *call, const struct tpl_value *args, size_t n,
                      struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &tpl_type_int64,
                              .i = (args[0].i - tpl_moment_of(args[0].i).nanos / 1000000) / 1000};
    return true;
}

static bool time_unix_milli(struct tpl_call *call, const struct tpl_value *args, size_t n,
                            struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &tpl_type_int64, .i = args[0].i};
    return true;
}

static bool time_utc(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = args[0];
    return true;
}

static bool time_add(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = args[0];
    out->i += args[1].i / (NS_PER_S / 1000);
    return true;
}

static const struct tpl_function time_members[] = {
    {.name = "Add", .args = 1, .params = {&tpl_type_duration}, .run = time_add},
    {.name = "Day", .run = time_day},
    {.name = "Format", .args = 1, .params = {&tpl_type_string}, .run = time_format},
    {.name = "Hour", .run = time_hour},
    {.name = "Local", .run = time_utc}, /* the agent's zone is UTC wherever it runs */
    {.name = "Minute", .run = time_minute},
    {.name = "Month", .run = time_month},
    {.name = "Nanosecond", .run = time_nanosecond},
    {.name = "Second", .run = time_second},
    {.name = "String", .run = print_to_text},
    {.name = "UTC", .run = time_utc},
    {.name = "Unix", .run = time_unix},
    {.name = "UnixMilli", .run = time_unix_milli},
    {.name = "Weekday", .run = time_weekday},
    {.name = "Year", .run = time_year},
    {.name = "YearDay", .run = time_year_day},
};
const struct tpl_type tpl_type_time = {.name = "*time.Time",
                                       .kind = TPL_OBJECT,
                                       .members = time_members,
                                       .member_count = ARRAY_LEN(time_members),
                                       .print = print_time};

/* ---- time.Duration ---- */

/* Digits without the zeros behind them. */
static void add_decimal(double v, struct buf *out)
{
    char text[TPL_FLOAT_MAX];
    snprintf(text, sizeof(text), "%.9f", v);
    char *last = text + strlen(text) - 1;
    while (*last == '0')
        last--;
    buf_add(out, text, (size_t)(last - text) + (*last != '.'));
}

static void print_duration(const struct tpl_value *v, struct buf *out)
{
    uint64_t ns = v->i < 0 ? 0 - (uint64_t)v->i : (uint64_t)v->i, s = ns / (uint64_t)NS_PER_S;
    buf_add_str(out, v->i < 0 ? "-" : "");
    if (ns == 0) {
        buf_add_str(out, "0s");
    } else if (s == 0) {
        double unit = ns < 1000 ? 1 : ns < 1000000 ? 1e3 : 1e6;
        add_decimal((double)ns / unit, out);
        buf_add_str(out, ns < 1000 ? "ns" : ns < 1000000 ? "\xc2\xb5s" : "ms");
    } else {
        if (s >= 3600)
            buf_printf(out, "%lluh", (unsigned long long)s / 3600);
        if (s >= 60)
            buf_printf(out, "%llum", (unsigned long long)s / 60 % 60);
        add_decimal((double)(s % 60) + (double)(ns % (uint64_t)NS_PER_S) / 1e9, out);
        buf_add_char(out, 's');
    }
}

#define DURATION_UNIT(fn, ns)                                                     \
    static bool fn(struct tpl_call *call, const struct tpl_value *args, size_t n, \
                   struct tpl_value *out)                                         \
    {                                                                             \
        (void)call;                                                               \
        (void)n;                                                                  \
        *out = tpl_float((double)args[0].i / (ns));                               \
        return true;                                                              \
    }

DURATION_UNIT(duration_seconds, 1e9)
DURATION_UNIT(duration_minutes, 60e9)
DURATION_UNIT(duration_hours, 3600e9)

static bool duration_milliseconds(struct tpl_call *call, const struct tpl_value *args, size_t n,
                                  struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &tpl_type_int64, .i = args[0].i / (NS_PER_S / 1000)};
    return true;
}

static const struct tpl_function duration_members[] = {
    {.name = "Hours", .run = duration_hours},
    {.name = "Milliseconds", .run = duration_milliseconds},
    {.name = "Minutes", .run = duration_minutes},
    {.name = "Seconds", .run = duration_seconds},
    {.name = "String", .run = print_to_text},
};
const struct tpl_type tpl_type_duration = {.name = "*time.Duration",
                                           .kind = TPL_OBJECT,
                                           .members = duration_members,
                                           .member_count = ARRAY_LEN(duration_members),
                                           .print = print_duration};

/* ---- from numbers ---- */

#define NANOSECONDS_MAX 9223372036854775807.0

static bool to_time(struct tpl_call *call, double v, struct tpl_value *out)
{
    char text[TPL_FLOAT_MAX];
    double ns = v * 1e9;
    if (ns >= NANOSECONDS_MAX || ns < -NANOSECONDS_MAX) {
        const char *why =
            "cannot be represented as a nanoseconds timestamp since it overflows int64";
        return tpl_fail(call, "%s %s", tpl_float_text(v, text), why);
    }
    *out = (struct tpl_value){.type = &tpl_type_time, .i = (int64_t)ns / 1000000};
    return true;
}

bool tpl_fn_to_time(struct tpl_call *call, const struct tpl_value *args, size_t n,
                    struct tpl_value *out)
{
    double v;
    (void)n;
    if (!tpl_to_float(call, &args[0], &v))
        return false;
    if (isnan(v) || isinf(v))
        return tpl_fail(call, "value is NaN or Inf");
    return to_time(call, v, out);
}

bool tpl_fn_humanize_timestamp(struct tpl_call *call, const struct tpl_value *args, size_t n,
                               struct tpl_value *out)
{
    struct tpl_value at;
    double v;
    if (!tpl_to_float(call, &args[0], &v))
        return false;
    if (isnan(v) || isinf(v)) {
        *out = tpl_string(isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return true;
    }
    return to_time(call, v, &at) && print_to_text(call, &at, n, out);
}

bool tpl_fn_to_duration(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    double v;
    (void)n;
    if (!tpl_to_float(call, &args[0], &v))
        return false;
    double ns = isnan(v) ? 0 : v * 1e9;
    *out = (struct tpl_value){.type = &tpl_type_duration};
    out->i = ns >= NANOSECONDS_MAX ? INT64_MAX : ns <= -NANOSECONDS_MAX ? INT64_MIN : (int64_t)ns;
    return true;
}
