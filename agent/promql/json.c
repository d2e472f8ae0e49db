/*
 * json.c: the `data` of an answer. Times are printed by hand: a dashboard asks for a million points
 * and printf would take longer than the evaluation.
 */
#include "promql_private.h"

#include "pgvigil/promql/json.h"

/* Seconds, with exactly three decimals if there is a fraction. */
static void add_time(struct buf *out, int64_t ms)
{
    char text[24], *p = text + sizeof(text);
    uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    unsigned fraction = (unsigned)(rest % 1000);
    rest /= 1000;
    if (fraction != 0) {
        for (int i = 0; i < 3; i++, fraction /= 10)
            *--p = (char)('0' + fraction % 10);
        *--p = '.';
    }
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (ms < 0)
        *--p = '-';
    buf_add(out, p, (size_t)(text + sizeof(text) - p));
}

static void add_point(struct buf *out, int64_t t, double v)
{
    buf_add_char(out, '[');
    add_time(out, t);
    buf_add(out, ",\"", 2);
    buf_add_double(out, v);
    buf_add(out, "\"]", 2);
}

static void add_vector(struct buf *out, const struct promql_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        buf_add_str(out, i > 0 ? ",{\"metric\":" : "{\"metric\":");
        labels_print_json(&v->vector[i].labels, out);
        buf_add_str(out, ",\"value\":");
        add_point(out, v->t, v->vector[i].value);
        buf_add_char(out, '}');
    }
}

static void add_matrix(struct buf *out, const struct promql_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        buf_add_str(out, i > 0 ? ",{\"metric\":" : "{\"metric\":");
        labels_print_json(&v->matrix[i].labels, out);
        buf_add_str(out, ",\"values\":[");
        for (size_t k = 0; k < v->matrix[i].n; k++) {
            if (k > 0)
                buf_add_char(out, ',');
            add_point(out, v->matrix[i].points[k].t, v->matrix[i].points[k].v);
        }
        buf_add_str(out, "]}");
    }
}

void promql_print_json_open(const struct promql_value *v, struct buf *out)
{
    buf_printf(out, "{\"resultType\":\"%s\",\"result\":", promql_type_name(v->type));
    switch (v->type) {
    case PROMQL_SCALAR:
        buf_add_char(out, '[');
        add_time(out, v->t);
        buf_add_str(out, ",\"");
        print_plain(v->scalar, out); /* without an exponent, which only samples have */
        buf_add_str(out, "\"]");
        break;
    case PROMQL_STRING:
        buf_add_char(out, '[');
        add_time(out, v->t);
        buf_add_char(out, ',');
        buf_add_json(out, v->string);
        buf_add_char(out, ']');
        break;
    case PROMQL_VECTOR:
        buf_add_char(out, '[');
        add_vector(out, v);
        buf_add_char(out, ']');
        break;
    case PROMQL_MATRIX:
        buf_add_char(out, '[');
        add_matrix(out, v);
        buf_add_char(out, ']');
        break;
    }
}

void promql_print_json(const struct promql_value *v, struct buf *out)
{
    promql_print_json_open(v, out);
    buf_add_char(out, '}');
}
