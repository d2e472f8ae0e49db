/*
 * rule_test.h: unit tests of rules in promtool's format: read strictly, run, failures as promtool
 * words them.
 *
 * Semantics are those of `promtool test rules`: every group runs each evaluation_interval, whatever
 * its own interval is; only firing alerts are compared, as they were at the last step at or before
 * eval_time; floats are compared exactly unless fuzzy_compare is set; input behind the last step is
 * not loaded. Missing data is not held. One thread; nothing asks a clock.
 */
#ifndef PGVIGIL_RULES_RULE_TEST_H
#define PGVIGIL_RULES_RULE_TEST_H

#include "pgvigil/base/diag.h"
#include "pgvigil/base/err.h"

#define RULE_TEST_STEPS_MAX  5000000  /* ten years of minutes */
#define RULE_TEST_POINTS_MAX 20000000 /* 16 bytes each */

struct rule_test;

/* NULL when diag grew. `file` is shown, and rule_files are relative to its folder. */
struct rule_test *rule_test_parse(const char *file, const char *text, size_t len,
                                  struct diag *diag);
/* Also what is no regular file: /dev/stdin, or `<(command)` of a shell. */
struct rule_test *rule_test_load(const char *path, struct diag *diag);
void rule_test_destroy(struct rule_test **test);

struct rule_test_opts {
    /* Is the test group of this name to be run? NULL = all. */
    bool (*wanted)(const char *name, void *arg);
    /* One failed check, or why nothing could be checked: whole lines without the last newline. */
    void (*failed)(const char *text, void *arg);
    /* A pattern of rule_files that names no file. May be NULL. */
    void (*no_match)(const char *pattern, void *arg);
    size_t max_steps; /* 0 = RULE_TEST_STEPS_MAX */
    void *arg;
};

struct rule_test_result {
    size_t checks, failures; /* of alerts and expressions; errors count as failures too */
};

struct rule_test_result rule_test_run(const struct rule_test *test,
                                      const struct rule_test_opts *opts);

#endif
