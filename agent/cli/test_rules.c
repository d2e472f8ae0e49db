/*
 * `pgvigil test-rules`: unit tests of rule files as `promtool test rules` runs and tells them:
 * verdicts on stdout, what failed on stderr, every file is run, exit code 1 if anything failed.
 */
#include <unistd.h>

#include "pgvigil/base/err.h"
#include "pgvigil/base/log.h"
#include "pgvigil/cli/cli.h"
#include "pgvigil/promql/regex.h"
#include "pgvigil/rules/rule_test.h"

struct filter {
    struct regex *regexes[CLI_RUNS_MAX];
    size_t n;
};

struct telling {
    const struct filter *filter;
    bool has_failed;
};

/* ---- --run ---- */

static bool open_filter(const struct cli_args *args, struct filter *filter)
{
    struct err err = {0};
    for (size_t i = 0; i < args->run_count; i++) {
        filter->regexes[filter->n] = regex_create_search(args->runs[i], &err);
        if (filter->regexes[filter->n] == NULL) {
            fprintf(stderr, "pgvigil: --run '%s': %s\n", args->runs[i], err.text);
            return false;
        }
        filter->n++;
    }
    return true;
}

static void close_filter(struct filter *filter)
{
    for (size_t i = 0; i < filter->n; i++)
        regex_destroy(&filter->regexes[i]);
}

static bool wanted(const char *name, void *arg)
{
    const struct filter *filter = ((struct telling *)arg)->filter;
    for (size_t i = 0; i < filter->n; i++)
        if (regex_search(filter->regexes[i], name, strlen(name)) == REGEX_MATCH)
            return true;
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
