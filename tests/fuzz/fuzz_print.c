/*
 * Any bytes as an expression: what parses is printed, in both forms, as a text that parses to the
 * same: printing that gives the same texts, and the tree is JSON. Only the parser's limits (length,
 * depth, range of a number) may refuse a printed text, which is longer than what was written.
 */
#include <jansson.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void print_fn(const struct promql_expr *expr, struct buf *out);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static char *print_with(print_fn *print, const struct promql_expr *expr)
{
    struct buf out;
    buf_init(&out, (size_t)64 << 20);
    print(expr, &out);
    require(buf_ok(&out));
    char *text = buf_take(&out, NULL);
    buf_deinit(&out);
    return text;
}

static void check_tree(const struct promql_expr *expr)
{
    char *text = print_with(promql_print_tree, expr);
    json_t *root = json_loads(text, JSON_ALLOW_NUL, NULL);
    /* jansson stops at 2048 levels, a chain of operators may be deeper */
    require(root != NULL || strlen(text) > 100000);
    json_decref(root);
    mem_free(text);
}

static void check_again(print_fn *print, const char *text)
{
    struct promql_error err;
    struct promql_expr *expr = promql_parse(text, &err);
    if (expr == NULL) {
        require(strlen(text) > PROMQL_LENGTH_MAX || strstr(err.text, "nested deeper") != NULL);
        return;
    }
    char *again = print_with(print, expr);
    require(str_eq(text, again));
    mem_free(again);
    promql_destroy(&expr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static print_fn *const forms[] = {promql_print, promql_print_pretty};
    struct promql_error err;
    char *text = mem_strndup((const char *)data, size);
    struct promql_expr *expr = promql_parse(text, &err);
    mem_free(text);
    if (expr == NULL)
        return 0;
    check_tree(expr);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char *printed = print_with(forms[i], expr);
        check_again(forms[i], printed);
        mem_free(printed);
    }
    promql_destroy(&expr);
    return 0;
}
