/*
 * `pgvigil check-rules`: rule files as `promtool check rules` judges them, with its output and its
 * exit codes, so that it can stand in its place in a pipeline. What is wrong with a file is told
 * for all files before the command ends.
 */
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/base/yaml.h"
#include "pgvigil/cli/cli.h"
#include "pgvigil/rules/rule_file.h"

/* promtool's exit code for findings of the lint alone, with --lint-fatal. */
#define EXIT_LINT 3

struct check {
    bool lint; /* for duplicate rules, the only check of rules that promtool has */
    bool has_errors, has_lint;
};

/* ---- duplicates: the same name and labels twice in one file ---- */

static int compare_rules(const void *pa, const void *pb)
{
    const struct rule *a = *(const struct rule *const *)pa, *b = *(const struct rule *const *)pb;
    int order = strcmp(a->name, b->name);
    for (size_t i = 0; order == 0 && i < a->label_count && i < b->label_count; i++) {
        order = strcmp(a->labels[i].name, b->labels[i].name);
        if (order == 0)
            order = strcmp(a->labels[i].value, b->labels[i].value);
    }
    if (order != 0 || a->label_count == b->label_count)
        return order;
    return a->label_count < b->label_count ? -1 : 1;
}

static size_t sorted_rules(const struct rule_set *set, const struct rule ***out)
{
    size_t n = 0;
    *out = mem_alloc_array(rule_set_count(set, true) + rule_set_count(set, false) + 1,
                           sizeof(const struct rule *));
    for (size_t g = 0; g < set->count; g++)
        for (size_t i = 0; i < set->groups[g].count; i++)
            (*out)[n++] = &set->groups[g].rules[i];
    qsort(*out, n, sizeof(const struct rule *), compare_rules);
    return n;
}

static void tell_duplicate(const struct rule *rule)
{
    fprintf(stderr, "Metric: %s\nLabel(s):\n", rule->name);
    for (size_t i = 0; i < rule->label_count; i++)
        fprintf(stderr, "\t%s: %s\n", rule->labels[i].name, rule->labels[i].value);
}

/* The last of each run of equal rules is told once. False: there are some. */
static bool lint(const struct rule_set *set)
{
    const struct rule **rules;
    size_t n = sorted_rules(set, &rules), found = 0;
    for (int pass = 0; pass < 2; pass++) { /* how many, then which */
        for (size_t i = 1; i < n; i++) {
            bool is_repeat = compare_rules(&rules[i - 1], &rules[i]) == 0;
            bool is_told = is_repeat && i > 1 && compare_rules(&rules[i - 2], &rules[i]) == 0;
            if (is_repeat && !is_told && pass == 0)
                found++;
            else if (is_repeat && !is_told)
                tell_duplicate(rules[i]);
        }
        if (pass == 0 && found > 0)
            fprintf(stderr, "  FAILED:\nlint error %zu duplicate rule(s) found.\n", found);
    }
    if (found > 0)
        fputs("Might cause inconsistency while recording expressions\n", stderr);
    mem_free(rules);
    return found == 0;
}

/* ---- files ---- */

static void tell_findings(const struct diag *diag)
{
    fputs("  FAILED:\n", stderr);
    for (size_t i = 0; i < diag->count; i++) {
        const struct diag_entry *e = &diag->entries[i];
        fprintf(stderr, "%s: ", e->file);
        if (e->line > 0)
            fprintf(stderr, "%d:%d: ", e->line, e->col);
        fprintf(stderr, "%s\n", e->text);
    }
    if (diag->dropped > 0)
        fprintf(stderr, "and %zu more\n", diag->dropped);
}

/* set NULL: diag says why. */
static void tell(struct check *check, struct rule_set *set, struct diag *diag)
{
    if (set == NULL) {
        check->has_errors = true;
        fflush(stdout);
        tell_findings(diag);
    } else if (check->lint && !lint(set)) {
        check->has_lint = true;
    } else {
        printf("  SUCCESS: %zu rules found\n",
               rule_set_count(set, true) + rule_set_count(set, false));
    }
    putchar('\n');
    fflush(stdout); /* both outputs in one terminal: a file's findings below its name */
    rule_set_destroy(&set);
}

/* f NULL: it could not be opened, errno says why. */
static void check_stream(struct check *check, FILE *f, const char *name)
{
    struct diag diag;
    struct buf text;
    struct rule_set *set = NULL;
    diag_init(&diag);
    if (yaml_read_stream(f, name, &text, &diag))
        set = rule_set_parse(name, text.data, text.len, &diag);
    tell(check, set, &diag);
    buf_deinit(&text);
    diag_deinit(&diag);
}

static void check_file(struct check *check, const char *path)
{
    printf("Checking %s\n", path);
    fflush(stdout);
    FILE *f = fopen(path, "re");
    check_stream(check, f, path);
    if (f != NULL)
        fclose(f);
}

static void check_stdin(struct check *check)
{
    puts("Checking standard input");
    fflush(stdout);
    check_stream(check, stdin, "standard input");
}

/* As promtool reads --lint: a list of words, and an unknown one is only warned of. */
static bool wants_lint(const char *words)
{
    bool wanted = false;
    for (const char *at = words; at != NULL; at = strchr(at, ',')) {
        char word[64];
        at += *at == ',';
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, ","), at);
        if (str_eq(word, "all") || str_eq(word, "duplicate-rules"))
            wanted = true;
        else if (!str_eq(word, "none"))
            printf("WARNING: unknown lint option %s\n", word);
    }
    return wanted;
}

int cli_check_rules(const struct cli_args *args)
{
    struct check check = {.lint = wants_lint(args->lint != NULL ? args->lint : "duplicate-rules")};
    for (size_t i = 0; i < args->positional_count; i++)
        check_file(&check, args->positional[i]);
    if (args->positional_count == 0)
        check_stdin(&check);
    if (check.has_errors)
        return EXIT_CODE_FAILED;
    return check.has_lint && args->lint_fatal ? EXIT_LINT : EXIT_CODE_OK;
}
