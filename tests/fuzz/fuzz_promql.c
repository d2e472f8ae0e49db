/*
 * Any bytes as an expression: an error has a place and a text, a tree evaluates to a result that
 * is in order, or to an error, within the limits, over nothing and over a few series.
 */
#include "../unit/promql/mem_reader.h"
#include "pgvigil/promql/promql.h"

#define SAMPLES_MAX 20000
#define ARENA_MAX   ((size_t)64 << 20)

static const char load[] = "m{a=\"x\",b=\"1\"} 0+1x20 stale _ 5x3\n"
                           "m{a=\"y\",b=\"2\"} 5 4 3 2 1 NaN Inf -Inf 1e300 2x20\n"
                           "n{a=\"x\"} 1x30\n"
                           "n{a=\"z\"} 2x30\n"
                           "h_bucket{le=\"1\"} 0+1x30\n"
                           "h_bucket{le=\"2\"} 0+3x30\n"
                           "h_bucket{le=\"+Inf\"} 0+4x30\n";

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void check_labels(const struct labels *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        require(ls->v[i].name[0] != '\0' && ls->v[i].value[0] != '\0');
        require(i == 0 || strcmp(ls->v[i - 1].name, ls->v[i].name) < 0);
    }
}

static void check_matrix(const struct promql_value *v, bool sorted)
{
    for (size_t i = 0; i < v->n; i++) {
        check_labels(&v->matrix[i].labels);
        require(v->matrix[i].n > 0);
        for (size_t k = 1; k < v->matrix[i].n; k++)
            require(v->matrix[i].points[k - 1].t < v->matrix[i].points[k].t);
        require(!sorted || i == 0 ||
                labels_compare(&v->matrix[i - 1].labels, &v->matrix[i].labels) < 0);
    }
}

static void check_value(const struct promql_value *v, bool is_range)
{
    require(!is_range || v->type == PROMQL_MATRIX);
    if (v->type == PROMQL_MATRIX)
        check_matrix(v, true);
    for (size_t i = 0; v->type == PROMQL_VECTOR && i < v->n; i++) {
        check_labels(&v->vector[i].labels);
        require(!point_is_stale(v->vector[i].value));
    }
    if (v->type == PROMQL_STRING)
        require(v->string != NULL);
}

static void evaluate(const struct promql_expr *expr, struct mem_reader *mr)
{
    const struct promql_limits limits = {.max_samples = SAMPLES_MAX};
    struct arena *arena = arena_create(0, ARENA_MAX);
    struct promql_value value;
    struct err err = {0};

    if (promql_instant(expr, &mr->reader, 900000, &limits, arena, &value, &err))
        check_value(&value, false);
    else
        require(err.kind != ERR_NONE && err.text[0] != '\0');
    require(arena_used(arena) < 4 * ARENA_MAX);
    arena_reset(arena);
    err = (struct err){0};
    if (promql_range(expr, &mr->reader, 0, 1800000, 90000, &limits, arena, &value, &err))
        check_value(&value, true);
    else
        require(err.kind != ERR_NONE && err.text[0] != '\0');
    arena_destroy(&arena);
}

static void ignore_name(const char *name, void *arg)
{
    require(name != NULL && arg == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct promql_error err = {0};
    char *text = mem_alloc(size + 1);
    struct promql_expr *expr;
    struct mem_reader empty, small;

    memcpy(text, data, size);
    expr = promql_parse(text, &err);
    mem_free(text);
    if (!expr) {
        require(err.line >= 1 && err.col >= 1 && err.text[0] != '\0');
        return 0;
    }
    promql_each_metric(expr, ignore_name, NULL);
    mem_reader_init(&empty);
    mem_reader_init(&small);
    mem_reader_load(&small, 60000, load);
    evaluate(expr, &empty);
    evaluate(expr, &small);
    mem_reader_deinit(&empty);
    mem_reader_deinit(&small);
    promql_destroy(&expr);
    return 0;
}
