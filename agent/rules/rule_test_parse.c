/*
 * A file of unit tests from the position-keeping YAML tree, so that every finding has its place and
 * all are told at once. What promtool finds only when a test group is run (a series that cannot be
 * read, labels of an expected sample) is kept as text and judged there, so that the other groups
 * and checks still run. Invariant: texts of a read file live in its arena, not in the YAML.
 */
#include <math.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/base/yaml.h"
#include "rule_test_parts.h"

#define INTERVAL_DEFAULT_MS 60000

struct reading {
    struct diag *diag;
    struct rule_test *test;
};

#define FINDING(r, node, ...) \
    diag_add((r)->diag, (r)->test->file, (node)->line, (node)->col, __VA_ARGS__)

/* ---- values ---- */

static bool is_map(struct reading *r, const struct yaml_node *node, const char *what,
                   const char *const *known, size_t n)
{
    if (node->kind != YAML_MAP) {
        FINDING(r, node, "%s must be a mapping", what);
        return false;
    }
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->keys[i]->text, *near;
        size_t k = 0;
        while (k < n && !str_eq(key, known[k]))
            k++;
        if (k < n)
            continue;
        near = str_nearest(key, known, n);
        FINDING(r, node->keys[i], "unknown key '%s'%s%s%s", key, near ? ", did you mean '" : "",
                near ? near : "", near ? "'?" : "");
    }
    return true;
}

/* The value of a key; NULL if it is not there or null. */
static const struct yaml_node *value_of(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_get(map, key);
    return node == NULL || yaml_is_null(node) ? NULL : node;
}

static const char *text_of(struct reading *r, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = value_of(map, key);
    if (node == NULL)
        return "";
    if (node->kind == YAML_SCALAR)
        return arena_strdup(r->test->arena, node->text);
    FINDING(r, node, "'%s' must be a text", key);
    return "";
}

static int64_t duration_of(struct reading *r, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = value_of(map, key);
    const char *text = text_of(r, map, key);
    int64_t ms = 0;
    if (*text != '\0' && !str_parse_duration(text, &ms))
        FINDING(r, node, "not a valid duration string: \"%s\"", text);
    return ms;
}

/* The items of the list under a key; 0 if there is none. */
static size_t list_of(struct reading *r, const struct yaml_node *map, const char *key,
                      struct yaml_node ***items)
{
    const struct yaml_node *node = value_of(map, key);
    if (node == NULL)
        return 0;
    if (node->kind != YAML_SEQ) {
        FINDING(r, node, "'%s' must be a list", key);
        return 0;
    }
    *items = node->items;
    return node->count;
}

static size_t texts_of(struct reading *r, const struct yaml_node *map, const char *key,
                       const char ***out)
{
    struct yaml_node **items = NULL;
    size_t n = list_of(r, map, key, &items);
    const char **texts = arena_alloc_array(r->test->arena, n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        if (items[i]->kind != YAML_SCALAR)
            FINDING(r, items[i], "'%s' must be a list of texts", key);
        else
            texts[i] = arena_strdup(r->test->arena, items[i]->text);
        texts[i] = texts[i] != NULL ? texts[i] : "";
    }
    *out = texts;
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

/* Sorted; values may be empty, which differs from a label that is not there. extra: a pair that is
 * put over them, or without name. */
static struct labels pairs_of(struct reading *r, const struct yaml_node *map, const char *key,
                              struct label extra)
{
    const struct yaml_node *node = map != NULL ? value_of(map, key) : NULL;
    size_t count = node != NULL ? node->count : 0, n = 0;
    struct label *pairs = arena_alloc_array(r->test->arena, count + 2, sizeof(*pairs));
    if (node != NULL && node->kind != YAML_MAP) {
        FINDING(r, node, "'%s' must be a mapping", key);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *value = node->items[i];
        if (value->kind != YAML_SCALAR) {
            FINDING(r, value, "'%s' must be a text", node->keys[i]->text);
            continue;
        }
        if (extra.name != NULL && str_eq(node->keys[i]->text, extra.name))
            continue;
        pairs[n].name = arena_strdup(r->test->arena, node->keys[i]->text);
        pairs[n++].value = yaml_is_null(value) ? "" : arena_strdup(r->test->arena, value->text);
    }
    if (extra.name != NULL)
        pairs[n++] = extra;
    if (n > 1)
        qsort(pairs, n, sizeof(*pairs), by_name);
    return (struct labels){n, pairs};
}

/* Digits of a base with separators that YAML 1.1 allows. */
static bool parse_based(const char *s, int base, double *out)
{
    char digits[128], *end;
    size_t n = 0;
    for (; *s != '\0' && n < sizeof(digits) - 1; s++)
        if (*s != '_')
            digits[n++] = *s;
    digits[n] = '\0';
    if (base == 0)
        return str_parse_double(digits, out);
    *out = (double)strtoull(digits, &end, base);
    return n > 0 && *end == '\0';
}

/* .inf and .nan; C's own words for them are texts in YAML. */
static bool parse_special(const char *s, double *out)
{
    bool is_inf = strcasecmp(s, ".inf") == 0;
    *out = is_inf ? (double)INFINITY : (double)NAN;
    return is_inf || strcasecmp(s, ".nan") == 0;
}

/* A number as YAML writes it: .inf, .nan, 0x10, 010, 1_000. */
static bool parse_number(const char *s, double *out)
{
    static const struct {
        const char *prefix;
        int base;
    } bases[] = {{"0x", 16}, {"0b", 2}, {"0o", 8}};
    double sign = *s == '-' ? -1 : 1;
    int base = 0;
    s += *s == '-' || *s == '+';
    bool ok = parse_special(s, out);
    if (!ok && *s != '.' && (*s < '0' || *s > '9'))
        return false;
    if (*s == '0' && s[1] != '\0' && s[strspn(s, "01234567_")] == '\0')
        base = 8;
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        if (!str_starts(s, bases[i].prefix))
            continue;
        base = bases[i].base;
        s += 2;
        break;
    }
    ok = ok || parse_based(s, base, out);
    *out *= sign;
    return ok;
}

/* ---- parts of a test group ---- */

static void read_inputs(struct reading *r, const struct yaml_node *node, struct test_group *group)
{
    static const char *const known[] = {"series", "values"};
    struct yaml_node **items = NULL;
    size_t n = list_of(r, node, "input_series", &items);
    group->inputs = arena_alloc_array(r->test->arena, n, sizeof(*group->inputs));
    for (size_t i = 0; i < n; i++) {
        if (!is_map(r, items[i], "a series", known, ARRAY_LEN(known)))
            continue;
        group->inputs[group->input_count++] =
            (struct input_series){.series = text_of(r, items[i], "series"),
                                  .values = text_of(r, items[i], "values"),
                                  .line = items[i]->line,
                                  .col = items[i]->col};
    }
}

static void read_expected_alerts(struct reading *r, const struct yaml_node *node,
                                 struct alert_check *check)
{
    static const char *const known[] = {"exp_labels", "exp_annotations"};
    struct yaml_node **items = NULL;
    size_t n = list_of(r, node, "exp_alerts", &items);
    check->expected.v = arena_alloc_array(r->test->arena, n, sizeof(*check->expected.v));
    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *item = yaml_is_null(items[i]) ? NULL : items[i];
        if (item != NULL && !is_map(r, item, "an alert", known, ARRAY_LEN(known)))
            continue;
        struct shown_alert *alert = &check->expected.v[check->expected.n++];
        alert->labels =
            pairs_of(r, item, "exp_labels", (struct label){"alertname", check->alertname});
        alert->annotations = pairs_of(r, item, "exp_annotations", (struct label){NULL, NULL});
    }
}

/* Stable: checks of one time keep their order. */
static void insert_by_time(struct alert_check *checks, size_t n, const struct alert_check *check)
{
    for (; n > 0 && checks[n - 1].eval_ms > check->eval_ms; n--)
        checks[n] = checks[n - 1];
    checks[n] = *check;
}

static void read_alert_checks(struct reading *r, const struct yaml_node *node,
                              struct test_group *group)
{
    static const char *const known[] = {"eval_time", "alertname", "exp_alerts"};
    struct yaml_node **items = NULL;
    size_t n = list_of(r, node, "alert_rule_test", &items);
    group->alerts = arena_alloc_array(r->test->arena, n, sizeof(*group->alerts));
    for (size_t i = 0; i < n; i++) {
        if (!is_map(r, items[i], "a test of an alert", known, ARRAY_LEN(known)))
            continue;
        struct alert_check check = {.eval_ms = duration_of(r, items[i], "eval_time"),
                                    .alertname = text_of(r, items[i], "alertname")};
        if (*check.alertname == '\0') {
            char when[64];
            FINDING(r, items[i],
                    "an item under alert_rule_test misses required attribute alertname at "
                    "eval_time %s",
                    str_format_duration(check.eval_ms, when, sizeof(when)));
        }
        read_expected_alerts(r, items[i], &check);
        insert_by_time(group->alerts, group->alert_count++, &check);
    }
}

static void read_expected_samples(struct reading *r, const struct yaml_node *node,
                                  struct expr_check *check)
{
    static const char *const known[] = {"labels", "value"};
    struct yaml_node **items = NULL;
    size_t n = list_of(r, node, "exp_samples", &items);
    check->expected = arena_alloc_array(r->test->arena, n, sizeof(*check->expected));
    for (size_t i = 0; i < n; i++) {
        if (!is_map(r, items[i], "a sample", known, ARRAY_LEN(known)))
            continue;
        struct expected_sample *sample = &check->expected[check->expected_count++];
        const struct yaml_node *value = value_of(items[i], "value");
        sample->labels = text_of(r, items[i], "labels");
        if (value != NULL && (value->kind != YAML_SCALAR || value->quoted ||
                              !parse_number(value->text, &sample->value)))
            FINDING(r, value, "'value' is not a number");
    }
}

static void read_expr_checks(struct reading *r, const struct yaml_node *node,
                             struct test_group *group)
{
    static const char *const known[] = {"expr", "eval_time", "exp_samples"};
    struct yaml_node **items = NULL;
    size_t n = list_of(r, node, "promql_expr_test", &items);
    group->exprs = arena_alloc_array(r->test->arena, n, sizeof(*group->exprs));
    for (size_t i = 0; i < n; i++) {
        if (!is_map(r, items[i], "a test of an expression", known, ARRAY_LEN(known)))
            continue;
        struct expr_check *check = &group->exprs[group->expr_count++];
        check->eval_ms = duration_of(r, items[i], "eval_time");
        check->expr = text_of(r, items[i], "expr");
        read_expected_samples(r, items[i], check);
    }
}

/* RFC 3339 or Unix seconds. */
static int64_t start_of(struct reading *r, const struct yaml_node *map)
{
    const char *text = text_of(r, map, "start_timestamp");
    double seconds;
    wall_ms wall;
    if (*text == '\0')
        return 0;
    if (clock_parse_rfc3339(text, &wall))
        return wall.ms;
    if (str_parse_double(text, &seconds) && fabs(seconds) < 1e12)
        return (int64_t)llround(seconds * 1000);
    FINDING(r, yaml_get(map, "start_timestamp"),
            "'start_timestamp' is neither RFC 3339 nor Unix seconds: \"%s\"", text);
    return 0;
}

static void read_group(struct reading *r, const struct yaml_node *node, struct test_group *group)
{
    static const char *const known[] = {
        "name",         "interval",        "input_series",    "alert_rule_test", "promql_expr_test",
        "external_url", "external_labels", "start_timestamp",
    };
    if (!is_map(r, node, "a test", known, ARRAY_LEN(known)))
        return;
    group->name = text_of(r, node, "name");
    group->interval_ms = duration_of(r, node, "interval");
    if (group->interval_ms == 0)
        group->interval_ms = r->test->evaluation_interval_ms;
    group->start_ms = start_of(r, node);
    group->external_labels = pairs_of(r, node, "external_labels", (struct label){NULL, NULL});
    group->external_url = text_of(r, node, "external_url");
    read_inputs(r, node, group);
    read_alert_checks(r, node, group);
    read_expr_checks(r, node, group);
}

/* ---- the file ---- */

static void read_rule_files(struct reading *r, const struct yaml_node *root)
{
    struct rule_test *test = r->test;
    const char *slash = strrchr(test->file, '/');
    int folder = slash != NULL ? (int)(slash + 1 - test->file) : 0;
    test->rule_glob_count = texts_of(r, root, "rule_files", &test->rule_patterns);
    test->rule_globs = arena_alloc_array(test->arena, test->rule_glob_count + 1, sizeof(char *));
    for (size_t i = 0; i < test->rule_glob_count; i++) {
        const char *pattern = test->rule_patterns[i];
        test->rule_globs[i] =
            *pattern == '/' ? pattern
                            : arena_printf(test->arena, "%.*s%s", folder, test->file, pattern);
    }
}

static void read_group_order(struct reading *r, const struct yaml_node *root)
{
    struct rule_test *test = r->test;
    test->group_order_count = texts_of(r, root, "group_eval_order", &test->group_order);
    for (size_t i = 0; i < test->group_order_count; i++) {
        const char *name = test->group_order[i];
        size_t k = 0;
        while (!str_eq(name, test->group_order[k]))
            k++;
        if (k < i)
            FINDING(r, value_of(root, "group_eval_order")->items[i],
                    "group name repeated in evaluation order: %s", name);
    }
}

static void read_root(struct reading *r, const struct yaml_node *root)
{
    static const char *const known[] = {"rule_files", "evaluation_interval", "group_eval_order",
                                        "fuzzy_compare", "tests"};
    struct rule_test *test = r->test;
    struct yaml_node **items = NULL;
    if (yaml_is_null(root) || !is_map(r, root, "a file of tests", known, ARRAY_LEN(known)))
        return;
    test->evaluation_interval_ms = duration_of(r, root, "evaluation_interval");
    if (test->evaluation_interval_ms == 0)
        test->evaluation_interval_ms = INTERVAL_DEFAULT_MS;
    const struct yaml_node *fuzzy = value_of(root, "fuzzy_compare");
    if (fuzzy != NULL && !yaml_bool(fuzzy, &test->fuzzy))
        FINDING(r, fuzzy, "'fuzzy_compare' must be true or false");
    read_rule_files(r, root);
    read_group_order(r, root);
    test->group_count = list_of(r, root, "tests", &items);
    test->groups = arena_alloc_array(test->arena, test->group_count, sizeof(*test->groups));
    for (size_t i = 0; i < test->group_count; i++)
        read_group(r, items[i], &test->groups[i]);
}

struct rule_test *rule_test_parse(const char *file, const char *text, size_t len, struct diag *diag)
{
    size_t before = diag->count;
    struct rule_test *test = mem_alloc(sizeof(*test));
    struct reading r = {.diag = diag, .test = test};
    test->arena = arena_create(0, ARENA_NO_LIMIT);
    test->file = arena_strdup(test->arena, file);
    struct yaml_doc *doc = yaml_parse_as(YAML_GO, file, text, len, diag);
    if (doc != NULL)
        read_root(&r, yaml_root(doc));
    yaml_destroy(&doc);
    if (diag->count > before)
        rule_test_destroy(&test);
    return test;
}

struct rule_test *rule_test_load(const char *path, struct diag *diag)
{
    struct rule_test *test = NULL;
    struct buf text;
    FILE *f = fopen(path, "re");
    if (yaml_read_stream(f, path, &text, diag))
        test = rule_test_parse(path, text.data, text.len, diag);
    buf_deinit(&text);
    if (f != NULL)
        fclose(f);
    return test;
}

void rule_test_destroy(struct rule_test **test)
{
    if (*test == NULL)
        return;
    arena_destroy(&(*test)->arena);
    MEM_FREE_NULL(test);
}
