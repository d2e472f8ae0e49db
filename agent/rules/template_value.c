/*
 * template_value.c: what templates work with.
 *
 * A value is a type and a small payload that borrows: texts, label sets and objects stay where they
 * are, an execution that only prints a label copies nothing. A type's address is its identity.
 */
#include "template_private.h"

const struct tpl_type tpl_type_any = {.name = "interface {}", .kind = TPL_ANY};
const struct tpl_type tpl_type_bool = {.name = "bool", .kind = TPL_BOOL};
const struct tpl_type tpl_type_int = {.name = "int", .kind = TPL_INT};
const struct tpl_type tpl_type_int64 = {.name = "int64", .kind = TPL_INT};
const struct tpl_type tpl_type_byte = {.name = "uint8", .kind = TPL_INT};
const struct tpl_type tpl_type_float = {.name = "float64", .kind = TPL_FLOAT};
const struct tpl_type tpl_type_string = {.name = "string", .kind = TPL_STRING};
const struct tpl_type tpl_type_labels = {
    .name = "map[string]string", .kind = TPL_MAP, .elem = &tpl_type_string};
const struct tpl_type tpl_type_map = {
    .name = "map[string]interface {}", .kind = TPL_MAP, .elem = &tpl_type_any};

struct tpl_value tpl_bool(bool b)
{
    return (struct tpl_value){.type = &tpl_type_bool, .b = b};
}

struct tpl_value tpl_int(int64_t i)
{
    return (struct tpl_value){.type = &tpl_type_int, .i = i};
}

struct tpl_value tpl_float(double f)
{
    return (struct tpl_value){.type = &tpl_type_float, .f = f};
}

struct tpl_value tpl_text(const char *s, size_t n)
{
    return (struct tpl_value){.type = &tpl_type_string, .s = s, .n = n};
}

struct tpl_value tpl_string(const char *s)
{
    return tpl_text(s, strlen(s));
}

struct tpl_value tpl_labels(const struct labels *labels)
{
    return (struct tpl_value){.type = &tpl_type_labels,
                              .labels = labels != NULL ? labels->v : NULL,
                              .n = labels != NULL ? labels->n : 0};
}

static bool key_is(const char *name, const char *key, size_t n)
{
    return strlen(name) == n && memcmp(name, key, n) == 0;
}

bool tpl_map_get(const struct tpl_value *map, const char *key, size_t n, struct tpl_value *out)
{
    bool of_labels = map->type->elem == &tpl_type_string;
    *out = of_labels ? tpl_string("") : (struct tpl_value){0};
    for (size_t i = 0; i < map->n; i++) {
        if (!key_is(of_labels ? map->labels[i].name : map->pairs[i].key, key, n))
            continue;
        *out = of_labels ? tpl_string(map->labels[i].value) : map->pairs[i].value;
        return true;
    }
    return false;
}

bool tpl_is_true(const struct tpl_value *v)
{
    if (v->type == NULL)
        return false;
    switch (v->type->kind) {
    case TPL_BOOL:
        return v->b;
    case TPL_INT:
        return v->i != 0;
    case TPL_FLOAT:
        return v->f != 0;
    case TPL_STRING:
    case TPL_MAP:
    case TPL_LIST:
        return v->n > 0;
    case TPL_OBJECT:
    case TPL_ANY:
        break;
    }
    return !v->type->is_pointer || v->self != NULL;
}

void tpl_begin_text(struct buf *b)
{
    buf_init(b, TPL_STRING_MAX);
}

bool tpl_end_text(struct tpl_call *call, struct buf *b, struct tpl_value *out)
{
    bool ok = buf_ok(b);
    if (ok) {
        char *copy = arena_alloc(call->arena, b->len + 1);
        memcpy(copy, b->data, b->len + 1);
        *out = tpl_text(copy, b->len);
    }
    buf_deinit(b);
    return ok || tpl_fail(call, "text is longer than %zu bytes", TPL_STRING_MAX);
}
