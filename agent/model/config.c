/*
 * config.c: from files to one immutable, counted struct config.
 *
 * All files are read before any is judged, and everything that is wrong is told at once; a struct
 * config exists only if nothing was. Invariant: after config_build_end nobody changes it, so any
 * thread may read it while it holds a reference.
 */
#include "pgvigil/model/config.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "config_internal.h"

/* ---- life ---- */

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(texts[i]);
    mem_free(texts);
}

static void free_lists(struct config *c)
{
    for (size_t i = 0; i < c->node_count; i++)
        mem_free(c->nodes[i].dsn);
    for (size_t i = 0; i < c->pool_count; i++) {
        for (size_t j = 0; j < c->pools[i].dsn_count; j++)
            mem_free(c->pools[i].dsns[j]);
    }
    for (size_t i = 0; i < c->log_count; i++)
        mem_free(c->logs[i].path);
    for (size_t i = 0; i < c->external_label_count; i++)
        config_free_label(&c->external_labels[i]);
    mem_free(c->nodes);
    mem_free(c->pools);
    mem_free(c->logs);
    mem_free(c->external_labels);
}

static void config_free(struct config *c)
{
    free_lists(c);
    free_texts(c->rules, c->rule_count);
    config_overrides_free(c->overrides, c->override_count);
    free_texts(c->outgoing.deny, c->outgoing.deny_count);
    mem_free(c->outgoing.ca);
    mem_free(c->outgoing.cert);
    mem_free(c->outgoing.key);
    mem_free(c->notify.webhook);
    mem_free(c->listen_host);
    mem_free(c->state_dir);
    mem_free(c->health_dir);
    mem_free(c->path);
    mem_free(c);
}

struct config *config_ref(struct config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config **c)
{
    if (*c != NULL && atomic_fetch_sub_explicit(&(*c)->refs, 1, memory_order_acq_rel) == 1)
        config_free(*c);
    *c = NULL;
}

const struct config_node *config_node_find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (str_eq(c->nodes[i].name, name))
            return &c->nodes[i];
    }
    return NULL;
}

/* ---- building ---- */

static void list_init(struct list *list, const struct setting_table *table, const char *what,
                      size_t size, size_t max)
{
    list->table = table;
    list->what = what;
    list->size = size;
    list->max = max;
}

/* "a b" becomes two texts. */
static void default_texts(char ***texts, size_t *n, const char *words)
{
    while (*words != '\0') {
        size_t length = strcspn(words, " ");
        *texts = mem_realloc_array(*texts, *n + 1, sizeof(char *));
        (*texts)[(*n)++] = mem_strndup(words, length);
        words += length + strspn(words + length, " ");
    }
}

void config_build_init(struct config_build *b, struct diag *diag)
{
    const struct setting_table *table = config_table_top();
    memset(b, 0, sizeof(*b));
    b->diag = diag;
    b->config = mem_alloc(sizeof(struct config));
    atomic_init(&b->config->refs, 1);
    list_init(&b->nodes, config_table_node(), "node", sizeof(struct config_node), NODES_MAX);
    list_init(&b->pools, config_table_pool(), "pool", sizeof(struct config_pool), POOLS_MAX);
    list_init(&b->overrides, config_table_override(), "override", sizeof(struct config_override),
              OVERRIDES_MAX);
    list_init(&b->logs, config_table_log(), "log", sizeof(struct config_log), LOGS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (row->type == SETTING_GLOBS)
            default_texts(&b->config->rules, &b->config->rule_count, row->value);
        else if (row->type == SETTING_NETWORKS)
            default_texts(&b->config->outgoing.deny, &b->config->outgoing.deny_count, row->value);
        else if (row->value != NULL)
            config_value_default(b, row, b->config);
    }
}

struct config *config_build_end(struct config_build *b)
{
    struct config *c = b->config;
    config_check(b);
    if (b->show != NULL && b->diag->count == 0 && b->diag->dropped == 0)
        config_show_build(b, b->show);
    c->nodes = b->nodes.array;
    c->node_count = b->nodes.n;
    c->pools = b->pools.array;
    c->pool_count = b->pools.n;
    c->logs = b->logs.array;
    c->log_count = b->logs.n;
    c->overrides = b->overrides.array;
    c->override_count = b->overrides.n;
    mem_free(b->nodes.items);
    mem_free(b->pools.items);
    mem_free(b->logs.items);
    mem_free(b->overrides.items);
    if (b->diag->count > 0 || b->diag->dropped > 0)
        config_unref(&c);
    return c;
}

struct config *config_parse(const char *name, const char *text, size_t len, struct diag *diag)
{
    struct config_build b;
    struct yaml_doc *doc = yaml_parse(name, text, len, diag);
    if (doc == NULL)
        return NULL;
    config_build_init(&b, diag);
    b.config->path = mem_strdup(name);
    config_read_modes(&b, doc);
    config_read(&b, doc);
    struct config *c = config_build_end(&b);
    yaml_destroy(&doc);
    return c;
}

/* ---- files ---- */

struct files {
    char *paths[CONFIG_FILES_MAX + 1];
    struct yaml_doc *docs[CONFIG_FILES_MAX + 1];
    size_t n;
};

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_part(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '.' && n > 5 && str_eq(name + n - 5, ".yaml");
}

/* conf.d beside the file, in byte order. */
static void find_parts(struct files *files, const char *path, struct diag *diag)
{
    const char *slash = strrchr(path, '/');
    int n = slash != NULL ? (int)(slash - path + 1) : 0;
    char *directory = mem_printf("%.*sconf.d", n, path);
    DIR *dir = opendir(directory);
    if (dir == NULL && errno != ENOENT && errno != ENOTDIR)
        diag_add(diag, directory, 0, 0, "cannot be read: %s", strerror(errno));
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (!is_part(e->d_name))
            continue;
        if (files->n > CONFIG_FILES_MAX) {
            diag_add(diag, directory, 0, 0, "more than %d files", CONFIG_FILES_MAX);
            break;
        }
        files->paths[files->n++] = mem_printf("%s/%s", directory, e->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    qsort(files->paths + 1, files->n - 1, sizeof(char *), by_bytes);
    mem_free(directory);
}

static void load_all(struct files *files, const char *path, struct diag *diag)
{
    files->paths[files->n++] = mem_strdup(path);
    find_parts(files, path, diag);
    for (size_t i = 0; i < files->n; i++)
        files->docs[i] = yaml_load(files->paths[i], diag);
}

static void free_all(struct files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        yaml_destroy(&files->docs[i]);
        mem_free(files->paths[i]);
    }
}

static struct config *config_load_files(const char *path, struct config_show *show,
                                        struct diag *diag)
{
    struct files files = {.n = 0};
    struct config_build b;
    load_all(&files, path, diag);
    config_build_init(&b, diag);
    b.show = show;
    b.config->path = mem_strdup(path);
    for (size_t i = 0; i < files.n; i++) {
        if (files.docs[i] != NULL)
            config_read_modes(&b, files.docs[i]);
    }
    for (size_t i = 0; i < files.n; i++) {
        if (files.docs[i] != NULL)
            config_read(&b, files.docs[i]);
    }
    /* The shipped file has everything commented out, and zero-config works with it too. */
    bool names_nodes = b.origins[config_row(config_table_top(), "nodes")].file != NULL;
    if (diag->count == 0 && !names_nodes && !config_discover_here(&b) && b.pools.n == 0) {
        diag_add(
            diag, path, 0, 0,
            "no 'nodes' and no 'pools', no PGHOST, PGPORT or PGSERVICE is set, and there is no "
            "PostgreSQL socket in /var/run/postgresql or /tmp");
    }
    struct config *c = config_build_end(&b);
    free_all(&files);
    return c;
}

struct config *config_load(const char *path, struct diag *diag)
{
    return config_load_shown(path, NULL, diag);
}

struct config *config_load_shown(const char *path, struct config_show *show, struct diag *diag)
{
    if (path != NULL)
        return config_load_files(path, show, diag);
    /* A file that is there and cannot be read is an error, not zero-config. */
    if (access(CONFIG_PATH_DEFAULT, F_OK) != 0 && errno == ENOENT)
        return config_discover_shown(show, diag);
    return config_load_files(CONFIG_PATH_DEFAULT, show, diag);
}

/* ---- reload ---- */

static bool same_labels(const struct config *a, const struct config *b)
{
    if (a->external_label_count != b->external_label_count)
        return false;
    for (size_t i = 0; i < a->external_label_count; i++) {
        if (!str_eq(a->external_labels[i].name, b->external_labels[i].name) ||
            !str_eq(a->external_labels[i].value, b->external_labels[i].value))
            return false;
    }
    return true;
}

/* The types of the rows that are not reloadable. */
static bool same_setting(const struct config *a, const struct config *b, const struct setting *row)
{
    const char *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;
    if (row->type == SETTING_LISTEN)
        return str_eq(a->listen_host, b->listen_host) && a->listen_port == b->listen_port;
    if (row->type == SETTING_LABELS)
        return same_labels(a, b);
    if (row->type == SETTING_PATH)
        return str_eq(*(char *const *)(const void *)x, *(char *const *)(const void *)y);
    if (row->type == SETTING_DURATION)
        return memcmp(x, y, sizeof(int64_t)) == 0;
    abort(); /* a new row: compare its type here */
}

size_t config_restart_keys(const struct config *running, const struct config *fresh,
                           const char *keys[], size_t max)
{
    const struct setting_table *table = config_table_top();
    size_t n = 0;
    for (size_t i = 0; i < table->count && n < max; i++) {
        if (!table->rows[i].reloadable && !same_setting(running, fresh, &table->rows[i]))
            keys[n++] = table->rows[i].key;
    }
    return n;
}

size_t config_alert_labels(const struct config *config, struct label out[CONFIG_ALERT_LABELS_MAX])
{
    bool has_cluster = config->cluster[0] == '\0';
    size_t n = 0;
    for (; n < config->external_label_count; n++) {
        out[n] = config->external_labels[n];
        has_cluster = has_cluster || str_eq(out[n].name, "cluster");
    }
    if (!has_cluster)
        out[n++] = (struct label){"cluster", config->cluster};
    return n;
}
