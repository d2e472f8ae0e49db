/*
 * Results as promtool prints them, byte by byte, because people compare the two and tools read the
 * lines: labels in Go's quotes, floats with their exponent, lists with a number for each.
 */
#include <inttypes.h>
#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/go_text.h"
#include "rule_test_parts.h"

void print_go_quoted(const char *s, struct buf *out)
{
    size_t n = 4 * strlen(s) + 64; /* a byte becomes four at most: \x00 */
    char *quoted = mem_alloc(n);
    buf_add_str(out, go_quote(s, quoted, n));
    mem_free(quoted);
}

static void print_labels(const struct labels *labels, struct buf *out)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < labels->n; i++) {
        buf_printf(out, "%s%s=", i > 0 ? ", " : "", labels->v[i].name);
        print_go_quoted(labels->v[i].value, out);
    }
    buf_add_char(out, '}');
}

/* Go's FormatFloat(v, 'E', -1, 64): the shortest that reads back. */
static void print_float(double v, struct buf *out)
{
    char text[40];
    double back = 0;
    int digits = 0;
    if (isnan(v) || isinf(v)) {
        buf_add_str(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    do {
        snprintf(text, sizeof(text), "%.*E", digits, v);
    } while ((!str_parse_double(text, &back) || back != v) && ++digits < 17);
    buf_add_str(out, text);
}

void print_samples(const struct shown_samples *samples, struct buf *out)
{
    if (samples->n == 0)
        buf_add_str(out, "nil");
    for (size_t i = 0; i < samples->n; i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        print_labels(&samples->v[i].labels, out);
        buf_add_char(out, ' ');
        print_float(samples->v[i].value, out);
    }
}

void print_alerts(const struct shown_alerts *alerts, struct buf *out)
{
    if (alerts->n == 0) {
        buf_add_str(out, "[]");
        return;
    }
    buf_add_char(out, '[');
    for (size_t i = 0; i < alerts->n; i++) {
        buf_printf(out, "%s\n            %zu:\n              Labels:", i > 0 ? "," : "", i);
        print_labels(&alerts->v[i].labels, out);
        buf_add_str(out, "\n              Annotations:");
        print_labels(&alerts->v[i].annotations, out);
    }
    buf_add_str(out, "\n            ]");
}

void print_go_duration(int64_t ms, struct buf *out)
{
    int64_t hours = ms / 3600000, minutes = ms / 60000 % 60, rest = ms % 60000;
    if (ms > 0 && ms < 1000) {
        buf_printf(out, "%" PRId64 "ms", ms);
        return;
    }
    if (hours > 0)
        buf_printf(out, "%" PRId64 "h", hours);
    if (hours > 0 || minutes > 0)
        buf_printf(out, "%" PRId64 "m", minutes);
    buf_add_double(out, (double)rest / 1000);
    buf_add_char(out, 's');
}
