/*
 * config_read.c: walks the YAML tree of one file along the tables of settings.
 *
 * Several files are read into one build, so that a later file can change one field of a node of an
 * earlier one. Nothing stops at the first mistake: what is wrong is told and left out, the walk
 * goes on. Invariant: each row that was mentioned has an origin afterwards, valid or not, so that
 * nothing is called missing that was only wrong.
 */
#include "config_internal.h"

#include <stdarg.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define PATH_TEXT_MAX 128

/* A map that has a table: the configuration itself, a node, a pool, a log. */
struct target {
    const struct setting_table *table;
    void *base;
    struct origin *origins;
};

/* ---- findings ---- */

void config_complain(struct config_build *b, const struct origin *at, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + 256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    /* Without a file it is about what zero-config made of the environment. */
    diag_add(b->diag, at->file != NULL ? at->file : "environment", at->line, at->col, "%s", text);
}

struct origin config_origin(const struct config_build *b, const struct yaml_node *node)
{
    return (struct origin){.file = b->file, .line = node->line, .col = node->col};
}

/* ---- keys ---- */

static size_t find_row(const struct setting_table *table, const char *path)
{
    size_t i = 0;
    while (i < table->count && !str_eq(table->rows[i].key, path))
        i++;
    return i;
}

/* "gate" is one because of "gate.max_lag". */
static bool is_section(const struct setting_table *table, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < table->count; i++) {
        if (strncmp(table->rows[i].key, path, n) == 0 && table->rows[i].key[n] == '.')
            return true;
    }
    return false;
}

/* The keys that may stand in the map of this prefix ("" or "gate."), into names. */
static size_t keys_below(const struct setting_table *table, const char *prefix,
                         char names[CONFIG_ROWS_MAX][PATH_TEXT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < table->count; i++) {
        if (!str_starts(table->rows[i].key, prefix))
            continue;
        const char *rest = table->rows[i].key + strlen(prefix);
        size_t length = strcspn(rest, ".");
        /* Rows of one section stand together. */
        if (n > 0 && strlen(names[n - 1]) == length && strncmp(names[n - 1], rest, length) == 0)
            continue;
        snprintf(names[n++], PATH_TEXT_MAX, "%.*s", (int)length, rest);
    }
    return n;
}

/* The path of a row that ends in this key, for one that stands in the wrong map. */
static const char *path_elsewhere(const char *key)
{
    const struct setting_table *table = config_table_top();
    for (size_t i = 0; i < table->count; i++) {
        const char *dot = strrchr(table->rows[i].key, '.');
        if (dot != NULL && str_eq(dot + 1, key))
            return table->rows[i].key;
    }
    return NULL;
}

static void unknown_key(struct config_build *b, const struct setting_table *table,
                        const char *prefix, const struct yaml_node *key)
{
    char names[CONFIG_ROWS_MAX][PATH_TEXT_MAX];
    const char *candidates[CONFIG_ROWS_MAX];
    char shown[CONFIG_SHOWN_MAX];
    struct origin at = config_origin(b, key);
    size_t n = keys_below(table, prefix, names);
    for (size_t i = 0; i < n; i++)
        candidates[i] = names[i];
    const char *near = str_nearest(key->text, candidates, n);
    if (near == NULL)
        near = path_elsewhere(key->text);
    config_shown(key->text, shown);
    if (near != NULL)
        config_complain(b, &at, "unknown key %s, did you mean '%s'?", shown, near);
    else
        config_complain(b, &at, "unknown key %s", shown);
}

/* ---- lists of texts ---- */

static void free_texts(char ***texts, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        mem_free((*texts)[i]);
    MEM_FREE_NULL(texts);
    *n = 0;
}

static void add_text(char ***texts, size_t *n, char *text)
{
    *texts = mem_realloc_array(*texts, *n + 1, sizeof(char *));
    (*texts)[(*n)++] = text;
}

/* A relative glob is meant from where its file is, as in Prometheus. */
static char *beside_file(const struct config_build *b, char *path)
{
    const char *slash = strrchr(b->file, '/');
    if (path[0] == '/' || slash == NULL)
        return path;
    char *whole = mem_printf("%.*s/%s", (int)(slash - b->file), b->file, path);
    mem_free(path);
    return whole;
}

static void read_text(struct config_build *b, const struct setting *row,
                      const struct yaml_node *node)
{
    struct config *c = b->config;
    char *text = config_value_text(b, row, node);
    if (text == NULL)
        return;
    if (text[0] == '\0' || (row->type == SETTING_NETWORKS && !config_network_is_valid(text))) {
        config_value_wrong(b, row, node);
        mem_free(text);
    } else if (row->type == SETTING_GLOBS) {
        add_text(&c->rules, &c->rule_count, beside_file(b, text));
    } else {
        add_text(&c->outgoing.deny, &c->outgoing.deny_count, text);
    }
}

/* One text may stand for a list of one. */
static bool list_bounds(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node, size_t *n)
{
    *n = node->kind == YAML_SEQ ? node->count : 1;
    if (node->kind == YAML_MAP || (node->kind == YAML_SCALAR && yaml_is_null(node))) {
        config_value_wrong(b, row, node);
        return false;
    }
    if (*n > (size_t)row->max) {
        struct origin at = config_origin(b, node);
        config_complain(b, &at, "'%s': more than %lld entries", row->key, (long long)row->max);
        return false;
    }
    return true;
}

static void read_texts(struct config_build *b, const struct setting *row,
                       const struct yaml_node *node)
{
    struct config *c = b->config;
    size_t n;
    if (!list_bounds(b, row, node, &n))
        return;
    if (row->type == SETTING_GLOBS)
        free_texts(&c->rules, &c->rule_count);
    else
        free_texts(&c->outgoing.deny, &c->outgoing.deny_count);
    for (size_t i = 0; i < n; i++)
        read_text(b, row, node->kind == YAML_SEQ ? node->items[i] : node);
}

/* ---- a pool's connection strings ---- */

static void read_pool_dsns(struct config_build *b, const struct setting *row,
                           struct config_pool *pool, const struct yaml_node *node)
{
    size_t n;
    if (row->type == SETTING_POOL_DSN && node->kind != YAML_SCALAR) {
        config_value_wrong(b, row, node);
        return;
    }
    if (!list_bounds(b, row, node, &n))
        return;
    for (size_t i = 0; i < pool->dsn_count; i++)
        MEM_FREE_NULL(&pool->dsns[i]);
    pool->dsn_count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *text = node->kind == YAML_SEQ ? node->items[i] : node;
        if (text->kind != YAML_SCALAR || yaml_is_null(text) || text->len == 0 ||
            text->len > CONFIG_TEXT_MAX || strlen(text->text) != text->len)
            config_value_wrong(b, row, text);
        else
            pool->dsns[pool->dsn_count++] = mem_strdup(text->text);
    }
}

/* ---- external labels ---- */

static bool is_label_name(const char *s)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return s[0] != '\0' && strchr(first, s[0]) != NULL && s[strspn(s, rest)] == '\0' &&
           strlen(s) <= LABEL_NAME_MAX;
}

/* Name and value share one block, which begins with the name. */
static struct label make_label(const char *name, const char *value)
{
    size_t n = strlen(name) + 1;
    char *block = mem_alloc(n + strlen(value) + 1);
    memcpy(block, name, n);
    memcpy(block + n, value, strlen(value) + 1);
    return (struct label){.name = block, .value = block + n};
}

void config_free_label(struct label *label)
{
    void *block;
    memcpy(&block, &label->name, sizeof(block)); /* a cast would complain about const */
    mem_free(block);
}

static void put_label(struct config *c, const char *name, const char *value)
{
    size_t i = 0;
    while (i < c->external_label_count && !str_eq(c->external_labels[i].name, name))
        i++;
    if (i < c->external_label_count) {
        config_free_label(&c->external_labels[i]);
    } else {
        c->external_labels = mem_realloc_array(c->external_labels, i + 1, sizeof(struct label));
        c->external_label_count++;
    }
    c->external_labels[i] = make_label(name, value);
}

static void read_label(struct config_build *b, const struct setting *row,
                       const struct yaml_node *key, const struct yaml_node *node)
{
    char shown[CONFIG_SHOWN_MAX];
    struct origin at = config_origin(b, key);
    if (!is_label_name(key->text) || str_starts(key->text, "__") ||
        str_eq(key->text, "alertname")) {
        config_complain(b, &at, "%s cannot be the name of an external label",
                        config_shown(key->text, shown));
        return;
    }
    char *value = config_value_text(b, row, node);
    if (value != NULL && (value[0] == '\0' || strlen(value) > LABEL_VALUE_MAX)) {
        config_complain(b, &at, "external label '%s' must have 1 to %d bytes", key->text,
                        LABEL_VALUE_MAX);
    } else if (value != NULL && b->config->external_label_count >= EXTERNAL_MAX) {
        config_complain(b, &at, "more than %d external labels", EXTERNAL_MAX);
    } else if (value != NULL) {
        put_label(b->config, key->text, value);
    }
    mem_free(value);
}

static void read_labels(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node)
{
    if (yaml_is_null(node))
        return;
    if (node->kind != YAML_MAP) {
        config_value_wrong(b, row, node);
        return;
    }
    for (size_t i = 0; i < node->count; i++)
        read_label(b, row, node->keys[i], node->items[i]);
    b->config->external_label_count =
        labels_sort(b->config->external_labels, b->config->external_label_count);
}

/* ---- maps ---- */

static void read_items(struct config_build *b, const struct setting *row,
                       const struct yaml_node *node);
static void read_overrides(struct config_build *b, const struct setting *row,
                           const struct yaml_node *node);

static void read_row(struct config_build *b, const struct target *target, size_t i,
                     const struct yaml_node *node)
{
    const struct setting *row = &target->table->rows[i];
    bool is_list = row->type == SETTING_NODES || row->type == SETTING_POOLS ||
                   row->type == SETTING_LOGS || row->type == SETTING_OVERRIDES;
    /* A list whose entries are all commented out is as good as absent. */
    if (is_list && node->kind == YAML_SCALAR && yaml_is_null(node))
        return;
    size_t findings = b->diag->count + b->diag->dropped;
    target->origins[i] = config_origin(b, node);
    if (node->kind == YAML_SCALAR && strstr(node->text, "${") != NULL)
        target->origins[i].written = node->text;
    switch (row->type) {
    case SETTING_NODES:
    case SETTING_POOLS:
    case SETTING_LOGS:
        read_items(b, row, node);
        break;
    case SETTING_OVERRIDES:
        read_overrides(b, row, node);
        break;
    case SETTING_POOL_DSN:
    case SETTING_POOL_DSNS:
        read_pool_dsns(b, row, target->base, node);
        break;
    case SETTING_GLOBS:
    case SETTING_NETWORKS:
        read_texts(b, row, node);
        break;
    case SETTING_LABELS:
        read_labels(b, row, node);
        break;
    default:
        config_value_set(b, row, target->base, node);
        break;
    }
    target->origins[i].is_wrong = b->diag->count + b->diag->dropped > findings;
}

/* `notify: URL` for short; later versions take the name of a file there. */
static void read_notify(struct config_build *b, const struct target *target,
                        const struct yaml_node *node)
{
    size_t i = config_row(target->table, "notify.webhook");
    struct origin at = config_origin(b, node);
    char *url = config_value_text(b, &target->table->rows[i], node);
    if (url == NULL)
        return;
    if (url[0] == '\0' || config_url_is_valid(url))
        read_row(b, target, i, node);
    else if (str_starts(url, "http://") || str_starts(url, "https://"))
        config_value_wrong(b, &target->table->rows[i], node);
    else {
        config_complain(b, &at,
                        "'notify': notify.yml is not supported by this version, give a "
                        "webhook, like notify: {webhook: \"https://example.org/hook\"}");
    }
    mem_free(url);
}

static void read_map(struct config_build *b, const struct target *target, const char *prefix,
                     const struct yaml_node *map);

static void read_section(struct config_build *b, const struct target *target, const char *path,
                         const struct yaml_node *node)
{
    char prefix[PATH_TEXT_MAX + 2];
    if (node->kind == YAML_MAP) {
        snprintf(prefix, sizeof(prefix), "%s.", path);
        read_map(b, target, prefix, node);
    } else if (node->kind == YAML_SCALAR && yaml_is_null(node)) {
        return; /* all its keys are commented out */
    } else if (node->kind == YAML_SCALAR && str_eq(path, "notify")) {
        read_notify(b, target, node);
    } else {
        struct origin at = config_origin(b, node);
        config_complain(b, &at, "'%s': expected a map", path);
    }
}

static void read_map(struct config_build *b, const struct target *target, const char *prefix,
                     const struct yaml_node *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i];
        char path[PATH_TEXT_MAX];
        int n = snprintf(path, sizeof(path), "%s%s", prefix, key->text);
        bool whole = n > 0 && (size_t)n < sizeof(path) && strlen(key->text) == key->len;
        size_t row = whole ? find_row(target->table, path) : target->table->count;
        if (row < target->table->count && strchr(key->text, '.') == NULL)
            read_row(b, target, row, map->items[i]);
        else if (whole && strchr(key->text, '.') == NULL && is_section(target->table, path))
            read_section(b, target, path, map->items[i]);
        else
            unknown_key(b, target->table, prefix, key);
    }
}

/* ---- nodes, pools, logs ---- */

static void *fields_of(const struct list *list, size_t i)
{
    return (char *)list->array + i * list->size;
}

static const char *name_of(const struct list *list, size_t i)
{
    return (const char *)fields_of(list, i) + list->table->rows[0].offset;
}

void *config_list_add(struct config_build *b, struct list *list, const struct origin *at)
{
    list->array = mem_realloc_array(list->array, list->n + 1, list->size);
    list->items = mem_realloc_array(list->items, list->n + 1, sizeof(struct item));
    void *fields = fields_of(list, list->n);
    memset(fields, 0, list->size);
    memset(&list->items[list->n], 0, sizeof(struct item));
    list->items[list->n].at = *at;
    list->n++;
    for (size_t i = 0; i < list->table->count; i++) {
        if (list->table->rows[i].value != NULL)
            config_value_default(b, &list->table->rows[i], fields);
    }
    return fields;
}

/* The item of this name to go on with; list->n if it is a new one. */
static size_t find_item(struct config_build *b, struct list *list, const struct yaml_node *name)
{
    if (list == &b->logs || name == NULL || name->kind != YAML_SCALAR || name->len == 0)
        return list->n;
    for (size_t i = 0; i < list->n; i++) {
        if (!str_eq(name_of(list, i), name->text))
            continue;
        if (list->items[i].file_no == b->file_no) {
            struct origin at = config_origin(b, name);
            config_complain(b, &at, "duplicate %s '%s', the first is in line %d", list->what,
                            name->text, list->items[i].at.line);
            return list->n;
        }
        return i;
    }
    return list->n;
}

static void read_item(struct config_build *b, struct list *list, const struct yaml_node *node)
{
    struct origin at = config_origin(b, node);
    if (node->kind != YAML_MAP) {
        config_complain(b, &at, "a %s must be a map, like {%s: app, ...}", list->what,
                        list->table->rows[0].key);
        return;
    }
    const struct yaml_node *name = yaml_get(node, list->table->rows[0].key);
    size_t i = find_item(b, list, name);
    if (i == list->n && list->n >= list->max) {
        if (!list->full)
            config_complain(b, &at, "more than %zu %ss", list->max, list->what);
        list->full = true;
        return;
    }
    if (i == list->n)
        config_list_add(b, list, &at);
    list->items[i].at = at;
    list->items[i].file_no = b->file_no;
    struct target target = {
        .table = list->table, .base = fields_of(list, i), .origins = list->items[i].origins};
    if (list == &b->pools && yaml_get(node, "dsn") != NULL && yaml_get(node, "dsns") != NULL)
        config_complain(b, &at, "a pool has either 'dsn' or 'dsns'");
    read_map(b, &target, "", node);
}

static void drop_logs(struct config_build *b)
{
    struct config_log *logs = b->logs.array;
    for (size_t i = 0; i < b->logs.n; i++)
        mem_free(logs[i].path);
    b->logs.n = 0;
}

static void read_items(struct config_build *b, const struct setting *row,
                       const struct yaml_node *node)
{
    struct list *list = row->type == SETTING_NODES   ? &b->nodes
                        : row->type == SETTING_POOLS ? &b->pools
                                                     : &b->logs;
    if (node->kind != YAML_SEQ) {
        config_value_wrong(b, row, node);
        return;
    }
    /* Logs have no names to merge by: the list of a later file stands for all. */
    if (list == &b->logs)
        drop_logs(b);
    for (size_t i = 0; i < node->count; i++)
        read_item(b, list, node->items[i]);
}

/* ---- rule_overrides ---- */

/* A map instead of a list: the names are the alerts', and a later file changes single fields. */
static void read_overrides(struct config_build *b, const struct setting *row,
                           const struct yaml_node *node)
{
    if (node->kind != YAML_MAP) {
        config_value_wrong(b, row, node);
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        struct item *item;
        struct config_override *override = config_override_at(b, node->keys[i], &item);
        struct origin at = config_origin(b, node->items[i]);
        if (override == NULL)
            continue;
        if (node->items[i]->kind != YAML_MAP) {
            config_complain(b, &at, "'%s': expected a map, like {threshold: 30s, for: 10m}",
                            override->alert);
            continue;
        }
        struct target target = {
            .table = b->overrides.table, .base = override, .origins = item->origins};
        read_map(b, &target, "", node->items[i]);
        config_override_end(b, override, item);
    }
}

/* ---- files ---- */

static bool root_is_map(struct config_build *b, const struct yaml_node *root)
{
    if (root->kind == YAML_MAP)
        return true;
    struct origin at = config_origin(b, root);
    config_complain(b, &at, "expected a map of settings, like cluster: main");
    return false;
}

void config_read_modes(struct config_build *b, const struct yaml_doc *doc)
{
    const struct setting_table *table = config_table_top();
    const struct setting *row = &table->rows[config_row(table, "secret_modes")];
    const struct yaml_node *node = yaml_root(doc);
    node = node->kind == YAML_MAP ? yaml_get(node, row->key) : NULL;
    /* A wrong word is told when the map is read. */
    if (node != NULL && node->kind == YAML_SCALAR && str_eq(node->text, "relaxed"))
        b->config->secret_modes = SECRET_MODES_RELAXED;
    else if (node != NULL)
        b->config->secret_modes = SECRET_MODES_STRICT;
}

void config_read(struct config_build *b, const struct yaml_doc *doc)
{
    const struct yaml_node *root = yaml_root(doc);
    struct target target = {.table = config_table_top(), .base = b->config, .origins = b->origins};
    b->file = yaml_file_name(doc);
    b->file_no++;
    if (root_is_map(b, root))
        read_map(b, &target, "", root);
}
