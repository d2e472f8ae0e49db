/*
 * query_print.c: results in columns.
 *
 * A table begins with the series, since it is what one looks for; an instant result is one line for
 * each, with the values below each other; a range is a series with its points below it. A line is
 * not wider than the terminal as long as its series is not. CSV has a column for each label that
 * any of the series has, as spreadsheets and data frames want it.
 */
#include "query_print.h"

#include <math.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/labels.h"

#define SERIES_MAX  (64 * 1024)
#define COLUMNS_MAX 10000 /* labels of all series together */

void query_print_notes(const json_t *root)
{
    static const char *const kinds[][2] = {{"warnings", "warning"}, {"infos", "info"}};
    const json_t *text;
    size_t at;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        json_array_foreach(json_object_get(root, kinds[i][0]), at, text)
        {
            fprintf(stderr, "pgvigil: %s: %s\n", kinds[i][1], json_string_value(text));
        }
    }
}

/* ---- samples ---- */

static const char *time_of(const json_t *point, char out[CLOCK_RFC3339_MAX])
{
    double seconds = json_number_value(json_array_get(point, 0));
    return clock_format_rfc3339((wall_ms){llround(seconds * 1000)}, out);
}

static const char *value_of(const json_t *point)
{
    const char *value = json_string_value(json_array_get(point, 1));
    return value != NULL ? value : "";
}

/* name{a="b"}; `{}` for a series without labels. */
static void add_series(const json_t *metric, struct buf *out)
{
    struct label labels[LABELS_MAX + 2];
    struct labels set = {0, labels};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metric, name, value)
    {
        if (set.n < ARRAY_LEN(labels))
            labels[set.n++] = (struct label){name, json_string_value(value)};
    }
    set.n = labels_sort(labels, set.n);
    labels_print(&set, out);
}

/* ---- table ---- */

/* Columns of the terminal; 0 = no terminal, nothing to keep to. */
static size_t terminal_width(void)
{
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return known ? size.ws_col : 0;
}

/* Characters, not bytes. */
static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static const json_t *point_of(const json_t *result, size_t i)
{
    return json_object_get(json_array_get(result, i), "value");
}

/* The column at which values begin: behind the longest series that leaves room for the values. */
static size_t value_column(char *const *series, const json_t *result)
{
    size_t width = terminal_width(), values = 0, column = 2;
    for (size_t i = 0; i < json_array_size(result); i++)
        if (width_of(value_of(point_of(result, i))) > values)
            values = width_of(value_of(point_of(result, i)));
    for (size_t i = 0; i < json_array_size(result); i++) {
        size_t wanted = width_of(series[i]) + 2;
        if ((width == 0 || wanted + values <= width) && wanted > column)
            column = wanted;
    }
    return column;
}

static void print_vector(const json_t *result)
{
    size_t n = json_array_size(result);
    char **series = mem_alloc_array(n + 1, sizeof(*series));
    for (size_t i = 0; i < n; i++) {
        struct buf text;
        buf_init(&text, SERIES_MAX);
        add_series(json_object_get(json_array_get(result, i), "metric"), &text);
        series[i] = buf_take(&text, NULL);
        buf_deinit(&text);
    }
    size_t column = value_column(series, result);
    for (size_t i = 0; i < n; i++) {
        size_t width = width_of(series[i]);
        bool fits = width + 2 <= column;
        printf("%s%s%*s%s\n", series[i], fits ? "" : "\n", (int)(fits ? column - width : column),
               "", value_of(point_of(result, i)));
        mem_free(series[i]);
    }
    mem_free(series);
}

static void print_matrix(const json_t *result)
{
    char text[CLOCK_RFC3339_MAX];
    const json_t *row, *point;
    size_t i, k;
    struct buf series;
    buf_init(&series, SERIES_MAX);
    json_array_foreach(result, i, row)
    {
        buf_clear(&series);
        add_series(json_object_get(row, "metric"), &series);
        printf("%s%s\n", i > 0 ? "\n" : "", series.data);
        json_array_foreach(json_object_get(row, "values"), k, point)
        {
            printf("  %s  %s\n", time_of(point, text), value_of(point));
        }
    }
    buf_deinit(&series);
}

/* ---- CSV ---- */

static void print_cell(const char *text)
{
    if (text[strcspn(text, ",\"\r\n")] == '\0') {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Label names of all series, sorted, each once; `__name__` sorts before letters by itself. */
static size_t columns_of(const json_t *result, const char **names)
{
    const json_t *row;
    const char *name;
    json_t *value;
    size_t i, n = 0;
    json_array_foreach(result, i, row)
    {
        json_object_foreach(json_object_get(row, "metric"), name, value)
        {
            bool known = false;
            for (size_t k = 0; k < n && !known; k++)
                known = str_eq(names[k], name);
            if (!known && n < COLUMNS_MAX)
                names[n++] = name;
        }
    }
    qsort(names, n, sizeof(*names), by_name);
    return n;
}

static void print_csv_row(const json_t *metric, const json_t *point, const char *const *names,
                          size_t n)
{
    char text[CLOCK_RFC3339_MAX];
    fputs(time_of(point, text), stdout);
    for (size_t i = 0; i < n; i++) {
        const char *value = json_string_value(json_object_get(metric, names[i]));
        putchar(',');
        print_cell(value != NULL ? value : "");
    }
    putchar(',');
    print_cell(value_of(point));
    putchar('\n');
}

static void print_csv(const json_t *result, bool is_list)
{
    const char **names = mem_alloc_array(COLUMNS_MAX, sizeof(*names));
    const json_t *row, *point;
    size_t i, k, n = is_list ? columns_of(result, names) : 0;
    fputs("time", stdout);
    for (i = 0; i < n; i++) {
        putchar(',');
        print_cell(names[i]);
    }
    puts(",value");
    if (!is_list)
        print_csv_row(NULL, result, names, 0);
    for (i = 0; is_list && i < json_array_size(result); i++) {
        row = json_array_get(result, i);
        if (json_object_get(row, "value") != NULL)
            print_csv_row(json_object_get(row, "metric"), json_object_get(row, "value"), names, n);
        json_array_foreach(json_object_get(row, "values"), k, point)
        {
            print_csv_row(json_object_get(row, "metric"), point, names, n);
        }
    }
    mem_free(names);
}

void query_print(const json_t *data, enum query_format format)
{
    const char *type = json_string_value(json_object_get(data, "resultType"));
    const json_t *result = json_object_get(data, "result");
    bool is_vector = type != NULL && str_eq(type, "vector");
    bool is_matrix = type != NULL && str_eq(type, "matrix");
    if (format == QUERY_FORMAT_CSV)
        print_csv(result, is_vector || is_matrix);
    else if (is_vector)
        print_vector(result);
    else if (is_matrix)
        print_matrix(result);
    else
        printf("%s\n", value_of(result));
}
