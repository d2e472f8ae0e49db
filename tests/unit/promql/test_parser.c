/* Shapes of trees, Prometheus' error texts with their places, and limits. */
#include "../../../agent/promql/promql_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"

/* ---- shapes: every operator in its own parentheses ---- */

static void dump(const struct node *node, struct buf *out);

static void dump_modifiers(const struct modifiers *mods, struct buf *out)
{
    if (mods->has_offset)
        buf_printf(out, " offset %lld", (long long)mods->offset.ms);
    if (mods->at != AT_NONE)
        buf_printf(out, " @ %lld",
                   mods->at == AT_TIME ? (long long)mods->at_ms : -(long long)mods->at);
}

static void dump_selector(const struct node *node, struct buf *out)
{
    static const char *const ops[] = {"=", "!=", "=~", "!~"};

    buf_add_char(out, '{');
    for (size_t i = 0; i < node->selector.matcher_count; i++) {
        const struct matcher *m = &node->selector.matchers[i];

        buf_printf(out, "%s%s%s%s", i > 0 ? "," : "", m->name, ops[m->op], m->value);
    }
    buf_add_char(out, '}');
    if (node->selector.has_range)
        buf_printf(out, "[%lld]", (long long)node->selector.range.ms);
    dump_modifiers(&node->selector.mods, out);
}

static void dump_list(const char *word, const struct label_list *list, struct buf *out)
{
    buf_printf(out, " %s(", word);
    for (size_t i = 0; i < list->n; i++)
        buf_printf(out, "%s%s", i > 0 ? "," : "", list->names[i]);
    buf_add_char(out, ')');
}

static void dump_binary(const struct node *node, struct buf *out)
{
    const struct matching *m = &node->binary.matching;

    buf_add_char(out, '(');
    dump(node->binary.lhs, out);
    buf_printf(out, " %s%s", op_name(node->binary.op), node->binary.is_bool ? " bool" : "");
    if (m->given)
        dump_list(m->on ? "on" : "ignoring", &m->labels, out);
    if (m->card != CARD_ONE_TO_ONE)
        dump_list(m->card == CARD_MANY_TO_ONE ? "group_left" : "group_right", &m->include, out);
    buf_add_char(out, ' ');
    dump(node->binary.rhs, out);
    buf_add_char(out, ')');
}

static void dump_call(const struct node *node, struct buf *out)
{
    buf_printf(out, "%s(", node->call.fn->name);
    for (size_t i = 0; i < node->call.n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        dump(node->call.args[i], out);
    }
    buf_add_char(out, ')');
}

static void dump_aggregate(const struct node *node, struct buf *out)
{
    buf_printf(out, "aggr%d", (int)node->aggregate.op);
    dump_list(node->aggregate.without ? "without" : "by", &node->aggregate.labels, out);
    buf_add_char(out, '(');
    if (node->aggregate.param) {
        dump(node->aggregate.param, out);
        buf_add_char(out, ',');
    }
    dump(node->aggregate.child, out);
    buf_add_char(out, ')');
}

static void dump(const struct node *node, struct buf *out)
{
    switch (node->kind) {
    case NODE_NUMBER:
        buf_add_double(out, node->number);
        break;
    case NODE_STRING:
        buf_printf(out, "'%s'", node->string);
        break;
    case NODE_SELECTOR:
        dump_selector(node, out);
        break;
    case NODE_SUBQUERY:
        dump(node->subquery.child, out);
        buf_printf(out, "[%lld:%lld]", (long long)node->subquery.range.ms,
                   (long long)node->subquery.step.ms);
        dump_modifiers(&node->subquery.mods, out);
        break;
    case NODE_UNARY:
        buf_printf(out, "(%s", op_name(node->unary.op));
        dump(node->unary.child, out);
        buf_add_char(out, ')');
        break;
    case NODE_BINARY:
        dump_binary(node, out);
        break;
    case NODE_AGGREGATE:
        dump_aggregate(node, out);
        break;
    case NODE_CALL:
        dump_call(node, out);
        break;
    }
}

static const struct {
    const char *text, *shape;
} shape_cases[] = {
    {"1 + 2 * 3 ^ 2 ^ 2", "(1 + (2 * (3 ^ (2 ^ 2))))"},
    {"1 - 2 - 3", "((1 - 2) - 3)"},
    {"-x ^ 2", "(-({__name__=x} ^ 2))"},
    {"-x * 2", "((-{__name__=x}) * 2)"},
    {"2 ^ -x * 3", "((2 ^ (-{__name__=x})) * 3)"},
    {"a or b and c unless d", "({__name__=a} or (({__name__=b} and {__name__=c}) unless "
                              "{__name__=d}))"},
    {"1 + 1 > bool 2 == bool 3", "(((1 + 1) > bool 2) == bool 3)"},
    {"a atan2 b", "({__name__=a} atan2 {__name__=b})"},
    {"m offset 2 ^ 2", "({__name__=m} offset 2000 ^ 2)"},
    {"m offset -1h @ 10", "{__name__=m} offset -3600000 @ 10000"},
    {"m @ 1m40s offset 5m", "{__name__=m} offset 300000 @ 100000"},
    {"m @ start()", "{__name__=m} @ -2"},
    {"m[300] @ end()", "{__name__=m}[300000] @ -3"},
    {"sum(m)[1h:]", "aggr0 by()({__name__=m})[3600000:0]"},
    {"m{a=\"b\",c!='d',e=~`f`,g!~\"h\",}", "{__name__=m,a=b,c!=d,e=~f,g!~h}"},
    {"{\"my.metric\", \"a.b\"=\"c\"}", "{__name__=my.metric,a.b=c}"},
    {"sum by (a, by) (x)", "aggr0 by(a,by)({__name__=x})"},
    {"topk without () (3, x)", "aggr8 without()(3,{__name__=x})"},
    {"SUM(x) WITHOUT (a,)", "aggr0 without(a)({__name__=x})"},
    {"a + on(x) group_left(y) b", "({__name__=a} + on(x) group_left(y) {__name__=b})"},
    {"a == bool ignoring(x, y) group_right b",
     "({__name__=a} == bool ignoring(x,y) group_right() {__name__=b})"},
    {"sum + by", "({__name__=sum} + {__name__=by})"},
    {"rate(x[5m])", "rate({__name__=x}[300000])"},
    {"hour()", "hour()"},
    {"1h", "3600"},
    {"(((x)))", "{__name__=x}"},
    {"'s'", "'s'"},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shape_cases); i++) {
        struct promql_error err = {0};
        struct promql_expr *expr = promql_parse(shape_cases[i].text, &err);
        struct buf got;

        if (!expr)
            fail_msg("%s: %s", shape_cases[i].text, err.text);
        buf_init(&got, 4096);
        dump(expr->root, &got);
        assert_string_equal(got.data, shape_cases[i].shape);
        buf_deinit(&got);
        promql_destroy(&expr);
        assert_null(expr);
    }
}

/* ---- errors ---- */

static const struct {
    const char *text, *error;
} error_cases[] = {
    {"", "1:1: parse error: no expression found in input"},
    {"# x\n", "1:1: parse error: no expression found in input"},
    {"1+", "1:3: parse error: unexpected end of input"},
    {"*1", "1:1: parse error: unexpected <op:*>"},
    {"a\n +\n  )", "3:4: parse error: unexpected right parenthesis ')'"},
    {"((1)", "1:5: parse error: unclosed left parenthesis"},
    {"a b", "1:3: parse error: unexpected identifier \"b\""},
    {"foo, bar", "1:4: parse error: unexpected \",\""},
    {"bool", "1:1: parse error: unexpected <bool>"},
    {"1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"},
    {"1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"},
    {"foo + bool bar", "1:5: parse error: bool modifier can only be used on comparison operators"},
    {"-\"s\"", "1:1: parse error: unary expression only allowed on expressions of type scalar or "
               "instant vector, got \"string\""},
    {"-test[5m]", "1:1: parse error: unary expression only allowed on expressions of type scalar "
                  "or instant vector, got \"range vector\""},
    {"foo[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant "
                    "vector types"},
    {"1 + foo[5m]", "1:5: parse error: binary expression must contain only scalar and instant "
                    "vector types"},
    {"1 offset 1d", "1:1: parse error: offset modifier must be preceded by an instant vector "
                    "selector or range vector selector or a subquery"},
    {"sum(foo) offset 5m", "1:1: parse error: offset modifier must be preceded by an instant "
                           "vector selector or range vector selector or a subquery"},
    {"foo offset 1s offset 2s", "1:1: parse error: offset may not be set multiple times"},
    {"foo offset", "1:11: parse error: unexpected end of input in offset, expected number or "
                   "duration"},
    {"1 @ 5", "1:1: parse error: @ modifier must be preceded by an instant vector selector or "
              "range vector selector or a subquery"},
    {"foo @ 5 @ 6", "1:1: parse error: @ <timestamp> may not be set multiple times"},
    {"foo @", "1:6: parse error: unexpected end of input in @, expected timestamp"},
    {"foo @ bar", "1:7: parse error: unexpected identifier \"bar\" in @, expected timestamp"},
    {"foo @ start", "1:12: parse error: unexpected end of input in @, expected timestamp"},
    {"a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"},
    {"foo + group_left(baz) bar", "1:7: parse error: unexpected <group_left>"},
    {"foo or on(bar) group_left(baz) bar",
     "1:1: parse error: no grouping allowed for \"or\" operation"},
    {"foo == on(bar) 10", "1:1: parse error: vector matching only allowed between instant vectors"},
    {"foo + on(i) group_left(i) bar",
     "1:5: parse error: label \"i\" must not occur in ON and GROUP clause at once"},
    {"foo{gibberish}",
     "1:14: parse error: unexpected \"}\" in label matching, expected label matching operator"},
    {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
    {"{a=~\".*\"}",
     "1:1: parse error: vector selector must contain at least one non-empty matcher"},
    {"{a!=\"x\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
    {"foo{__name__=\"bar\"}",
     "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""},
    {"foo{,}",
     "1:5: parse error: unexpected \",\" in label matching, expected identifier or \"}\""},
    {"foo{a == \"bar\"}", "1:8: parse error: unexpected \"=\" in label matching, expected string"},
    {"foo{a=\"b\" c=\"d\"}", "1:11: parse error: unexpected identifier \"c\" in label matching, "
                             "expected \",\" or \"}\""},
    {"foo{a=~\"(?=x)\"}",
     "1:5: parse error: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
    {"foo{a=~\"(a)\\\\1\"}",
     "1:5: parse error: error parsing regexp: invalid escape sequence: `\\1`"},
    {"foo[0m]", "1:5: parse error: duration must be greater than 0"},
    {"foo[5m", "1:7: parse error: unclosed left bracket"},
    {"foo[-5m]", "1:5: parse error: duration must be greater than 0"},
    {"foo[300y]", "1:5: parse error: duration out of range"},
    {"foo offset 10000000000", "1:12: parse error: duration out of range"},
    {"1 + 3000y", "1:5: parse error: duration out of range"},
    {"foo[5m * 2]x", "1:12: parse error: unexpected identifier \"x\""},
    {"foo[5m:0s]", "1:8: parse error: duration must be greater than 0"},
    {"(foo + bar)[5m]", "1:12: parse error: ranges only allowed for vector selectors"},
    {"foo[5m][5m]", "1:8: parse error: ranges only allowed for vector selectors"},
    {"foo offset 1m [5m]", "1:15: parse error: no offset modifiers allowed before range"},
    {"foo @ 1 [5m]", "1:9: parse error: no @ modifiers allowed before range"},
    {"(1)[5m:1m]",
     "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"},
    {"sum x by (test)", "1:5: parse error: unexpected identifier \"x\""},
    {"sum by (a)", "1:11: parse error: unexpected end of input in aggregation"},
    {"sum by", "1:7: parse error: unexpected end of input in grouping opts, expected \"(\""},
    {"sum without(==)(x)",
     "1:13: parse error: unexpected <op:==> in grouping opts, expected label"},
    {"sum by (a b) (x)", "1:11: parse error: unexpected identifier \"b\" in grouping opts, "
                         "expected \",\" or \")\""},
    {"sum()", "1:1: parse error: no arguments for aggregate expression provided"},
    {"sum(x) without (a) by (b)", "1:20: parse error: unexpected <by>"},
    {"topk(x)", "1:1: parse error: wrong number of arguments for aggregate expression provided, "
                "expected 2, got 1"},
    {"topk(x, y)",
     "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"},
    {"count_values(5, y)",
     "1:14: parse error: expected type string in aggregation parameter, got scalar"},
    {"sum(1)",
     "1:5: parse error: expected type instant vector in aggregation expression, got scalar"},
    {"rate(x)", "1:6: parse error: expected type range vector in call to function \"rate\", got "
                "instant vector"},
    {"rate(x[5m],)", "1:11: parse error: trailing commas not allowed in function call args"},
    {"floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"},
    {"hour(a,b)", "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 2"},
    {"label_join(a)",
     "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1"},
    {"nonesuch()", "1:1: parse error: unknown function with name \"nonesuch\""},
    {"\"bad \\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"},
    {"\"\\é\"", "1:1: parse error: unknown escape sequence U+00E9 'é'"},
    {"\"\\xzz\"", "1:1: parse error: illegal character U+007A 'z' in escape sequence"},
    {"\"\\x4\"", "1:1: parse error: illegal character U+0022 '\"' in escape sequence"},
    {"\"\\18\"", "1:1: parse error: illegal character U+0038 '8' in escape sequence"},
    {"\"\\u12\"", "1:1: parse error: illegal character U+0022 '\"' in escape sequence"},
    {"\"\\477\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
    {"\"\\uD800\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
    {"\"\\UFFFFFFFF\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
    {"\"\\x00\"", "1:1: parse error: strings with a NUL character are not supported"},
    {"\"a\xff\"", "1:1: parse error: invalid UTF-8 rune"},
    {"`a\xc3`", "1:1: parse error: invalid UTF-8 rune"},
    {"\"\\\xff\"", "1:1: parse error: invalid UTF-8 rune"},
    {"a \"x\"", "1:3: parse error: unexpected string \"\\\"x\\\"\""},
    {"a 'x\"y'", "1:3: parse error: unexpected string \"'x\\\"y'\""},
    {"a \"éxxxxxxxxxxxx\"", "1:3: parse error: unexpected string \"\\\"éxxxxxxxx\"..."},
    /* A syntax error is told before a type error that stands to its left. */
    {"rate(x) + (", "1:12: parse error: unclosed left parenthesis"},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(error_cases); i++) {
        struct promql_error err = {0};
        struct promql_expr *expr = promql_parse(error_cases[i].text, &err);

        if (expr)
            fail_msg("%s: taken", error_cases[i].text);
        if (strcmp(err.text, error_cases[i].error) != 0)
            fail_msg("%s\n  wanted: %s\n  got:    %s", error_cases[i].text, error_cases[i].error,
                     err.text);
        assert_true(err.line >= 1 && err.col >= 1);
    }
}

static void test_error_place(void **state)
{
    struct promql_error err = {0};

    (void)state;
    assert_null(promql_parse("a +\n  b c", &err));
    assert_int_equal(err.line, 2);
    assert_int_equal(err.col, 5);
}

/* ---- limits ---- */

static char *repeat(const char *first, const char *more, size_t times, const char *last)
{
    struct buf text;

    buf_init(&text, (size_t)16 << 20);
    buf_add_str(&text, first);
    for (size_t i = 0; i < times; i++)
        buf_add_str(&text, more);
    buf_add_str(&text, last);
    return buf_take(&text, NULL);
}

static const struct {
    const char *first, *more;
    size_t times;
    const char *last, *error; /* part of it; NULL = accepted */
} limit_cases[] = {
    {"1", "+1", 100000, "", "longer than 8192 bytes"},
    {"", "(", 100000, "", "longer than 8192 bytes"},
    {"x", "x", 1000000, "", "longer than 8192 bytes"},
    {"", "(", 8000, "", "nested deeper than 64 levels"},
    {"", "-", 8000, "x", "nested deeper than 64 levels"},
    {"2", "^2", 4000, "", "nested deeper than 64 levels"},
    {"", "abs(", 2000, "", "nested deeper than 64 levels"},
    {"", "sum by (a) (", 600, "", "nested deeper than 64 levels"},
    {"", "(", 63, "x", "unclosed left parenthesis"},
    {"", "(", 64, "x", "nested deeper than 64 levels"},
    /* Left-growing chains are not deep. */
    {"x", "+x", 4000, "", NULL},
    {"x", " or x", 1600, "", NULL},
    {"x{", "a=\"b\",", 1200, "}", NULL},
    {"sum by (", "a,", 4000, "b) (x)", NULL},
};

static void test_limits(void **state)
{
    uint64_t start = clock_stage_ns();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limit_cases); i++) {
        struct promql_error err = {0};
        char *text = repeat(limit_cases[i].first, limit_cases[i].more, limit_cases[i].times,
                            limit_cases[i].last);
        struct promql_expr *expr = promql_parse(text, &err);

        if (!limit_cases[i].error && !expr)
            fail_msg("%.20s...: %s", text, err.text);
        if (limit_cases[i].error && (expr || !strstr(err.text, limit_cases[i].error)))
            fail_msg("%.20s...: %s", text, expr ? "taken" : err.text);
        promql_destroy(&expr);
        mem_free(text);
    }
    /* Generous for sanitizers on a busy machine; a quadratic parser would need minutes. */
    assert_true(clock_stage_ns() - start < UINT64_C(5000000000));
}

static void add_name(const char *name, void *arg)
{
    buf_printf(arg, "%s ", name);
}

static void test_each_metric(void **state)
{
    struct promql_error err;
    struct promql_expr *expr =
        promql_parse("a + rate({__name__=\"b\"}[5m]) or {__name__=~\"c.*\"} or sum(d)", &err);
    struct buf got;

    (void)state;
    assert_non_null(expr);
    buf_init(&got, 1024);
    promql_each_metric(expr, add_name, &got);
    assert_string_equal(got.data, "d b a ");
    assert_int_equal(promql_type(expr), PROMQL_VECTOR);
    assert_string_equal(promql_type_name(PROMQL_MATRIX), "matrix");
    buf_deinit(&got);
    promql_destroy(&expr);
    promql_destroy(&expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_place), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_each_metric),
    };

    return cmocka_run_group_tests_name("parser", tests, NULL, NULL);
}
