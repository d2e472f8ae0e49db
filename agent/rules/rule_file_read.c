/*
 * Rule files are read from the position-keeping YAML tree, not bound by reflection, so that every
 * finding has its line and column and all of them are told at once. What is accepted is what
 * Prometheus' decoder accepts: any scalar is a text where a text is wanted, null is the zero value,
 * a null in a list is nothing. Texts of findings about rules are Prometheus' own.
 */
#include "rule_file_private.h"

#include <math.h>
#include <stdarg.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define QUOTED_MAX 256
/* Prometheus keeps durations in 64 bits of nanoseconds. */
#define DURATION_MAX_MS (INT64_MAX / 1000000)

static const char *const root_keys[] = {"groups"};
static const char *const group_keys[] = {"name",  "interval", "query_offset",
                                         "limit", "labels",   "rules"};
static const char *const rule_keys[] = {"record",          "alert",  "expr",       "for",
                                        "keep_firing_for", "labels", "annotations"};

#define FINDING(r, node, ...) diag_add((r)->diag, (r)->file, (node)->line, (node)->col, __VA_ARGS__)

/* A rule while it is read. */
struct rule_place {
    struct rule_reading *r;
    const struct yaml_node *node;
    struct rule *rule;
    size_t number; /* in its group, from 1 */
    char group[QUOTED_MAX], name[QUOTED_MAX];
};

/* A finding about the rule, as Prometheus words it. */
static void complain(const struct rule_place *p, const struct yaml_node *node, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void complain(const struct rule_place *p, const struct yaml_node *node, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + QUOTED_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    FINDING(p->r, node != NULL ? node : p->node, "group %s, rule %zu, %s: %s", p->group, p->number,
            p->name, text);
}

/* As Go's %q, for the letters that names have. */
static void quote(const char *s, char out[QUOTED_MAX])
{
    size_t n = 0;
    out[n++] = '"';
    for (; *s != '\0' && n < QUOTED_MAX - 4; s++) {
        const char *escape = *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : *s == '\r' ? "\\r" : NULL;
        if (escape != NULL || *s == '"' || *s == '\\') {
            out[n++] = '\\';
            out[n++] = escape != NULL ? escape[1] : *s;
        } else {
            out[n++] = *s;
        }
    }
    out[n++] = '"';
    out[n] = '\0';
}

/* ---- values ---- */

static bool is_kind(struct rule_reading *r, const struct yaml_node *node, enum yaml_kind kind,
                    const char *what)
{
    static const char *const kinds[] = {"a text", "a list", "a mapping"};
    if (node->kind == kind)
        return true;
    FINDING(r, node, "%s must be %s, not %s", what, kinds[kind], kinds[node->kind]);
    return false;
}

static void check_keys(struct rule_reading *r, const struct yaml_node *map,
                       const char *const *known, size_t n)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->keys[i]->text;
        bool found = yaml_is_null(map->keys[i]);
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

/* NULL if it is not there, null, or (told) no scalar. */
static const struct yaml_node *scalar_of(struct rule_reading *r, const struct yaml_node *map,
                                         const char *key)
{
    char what[32];
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL || yaml_is_null(node))
        return NULL;
    snprintf(what, sizeof(what), "'%s'", key);
    return is_kind(r, node, YAML_SCALAR, what) ? node : NULL;
}

static int64_t duration_of(struct rule_reading *r, const struct yaml_node *map, const char *key)
{
    int64_t ms = 0;
    const struct yaml_node *node = scalar_of(r, map, key);
    if (node == NULL)
        return 0;
    if (node->len == 0)
        FINDING(r, node, "'%s': empty duration string", key);
    else if (!str_parse_duration(node->text, &ms))
        FINDING(r, node, "'%s': not a valid duration string: \"%s\"", key, node->text);
    else if (ms > DURATION_MAX_MS)
        FINDING(r, node, "'%s': duration out of range", key);
    return ms;
}

/* Digits of a number as Go's strconv reads them with base 0. */
static bool parse_go_integer(const char *s, double *out)
{
    char *end = NULL;
    const char *digits = s + (*s == '-' || *s == '+');
    int base = 10;
    if (digits[0] == '0' && digits[1] != '\0') {
        char c = digits[1] | 0x20;
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        digits += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
    }
    if (*digits == '\0' || strspn(digits, "0123456789abcdefABCDEF") != strlen(digits))
        return false;
    *out = (double)strtoull(digits, &end, base) * (*s == '-' ? -1 : 1);
    return *end == '\0';
}

/* Go takes any number for an integer, cuts it, and means "none" by one below zero. */
static int limit_of(struct rule_reading *r, const struct yaml_node *map)
{
    char plain[64] = "";
    size_t n = 0;
    double value = 0;
    const struct yaml_node *node = scalar_of(r, map, "limit");
    if (node == NULL)
        return 0;
    for (const char *s = node->text; *s != '\0' && n + 1 < sizeof(plain); s++)
        if (*s != '_')
            plain[n++] = *s;
    bool is_float = plain[strspn(plain, "0123456789.eE+-")] == '\0';
    bool ok = !node->quoted && node->len < sizeof(plain) &&
              (parse_go_integer(plain, &value) || (is_float && str_parse_double(plain, &value)));
    if (!ok || fabs(value) >= 0x1p63) {
        FINDING(r, node, "'limit' is not a count: '%s'", node->text);
        return 0;
    }
    return value <= 0 ? 0 : value >= INT32_MAX ? INT32_MAX : (int)value;
}

static bool is_name(const char *s, const char *also)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    if (*s == '\0' || (*s >= '0' && *s <= '9'))
        return false;
    for (; *s != '\0'; s++)
        if (strchr(letters, *s) == NULL && !(*s >= '0' && *s <= '9') && strchr(also, *s) == NULL)
            return false;
    return true;
}

/* ---- labels and annotations ---- */

static bool is_pair_name(const char *name, bool is_label)
{
    return is_name(name, "") && !(is_label && str_eq(name, LABEL_METRIC));
}

/* The map under a key; NULL if there is none or (told) it is something else. */
static const struct yaml_node *map_of(struct rule_reading *r, const struct yaml_node *node,
                                      const char *key)
{
    char what[32];
    const struct yaml_node *map = yaml_get(node, key);
    if (map == NULL || yaml_is_null(map))
        return NULL;
    snprintf(what, sizeof(what), "'%s'", key);
    if (!is_kind(r, map, YAML_MAP, what))
        return NULL;
    if (map->count > LABELS_MAX) {
        FINDING(r, map, "more than %d %s", LABELS_MAX, key);
        return NULL;
    }
    return map;
}

/* One pair, if its value is a text: null counts as one, a null key is no pair. */
static bool pair_of(struct rule_reading *r, const struct yaml_node *map, size_t i,
                    const char **name, const char **value)
{
    const struct yaml_node *key = map->keys[i], *item = map->items[i];
    char what[64];
    *name = key->text;
    snprintf(what, sizeof(what), "'%.60s'", key->text);
    if (yaml_is_null(key) || !is_kind(r, item, YAML_SCALAR, what))
        return false;
    *value = yaml_is_null(item) ? "" : item->text;
    return true;
}

static void check_template(const struct rule_place *p, const struct yaml_node *at, const char *what,
                           const char *name, const char *value)
{
    struct err err = {0};
    const char *why = p->rule->is_alert ? rule_template_check(p->rule->name, value, &err) : NULL;
    if (why != NULL)
        complain(p, at, "%s \"%s\": %s", what, name, why);
}

static void read_rule_pairs(const struct rule_place *p, const char *key, struct label **pairs,
                            size_t *count)
{
    bool is_label = str_eq(key, "labels");
    const char *what = is_label ? "label" : "annotation", *name, *value;
    const struct yaml_node *map = map_of(p->r, p->node, key);
    for (size_t i = 0; map != NULL && i < map->count; i++) {
        if (!pair_of(p->r, map, i, &name, &value))
            continue;
        if (!is_pair_name(name, is_label))
            complain(p, map->keys[i], "invalid %s name: %s", what, name);
        check_template(p, map->items[i], what, name, value);
        rule_pair_put(pairs, count, name, value);
    }
    if (*count > LABELS_MAX)
        FINDING(p->r, map != NULL ? map : p->node, "more than %d %s", LABELS_MAX, key);
    rule_pairs_sort(*pairs, *count);
}

static void read_group_labels(struct rule_reading *r, const struct yaml_node *node,
                              const char *quoted, struct label **pairs, size_t *count)
{
    const char *name, *value;
    const struct yaml_node *map = map_of(r, node, "labels");
    for (size_t i = 0; map != NULL && i < map->count; i++) {
        if (!pair_of(r, map, i, &name, &value))
            continue;
        if (!is_pair_name(name, true))
            FINDING(r, map->keys[i], "group %s: invalid label name: %s", quoted, name);
        rule_pair_put(pairs, count, name, value);
    }
}

/* ---- rules ---- */

static void read_expr(const struct rule_place *p)
{
    struct promql_error perr;
    const struct yaml_node *expr = scalar_of(p->r, p->node, "expr");
    if (expr == NULL || expr->len == 0) {
        complain(p, expr, "field 'expr' must be set in rule");
        return;
    }
    p->rule->expr_text = mem_strdup(expr->text);
    p->rule->expr = promql_parse(expr->text, &perr);
    if (p->rule->expr == NULL)
        complain(p, expr, "could not parse expression: %s", perr.text);
}

static void check_record(const struct rule_place *p, const struct yaml_node *record)
{
    const struct rule *rule = p->rule;
    if (rule->annotation_count > 0)
        complain(p, yaml_get(p->node, "annotations"),
                 "invalid field 'annotations' in recording rule");
    if (rule->for_ms != 0)
        complain(p, yaml_get(p->node, "for"), "invalid field 'for' in recording rule");
    if (rule->keep_firing_ms != 0)
        complain(p, yaml_get(p->node, "keep_firing_for"),
                 "invalid field 'keep_firing_for' in recording rule");
    if (!is_name(record->text, ":"))
        complain(p, record, "invalid recording rule name: %s", record->text);
}

static bool is_given(const struct yaml_node *node)
{
    return node != NULL && node->len > 0;
}

static void read_fields(struct rule_place *p, const struct rule *defaults)
{
    struct rule *rule = p->rule;
    const struct yaml_node *record = scalar_of(p->r, p->node, "record");
    const struct yaml_node *alert = scalar_of(p->r, p->node, "alert");
    rule->is_alert = is_given(alert);
    rule->name = mem_strdup(is_given(alert) ? alert->text : is_given(record) ? record->text : "");
    quote(rule->name, p->name);
    if (is_given(alert) && is_given(record))
        complain(p, record, "only one of 'record' and 'alert' must be set");
    else if (!is_given(alert) && !is_given(record))
        complain(p, NULL, "one of 'record' or 'alert' must be set");
    read_expr(p);
    rule->for_ms = duration_of(p->r, p->node, "for");
    rule->keep_firing_ms = duration_of(p->r, p->node, "keep_firing_for");
    for (size_t i = 0; i < defaults->label_count; i++) {
        check_template(p, NULL, "label", defaults->labels[i].name, defaults->labels[i].value);
        rule_pair_put(&rule->labels, &rule->label_count, defaults->labels[i].name,
                      defaults->labels[i].value);
    }
    read_rule_pairs(p, "labels", &rule->labels, &rule->label_count);
    read_rule_pairs(p, "annotations", &rule->annotations, &rule->annotation_count);
    if (is_given(record))
        check_record(p, record);
}

static void read_rule(struct rule_place *p, struct rule_group *group, const struct rule *defaults)
{
    if (yaml_is_null(p->node) || !is_kind(p->r, p->node, YAML_MAP, "a rule"))
        return;
    if (++p->r->rules > RULES_MAX) {
        if (p->r->rules == RULES_MAX + 1)
            FINDING(p->r, p->node, "more than %d rules", RULES_MAX);
        return;
    }
    check_keys(p->r, p->node, rule_keys, ARRAY_LEN(rule_keys));
    struct rule *rule = p->rule = &group->rules[group->count++];
    p->number = group->count;
    rule->line = p->node->line;
    rule->col = p->node->col;
    read_fields(p, defaults);
    if (rule->is_alert) {
        rule_templates_parse(rule->name, rule->labels, rule->label_count, &rule->label_templates);
        rule_templates_parse(rule->name, rule->annotations, rule->annotation_count,
                             &rule->annotation_templates);
    }
}

/* ---- groups ---- */

static void read_rules(struct rule_reading *r, const struct yaml_node *node,
                       struct rule_group *group, const struct rule *defaults)
{
    const struct yaml_node *rules = yaml_get(node, "rules");
    struct rule_place p = {.r = r};
    if (rules == NULL || yaml_is_null(rules) || !is_kind(r, rules, YAML_SEQ, "'rules'"))
        return;
    quote(group->name, p.group);
    /* No more than the limit: a list of many aliases is short. */
    group->rules = mem_alloc_array(size_min(rules->count, RULES_MAX), sizeof(*group->rules));
    for (size_t i = 0; i < rules->count; i++) {
        p.node = rules->items[i];
        read_rule(&p, group, defaults);
    }
}

static struct rule_group *add_group(struct rule_reading *r, const struct yaml_node *node,
                                    const char *name, struct rule_set *set)
{
    char quoted[QUOTED_MAX];
    quote(name, quoted);
    for (size_t i = 0; i < set->count; i++) {
        if (str_eq(set->groups[i].name, name) && str_eq(set->groups[i].file, r->file)) {
            FINDING(r, node, "groupname: %s is repeated in the same file", quoted);
            break;
        }
    }
    set->groups = mem_realloc_array(set->groups, set->count + 1, sizeof(*set->groups));
    struct rule_group *group = &set->groups[set->count++];
    *group = (struct rule_group){.name = mem_strdup(name), .file = mem_strdup(r->file)};
    return group;
}

static void read_group(struct rule_reading *r, const struct yaml_node *node, struct rule_set *set)
{
    char quoted[QUOTED_MAX];
    struct rule defaults = {0};
    if (yaml_is_null(node) || !is_kind(r, node, YAML_MAP, "a group"))
        return;
    if (set->count == RULE_GROUPS_MAX) {
        FINDING(r, node, "more than %d groups", RULE_GROUPS_MAX);
        return;
    }
    check_keys(r, node, group_keys, ARRAY_LEN(group_keys));
    const struct yaml_node *name = scalar_of(r, node, "name");
    if (!is_given(name))
        FINDING(r, node, "Groupname must not be empty");
    struct rule_group *group = add_group(r, node, is_given(name) ? name->text : "", set);
    quote(group->name, quoted);
    group->interval_ms = duration_of(r, node, "interval");
    group->query_offset_ms = duration_of(r, node, "query_offset");
    group->limit = limit_of(r, node);
    read_group_labels(r, node, quoted, &defaults.labels, &defaults.label_count);
    read_rules(r, node, group, &defaults);
    rule_pairs_free(defaults.labels, defaults.label_count);
}

void rule_file_read(struct rule_reading *r, const struct yaml_node *root, struct rule_set *set)
{
    if (!is_kind(r, root, YAML_MAP, "a rule file"))
        return;
    check_keys(r, root, root_keys, ARRAY_LEN(root_keys));
    const struct yaml_node *groups = yaml_get(root, "groups");
    if (groups == NULL || yaml_is_null(groups) || !is_kind(r, groups, YAML_SEQ, "'groups'"))
        return;
    for (size_t i = 0; i < groups->count; i++)
        read_group(r, groups->items[i], set);
}
