/*
 * rule_test_parts.h: a file of unit tests as it was read, and how results are printed.
 */
#ifndef AGENT_RULES_RULE_TEST_PARTS_H
#define AGENT_RULES_RULE_TEST_PARTS_H

#include "pgvigil/model/labels.h"
#include "pgvigil/rules/rule_test.h"

struct input_series {
    const char *series, *values;
    int line, col;
};

/* An alert that is expected, or that fired. */
struct shown_alert {
    struct labels labels, annotations; /* sorted; empty values stay */
};

struct shown_alerts {
    struct shown_alert *v;
    size_t n;
};

struct alert_check {
    int64_t eval_ms;
    const char *alertname;
    struct shown_alerts expected;
};

struct shown_sample {
    struct labels labels;
    double value;
};

struct shown_samples {
    struct shown_sample *v;
    size_t n;
};

struct expected_sample {
    const char *labels;
    double value;
};

struct expr_check {
    int64_t eval_ms;
    const char *expr;
    struct expected_sample *expected;
    size_t expected_count;
};

struct test_group {
    const char *name;
    int64_t interval_ms, start_ms;
    struct input_series *inputs;
    size_t input_count;
    struct labels external_labels;
    const char *external_url;
    struct alert_check *alerts; /* by eval_time */
    size_t alert_count;
    struct expr_check *exprs;
    size_t expr_count;
};

struct rule_test {
    struct arena *arena;
    const char *file;
    const char **rule_globs;    /* from the file's folder */
    const char **rule_patterns; /* as written */
    size_t rule_glob_count;
    int64_t evaluation_interval_ms;
    const char **group_order;
    size_t group_order_count;
    bool fuzzy;
    struct test_group *groups;
    size_t group_count;
};

/* Texts as promtool prints them. */
void print_alerts(const struct shown_alerts *alerts, struct buf *out);
void print_samples(const struct shown_samples *samples, struct buf *out);
void print_go_quoted(const char *s, struct buf *out);
void print_go_duration(int64_t ms, struct buf *out); /* 1h30m0s */

#endif
