/*
 * A set of rules as data: made of files, held, destroyed. Invariant: a rule that is in a set has a
 * parsed expression, a valid name, and parsed templates; a file with any finding contributes
 * nothing, because half a rule file would alert on half the faults.
 */
#include "pgvigil/rules/rule_file.h"

#include <glob.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"
#include "rule_file_private.h"

/* ---- labels and annotations ---- */

void rule_pair_put(struct label **pairs, size_t *count, const char *name, const char *value)
{
    size_t at = 0;
    while (at < *count && !str_eq((*pairs)[at].name, name))
        at++;
    if (at == *count) {
        *pairs = mem_realloc_array(*pairs, *count + 1, sizeof(**pairs));
        (*pairs)[(*count)++].name = mem_strdup(name);
    } else {
        mem_free((void *)(uintptr_t)(*pairs)[at].value);
    }
    (*pairs)[at].value = mem_strdup(value);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

void rule_pairs_sort(struct label *pairs, size_t n)
{
    if (n > 1)
        qsort(pairs, n, sizeof(*pairs), by_name);
}

void rule_pairs_free(struct label *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free((void *)(uintptr_t)pairs[i].name);
        mem_free((void *)(uintptr_t)pairs[i].value);
    }
    mem_free(pairs);
}

/* The name that Prometheus gives the template, which is part of its errors. */
static bool parse_template(const char *alert, const char *text, struct template **out,
                           struct err *err)
{
    char name[128];
    snprintf(name, sizeof(name), "__alert_%s", alert);
    *out = template_parse(name, text, err);
    return *out != NULL;
}

const char *rule_template_check(const char *alert, const char *text, struct err *err)
{
    struct template *t;
    bool ok = parse_template(alert, text, &t, err);
    template_destroy(&t);
    return ok ? NULL : err->text;
}

void rule_templates_parse(const char *alert, const struct label *pairs, size_t n,
                          struct template ***out)
{
    struct err err;
    *out = mem_alloc_array(n + 1, sizeof(struct template *));
    for (size_t i = 0; i < n; i++)
        (void)parse_template(alert, pairs[i].value, &(*out)[i], &err);
}

void rule_templates_free(struct template **templates, size_t n)
{
    for (size_t i = 0; templates != NULL && i < n; i++)
        template_destroy(&templates[i]);
    mem_free(templates);
}

/* ---- from files ---- */

struct rule_set *rule_set_parse(const char *file, const char *text, size_t len, struct diag *diag)
{
    struct rule_reading r = {.file = file, .diag = diag};
    size_t before = diag->count;
    struct rule_set *set = mem_alloc(sizeof(*set));
    struct yaml_doc *doc = yaml_parse_as(YAML_GO, file, text, len, diag);
    if (doc != NULL)
        rule_file_read(&r, yaml_root(doc), set);
    yaml_destroy(&doc);
    if (diag->count > before)
        rule_set_destroy(&set);
    return set;
}

static void load_file(struct rule_reading *r, const char *path, struct rule_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (str_eq(set->groups[i].file, path))
            return; /* two globs may name the same file */
    r->file = path;
    struct yaml_doc *doc = yaml_load_as(YAML_GO, path, r->diag);
    if (doc != NULL)
        rule_file_read(r, yaml_root(doc), set);
    yaml_destroy(&doc);
}

struct rule_set *rule_set_load(const char *const *globs, size_t n, struct diag *diag)
{
    struct rule_reading r = {.diag = diag};
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

/* ---- the set ---- */

void rule_free(struct rule *rule)
{
    mem_free(rule->name);
    mem_free(rule->expr_text);
    mem_free(rule->overridden);
    promql_destroy(&rule->expr);
    rule_templates_free(rule->label_templates, rule->label_count);
    rule_templates_free(rule->annotation_templates, rule->annotation_count);
    rule_pairs_free(rule->labels, rule->label_count);
    rule_pairs_free(rule->annotations, rule->annotation_count);
}

void rule_set_destroy(struct rule_set **set)
{
    if (*set == NULL)
        return;
    for (size_t g = 0; g < (*set)->count; g++) {
        struct rule_group *group = &(*set)->groups[g];
        for (size_t i = 0; i < group->count; i++)
            rule_free(&group->rules[i]);
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
