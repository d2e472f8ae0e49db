/*
 * promqltest FILE...: per file and in all, how many cases passed, failed and were skipped.
 * promqltest --print FILE: what the engine answers to each stable case, see print.c.
 *
 * Failed cases are told with file, line and reason. Exit code 1 if one failed, 2 if a file cannot
 * be read or none is given.
 */
#include "promqltest.h"

struct counts {
    size_t of[OUTCOMES];
};

static void print_counts(const struct counts *n)
{
    printf("%zu passed, %zu failed, %zu skipped", n->of[PASSED], n->of[FAILED],
           n->of[SKIPPED_NATIVE] + n->of[SKIPPED_EXPERIMENTAL]);
}

static void print_file(const char *path, const struct counts *n)
{
    printf("%s: ", path);
    print_counts(n);
    if (n->of[SKIPPED_NATIVE] + n->of[SKIPPED_EXPERIMENTAL] > 0)
        printf(" (%zu native histogram, %zu experimental)", n->of[SKIPPED_NATIVE],
               n->of[SKIPPED_EXPERIMENTAL]);
    printf("\n");
}

static void print_failure(const char *path, const struct test_case *c, const struct err *err)
{
    printf("%s:%d: %s%s%s\n", path, c->line, c->expr ? c->expr : "", c->expr ? ": " : "",
           err->text);
}

static void print_file_cases(struct script *script)
{
    struct test_case c;
    struct err err;
    enum step_outcome step;

    while ((step = script_next(script, &c, &err)) != STEP_END) {
        if (step == STEP_CASE && script->storage.is_changed)
            print_storage(&script->storage);
        script->storage.is_changed = script->storage.is_changed && step != STEP_CASE;
        if (step != STEP_CASE || print_case(&script->storage, &c, &err) == FAILED)
            print_failure(script->path, &c, &err);
        case_release(&c);
    }
}

static int print_answers(const char *path)
{
    struct script script;
    struct err err;

    if (!script_open(&script, path, &err)) {
        fprintf(stderr, "promqltest: %s\n", err.text);
        return 2;
    }
    print_file_cases(&script);
    script_close(&script);
    return 0;
}

static bool run_file(const char *path, struct counts *n)
{
    struct script script;
    struct test_case c;
    struct err err;
    enum step_outcome step;

    if (!script_open(&script, path, &err)) {
        fprintf(stderr, "promqltest: %s\n", err.text);
        return false;
    }
    while ((step = script_next(&script, &c, &err)) != STEP_END) {
        enum outcome outcome = FAILED;

        if (step == STEP_CASE)
            outcome = run_case(&script.storage, &c, &err);
        if (outcome == FAILED)
            print_failure(path, &c, &err);
        n->of[outcome]++;
        case_release(&c);
    }
    script_close(&script);
    return true;
}

int main(int argc, char **argv)
{
    struct counts all = {{0}};
    bool ok = argc > 1;

    if (argc == 3 && strcmp(argv[1], "--print") == 0)
        return print_answers(argv[2]);
    if (!ok)
        fprintf(stderr, "usage: promqltest [--print] FILE...\n");
    for (int i = 1; i < argc; i++) {
        struct counts n = {{0}};

        ok = run_file(argv[i], &n) && ok;
        print_file(argv[i], &n);
        for (size_t k = 0; k < OUTCOMES; k++)
            all.of[k] += n.of[k];
    }
    print_counts(&all);
    printf("\n");
    return !ok ? 2 : all.of[FAILED] > 0 ? 1 : 0;
}
