/*
 * Rule files are read from the position-keeping YAML tree, not bound by reflection, so that every
 * finding has its line and column and all of them are told at once. Invariant: a rule that is in
 * the set has a parsed expression, a valid name, and parsed templates; a file
 * with any finding contributes nothing, because half a rule file would alert on half the faults.
 */
#include "pgvigil/rules/rule_file.h"

#include <glob.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/base/yaml.h"
#include "pgvigil/rules/template.h"

struct reading {
    const char *file;
    struct diag *diag;
    size_t rules; /* in the whole set so far */
};

static const char *const root_keys[] = {"groups"};
static const char *const group_keys[] = {"name",  "interval", "query_offset",
                                         "limit", "labels",   "rules"};
static const char *const rule_keys[] = {"record",          "alert",  "expr",       "for",
                                        "keep_firing_for", "labels", "annotations"};

#define FINDING(r, node, ...) diag_add((r)->diag, (r)->file, (node)->line, (node)->col, __VA_ARGS__)

static bool is_map(struct reading *r, const struct yaml_node *node, const char *what)
{
    if (node->kind == YAML_MAP)
        return true;
    FINDING(r, node, "%s must be a mapping", what);
    return false;
}

static void check_keys(struct reading *r, const struct yaml_node *map, const char *const *known,
                       size_t n)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text;
        bool found = false;
        for (size_t k = 0; k < n && !found; k++)
            found = str_eq(key, known[k]);
        if (found)
            continue;
        const char *near = str_nearest(key, known, n);
        if (near != NULL)
            FINDING(r, map->keys[i], "unknown key '%s', did you mean '%s'?", key, near);
        else
            FINDING(r, map->keys[i], "unknown key '%s'", key);
    }
}

static const char *scalar_of(struct reading *r, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL)
        return NULL;
    if (node->kind == YAML_SCALAR)
        return node->text;
    FINDING(r, node, "'%s' must be a text", key);
    return NULL;
}

static int64_t duration_of(struct reading *r, const struct yaml_node *map, const char *key)
{
    int64_t ms = 0;
    const char *text = scalar_of(r, map, key);
    if (text != NULL && !str_parse_duration(text, &ms))
        FINDING(r, yaml_get(map, key), "'%s' is not a duration like 5m: '%s'", key, text);
    return ms;
}

static bool is_label_name(const char *s)
{
    if (*s >= '0' && *s <= '9')
        return false;
    return *s != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789_")] == '\0';
}

static bool is_metric_name(const char *s)
{
    if (*s >= '0' && *s <= '9')
        return false;
    return *s != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789_:")] == '\0';
}

static bool pair_ok(struct reading *r, const struct yaml_node *key, const struct yaml_node *value,
                    bool is_label)
{
    struct err err;
    if (!is_label_name(key->text) || (is_label && str_eq(key->text, LABEL_METRIC))) {
        FINDING(r, key, "'%s' is not a valid %s name", key->text,
                is_label ? "label" : "annotation");
        return false;
    }
    if (value->kind != YAML_SCALAR) {
        FINDING(r, value, "'%s' must be a text", key->text);
        return false;
    }
    struct template *t = template_parse(key->text, value->text, &err);
    bool ok = t != NULL;
    template_destroy(&t);
    if (!ok)
        FINDING(r, value, "template of '%s': %s", key->text, err.text);
    return ok;
}

/* Adds the pairs of the map under `key` to *pairs; what is there already is overwritten. */
static void read_pairs(struct reading *r, const struct yaml_node *map, const char *key,
                       struct label **pairs, size_t *count)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL || yaml_is_null(node) || !is_map(r, node, key))
        return;
    if (*count + node->count > LABELS_MAX) {
        FINDING(r, node, "more than %d %s", LABELS_MAX, key);
        return;
    }
    *pairs = mem_realloc_array(*pairs, *count + node->count + 1, sizeof(**pairs));
    for (size_t i = 0; i < node->count; i++) {
        if (!pair_ok(r, node->keys[i], node->items[i], str_eq(key, "labels")))
            continue;
        size_t at = 0;
        while (at < *count && !str_eq((*pairs)[at].name, node->keys[i]->text))
            at++;
        if (at == *count)
            (*pairs)[(*count)++].name = mem_strdup(node->keys[i]->text);
        else
            mem_free((void *)(uintptr_t)(*pairs)[at].value);
        (*pairs)[at].value = mem_strdup(node->items[i]->text);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static void copy_pairs(const struct label *from, size_t n, struct label **to, size_t *count)
{
    *to = mem_alloc_array(n + 1, sizeof(**to));
    for (size_t i = 0; i < n; i++)
        (*to)[i] = (struct label){mem_strdup(from[i].name), mem_strdup(from[i].value)};
    *count = n;
}

static void free_pairs(struct label *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free((void *)(uintptr_t)pairs[i].name);
        mem_free((void *)(uintptr_t)pairs[i].value);
    }
    mem_free(pairs);
}

/* Of pairs that were checked when they were read. */
static struct template **parse_templates(const struct label *pairs, size_t n)
{
    struct err err;
    struct template **out = mem_alloc_array(n + 1, sizeof(struct template *));
    for (size_t i = 0; i < n; i++)
        out[i] = template_parse(pairs[i].name, pairs[i].value, &err);
    return out;
}

static void free_templates(struct template **templates, size_t n)
{
    for (size_t i = 0; templates != NULL && i < n; i++)
        template_destroy(&templates[i]);
    mem_free(templates);
}

static void read_expr(struct reading *r, const struct yaml_node *node, struct rule *rule)
{
    const struct yaml_node *expr = yaml_get(node, "expr");
    if (expr == NULL || expr->kind != YAML_SCALAR || expr->len == 0) {
        FINDING(r, expr != NULL ? expr : node, "a rule needs 'expr'");
        return;
    }
    struct promql_error perr;
    rule->expr_text = mem_strdup(expr->text);
    rule->expr = promql_parse(expr->text, &perr);
    if (rule->expr == NULL) {
        FINDING(r, expr, "'%s': could not parse expression: %s", rule->name, perr.text);
        return;
    }
    enum promql_type type = promql_type(rule->expr);
    if (type != PROMQL_VECTOR && type != PROMQL_SCALAR)
        FINDING(r, expr, "'%s': an expression of a rule must give a vector or scalar, not a %s",
                rule->name, promql_type_name(type));
}

static void read_name(struct reading *r, const struct yaml_node *node, struct rule *rule)
{
    const char *record = scalar_of(r, node, "record");
    const char *alert = scalar_of(r, node, "alert");
    rule->is_alert = alert != NULL;
    rule->name = mem_strdup(alert != NULL ? alert : record != NULL ? record : "");
    if ((record != NULL) == (alert != NULL))
        FINDING(r, node, "a rule needs either 'record' or 'alert'");
    else if (*rule->name == '\0')
        FINDING(r, node, "the name of a rule must not be empty");
    else if (record != NULL && !is_metric_name(record))
        FINDING(r, yaml_get(node, "record"), "'%s' is not a valid metric name", record);
}

static void read_rule(struct reading *r, const struct yaml_node *node, struct rule_group *group,
                      const struct label *group_labels, size_t group_label_count)
{
    if (!is_map(r, node, "a rule"))
        return;
    if (++r->rules > RULES_MAX) {
        FINDING(r, node, "more than %d rules", RULES_MAX);
        return;
    }
    check_keys(r, node, rule_keys, ARRAY_LEN(rule_keys));
    struct rule *rule = &group->rules[group->count++];
    rule->line = node->line;
    read_name(r, node, rule);
    read_expr(r, node, rule);
    rule->for_ms = duration_of(r, node, "for");
    rule->keep_firing_ms = duration_of(r, node, "keep_firing_for");
    copy_pairs(group_labels, group_label_count, &rule->labels, &rule->label_count);
    read_pairs(r, node, "labels", &rule->labels, &rule->label_count);
    qsort(rule->labels, rule->label_count, sizeof(*rule->labels), by_name);
    read_pairs(r, node, "annotations", &rule->annotations, &rule->annotation_count);
    if (rule->annotation_count > 1)
        qsort(rule->annotations, rule->annotation_count, sizeof(*rule->annotations), by_name);
    if (rule->is_alert) {
        rule->label_templates = parse_templates(rule->labels, rule->label_count);
        rule->annotation_templates = parse_templates(rule->annotations, rule->annotation_count);
    }
    static const char *const alert_only[] = {"for", "keep_firing_for", "annotations"};
    for (size_t i = 0; !rule->is_alert && i < ARRAY_LEN(alert_only); i++)
        if (yaml_get(node, alert_only[i]) != NULL)
            FINDING(r, yaml_get(node, alert_only[i]), "'%s' is for alerts only", alert_only[i]);
}

static void read_group(struct reading *r, const struct yaml_node *node, struct rule_set *set)
{
    if (!is_map(r, node, "a group"))
        return;
    check_keys(r, node, group_keys, ARRAY_LEN(group_keys));
    const char *name = scalar_of(r, node, "name");
    if (name == NULL || *name == '\0') {
        FINDING(r, node, "a group needs a 'name'");
        return;
    }
    for (size_t i = 0; i < set->count; i++)
        if (str_eq(set->groups[i].name, name) && str_eq(set->groups[i].file, r->file))
            FINDING(r, node, "group '%s' stands twice in this file", name);
    set->groups = mem_realloc_array(set->groups, set->count + 1, sizeof(*set->groups));
    struct rule_group *group = &set->groups[set->count++];
    *group = (struct rule_group){.name = mem_strdup(name), .file = mem_strdup(r->file)};
    group->interval_ms = duration_of(r, node, "interval");
    group->query_offset_ms = duration_of(r, node, "query_offset");
    const char *limit = scalar_of(r, node, "limit");
    int64_t limit_value = 0;
    if (limit != NULL && !str_parse_i64(limit, 0, INT32_MAX, &limit_value))
        FINDING(r, yaml_get(node, "limit"), "'limit' is not a count: '%s'", limit);
    group->limit = (int)limit_value;
    struct label *labels = NULL;
    size_t label_count = 0;
    read_pairs(r, node, "labels", &labels, &label_count);
    const struct yaml_node *rules = yaml_get(node, "rules");
    if (rules != NULL && !yaml_is_null(rules) && rules->kind != YAML_SEQ)
        FINDING(r, rules, "'rules' must be a list");
    else if (rules != NULL && rules->kind == YAML_SEQ) {
        group->rules = mem_alloc_array(rules->count, sizeof(*group->rules));
        for (size_t i = 0; i < rules->count; i++)
            read_rule(r, rules->items[i], group, labels, label_count);
    }
    free_pairs(labels, label_count);
}

static void read_doc(struct reading *r, const struct yaml_node *root, struct rule_set *set)
{
    if (!is_map(r, root, "a rule file"))
        return;
    check_keys(r, root, root_keys, ARRAY_LEN(root_keys));
    const struct yaml_node *groups = yaml_get(root, "groups");
    if (groups == NULL || yaml_is_null(groups))
        return;
    if (groups->kind != YAML_SEQ) {
        FINDING(r, groups, "'groups' must be a list");
        return;
    }
    for (size_t i = 0; i < groups->count; i++)
        read_group(r, groups->items[i], set);
}

struct rule_set *rule_set_parse(const char *file, const char *text, size_t len, struct diag *diag)
{
    struct reading r = {.file = file, .diag = diag};
    size_t before = diag->count;
    struct rule_set *set = mem_alloc(sizeof(*set));
    struct yaml_doc *doc = yaml_parse(file, text, len, diag);
    if (doc != NULL)
        read_doc(&r, yaml_root(doc), set);
    yaml_destroy(&doc);
    if (diag->count > before)
        rule_set_destroy(&set);
    return set;
}

static void load_file(struct reading *r, const char *path, struct rule_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (str_eq(set->groups[i].file, path))
            return; /* two globs may name the same file */
    r->file = path;
    struct yaml_doc *doc = yaml_load(path, r->diag);
    if (doc != NULL)
        read_doc(r, yaml_root(doc), set);
    yaml_destroy(&doc);
}

struct rule_set *rule_set_load(const char *const *globs, size_t n, struct diag *diag)
{
    struct reading r = {.diag = diag};
    size_t before = diag->count, files = 0;
    struct rule_set *set = mem_alloc(sizeof(*set));
    for (size_t i = 0; i < n; i++) {
        glob_t found = {0};
        int rc = glob(globs[i], 0, NULL, &found);
        if (rc != 0 && strpbrk(globs[i], "*?[") == NULL)
            diag_add(diag, globs[i], 0, 0, "cannot open the rule file");
        for (size_t k = 0; rc == 0 && k < found.gl_pathc; k++) {
            if (++files > RULE_FILES_MAX)
                diag_add(diag, found.gl_pathv[k], 0, 0, "more than %d rule files", RULE_FILES_MAX);
            else
                load_file(&r, found.gl_pathv[k], set);
        }
        globfree(&found);
    }
    if (diag->count > before)
        rule_set_destroy(&set);
    return set;
}

static void free_rule(struct rule *rule)
{
    mem_free(rule->name);
    mem_free(rule->expr_text);
    promql_destroy(&rule->expr);
    free_templates(rule->label_templates, rule->label_count);
    free_templates(rule->annotation_templates, rule->annotation_count);
    free_pairs(rule->labels, rule->label_count);
    free_pairs(rule->annotations, rule->annotation_count);
}

void rule_set_destroy(struct rule_set **set)
{
    if (*set == NULL)
        return;
    for (size_t g = 0; g < (*set)->count; g++) {
        struct rule_group *group = &(*set)->groups[g];
        for (size_t i = 0; i < group->count; i++)
            free_rule(&group->rules[i]);
        mem_free(group->rules);
        mem_free(group->name);
        mem_free(group->file);
    }
    mem_free((*set)->groups);
    MEM_FREE_NULL(set);
}

size_t rule_set_count(const struct rule_set *set, bool alerts)
{
    size_t n = 0;
    for (size_t g = 0; g < set->count; g++)
        for (size_t i = 0; i < set->groups[g].count; i++)
            n += set->groups[g].rules[i].is_alert == alerts;
    return n;
}
