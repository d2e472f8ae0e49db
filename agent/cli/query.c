/*
 * `pgvigil query`: PromQL over history.db through a read-only connection of its own, so it works
 * with the daemon down and never disturbs it. The JSON form is Prometheus' answer.
 */
#include <math.h>

#include "cli_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/json.h"
#include "pgvigil/store/history.h"

#define ARENA_MAX       (256u * 1024 * 1024)
#define SAMPLES_MAX     50000000
#define STEP_DEFAULT_MS 60000

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };

struct times {
    bool is_range;
    int64_t at, start, end, step;
};

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "pgvigil: %s: '%s'\n", what, value);
    return EXIT_CODE_USAGE;
}

static bool parse_time(const char *text, int64_t *ms)
{
    double seconds;
    wall_ms wall;
    if (clock_parse_rfc3339(text, &wall)) {
        *ms = wall.ms;
        return true;
    }
    if (!str_parse_double(text, &seconds) || !(fabs(seconds) < 1e12))
        return false;
    *ms = (int64_t)llround(seconds * 1000);
    return true;
}

static bool parse_step(const char *text, int64_t *ms)
{
    double seconds;
    if (str_parse_duration(text, ms))
        return *ms > 0;
    if (!str_parse_double(text, &seconds) || !(seconds >= 0.001 && seconds < 1e9))
        return false;
    *ms = (int64_t)llround(seconds * 1000);
    return true;
}

static int read_times(const struct cli_args *args, struct times *t)
{
    int64_t now = clock_read().wall.ms;
    *t = (struct times){.at = now, .end = now, .step = STEP_DEFAULT_MS};
    t->is_range = args->start != NULL;
    if (args->time != NULL && !parse_time(args->time, &t->at))
        return bad("--time is neither RFC 3339 nor Unix seconds", args->time);
    if (args->start != NULL && !parse_time(args->start, &t->start))
        return bad("--start is neither RFC 3339 nor Unix seconds", args->start);
    if (args->end != NULL && !parse_time(args->end, &t->end))
        return bad("--end is neither RFC 3339 nor Unix seconds", args->end);
    if (args->step != NULL && !parse_step(args->step, &t->step))
        return bad("--step is not a duration like 30s", args->step);
    if (args->start == NULL && (args->end != NULL || args->step != NULL))
        return bad("a range needs", "--start");
    if (t->is_range && t->end < t->start)
        return bad("--end is before --start", args->end != NULL ? args->end : "now");
    return EXIT_CODE_OK;
}

/* ---- printing ---- */

static void add_json(struct buf *out, const struct promql_value *v)
{
    buf_add_str(out, "{\"status\":\"success\",\"data\":");
    promql_print_json(v, out);
    buf_add_str(out, "}\n");
}

static void add_csv_text(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            buf_add_char(out, '"');
        buf_add_char(out, *text);
    }
    buf_add_char(out, '"');
}

/* One row of the table or of the CSV: time, series, value. */
static void add_row(struct buf *out, enum format format, int64_t t, const struct labels *labels,
                    double v)
{
    char time_text[CLOCK_RFC3339_MAX];
    struct buf series;
    buf_init(&series, 64 * 1024);
    if (labels != NULL)
        labels_print(labels, &series);
    clock_format_rfc3339((wall_ms){t}, time_text);
    if (format == FORMAT_CSV) {
        buf_printf(out, "%s,", time_text);
        add_csv_text(out, series.data);
        buf_add_char(out, ',');
    } else {
        buf_printf(out, "%s  %s  ", time_text, series.data);
    }
    buf_add_double(out, v);
    buf_add_char(out, '\n');
    buf_deinit(&series);
}

static void add_rows(struct buf *out, enum format format, const struct promql_value *v)
{
    if (format == FORMAT_CSV)
        buf_add_str(out, "time,series,value\n");
    switch (v->type) {
    case PROMQL_SCALAR:
        add_row(out, format, v->t, NULL, v->scalar);
        break;
    case PROMQL_STRING:
        buf_printf(out, "%s\n", v->string);
        break;
    case PROMQL_VECTOR:
        for (size_t i = 0; i < v->n; i++)
            add_row(out, format, v->t, &v->vector[i].labels, v->vector[i].value);
        break;
    case PROMQL_MATRIX:
        for (size_t i = 0; i < v->n; i++) {
            for (size_t k = 0; k < v->matrix[i].n; k++)
                add_row(out, format, v->matrix[i].points[k].t, &v->matrix[i].labels,
                        v->matrix[i].points[k].v);
        }
        break;
    }
}

/* ---- the work ---- */

static int evaluate(const struct promql_expr *expr, const struct times *t, enum format format,
                    struct reader *reader)
{
    struct promql_limits limits = {.max_samples = SAMPLES_MAX};
    struct promql_value value;
    struct err err = {0};
    struct buf out;
    struct arena *arena = arena_create(0, ARENA_MAX);
    bool ok = t->is_range ? promql_range(expr, reader, t->start, t->end, t->step, &limits, arena,
                                         &value, &err)
                          : promql_instant(expr, reader, t->at, &limits, arena, &value, &err);
    if (ok) {
        buf_init(&out, 512u * 1024 * 1024);
        if (format == FORMAT_JSON)
            add_json(&out, &value);
        else
            add_rows(&out, format, &value);
        ok = buf_ok(&out);
        if (ok)
            fwrite(out.data, 1, out.len, stdout);
        else
            fprintf(stderr, "pgvigil: the answer is too long, ask for less at once\n");
        buf_deinit(&out);
    } else {
        fprintf(stderr, "pgvigil: %s\n", err.text);
    }
    arena_destroy(&arena);
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int open_and_evaluate(const struct cli_args *args, const struct promql_expr *expr,
                             const struct times *t, enum format format)
{
    struct err err = {0};
    char path[1024];
    struct config *config = cli_config(args);
    if (config == NULL)
        return EXIT_CODE_CONFIG;
    snprintf(path, sizeof(path), "%s/history.db", config->state_dir);
    config_unref(&config);
    struct reader *reader = history_reader_open(path, &err);
    if (reader == NULL) {
        fprintf(stderr, "pgvigil: %s\n", err.text);
        return err.kind == ERR_NEWER ? EXIT_CODE_STORE_NEWER : EXIT_CODE_FAILED;
    }
    int rc = evaluate(expr, t, format, reader);
    history_reader_close(&reader);
    return rc;
}

int cli_query(const struct cli_args *args)
{
    static const char *const formats[] = {"table", "json", "csv"};
    enum format format = FORMAT_TABLE;
    struct times t;
    struct promql_error error;
    while (args->output != NULL && format < ARRAY_LEN(formats) &&
           !str_eq(args->output, formats[format]))
        format++;
    if (format == ARRAY_LEN(formats))
        return bad("-o takes table, json or csv here, not", args->output);
    int rc = read_times(args, &t);
    if (rc != EXIT_CODE_OK)
        return rc;
    struct promql_expr *expr = promql_parse(args->positional[0], &error);
    if (expr == NULL) {
        fprintf(stderr, "pgvigil: %s\n", error.text);
        return EXIT_CODE_USAGE;
    }
    rc = open_and_evaluate(args, expr, &t, format);
    promql_destroy(&expr);
    return rc;
}
