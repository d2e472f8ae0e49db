/* Expressions as text: the words of Prometheus, lines, the tree as JSON, and the way back. */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/print.h"

#define TEXT_MAX ((size_t)1 << 20)

typedef void print_fn(const struct promql_expr *expr, struct buf *out);

/* mem_free; NULL if it does not parse. */
static char *printed(const char *text, print_fn *print)
{
    struct promql_error err;
    struct promql_expr *expr = promql_parse(text, &err);
    struct buf out;
    if (expr == NULL)
        return NULL;
    buf_init(&out, TEXT_MAX);
    print(expr, &out);
    assert_true(buf_ok(&out));
    promql_destroy(&expr);
    char *data = buf_take(&out, NULL);
    buf_deinit(&out);
    return data;
}

static void expect(const char *text, print_fn *print, const char *want)
{
    char *got = printed(text, print);
    if (got == NULL || !str_eq(got, want))
        fail_msg("%s\n  gives  %s\n  wanted %s", text, got != NULL ? got : "an error", want);
    mem_free(got);
}

/* ---- one line; all but those marked "v3" are also what Prometheus 2.42 says ---- */

static const struct {
    const char *text, *want;
} lines[] = {
    {" a+b ", "a + b"},
    {"((a))", "((a))"},
    {"-(1)", "-(1)"},
    {"-1", "-1"},
    {"- -a", "--a"},
    {"-a^2", "-a ^ 2"},
    {"+ a", "+a"},
    {"1 - -2", "1 - -2"},
    {"0x1f + 010 + .5", "31 + 8 + 0.5"},
    {"1e6", "1000000"},    /* v3 */
    {"1e-7", "0.0000001"}, /* v3 */
    {"1e23", "100000000000000000000000"},
    {"123.456e1", "1234.56"},
    {"Inf", "+Inf"},
    {"-inf", "-Inf"},
    {"NAN", "NaN"},
    {"-0", "-0"},
    {"5m", "5m"},       /* v3 */
    {"-90s", "-1m30s"}, /* v3 */
    {"'a\"b'", "\"a\\\"b\""},
    {"`raw\\n`", "\"raw\\\\n\""},
    {"\"\\u00e9\\t\\x01\\u200b\\xff\"", "\"é\\t\\x01\\u200b\\xff\""},
    {"a offset 5m", "a offset 5m"},
    {"a offset -90s", "a offset -1m30s"},
    {"a offset 0s", "a"},
    {"a offset 1w @ 12.5", "a @ 12.500 offset 1w"},
    {"a @ -0.25", "a @ -0.250"},
    {"a offset 8d @ end()", "a @ end() offset 8d"},
    {"a[90m] @ start()", "a[1h30m] @ start()"},
    {"a[300]", "a[5m]"}, /* v3 */
    {"rate(a[1h30m])[2h:30s] offset 1d", "rate(a[1h30m])[2h:30s] offset 1d"},
    {"a[5m:]", "a[5m:]"},
    {"a[5m * 2]", "a[5m * 2]"}, /* v3 */
    {"a[(5m+1m)*2:step()]", "a[(5m + 1m) * 2:step()]"},
    {"a[-(-2)^2 + 5m]", "a[-(-2) ^ 2 + 5m]"},
    {"a[min_of(5m,max_of(1,range()))]", "a[min_of(5m, max_of(1, range()))]"},
    {"a offset -(1m+5)", "a offset -(1m + 5)"},
    {"sum(x) by (a , b)", "sum by (a, b) (x)"},
    {"sum without () (x)", "sum without () (x)"},
    {"sum by () (x)", "sum(x)"},
    {"sum by (\"a.b\", c) (x)", "sum by (\"a.b\", c) (x)"}, /* v3 */
    {"topk(3,x) without(z)", "topk without (z) (3, x)"},
    {"COUNT_VALUES('v',x)", "count_values(\"v\", x)"},
    {"a AND on(x) b", "a and on (x) b"},
    {"a or ignoring(x,y) b", "a or ignoring (x, y) b"},
    {"a or ignoring() b", "a or b"},
    {"a * on(x) group_left(y) b", "a * on (x) group_left (y) b"},
    {"a * on() group_right b", "a * on () group_right () b"},
    {"a * ignoring() group_left b", "a * ignoring () group_left () b"}, /* v3 */
    {"a == bool 1", "a == bool 1"},
    {"a > bool on(x) b", "a > bool on (x) b"},
    {"a atan2 b", "a atan2 b"},
    {"2^-1", "2 ^ -1"},
    {"m{b='x',a=~'y.*',c!~'z',d!='q'}", "m{a=~\"y.*\",b=\"x\",c!~\"z\",d!=\"q\"}"},
    {"m{}", "m"},
    {"{__name__='m'}", "{__name__=\"m\"}"},
    {"{'a.b', x='1'}", "{__name__=\"a.b\",x=\"1\"}"}, /* v3 */
    {"{'m'}", "{__name__=\"m\"}"},                    /* v3 */
    {"{'a.b'='c'}", "{\"a.b\"=\"c\"}"},               /* v3 */
    {"round(a,5)", "round(a, 5)"},
    {"time()", "time()"},
};

static void prints_as_prometheus(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        expect(lines[i].text, promql_print, lines[i].want);
        expect(lines[i].want, promql_print, lines[i].want);
    }
}

/* ---- lines of 100 bytes; all compared with Prometheus 2.42 ---- */

#define LONG "some_long_metric_name{instance=\"127.0.0.1:9432\",job=\"pgvigil\",node=\"primary\"}"
#define A99                                                                                        \
    "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiijj" \
    "jjjjjjj"

static const struct {
    const char *text, *want;
} split[] = {
    {A99 "x", A99 "x"},
    {"(" A99 ")", "(\n  " A99 "\n)"},
    {"-" A99 "xy", "-" A99 "xy"},
    {"sum(x) by (y)", "sum by (y) (x)"},
    {"sum(" LONG ") by (job, instance, node)", "sum by (job, instance, node) (\n  " LONG "\n)"},
    {"topk(3, " LONG " offset 5m + 1)", "topk(3, " LONG " offset 5m + 1)"},
    {"topk(3, rate(" LONG "[5m])) > 0", "topk(3, rate(" LONG "[5m])) > 0"},
    {LONG " + on (job) group_left () " LONG, "  " LONG "\n+ on (job) group_left ()\n  " LONG},
    {"-" LONG " + (" LONG " > bool 1)", "  -" LONG "\n+\n  (" LONG " > bool 1)"},
    {"-(" LONG " + " LONG ")", "-(\n    " LONG "\n  +\n    " LONG "\n)"},
    {"quantile(0.9, " LONG " + " LONG ")", "quantile(\n  0.9,\n    " LONG "\n  +\n    " LONG "\n)"},
    {"label_replace(" LONG ", \"a\", \"$1\", \"b\", \"(.*)\")",
     "label_replace(\n  " LONG ",\n  \"a\",\n  \"$1\",\n  \"b\",\n  \"(.*)\"\n)"},
    {"max_over_time((" LONG " + " LONG ")[1h:1m] offset 5m)",
     "max_over_time(\n  (\n      " LONG "\n    +\n      " LONG "\n  )[1h:1m] offset 5m\n)"},
    {"(((" LONG " + " LONG ")) - (" LONG ")) or b or " LONG "",
     "    (\n        (\n          (\n              " LONG "\n            +\n              " LONG
     "\n          )\n        )\n      -\n        (" LONG ")\n    )\n  or\n    b\nor\n  " LONG},
    {"sum_over_time(a[5m:]) + " LONG " + " LONG,
     "    sum_over_time(a[5m:])\n  +\n    " LONG "\n+\n  " LONG},
};

static void splits_long_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(split); i++) {
        expect(split[i].text, promql_print_pretty, split[i].want);
        expect(split[i].want, promql_print_pretty, split[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        expect(lines[i].text, promql_print_pretty, lines[i].want);
}

/* ---- the tree ---- */

#define NONE "\"offset\":0,\"timestamp\":null,\"startOrEnd\":null"
#define NAMED(name)                                                                               \
    "\"name\":\"" name "\",\"matchers\":[{\"type\":\"=\",\"name\":\"__name__\",\"value\":\"" name \
    "\"}]"
#define A   "{\"type\":\"vectorSelector\"," NAMED("a") "," NONE "}"
#define ONE "{\"type\":\"numberLiteral\",\"val\":\"1\"}"

static const struct {
    const char *text, *want;
} trees[] = {
    {"1e3", "{\"type\":\"numberLiteral\",\"val\":\"1000\"}"},
    {"'a\"b'", "{\"type\":\"stringLiteral\",\"val\":\"a\\\"b\"}"},
    {"((1))", "{\"type\":\"parenExpr\",\"expr\":{\"type\":\"parenExpr\",\"expr\":" ONE "}}"},
    {"-a", "{\"type\":\"unaryExpr\",\"op\":\"-\",\"expr\":" A "}"},
    {"a{x!='1'} @ 2.5 offset -1s", "{\"type\":\"vectorSelector\",\"name\":\"a\",\"matchers\":["
                                   "{\"type\":\"!=\",\"name\":\"x\",\"value\":\"1\"},"
                                   "{\"type\":\"=\",\"name\":\"__name__\",\"value\":\"a\"}],"
                                   "\"offset\":-1000,\"timestamp\":2500,\"startOrEnd\":null}"},
    {"a[1m] @ end()",
     "{\"type\":\"matrixSelector\"," NAMED(
         "a") ",\"range\":60000,\"offset\":0,\"timestamp\":null,\"startOrEnd\":\"end\"}"},
    {"{__name__='a'}", "{\"type\":\"vectorSelector\",\"name\":\"\",\"matchers\":["
                       "{\"type\":\"=\",\"name\":\"__name__\",\"value\":\"a\"}]," NONE "}"},
    {"a[1h:30s]",
     "{\"type\":\"subquery\",\"range\":3600000,\"step\":30000," NONE ",\"expr\":" A "}"},
    {"sum(a)", "{\"type\":\"aggregation\",\"op\":\"sum\",\"expr\":" A
               ",\"param\":null,\"grouping\":[],\"without\":false}"},
    {"topk without (x) (1, a)", "{\"type\":\"aggregation\",\"op\":\"topk\",\"expr\":" A
                                ",\"param\":" ONE ",\"grouping\":[\"x\"],\"without\":true}"},
    {"a > bool 1", "{\"type\":\"binaryExpr\",\"op\":\">\",\"lhs\":" A ",\"rhs\":" ONE
                   ",\"matching\":null,\"bool\":true}"},
    {"a * on (x) group_left (y) a",
     "{\"type\":\"binaryExpr\",\"op\":\"*\",\"lhs\":" A ",\"rhs\":" A
     ",\"matching\":{\"card\":\"many-to-one\",\"labels\":[\"x\"],\"on\":true,\"include\":[\"y\"]},"
     "\"bool\":false}"},
    {"a or a",
     "{\"type\":\"binaryExpr\",\"op\":\"or\",\"lhs\":" A ",\"rhs\":" A
     ",\"matching\":{\"card\":\"many-to-many\",\"labels\":[],\"on\":false,\"include\":[]},"
     "\"bool\":false}"},
    {"round(a)",
     "{\"type\":\"call\",\"func\":{\"name\":\"round\",\"argTypes\":[\"vector\",\"scalar\"],"
     "\"variadic\":1,\"returnType\":\"vector\"},\"args\":[" A "]}"},
    {"time()", "{\"type\":\"call\",\"func\":{\"name\":\"time\",\"argTypes\":[],\"variadic\":0,"
               "\"returnType\":\"scalar\"},\"args\":[]}"},
};

static void gives_the_tree(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
        expect(trees[i].text, promql_print_tree, trees[i].want);
        json_t *json = json_loads(trees[i].want, 0, NULL);
        assert_non_null(json);
        json_decref(json);
    }
}

/* ---- there and back again ---- */

/* What is printed, in either form, is printed the same again, and is the same tree. */
static void survives(const char *text)
{
    char *line = printed(text, promql_print), *lines_of = printed(text, promql_print_pretty);
    char *tree = printed(text, promql_print_tree), *printed_tree = printed(line, promql_print_tree);
    expect(line, promql_print, line);
    expect(lines_of, promql_print, line);
    expect(lines_of, promql_print_pretty, lines_of);
    expect(lines_of, promql_print_tree, printed_tree);
    /* Printing sorts matchers. */
    if (strlen(tree) != strlen(printed_tree))
        fail_msg("%s\nis      %s\nbecomes %s", text, tree, printed_tree);
    mem_free(line);
    mem_free(lines_of);
    mem_free(tree);
    mem_free(printed_tree);
}

/* The expression of an eval line: `eval instant at T EXPR`, `eval range from A to B step C EXPR`.
 */
static const char *eval_expression(const char *line)
{
    size_t words = 0;
    if (!str_starts(line, "eval"))
        return NULL;
    if (strstr(line, " instant at ") != NULL)
        words = 4;
    else if (strstr(line, " range from ") != NULL)
        words = 8;
    for (size_t i = 0; words > 0 && i < words; i++) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return words > 0 ? line : NULL;
}

static size_t survive_file(const char *path)
{
    char *line = NULL;
    size_t cap = 0, count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (getline(&line, &cap, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        const char *text = eval_expression(line + strspn(line, " \t"));
        char *once = text != NULL ? printed(text, promql_print) : NULL;
        if (once == NULL) /* experimental, native histograms */
            continue;
        mem_free(once);
        survives(text);
        count++;
    }
    free(line); /* getline's */
    fclose(file);
    return count;
}

static void acceptance_data_survives(void **state)
{
    char path[512];
    size_t count = 0;
    const char *folder = getenv("PROMQLTEST_DIR");
    DIR *dir = opendir(folder != NULL ? folder : "../shared/promqltest");
    struct dirent *entry;
    (void)state;
    if (dir == NULL) {
        print_message("Prometheus' acceptance files are not here\n");
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || !str_eq(dot, ".test"))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : "../shared/promqltest",
                 entry->d_name);
        count += survive_file(path);
    }
    closedir(dir);
    assert_true(count > 700);
}

static void our_own_survive(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        survives(lines[i].text);
    for (size_t i = 0; i < ARRAY_LEN(trees); i++)
        survives(trees[i].text);
}

/* A chain as long as an expression may be. */
static void *print_longest_chain(void *arg)
{
    static char text[PROMQL_LENGTH_MAX + 1];
    struct buf out;
    struct promql_error err;
    for (size_t i = 0; i < PROMQL_LENGTH_MAX - 1; i++)
        text[i] = i % 2 ? '+' : 'a';
    struct promql_expr *expr = promql_parse(text, &err);
    if (expr == NULL)
        return arg;
    buf_init(&out, (size_t)4 << 20);
    promql_print(expr, &out);
    promql_print_tree(expr, &out);
    bool ok = buf_ok(&out);
    promql_print_pretty(expr, &out);
    ok = ok && !buf_ok(&out); /* the indentation alone: the caller's limit ends it */
    buf_deinit(&out);
    promql_destroy(&expr);
    return ok ? NULL : arg;
}

/* On a stack as small as that of the threads in which the API does it. */
static void long_chains_need_little_stack(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;
    void *failed = NULL;
    char mark;
    (void)state;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    assert_int_equal(pthread_create(&thread, &attr, print_longest_chain, &mark), 0);
    pthread_join(thread, &failed);
    pthread_attr_destroy(&attr);
    assert_null(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_as_prometheus),     cmocka_unit_test(splits_long_lines),
        cmocka_unit_test(gives_the_tree),           cmocka_unit_test(our_own_survive),
        cmocka_unit_test(acceptance_data_survives), cmocka_unit_test(long_chains_need_little_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
