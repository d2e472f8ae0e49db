/*
 * `pgvigil test-rules`: unit tests of rule files as `promtool test rules` runs and tells them:
 * verdicts on stdout, what failed on stderr, every file is run, exit code 1 if anything failed.
 */
#include <unistd.h>

#include "pgvigil/base/err.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/cli/cli.h"
#include "pgvigil/promql/go_text.h"
#include "pgvigil/promql/selector.h"
#include "pgvigil/rules/rule_test.h"

struct filter {
    struct promql_expr *exprs[CLI_RUNS_MAX];
    size_t n;
};

struct telling {
    const struct filter *filter;
    bool has_failed;
};

/* ---- --run ---- */

/* A regex of the command line is a matcher that finds anywhere, so it is the same language. */
static struct promql_expr *compile(const char *regex)
{
    struct promql_error error;
    char *whole = mem_printf("(?s:.*)(?:%s)(?s:.*)", regex);
    size_t n = 4 * strlen(whole) + 64;
    char *quoted = mem_alloc(n);
    char *text = mem_printf("{__name__=~%s,a=\"b\"}", go_quote(whole, quoted, n));
    struct promql_expr *expr = promql_parse(text, &error);
    mem_free(text);
    mem_free(quoted);
    mem_free(whole);
    return expr;
}

static bool open_filter(const struct cli_args *args, struct filter *filter)
{
    for (size_t i = 0; i < args->run_count; i++) {
        filter->exprs[filter->n] = compile(args->runs[i]);
        if (filter->exprs[filter->n] == NULL) {
            fprintf(stderr, "pgvigil: --run is not a regular expression: '%s'\n", args->runs[i]);
            return false;
        }
        filter->n++;
    }
    return true;
}

static void close_filter(struct filter *filter)
{
    for (size_t i = 0; i < filter->n; i++)
        promql_destroy(&filter->exprs[i]);
}

static bool wanted(const char *name, void *arg)
{
    const struct filter *filter = ((struct telling *)arg)->filter;
    for (size_t i = 0; i < filter->n; i++) {
        size_t n;
        matcher_regex_fn match;
        const struct matcher *m = promql_selector(filter->exprs[i], &n, &match);
        if (match(m[0].regex, name))
            return true;
    }
    return filter->n == 0;
}

/* ---- telling; both streams in one order where they are one ---- */

static void say_failed(struct telling *t)
{
    if (!t->has_failed)
        fputs("  FAILED:\n", stderr);
    t->has_failed = true;
}

static void failed(const char *text, void *arg)
{
    say_failed(arg);
    fprintf(stderr, "%s\n", text);
    fputs("\n", stdout);
    fflush(stdout);
}

static void no_match(const char *pattern, void *arg)
{
    (void)arg;
    fprintf(stderr, "  WARNING: no file match pattern %s\n", pattern);
}

static void tell_findings(const struct diag *diag, struct telling *t)
{
    struct buf text;
    buf_init(&text, 1024 * 1024);
    diag_print(diag, &text);
    say_failed(t);
    fputs(text.data, stderr);
    fputs("\n", stdout);
    buf_deinit(&text);
}

static bool run_file(const char *path, const struct filter *filter)
{
    struct telling t = {.filter = filter};
    struct diag diag;
    printf("Unit Testing:  %s\n", path);
    fflush(stdout);
    diag_init(&diag);
    struct rule_test *test = rule_test_load(path, &diag);
    if (test == NULL) {
        tell_findings(&diag, &t);
    } else {
        rule_test_run(test,
                      &(struct rule_test_opts){
                          .wanted = wanted, .failed = failed, .no_match = no_match, .arg = &t});
    }
    rule_test_destroy(&test);
    diag_deinit(&diag);
    printf("%s\n", t.has_failed ? "" : "  SUCCESS\n");
    fflush(stdout);
    return !t.has_failed;
}

int cli_test_rules(const struct cli_args *args)
{
    struct filter filter = {.n = 0};
    bool ok = true;
    for (size_t i = 0; i < args->positional_count; i++) {
        if (access(args->positional[i], F_OK) == 0)
            continue;
        fprintf(stderr, "pgvigil: there is no file '%s'\n", args->positional[i]);
        return EXIT_CODE_FAILED;
    }
    if (!open_filter(args, &filter)) {
        close_filter(&filter);
        return EXIT_CODE_USAGE;
    }
    log_set_level(LOG_LEVEL_ERROR); /* errors of rules are told as results */
    for (size_t i = 0; i < args->positional_count; i++)
        ok = run_file(args->positional[i], &filter) && ok;
    close_filter(&filter);
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}
