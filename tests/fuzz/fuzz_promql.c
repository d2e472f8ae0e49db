/*
 * Any bytes as an expression: an error has a place and a text, a tree evaluates to a result that
 * is in order, or to an error, within the limits, over nothing and over a few series.
 */
#include "promql_check.h"

#define SAMPLES_MAX 20000
#define ARENA_MAX   ((size_t)64 << 20)

static const char load[] = "m{a=\"x\",b=\"1\"} 0+1x20 stale _ 5x3\n"
                           "m{a=\"y\",b=\"2\"} 5 4 3 2 1 NaN Inf -Inf 1e300 2x20\n"
                           "n{a=\"x\"} 1x30\n"
                           "n{a=\"z\"} 2x30\n"
                           "h_bucket{le=\"1\"} 0+1x30\n"
                           "h_bucket{le=\"2\"} 0+3x30\n"
                           "h_bucket{le=\"+Inf\"} 0+4x30\n";

static void evaluate(const struct promql_expr *expr, struct mem_reader *mr)
{
    const struct promql_limits limits = {.max_samples = SAMPLES_MAX};
    struct arena *arena = arena_create(0, ARENA_MAX);
    struct promql_value value;
    struct err err = {0};

    if (promql_instant(expr, &mr->reader, 900000, &limits, arena, &value, &err))
        check_value(&value, false);
    else
        check_error(&err);
    require(arena_used(arena) < 4 * ARENA_MAX);
    arena_reset(arena);
    err = (struct err){0};
    if (promql_range(expr, &mr->reader, 0, 1800000, 90000, &limits, arena, &value, &err))
        check_value(&value, true);
    else
        check_error(&err);
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
