/*
 * All rules of all files as one file: what another Prometheus would need to alert on the same. Keys
 * with their default are left out, labels of a group are written at its rules, so the file needs no
 * newer reader than the files that it is made of.
 */
#include "show_rules.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "yaml_out.h"

/* Names are unique in one file only; behind the first of a name its file makes the others so. */
static char *group_name(const struct rule_set *set, const struct rule_group *group)
{
    for (const struct rule_group *g = set->groups; g < group; g++)
        if (str_eq(g->name, group->name))
            return mem_printf("%s (%s)", group->name, group->file);
    return mem_strdup(group->name);
}

static void add_key(struct buf *out, int indent, const char *key, const char *value)
{
    buf_printf(out, "%*s", indent, "");
    yaml_out_text(out, key);
    buf_add_str(out, ": ");
    yaml_out_block(out, value, indent + 2);
    buf_add_char(out, '\n');
}

static void add_duration(struct buf *out, int indent, const char *key, int64_t ms)
{
    char text[32];
    if (ms != 0)
        buf_printf(out, "%*s%s: %s\n", indent, "", key,
                   str_format_duration(ms, text, sizeof(text)));
}

static void add_pairs(struct buf *out, const char *key, const struct label *pairs, size_t n)
{
    if (n > 0)
        buf_printf(out, "        %s:\n", key);
    for (size_t i = 0; i < n; i++)
        add_key(out, 10, pairs[i].name, pairs[i].value);
}

static void add_rule(struct buf *out, const struct rule_group *group, const struct rule *rule)
{
    char *place = mem_printf("%s:%d", group->file, rule->line);
    buf_add_str(out, "      ");
    yaml_out_comment(out, place);
    if (rule->overridden != NULL) {
        char *changed = mem_printf("rule_overrides: %s", rule->overridden);
        buf_add_str(out, "\n      ");
        yaml_out_comment(out, changed);
        mem_free(changed);
    }
    buf_printf(out, "\n      - %s: ", rule->is_alert ? "alert" : "record");
    yaml_out_text(out, rule->name);
    buf_add_char(out, '\n');
    add_key(out, 8, "expr", rule->expr_text);
    add_duration(out, 8, "for", rule->for_ms);
    add_duration(out, 8, "keep_firing_for", rule->keep_firing_ms);
    add_pairs(out, "labels", rule->labels, rule->label_count);
    add_pairs(out, "annotations", rule->annotations, rule->annotation_count);
    mem_free(place);
}

void show_rules_yaml(const struct rule_set *set, struct buf *out)
{
    buf_add_str(out, set->count > 0 ? "groups:\n" : "groups: []\n");
    for (size_t g = 0; g < set->count; g++) {
        const struct rule_group *group = &set->groups[g];
        char *name = group_name(set, group);
        buf_add_str(out, "  - name: ");
        yaml_out_text(out, name);
        buf_add_char(out, ' ');
        yaml_out_comment(out, group->file);
        buf_add_char(out, '\n');
        add_duration(out, 4, "interval", group->interval_ms);
        add_duration(out, 4, "query_offset", group->query_offset_ms);
        if (group->limit > 0)
            buf_printf(out, "    limit: %d\n", group->limit);
        buf_add_str(out, group->count > 0 ? "    rules:\n" : "    rules: []\n");
        for (size_t i = 0; i < group->count; i++)
            add_rule(out, group, &group->rules[i]);
        mem_free(name);
    }
}

/* ---- JSON ---- */

static json_t *pairs_json(const struct label *pairs, size_t n)
{
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(object, pairs[i].name, json_string(pairs[i].value));
    return object;
}

static void set_duration(json_t *object, const char *key, int64_t ms)
{
    char text[32];
    if (ms != 0)
        json_object_set_new(object, key, json_string(str_format_duration(ms, text, sizeof(text))));
}

static json_t *rule_json(const struct rule_group *group, const struct rule *rule)
{
    json_t *object = json_object();
    json_object_set_new(object, rule->is_alert ? "alert" : "record", json_string(rule->name));
    json_object_set_new(object, "expr", json_string(rule->expr_text));
    set_duration(object, "for", rule->for_ms);
    set_duration(object, "keep_firing_for", rule->keep_firing_ms);
    json_object_set_new(object, "labels", pairs_json(rule->labels, rule->label_count));
    if (rule->is_alert)
        json_object_set_new(object, "annotations",
                            pairs_json(rule->annotations, rule->annotation_count));
    json_object_set_new(object, "origin", json_sprintf("%s:%d", group->file, rule->line));
    if (rule->overridden != NULL)
        json_object_set_new(object, "overridden", json_string(rule->overridden));
    return object;
}

json_t *show_rules_json(const struct rule_set *set)
{
    json_t *groups = json_array();
    for (size_t g = 0; g < set->count; g++) {
        const struct rule_group *group = &set->groups[g];
        json_t *object = json_object(), *rules = json_array();
        json_object_set_new(object, "name", json_string(group->name));
        json_object_set_new(object, "file", json_string(group->file));
        set_duration(object, "interval", group->interval_ms);
        set_duration(object, "query_offset", group->query_offset_ms);
        if (group->limit > 0)
            json_object_set_new(object, "limit", json_integer(group->limit));
        for (size_t i = 0; i < group->count; i++)
            json_array_append_new(rules, rule_json(group, &group->rules[i]));
        json_object_set_new(object, "rules", rules);
        json_array_append_new(groups, object);
    }
    return groups;
}
