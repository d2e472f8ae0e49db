/*
 * template.c: the template engine bound to alerts, as Prometheus binds Go's.
 *
 * Prometheus puts four assignments before every text to make $labels, $externalLabels, $externalURL
 * and $value; so is it here, because columns in its errors count them. A text without an action is
 * not parsed at all.
 */
#include "pgvigil/rules/template.h"

#include "pgvigil/base/mem.h"
#include "template_private.h"

static const char presets[] = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}"
                              "{{$externalURL := .ExternalURL}}{{$value := .Value}}";

struct template
{
    char *name;
    char *text;            /* of one without an action, else NULL */
    struct tpl_tree *tree; /* of the others */
};

/* ---- the root value ---- */

static const struct template_data *data_of(const struct tpl_value *v)
{
    return v->self;
}

static bool get_labels(struct tpl_call *call, const struct tpl_value *args, size_t n,
                       struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_labels(data_of(&args[0])->labels);
    return true;
}

static bool get_external_labels(struct tpl_call *call, const struct tpl_value *args, size_t n,
                                struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_labels(data_of(&args[0])->external_labels);
    return true;
}

static bool get_external_url(struct tpl_call *call, const struct tpl_value *args, size_t n,
                             struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_string(data_of(&args[0])->external_url);
    return true;
}

static bool get_value(struct tpl_call *call, const struct tpl_value *args, size_t n,
                      struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_float(data_of(&args[0])->value);
    return true;
}

static const struct tpl_function data_members[] = {
    {.name = "Labels", .is_field = true, .run = get_labels},
    {.name = "ExternalLabels", .is_field = true, .run = get_external_labels},
    {.name = "ExternalURL", .is_field = true, .run = get_external_url},
    {.name = "Value", .is_field = true, .run = get_value},
};
static const struct tpl_type type_data = {
    .name = "struct { Labels map[string]string; ExternalLabels map[string]string; "
            "ExternalURL string; Value float64 }",
    .kind = TPL_OBJECT,
    .members = data_members,
    .member_count = ARRAY_LEN(data_members)};

/* ---- templates ---- */

struct template *template_parse(const char *name, const char *text, struct err *err)
{
    size_t n = strlen(text);
    struct tpl_tree *tree = NULL;
    if (n > TEMPLATE_MAX) {
        err_set(err, ERR_LIMIT, "template: %s:1: longer than %d bytes", name, TEMPLATE_MAX);
        return NULL;
    }
    if (strstr(text, "{{") != NULL) {
        char *whole = mem_printf("%s%s", presets, text);
        tree = tpl_parse(name, whole, tpl_rule_functions, tpl_rule_function_count, err);
        mem_free(whole);
        if (tree == NULL)
            return NULL;
    }
    struct template *t = mem_alloc(sizeof(*t));
    t->name = mem_strdup(name);
    t->tree = tree;
    t->text = tree == NULL ? mem_strdup(text) : NULL;
    return t;
}

void template_destroy(struct template **t)
{
    if (*t == NULL)
        return;
    tpl_destroy(&(*t)->tree);
    mem_free((*t)->name);
    mem_free((*t)->text);
    MEM_FREE_NULL(t);
}

const char *template_expand(const struct template *t, const struct template_data *data,
                            struct arena *arena)
{
    struct tpl_value root = {.type = &type_data, .self = data};
    const char *out;
    if (t->text != NULL)
        return arena_strdup(arena, t->text);
    if (tpl_execute(t->tree, &root, data, arena, &out))
        return out;
    return arena_printf(arena, "<error expanding template: error executing template %s: %s>",
                        t->name, out);
}
