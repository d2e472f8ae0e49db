/*
 * template_layout.c: a point in time by a layout of Go's: an example date in which each known piece
 * stands for itself. The longest piece that fits at a place wins; what is none, is text.
 */
#include "template_private.h"

#define DAY_S      86400
#define FRACTION_9 9 /* Go's fractions have at most nine digits */

const char *const tpl_months[] = {"January",   "February", "March",    "April",
                                  "May",       "June",     "July",     "August",
                                  "September", "October",  "November", "December"};
const char *const tpl_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                "Thursday", "Friday", "Saturday"};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970 to a date, by eras of 400 years that begin in March (proleptic Gregorian). */
static void date_of(int64_t day, struct tpl_moment *m)
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

struct tpl_moment tpl_moment_of(int64_t ms)
{
    struct tpl_moment m = {0};
    int64_t s = floor_div(ms, 1000), day = floor_div(s, DAY_S);
    int of_day = (int)(s - day * DAY_S);
    date_of(day, &m);
    m.nanos = (int)(ms - s * 1000) * 1000000;
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

static void add_day_piece(enum piece piece, const struct tpl_moment *m, struct buf *out)
{
    switch (piece) {
    case PIECE_DAY_NAME:
        buf_add_str(out, tpl_days[m->weekday]);
        break;
    case PIECE_DAY_SHORT:
        buf_add(out, tpl_days[m->weekday], 3);
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

static void add_month_piece(enum piece piece, const struct tpl_moment *m, struct buf *out)
{
    switch (piece) {
    case PIECE_MONTH:
        buf_add_str(out, tpl_months[m->month - 1]);
        break;
    case PIECE_MONTH_SHORT:
        buf_add(out, tpl_months[m->month - 1], 3);
        break;
    case PIECE_MONTH_1:
        buf_printf(out, "%d", m->month);
        break;
    default:
        buf_printf(out, "%02d", m->month);
        break;
    }
}

static void add_clock_piece(enum piece piece, const struct tpl_moment *m, struct buf *out)
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

static void add_piece(enum piece piece, const struct tpl_moment *m, struct buf *out)
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
static size_t add_fraction(const char *s, size_t n, const struct tpl_moment *m, struct buf *out)
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

void tpl_add_layout(const char *s, size_t n, const struct tpl_moment *m, struct buf *out)
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
