/*
 * rule_file.h: Prometheus rule files, strictly read, with positions.
 *
 * groups: name, interval, limit, query_offset, labels, rules; rules: record or alert, expr, for,
 * keep_firing_for, labels, annotations. What is wrong for `promtool check rules` is a finding
 * `file:line:col: ...`, and nothing else is, but for the limits below and the YAML of base/yaml.h
 * (YAML_GO): also an expression that gives a text or a range, which fails when it is run. A loaded
 * set is immutable once its overrides are applied (overrides.h).
 */
#ifndef PGVIGIL_RULES_RULE_FILE_H
#define PGVIGIL_RULES_RULE_FILE_H

#include "pgvigil/base/diag.h"
#include "pgvigil/model/labels.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/rules/template.h"

#define RULE_FILES_MAX  256
#define RULES_MAX       10000
#define RULE_GROUPS_MAX 5000

struct rule {
    bool is_alert;
    char *name; /* alert or record */
    char *expr_text;
    struct promql_expr *expr;
    int64_t for_ms, keep_firing_ms;
    struct label *labels; /* group labels merged in, sorted; values are templates, "" removes */
    size_t label_count;
    struct label *annotations;
    size_t annotation_count;
    struct template **label_templates, **annotation_templates; /* one each; alerts only */
    int line, col;
    char *overridden; /* what rule_overrides changed, for people; NULL = nothing */
};

struct rule_group {
    char *name, *file;
    int64_t interval_ms; /* 0 = evaluation_interval */
    int64_t query_offset_ms;
    int limit; /* 0 = none */
    struct rule *rules;
    size_t count;
};

struct rule_set {
    struct rule_group *groups;
    size_t count;
};

/* Globs in order; a glob without wildcard that matches nothing is a finding. NULL when diag grew.
 */
struct rule_set *rule_set_load(const char *const *globs, size_t n, struct diag *diag);
struct rule_set *rule_set_parse(const char *file, const char *text, size_t len, struct diag *diag);
void rule_set_destroy(struct rule_set **set);
/* Alerting and recording rules of the whole set. */
size_t rule_set_count(const struct rule_set *set, bool alerts);

#endif
