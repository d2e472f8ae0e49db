/*
 * config_show.c: the settings table walked once more, from the finished values to texts.
 *
 * Runs before the build is taken apart, while the YAML trees are there: an origin may hold the text
 * as it was written. Invariant: what came from ${file:}, ${cred:} or stands in a connection string
 * or URL at the place of a secret is never in an entry.
 */
#include "pgvigil/model/config_show.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "config_internal.h"

#define MASK       "***"
#define ORIGIN_MAX 512

/* ---- entries ---- */

static struct config_shown *add(struct config_show *show, enum config_shown_kind kind,
                                const char *key)
{
    if (show->n == show->cap) {
        size_t cap = show->cap > 0 ? show->cap * 2 : 128;
        show->entries =
            arena_grow_array(show->arena, show->entries, show->cap, cap, sizeof(*show->entries));
        show->cap = cap;
    }
    struct config_shown *entry = &show->entries[show->n++];
    *entry = (struct config_shown){.kind = kind,
                                   .key = key != NULL ? arena_strdup(show->arena, key) : NULL};
    return entry;
}

static void add_value(struct config_show *show, const char *key, const char *value, bool is_text,
                      const char *origin)
{
    struct config_shown *entry = add(show, CONFIG_SHOWN_VALUE, key);
    entry->value = arena_strdup(show->arena, value);
    entry->is_text = is_text;
    entry->origin = origin != NULL ? arena_strdup(show->arena, origin) : NULL;
}

/* ---- origins ---- */

/* What zero-config looked at; the first that is set decides (config_discover.c). */
static const char *discovered_from(void)
{
    static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return "environment";
    }
    return "local socket";
}

static bool is_secret(const struct origin *at)
{
    return at->written != NULL &&
           (strstr(at->written, "${file:") != NULL || strstr(at->written, "${cred:") != NULL);
}

/* missing: what it is when nobody wrote it. */
static const char *origin_text(const struct origin *at, const char *missing, char out[ORIGIN_MAX])
{
    if (at->file == NULL)
        return missing;
    const char *env = at->written != NULL ? strstr(at->written, "${env:") : NULL;
    int n = env != NULL ? (int)strcspn(env + 6, "}:") : 0;
    snprintf(out, ORIGIN_MAX, "%s:%d%s%.*s", at->file, at->line, n > 0 ? ", environment " : "", n,
             env != NULL ? env + 6 : "");
    return out;
}

/* ---- values ---- */

/* A literal `${` is written `$${`. */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (str_starts(text, "${"))
            buf_add_char(out, '$');
        buf_add_char(out, *text);
    }
}

/* Path and query of a webhook are its secret, at most services. */
static void add_url(struct buf *out, const char *url)
{
    const char *host = strstr(url, "://");
    if (host == NULL)
        return;
    host += 3;
    size_t n = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', n);
    buf_add(out, url, (size_t)(host - url));
    if (at != NULL) {
        buf_add_str(out, MASK "@");
        n -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    buf_add(out, host, n);
    if (host[n] != '\0' && !str_eq(host + n, "/"))
        buf_add_str(out, "/" MASK);
}

static void add_size(struct buf *out, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (unit + 1 < ARRAY_LEN(units) && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    buf_printf(out, "%lld%s", (long long)bytes, units[unit]);
}

static void add_listen(struct buf *out, const struct config *c)
{
    bool is_v6 = strchr(c->listen_host, ':') != NULL;
    buf_printf(out, "%s%s%s:%d", is_v6 ? "[" : "", c->listen_host, is_v6 ? "]" : "",
               c->listen_port);
}

static void add_text_field(struct buf *out, const struct setting *row, const void *field)
{
    const char *text = row->type == SETTING_NAME ? field : *(char *const *)field;
    if (text == NULL)
        return;
    if (row->type == SETTING_URL) {
        add_url(out, text);
    } else if (row->type == SETTING_DSN) {
        char *masked = config_mask_dsn(text);
        buf_add_str(out, masked);
        mem_free(masked);
    } else {
        add_escaped(out, text);
    }
}

static void add_number(struct buf *out, const struct setting *row, const void *field)
{
    char text[32];
    unsigned word;
    switch (row->type) {
    case SETTING_BOOL:
        buf_add_str(out, *(const bool *)field ? "true" : "false");
        break;
    case SETTING_SWITCH:
        buf_add_str(out, *(const bool *)field ? "on" : "off");
        break;
    case SETTING_COUNT:
        buf_printf(out, "%d", *(const int *)field);
        break;
    case SETTING_DURATION:
        buf_add_str(out, str_format_duration(*(const int64_t *)field, text, sizeof(text)));
        break;
    case SETTING_SIZE:
        add_size(out, *(const int64_t *)field);
        break;
    case SETTING_PERCENT:
        buf_printf(out, "%.10g%%", *(const double *)field * 100);
        break;
    case SETTING_WORD:
        memcpy(&word, field, sizeof(word));
        buf_add_str(out, row->words[word]);
        break;
    default: /* texts and lists are elsewhere */
        break;
    }
}

static bool is_text(enum setting_type type)
{
    return type == SETTING_NAME || type == SETTING_PATH || type == SETTING_FILE ||
           type == SETTING_URL || type == SETTING_DSN || type == SETTING_TEXT;
}

static void show_scalar(struct config_show *show, const struct setting *row, const char *key,
                        const void *base, const struct origin *at, const char *missing)
{
    char origin[ORIGIN_MAX];
    struct buf value;
    const void *field = (const char *)base + row->offset;
    buf_init(&value, CONFIG_TEXT_MAX * 2);
    bool as_written = is_secret(at) || (at->written != NULL && row->type == SETTING_URL);
    if (as_written && row->type != SETTING_DSN)
        buf_add_str(&value, at->written);
    else if (row->type == SETTING_LISTEN)
        add_listen(&value, base);
    else if (row->type == SETTING_THRESHOLD)
        buf_add_str(&value, ((const struct config_threshold *)field)->text);
    else if (is_text(row->type))
        add_text_field(&value, row, field);
    else
        add_number(&value, row, field);
    bool quoted = row->type != SETTING_BOOL && row->type != SETTING_SWITCH &&
                  row->type != SETTING_COUNT &&
                  !(row->type == SETTING_THRESHOLD &&
                    ((const struct config_threshold *)field)->kind == THRESHOLD_NUMBER);
    add_value(show, key, value.data, quoted, origin_text(at, missing, origin));
    buf_deinit(&value);
}

static void show_texts(struct config_show *show, const char *key, char *const *texts, size_t n,
                       const struct origin *at, const char *missing)
{
    char origin[ORIGIN_MAX];
    struct buf value;
    buf_init(&value, CONFIG_TEXT_MAX * 2);
    struct config_shown *list = add(show, CONFIG_SHOWN_LIST, key);
    list->origin = arena_strdup(show->arena, origin_text(at, missing, origin));
    for (size_t i = 0; i < n; i++) {
        buf_clear(&value);
        add_escaped(&value, texts[i]);
        add_value(show, NULL, value.data, true, NULL);
    }
    add(show, CONFIG_SHOWN_END, NULL);
    buf_deinit(&value);
}

static void show_labels(struct config_show *show, const char *key, const struct config *c,
                        const struct origin *at)
{
    char origin[ORIGIN_MAX];
    struct buf value;
    buf_init(&value, CONFIG_TEXT_MAX * 2);
    struct config_shown *map = add(show, CONFIG_SHOWN_MAP, key);
    map->origin = arena_strdup(show->arena, origin_text(at, "default", origin));
    for (size_t i = 0; i < c->external_label_count; i++) {
        buf_clear(&value);
        add_escaped(&value, c->external_labels[i].value);
        add_value(show, c->external_labels[i].name, value.data, true, NULL);
    }
    add(show, CONFIG_SHOWN_END, NULL);
    buf_deinit(&value);
}

/* ---- items of lists ---- */

/* A pool has one of its two rows: `dsn` if there is one and nobody wrote `dsns`. */
static void show_pool_dsns(struct config_show *show, const struct setting *row,
                           const struct config_pool *pool, const struct item *item)
{
    const struct origin *many = &item->origins[config_row(config_table_pool(), "dsns")];
    const struct origin *one = &item->origins[config_row(config_table_pool(), "dsn")];
    bool is_one = pool->dsn_count == 1 && many->file == NULL;
    char *masked[POOL_DSNS_MAX], origin[ORIGIN_MAX];
    if (is_one != (row->type == SETTING_POOL_DSN))
        return;
    const struct origin *at = is_one || many->file == NULL ? one : many;
    struct config_shown *list = is_one ? NULL : add(show, CONFIG_SHOWN_LIST, row->key);
    if (list != NULL)
        list->origin = arena_strdup(show->arena, origin_text(at, "default", origin));
    for (size_t i = 0; i < pool->dsn_count; i++) {
        masked[i] = config_mask_dsn(pool->dsns[i]);
        add_value(show, is_one ? row->key : NULL, masked[i], true,
                  is_one ? origin_text(at, "default", origin) : NULL);
        mem_free(masked[i]);
    }
    if (list != NULL)
        add(show, CONFIG_SHOWN_END, NULL);
}

static void show_list(struct config_show *show, const struct config_build *b, const char *key,
                      const struct list *list)
{
    bool discovered = list == &b->nodes && b->discovered;
    add(show, CONFIG_SHOWN_LIST, key);
    for (size_t i = 0; i < list->n; i++) {
        const void *base = (const char *)list->array + i * list->size;
        add(show, CONFIG_SHOWN_MAP, NULL);
        for (size_t r = 0; r < list->table->count; r++) {
            const struct setting *row = &list->table->rows[r];
            bool found = discovered && (row->type == SETTING_DSN || r == 0);
            if (row->type == SETTING_POOL_DSN || row->type == SETTING_POOL_DSNS)
                show_pool_dsns(show, row, base, &list->items[i]);
            else
                show_scalar(show, row, row->key, base, &list->items[i].origins[r],
                            found ? discovered_from() : "default");
        }
        add(show, CONFIG_SHOWN_END, NULL);
    }
    add(show, CONFIG_SHOWN_END, NULL);
}

/* Only what was written: there are no defaults but the rule files. */
static void show_overrides(struct config_show *show, const struct config_build *b, const char *key)
{
    const struct list *list = &b->overrides;
    const struct config_override *all = list->array;
    add(show, CONFIG_SHOWN_MAP, key);
    for (size_t i = 0; i < list->n; i++) {
        add(show, CONFIG_SHOWN_MAP, all[i].alert);
        for (size_t r = 0; r < list->table->count; r++) {
            const struct origin *at = &list->items[i].origins[r];
            if (at->file != NULL)
                show_scalar(show, &list->table->rows[r], list->table->rows[r].key, &all[i], at,
                            "default");
        }
        add(show, CONFIG_SHOWN_END, NULL);
    }
    add(show, CONFIG_SHOWN_END, NULL);
}

/* ---- the whole ---- */

static void show_row(struct config_show *show, const struct config_build *b, size_t i,
                     const char *key)
{
    const struct setting *row = &config_table_top()->rows[i];
    const struct config *c = b->config;
    switch (row->type) {
    case SETTING_NODES:
        show_list(show, b, key, &b->nodes);
        break;
    case SETTING_POOLS:
        show_list(show, b, key, &b->pools);
        break;
    case SETTING_LOGS:
        show_list(show, b, key, &b->logs);
        break;
    case SETTING_OVERRIDES:
        show_overrides(show, b, key);
        break;
    case SETTING_GLOBS:
        show_texts(show, key, c->rules, c->rule_count, &b->origins[i], "default");
        break;
    case SETTING_NETWORKS:
        show_texts(show, key, c->outgoing.deny, c->outgoing.deny_count, &b->origins[i], "default");
        break;
    case SETTING_LABELS:
        show_labels(show, key, c, &b->origins[i]);
        break;
    default:
        show_scalar(show, row, key, c, &b->origins[i], "default");
        break;
    }
}

/* How many sections of the one key the other is in too: "a.b.c" and "a.b.d" share 2. */
static size_t shared_sections(const char *a, const char *b)
{
    size_t n = 0;
    for (; *a != '\0' && *a == *b; a++, b++)
        n += *a == '.';
    return n;
}

static size_t count_sections(const char *key)
{
    size_t n = 0;
    for (; *key != '\0'; key++)
        n += *key == '.';
    return n;
}

void config_show_build(const struct config_build *b, struct config_show *show)
{
    const struct setting_table *table = config_table_top();
    const char *previous = "";
    show->arena = arena_create(0, ARENA_NO_LIMIT);
    for (size_t i = 0; i < table->count; i++) {
        const char *key = table->rows[i].key;
        size_t shared = shared_sections(previous, key), sections = count_sections(key);
        for (size_t n = count_sections(previous); n > shared; n--)
            add(show, CONFIG_SHOWN_END, NULL);
        for (size_t n = 0; n < sections; n++) {
            size_t len = strcspn(key, ".");
            if (n >= shared)
                add(show, CONFIG_SHOWN_MAP, NULL)->key = arena_strndup(show->arena, key, len);
            key += len + 1;
        }
        show_row(show, b, i, key);
        previous = table->rows[i].key;
    }
    for (size_t n = count_sections(previous); n > 0; n--)
        add(show, CONFIG_SHOWN_END, NULL);
}

void config_show_deinit(struct config_show *show)
{
    arena_destroy(&show->arena);
    *show = (struct config_show){0};
}
