/*
 * `pgvigil config show`: what the daemon works with, after conf.d, defaults and overrides. Two YAML
 * documents: the configuration, which pgvigil reads again, and behind `---` the rules in effect,
 * which Prometheus reads.
 */
#include "pgvigil/model/config_show.h"
#include "cli_private.h"
#include "findings.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/overrides.h"
#include "show_rules.h"
#include "yaml_out.h"

#define OUTPUT_MAX ((size_t)256 * 1024 * 1024)
#define DEPTH_MAX  8 /* of the settings table: nodes are the deepest with 3 */

/* ---- YAML ---- */

/* The two blanks of the innermost level give way to the dash of an item. */
static void begin_line(struct buf *out, int depth, bool is_item)
{
    if (is_item)
        buf_printf(out, "%*s- ", depth * 2 - 2, "");
    else
        buf_printf(out, "%*s", depth * 2, "");
}

static void add_entry(struct buf *out, const struct config_shown *entry, bool is_empty)
{
    if (entry->key != NULL) {
        yaml_out_text(out, entry->key);
        buf_add_str(out, ":");
    }
    if (entry->kind == CONFIG_SHOWN_VALUE || is_empty)
        buf_add_str(out, entry->key != NULL ? " " : "");
    if (entry->kind == CONFIG_SHOWN_VALUE && entry->is_text)
        yaml_out_text(out, entry->value);
    else if (entry->kind == CONFIG_SHOWN_VALUE)
        buf_add_str(out, entry->value);
    else if (is_empty)
        buf_add_str(out, entry->kind == CONFIG_SHOWN_MAP ? "{}" : "[]");
    if (entry->origin != NULL)
        buf_add_char(out, ' ');
    if (entry->origin != NULL)
        yaml_out_comment(out, entry->origin);
    buf_add_char(out, '\n');
}

static void show_config_yaml(const struct config_show *show, struct buf *out)
{
    int depth = 0;
    bool is_item = false; /* the next line begins an item of a list */
    for (size_t i = 0; i < show->n; i++) {
        const struct config_shown *entry = &show->entries[i];
        bool is_empty = entry->kind != CONFIG_SHOWN_VALUE && entry->kind != CONFIG_SHOWN_END &&
                        show->entries[i + 1].kind == CONFIG_SHOWN_END;
        if (entry->kind == CONFIG_SHOWN_END) {
            depth--;
            continue;
        }
        bool opens = entry->kind != CONFIG_SHOWN_VALUE;
        if (opens && entry->key == NULL && !is_empty) {
            is_item = true; /* its first key stands behind the dash */
            depth++;
            continue;
        }
        begin_line(out, depth + (entry->key == NULL), is_item || entry->key == NULL);
        is_item = false;
        add_entry(out, entry, is_empty);
        depth += opens;
    }
}

static void show_disabled(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < config->override_count; i++) {
        const struct config_override *o = &config->overrides[i];
        char *text = o->disabled ? mem_printf("%s is disabled by rule_overrides, %s:%d", o->alert,
                                              o->at.file, o->at.line)
                                 : NULL;
        if (text != NULL) {
            yaml_out_comment(out, text);
            buf_add_char(out, '\n');
        }
        mem_free(text);
    }
}

static void print_yaml(const struct config *config, const struct config_show *show,
                       const struct rule_set *set, struct buf *out)
{
    buf_add_str(out, "# The configuration in use, with the origin of each value; secrets are ***.\n"
                     "# Behind the line with three dashes: the rules in effect, as one rule file "
                     "of Prometheus.\n");
    show_config_yaml(show, out);
    buf_add_str(out, "---\n");
    show_disabled(config, out);
    show_rules_yaml(set, out);
}

/* ---- JSON: the values, and beside them the origins in the same shape ---- */

static void put(json_t *into, const char *key, json_t *value)
{
    if (key != NULL)
        json_object_set_new(into, key, value);
    else
        json_array_append_new(into, value);
}

static json_t *value_json(const struct config_shown *entry)
{
    int64_t n;
    double d;
    if (entry->is_text)
        return json_string(entry->value);
    if (str_parse_i64(entry->value, INT64_MIN, INT64_MAX, &n))
        return json_integer(n);
    if (str_parse_double(entry->value, &d))
        return json_real(d);
    return json_boolean(str_eq(entry->value, "true") || str_eq(entry->value, "on"));
}

static void show_config_json(const struct config_show *show, json_t *values, json_t *origins)
{
    json_t *open_values[DEPTH_MAX] = {values}, *open_origins[DEPTH_MAX] = {origins};
    size_t depth = 0;
    for (size_t i = 0; i < show->n; i++) {
        const struct config_shown *entry = &show->entries[i];
        if (entry->kind == CONFIG_SHOWN_END) {
            depth--;
            continue;
        }
        bool opens = entry->kind != CONFIG_SHOWN_VALUE;
        bool is_map = entry->kind == CONFIG_SHOWN_MAP;
        json_t *value = !opens ? value_json(entry) : is_map ? json_object() : json_array();
        /* Of a list or map that was written as a whole there is one origin. */
        json_t *origin = entry->origin != NULL ? json_string(entry->origin)
                         : !opens              ? json_null()
                         : is_map              ? json_object()
                                               : json_array();
        put(open_values[depth], entry->key, value);
        if (json_is_string(open_origins[depth]))
            json_decref(origin), origin = open_origins[depth];
        else
            put(open_origins[depth], entry->key, origin);
        if (opens && depth + 1 < DEPTH_MAX) {
            depth++;
            open_values[depth] = value;
            open_origins[depth] = origin;
        }
    }
}

static void print_json(const struct config_show *show, const struct rule_set *set, struct buf *out)
{
    json_t *root = json_object(), *values = json_object(), *origins = json_object();
    show_config_json(show, values, origins);
    json_object_set_new(root, "config", values);
    json_object_set_new(root, "origins", origins);
    json_object_set_new(root, "groups", show_rules_json(set));
    char *text = json_dumps(root, JSON_INDENT(2));
    buf_add_str(out, text);
    buf_add_char(out, '\n');
    free(text);
    json_decref(root);
}

/* ---- both ---- */

static int print(const struct cli_args *args, const struct config *config,
                 const struct config_show *show, const struct rule_set *set)
{
    struct buf out;
    buf_init(&out, OUTPUT_MAX);
    if (args->output != NULL && str_eq(args->output, "json"))
        print_json(show, set, &out);
    else
        print_yaml(config, show, set, &out);
    bool ok = buf_ok(&out) && fwrite(out.data, 1, out.len, stdout) == out.len;
    buf_deinit(&out);
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

int cli_config_show(const struct cli_args *args)
{
    struct diag diag;
    struct config_show show = {0};
    int rc = EXIT_CODE_CONFIG;
    if (args->output != NULL && !str_eq(args->output, "yaml") && !str_eq(args->output, "json")) {
        fprintf(stderr, "pgvigil: '%s' is not yaml or json\n", args->output);
        return EXIT_CODE_USAGE;
    }
    diag_init(&diag);
    struct config *config = config_load_shown(args->config, &show, &diag);
    struct rule_set *set = config != NULL ? rule_set_of_config(config, &diag) : NULL;
    if (set != NULL)
        rc = print(args, config, &show, set);
    else
        cli_print_findings(&diag);
    rule_set_destroy(&set);
    config_show_deinit(&show);
    config_unref(&config);
    diag_deinit(&diag);
    return rc;
}
