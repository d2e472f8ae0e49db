/*
 * clock.c: two clocks, and calendar arithmetic of our own.
 *
 * The C library's calendar functions take a process-wide lock for the time zone and may read files;
 * a gate must not wait for either, and UTC needs neither. Invariant: only clock_read and the two
 * meters below ask the kernel for the time.
 */
#include "pgvigil/base/clock.h"

#define DAY_S INT64_C(86400)

static struct now (*source_fn)(void *arg);
static void *source_arg;

static int64_t read_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

struct now clock_read(void)
{
    if (source_fn)
        return source_fn(source_arg);
    return (struct now){
        .mono = {read_ms(CLOCK_BOOTTIME)},
        .wall = {read_ms(CLOCK_REALTIME)},
    };
}

uint64_t clock_stage_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_thread_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_set_source(struct now (*source)(void *arg), void *arg)
{
    source_fn = source;
    source_arg = arg;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/*
 * The calendar repeats every 400 years of 146097 days. Years are counted from March, so that the
 * leap day is the last of its year and months have a fixed pattern (153 days in 5 months).
 */
#define ERA_DAYS INT64_C(146097)
/* Days from 0000-03-01 to 1970-01-01. */
#define EPOCH_DAYS INT64_C(719468)

static int64_t days_from_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400), year_of_era = y - era * 400;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;

    return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           EPOCH_DAYS;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

struct utc_time clock_utc(int64_t unix_seconds)
{
    int64_t days = floor_div(unix_seconds, DAY_S), second_of_day = unix_seconds - days * DAY_S;
    int64_t shifted = days + EPOCH_DAYS, era = floor_div(shifted, ERA_DAYS);
    int64_t day_of_era = shifted - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    struct utc_time t = {
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9),
        .hour = (int)(second_of_day / 3600),
        .minute = (int)(second_of_day / 60 % 60),
        .second = (int)(second_of_day % 60),
        /* 1970-01-01 was a Thursday. */
        .weekday = (int)((days % 7 + 7 + 4) % 7),
    };

    t.year = year_of_era + era * 400 + (t.month <= 2 ? 1 : 0);
    t.yearday = (int)(days - days_from_date(t.year, 1, 1) + 1);
    return t;
}

const char *clock_format_rfc3339(wall_ms t, char out[CLOCK_RFC3339_MAX])
{
    int64_t seconds = floor_div(t.ms, 1000);
    struct utc_time u = clock_utc(seconds);

    snprintf(out, CLOCK_RFC3339_MAX, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)u.year,
             u.month, u.day, u.hour, u.minute, u.second, (int)((t.ms % 1000 + 1000) % 1000));
    return out;
}

/* Exactly n digits at *s, which moves behind them; -1 if they are not there or not in range. */
static int take_digits(const char **s, int n, int min, int max)
{
    int v = 0;

    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        v = v * 10 + (**s - '0');
    }
    return v < min || v > max ? -1 : v;
}

static bool take_char(const char **s, char a, char b)
{
    if (**s != a && **s != b)
        return false;
    (*s)++;
    return true;
}

static bool take_date(const char **s, int64_t *days)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, last;

    if ((year = take_digits(s, 4, 0, 9999)) < 0 || !take_char(s, '-', '-') ||
        (month = take_digits(s, 2, 1, 12)) < 0 || !take_char(s, '-', '-'))
        return false;
    last = month_days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
    if ((day = take_digits(s, 2, 1, last)) < 0)
        return false;
    *days = days_from_date(year, month, day);
    return true;
}

/* Second 60 is a leap second and counts as the next second, as everywhere. */
static bool take_time(const char **s, int64_t *seconds)
{
    int hour, minute, second;

    if ((hour = take_digits(s, 2, 0, 23)) < 0 || !take_char(s, ':', ':') ||
        (minute = take_digits(s, 2, 0, 59)) < 0 || !take_char(s, ':', ':') ||
        (second = take_digits(s, 2, 0, 60)) < 0)
        return false;
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

/* Absent is 0; half a millisecond is rounded up. */
static bool take_fraction(const char **s, int64_t *ms)
{
    int64_t ns = 0;
    int digits = 0;

    *ms = 0;
    if (!take_char(s, '.', '.'))
        return true;
    for (; **s >= '0' && **s <= '9'; (*s)++, digits++) {
        if (digits == 9)
            return false;
        ns = ns * 10 + (**s - '0');
    }
    for (int i = digits; i < 9; i++)
        ns *= 10;
    *ms = (ns + 500000) / 1000000;
    return digits > 0;
}

static bool take_offset(const char **s, int64_t *seconds)
{
    int hour, minute, sign = **s == '-' ? -1 : 1;

    *seconds = 0;
    if (take_char(s, 'Z', 'z'))
        return true;
    if (!take_char(s, '+', '-') || (hour = take_digits(s, 2, 0, 23)) < 0 ||
        !take_char(s, ':', ':') || (minute = take_digits(s, 2, 0, 59)) < 0)
        return false;
    *seconds = sign * (hour * 3600 + minute * 60);
    return true;
}

bool clock_parse_rfc3339(const char *s, wall_ms *out)
{
    int64_t days, seconds, ms, offset;

    if (!take_date(&s, &days) || !take_char(&s, 'T', 't') || !take_time(&s, &seconds) ||
        !take_fraction(&s, &ms) || !take_offset(&s, &offset) || *s != '\0')
        return false;
    out->ms = (days * DAY_S + seconds - offset) * 1000 + ms;
    return true;
}
