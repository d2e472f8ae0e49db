/*
 * rule_file.h: Prometheus rule files, strictly read, with positions.
 *
 * groups: name, interval, limit, query_offset, labels, rules; rules: record or alert, expr, for,
 * keep_firing_for, labels, annotations. Unknown keys, double groups and bad expressions are
 * findings `file:line:col: ...`. A loaded set is immutable.
 */
#ifndef PGVIGIL_RULES_RULE_FILE_H
#define PGVIGIL_RULES_RULE_FILE_H

#include "pgvigil/base/diag.h"
#include "pgvigil/model/labels.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/rules/template.h"

#define RULE_FILES_MAX 256
#define RULES_MAX      10000

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
    int line;
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
