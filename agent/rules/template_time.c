/*
 * template_time.c: points in time and durations, as Go's time.Time and time.Duration print them.
 *
 * Prometheus' times are UTC with milliseconds, so both are a number of milliseconds or nanoseconds
 * in the value itself. A layout of Format is an example date in which each known piece stands for
 * itself; the longest piece that fits at a place wins.
 */
#include "template_private.h"

#include <math.h>

#include "pgvigil/base/str.h"

#define DAY_S      86400
#define NS_PER_S   INT64_C(1000000000)
#define FRACTION_9 9 /* Go's fractions have at most nine digits */

struct moment {
    int64_t year;
    int month, day, hour, minute, second, weekday, year_day; /* month, day, year_day from 1 */
    int nanos;
};

static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970 to a date, by eras of 400 years that begin in March (proleptic Gregorian). */
static void date_of(int64_t day, struct moment *m)
{
    int64_t z = day + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    m->day = (int)(of_year - (153 * shifted + 2) / 5 + 1);
    m->month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    m->year = year + era * 400 + (m->month <= 2);
    bool leap = (m->year % 4 == 0 && m->year % 100 != 0) || m->year % 400 == 0;
    /* of_year counts from 1 March: January and February are its last 59 days (60 in a leap year) */
    m->year_day = (int)(m->month > 2 ? of_year + 60 + leap : of_year - 305);
}

static struct moment moment_of(const struct tpl_value *v)
{
    struct moment m = {0};
    int64_t s = floor_div(v->i, 1000), day = floor_div(s, DAY_S);
    int of_day = (int)(s - day * DAY_S);
    date_of(day, &m);
    m.nanos = (int)(v->i - s * 1000) * 1000000;
    m.hour = of_day / 3600;
    m.minute = of_day / 60 % 60;
    m.second = of_day % 60;
    m.weekday = (int)((day % 7 + 11) % 7); /* 1970 began on a Thursday */
    return m;
}

/* ---- layouts ---- */

enum piece {
    PIECE_MONTH,
    PIECE_MONTH_SHORT,
    PIECE_MONTH_1,
    PIECE_MONTH_2,
    PIECE_DAY_NAME,
    PIECE_DAY_SHORT,
    PIECE_DAY_1,
    PIECE_DAY_BLANK,
    PIECE_DAY_2,
    PIECE_YEAR_DAY_BLANK,
    PIECE_YEAR_DAY,
    PIECE_HOUR,
    PIECE_HOUR12_1,
    PIECE_HOUR12_2,
    PIECE_MINUTE_1,
    PIECE_MINUTE_2,
    PIECE_SECOND_1,
    PIECE_SECOND_2,
    PIECE_YEAR,
    PIECE_YEAR_2,
    PIECE_PM_UPPER,
    PIECE_PM_LOWER,
    PIECE_ZONE_NAME,
    PIECE_ZONE_Z,
    PIECE_ZONE_SECONDS,
    PIECE_ZONE_COLON_SECONDS,
    PIECE_ZONE,
    PIECE_ZONE_COLON,
    PIECE_ZONE_SHORT,
    PIECE_TEXT /* none of them */
};

/* Longer ones stand before those that they begin with. */
static const struct {
    const char *text;
    enum piece piece;
} pieces[] = {
    {"January", PIECE_MONTH},
    {"Jan", PIECE_MONTH_SHORT},
    {"Monday", PIECE_DAY_NAME},
    {"Mon", PIECE_DAY_SHORT},
    {"MST", PIECE_ZONE_NAME},
    {"002", PIECE_YEAR_DAY},
    {"01", PIECE_MONTH_2},
    {"02", PIECE_DAY_2},
    {"03", PIECE_HOUR12_2},
    {"04", PIECE_MINUTE_2},
    {"05", PIECE_SECOND_2},
    {"06", PIECE_YEAR_2},
    {"15", PIECE_HOUR},
    {"1", PIECE_MONTH_1},
    {"2006", PIECE_YEAR},
    {"2", PIECE_DAY_1},
    {"__2", PIECE_YEAR_DAY_BLANK},
    {"_2006", PIECE_TEXT}, /* an underscore and a year */
    {"_2", PIECE_DAY_BLANK},
    {"3", PIECE_HOUR12_1},
    {"4", PIECE_MINUTE_1},
    {"5", PIECE_SECOND_1},
    {"PM", PIECE_PM_UPPER},
    {"pm", PIECE_PM_LOWER},
    {"-070000", PIECE_ZONE_SECONDS},
    {"-07:00:00", PIECE_ZONE_COLON_SECONDS},
    {"-0700", PIECE_ZONE},
    {"-07:00", PIECE_ZONE_COLON},
    {"-07", PIECE_ZONE_SHORT},
    {"Z070000", PIECE_ZONE_Z},
    {"Z07:00:00", PIECE_ZONE_Z},
    {"Z0700", PIECE_ZONE_Z},
    {"Z07:00", PIECE_ZONE_Z},
    {"Z07", PIECE_ZONE_Z},
};

static enum piece find_piece(const char *s, size_t n, size_t *len)
{
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        *len = strlen(pieces[i].text);
        if (*len > n || memcmp(pieces[i].text, s, *len) != 0)
            continue;
        if (pieces[i].piece == PIECE_TEXT)
            break;
        /* "Jan" is no month in "Janet" */
        if (pieces[i].piece == PIECE_MONTH_SHORT && *len < n && s[*len] >= 'a' && s[*len] <= 'z')
            break;
        return pieces[i].piece;
    }
    *len = 1;
    return PIECE_TEXT;
}

static void add_day_piece(enum piece piece, const struct moment *m, struct buf *out)
{
    switch (piece) {
    case PIECE_DAY_NAME:
        buf_add_str(out, days[m->weekday]);
        break;
    case PIECE_DAY_SHORT:
        buf_add(out, days[m->weekday], 3);
        break;
    case PIECE_DAY_1:
        buf_printf(out, "%d", m->day);
        break;
    case PIECE_DAY_BLANK:
        buf_printf(out, "%2d", m->day);
        break;
    case PIECE_DAY_2:
        buf_printf(out, "%02d", m->day);
        break;
    case PIECE_YEAR_DAY_BLANK:
        buf_printf(out, "%3d", m->year_day);
        break;
    default:
        buf_printf(out, "%03d", m->year_day);
        break;
    }
}

static void add_month_piece(enum piece piece, const struct moment *m, struct buf *out)
{
    switch (piece) {
    case PIECE_MONTH:
        buf_add_str(out, months[m->month - 1]);
        break;
    case PIECE_MONTH_SHORT:
        buf_add(out, months[m->month - 1], 3);
        break;
    case PIECE_MONTH_1:
        buf_printf(out, "%d", m->month);
        break;
    default:
        buf_printf(out, "%02d", m->month);
        break;
    }
}

static void add_clock_piece(enum piece piece, const struct moment *m, struct buf *out)
{
    int hour12 = m->hour % 12 == 0 ? 12 : m->hour % 12;
    switch (piece) {
    case PIECE_HOUR:
        buf_printf(out, "%02d", m->hour);
        break;
    case PIECE_HOUR12_1:
        buf_printf(out, "%d", hour12);
        break;
    case PIECE_HOUR12_2:
        buf_printf(out, "%02d", hour12);
        break;
    case PIECE_MINUTE_1:
        buf_printf(out, "%d", m->minute);
        break;
    case PIECE_MINUTE_2:
        buf_printf(out, "%02d", m->minute);
        break;
    case PIECE_SECOND_1:
        buf_printf(out, "%d", m->second);
        break;
    default:
        buf_printf(out, "%02d", m->second);
        break;
    }
}

static void add_year(int64_t year, struct buf *out)
{
    buf_printf(out, "%s%04lld", year < 0 ? "-" : "", (long long)(year < 0 ? -year : year));
}

static void add_piece(enum piece piece, const struct moment *m, struct buf *out)
{
    static const char *const zones[] = {
        [PIECE_ZONE_NAME] = "UTC",        [PIECE_ZONE_Z] = "Z",
        [PIECE_ZONE_SECONDS] = "+000000", [PIECE_ZONE_COLON_SECONDS] = "+00:00:00",
        [PIECE_ZONE] = "+0000",           [PIECE_ZONE_COLON] = "+00:00",
        [PIECE_ZONE_SHORT] = "+00",
    };
    if (piece <= PIECE_MONTH_2)
        add_month_piece(piece, m, out);
    else if (piece <= PIECE_YEAR_DAY)
        add_day_piece(piece, m, out);
    else if (piece <= PIECE_SECOND_2)
        add_clock_piece(piece, m, out);
    else if (piece == PIECE_YEAR)
        add_year(m->year, out);
    else if (piece == PIECE_YEAR_2)
        buf_printf(out, "%02d", abs((int)(m->year % 100)));
    else if (piece == PIECE_PM_UPPER)
        buf_add_str(out, m->hour >= 12 ? "PM" : "AM");
    else if (piece == PIECE_PM_LOWER)
        buf_add_str(out, m->hour >= 12 ? "pm" : "am");
    else
        buf_add_str(out, zones[piece]);
}

/* ".000" or ",000": that many digits; ".999": as many as are not zero. 0 if it is none. */
static size_t add_fraction(const char *s, size_t n, const struct moment *m, struct buf *out)
{
    char digits[FRACTION_9 + 1];
    size_t len = 1;
    if (n < 2 || (s[0] != '.' && s[0] != ',') || (s[1] != '0' && s[1] != '9'))
        return 0;
    while (len < n && s[len] == s[1])
        len++;
    if (len < n && s[len] >= '0' && s[len] <= '9')
        return 0;
    snprintf(digits, sizeof(digits), "%09d", m->nanos);
    size_t shown = size_min(len - 1, FRACTION_9);
    while (s[1] == '9' && shown > 0 && digits[shown - 1] == '0')
        shown--;
    if (shown > 0)
        buf_printf(out, "%c%.*s", s[0], (int)shown, digits);
    return len;
}

static void add_layout(const char *s, size_t n, const struct moment *m, struct buf *out)
{
    size_t len;
    for (size_t i = 0; i < n && buf_ok(out); i += len) {
        len = add_fraction(s + i, n - i, m, out);
        if (len > 0)
            continue;
        enum piece piece = find_piece(s + i, n - i, &len);
        if (piece == PIECE_TEXT)
            buf_add_char(out, s[i]);
        else
            add_piece(piece, m, out);
    }
}

/* ---- time.Time ---- */

static void print_time(const struct tpl_value *v, struct buf *out)
{
    static const char layout[] = "2006-01-02 15:04:05.999999999 -0700 MST";
    struct moment m = moment_of(v);
    add_layout(layout, strlen(layout), &m, out);
}

static bool time_format(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    struct moment m = moment_of(&args[0]);
    struct buf text;
    (void)n;
    tpl_begin_text(&text);
    add_layout(args[1].s, args[1].n, &m, &text);
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
    buf_add_str(out, months[v->i - 1]);
}

static void print_weekday(const struct tpl_value *v, struct buf *out)
{
    buf_add_str(out, days[v->i]);
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
        struct moment m = moment_of(&args[0]);                                    \
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
    *out = (struct tpl_value){.type = &type_month, .i = moment_of(&args[0]).month};
    return true;
}

static bool time_weekday(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &type_weekday, .i = moment_of(&args[0]).weekday};
    return true;
}

static bool time_unix(struct tpl_call *call, const struct tpl_value *args, size_t n,
                      struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = (struct tpl_value){.type = &tpl_type_int64, .i = floor_div(args[0].i, 1000)};
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
