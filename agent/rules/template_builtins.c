/*
 * template_builtins.c: the functions that Go's templates have of themselves.
 *
 * Comparison is strict as in Go: an int is never equal to a float, that is an error. `call` always
 * fails, because no value is a function; `and` and `or` are rows without an implementation: the
 * executor stops at the argument that decides.
 */
#include "template_private.h"

/* ---- comparison ---- */

static bool is_basic(const struct tpl_value *v)
{
    return v->type != NULL && v->type->kind <= TPL_STRING;
}

static bool is_comparable(const struct tpl_value *v)
{
    return v->type == NULL || (v->type->kind != TPL_MAP && v->type->kind != TPL_LIST);
}

static int compare_bytes(const struct tpl_value *a, const struct tpl_value *b)
{
    size_t n = size_min(a->n, b->n);
    int by_bytes = n > 0 ? memcmp(a->s, b->s, n) : 0;
    return by_bytes != 0 ? by_bytes : (a->n > b->n) - (a->n < b->n);
}

static bool equal(const struct tpl_value *a, const struct tpl_value *b)
{
    switch (a->type->kind) {
    case TPL_BOOL:
        return a->b == b->b;
    case TPL_INT:
        return a->i == b->i;
    case TPL_FLOAT:
        return a->f == b->f;
    case TPL_STRING:
        return compare_bytes(a, b) == 0;
    case TPL_MAP:
    case TPL_LIST:
    case TPL_OBJECT:
    case TPL_ANY:
        break;
    }
    return a->type == b->type && a->self == b->self;
}

static bool not_comparable(struct tpl_call *call, const struct tpl_value *a,
                           const struct tpl_value *b)
{
    struct buf one, other;
    buf_init(&one, 1024);
    buf_init(&other, 1024);
    tpl_format(&one, "%s", 2, a, 1);
    tpl_format(&other, "%s", 2, b, 1);
    if (a->type->kind == b->type->kind)
        tpl_fail(call, "non-comparable type %s: %s", other.data, b->type->name);
    else
        tpl_fail(call, "non-comparable types %s: %s, %s: %s", one.data, a->type->name,
                 b->type->name, other.data);
    buf_deinit(&one);
    buf_deinit(&other);
    return false;
}

static bool fn_eq(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    const struct tpl_value *a = &args[0];
    *out = tpl_bool(false);
    if (n == 1)
        return tpl_fail(call, "missing argument for comparison");
    for (size_t i = 1; i < n && !out->b; i++) {
        const struct tpl_value *b = &args[i];
        if (a->type == NULL || b->type == NULL) {
            out->b = a->type == b->type;
            continue;
        }
        if ((is_basic(a) || is_basic(b)) && a->type->kind != b->type->kind)
            return tpl_fail(call, "incompatible types for comparison");
        if (!is_comparable(a) || !is_comparable(b))
            return not_comparable(call, a, b);
        out->b = equal(a, b);
    }
    return true;
}

static bool fn_ne(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    bool ok = fn_eq(call, args, n, out);
    out->b = !out->b;
    return ok;
}

static bool less(struct tpl_call *call, const struct tpl_value *a, const struct tpl_value *b,
                 bool *out)
{
    if (!is_basic(a) || !is_basic(b))
        return tpl_fail(call, "invalid type for comparison");
    if (a->type->kind != b->type->kind)
        return tpl_fail(call, "incompatible types for comparison");
    if (a->type->kind == TPL_BOOL)
        return tpl_fail(call, "invalid type for comparison");
    *out = a->type->kind == TPL_INT     ? a->i < b->i
           : a->type->kind == TPL_FLOAT ? a->f < b->f
                                        : compare_bytes(a, b) < 0;
    return true;
}

static bool fn_lt(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    (void)n;
    *out = tpl_bool(false);
    return less(call, &args[0], &args[1], &out->b);
}

static bool fn_le(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    if (!fn_lt(call, args, n, out))
        return false;
    out->b = out->b || equal(&args[0], &args[1]);
    return true;
}

/* Not "less or equal": so NaN is greater than everything, as in Go. */
static bool fn_gt(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    bool ok = fn_le(call, args, n, out);
    out->b = !out->b;
    return ok;
}

static bool fn_ge(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    bool ok = fn_lt(call, args, n, out);
    out->b = !out->b;
    return ok;
}

static bool fn_not(struct tpl_call *call, const struct tpl_value *args, size_t n,
                   struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_bool(!tpl_is_true(&args[0]));
    return true;
}

/* ---- parts of things ---- */

static bool list_index(struct tpl_call *call, const struct tpl_value *v, size_t length, size_t *out)
{
    if (v->type == NULL)
        return tpl_fail(call, "cannot index slice/array with nil");
    if (v->type->kind != TPL_INT)
        return tpl_fail(call, "cannot index slice/array with type %s", v->type->name);
    if (v->i < 0 || (uint64_t)v->i > length)
        return tpl_fail(call, "index out of range: %lld", (long long)v->i);
    *out = (size_t)v->i;
    return true;
}

static bool index_map(struct tpl_call *call, const struct tpl_value *key, struct tpl_value *item)
{
    struct tpl_value map = *item;
    if (key->type == NULL)
        return tpl_fail(call, "value is nil; should be of type string");
    if (key->type != &tpl_type_string)
        return tpl_fail(call, "value has type %s; should be string", key->type->name);
    (void)tpl_map_get(&map, key->s, key->n, item);
    return true;
}

/* Of what a pointer points to. */
static const char *target_name(const struct tpl_type *type)
{
    return type->name + (type->kind == TPL_OBJECT && type->name[0] == '*');
}

static bool index_one(struct tpl_call *call, const struct tpl_value *key, struct tpl_value *item)
{
    enum tpl_kind kind = item->type != NULL ? item->type->kind : TPL_ANY;
    size_t i;
    if (item->type == NULL)
        return tpl_fail(call, "index of nil pointer");
    if (kind == TPL_MAP)
        return index_map(call, key, item);
    if (kind != TPL_LIST && kind != TPL_STRING)
        return tpl_fail(call, "can't index item of type %s", target_name(item->type));
    if (!list_index(call, key, item->n, &i))
        return false;
    if (i == item->n)
        return tpl_fail(call, "reflect: %s index out of range",
                        kind == TPL_STRING ? "string" : "slice");
    if (kind == TPL_LIST)
        *item = item->items[i];
    else
        *item = (struct tpl_value){.type = &tpl_type_byte, .i = (unsigned char)item->s[i]};
    return true;
}

static bool fn_index(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    *out = args[0];
    if (out->type == NULL)
        return tpl_fail(call, "index of untyped nil");
    for (size_t i = 1; i < n; i++)
        if (!index_one(call, &args[i], out))
            return false;
    return true;
}

static bool fn_slice(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    const struct tpl_value *item = &args[0];
    size_t ends[3] = {0, item->n, item->n};
    if (item->type == NULL)
        return tpl_fail(call, "slice of untyped nil");
    if (n > 4)
        return tpl_fail(call, "too many slice indexes: %zu", n - 1);
    if (item->type->kind != TPL_STRING && item->type->kind != TPL_LIST)
        return tpl_fail(call, "can't slice item of type %s", item->type->name);
    if (n == 4 && item->type->kind == TPL_STRING)
        return tpl_fail(call, "cannot 3-index slice a string");
    for (size_t i = 1; i < n; i++)
        if (!list_index(call, &args[i], item->n, &ends[i - 1]))
            return false;
    for (size_t i = 0; i < 2; i++)
        if (ends[i] > ends[i + 1])
            return tpl_fail(call, "invalid slice index: %zu > %zu", ends[i], ends[i + 1]);
    *out = *item;
    if (item->type->kind == TPL_STRING)
        out->s = item->s + ends[0];
    else
        out->items = item->n > 0 ? item->items + ends[0] : NULL;
    out->n = ends[1] - ends[0];
    return true;
}

static bool fn_len(struct tpl_call *call, const struct tpl_value *args, size_t n,
                   struct tpl_value *out)
{
    (void)n;
    if (args[0].type == NULL)
        return tpl_fail(call, "reflect: call of reflect.Value.Type on zero Value");
    if (args[0].type->kind < TPL_STRING || args[0].type->kind > TPL_LIST)
        return tpl_fail(call, "len of type %s", target_name(args[0].type));
    *out = tpl_int((int64_t)args[0].n);
    return true;
}

static bool fn_call(struct tpl_call *call, const struct tpl_value *args, size_t n,
                    struct tpl_value *out)
{
    (void)n;
    (void)out;
    if (args[0].type == NULL)
        return tpl_fail(call, "call of nil");
    return tpl_fail(call, "non-function of type %s", args[0].type->name);
}

/* ---- texts ---- */

static bool fn_print(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    struct buf text;
    tpl_begin_text(&text);
    tpl_print_all(&text, args, n);
    return tpl_end_text(call, &text, out);
}

static bool fn_println(struct tpl_call *call, const struct tpl_value *args, size_t n,
                       struct tpl_value *out)
{
    struct buf text;
    tpl_begin_text(&text);
    for (size_t i = 0; i < n; i++) {
        buf_add_str(&text, i > 0 ? " " : "");
        tpl_print_all(&text, &args[i], 1);
    }
    buf_add_char(&text, '\n');
    return tpl_end_text(call, &text, out);
}

static bool fn_printf(struct tpl_call *call, const struct tpl_value *args, size_t n,
                      struct tpl_value *out)
{
    struct buf text;
    tpl_begin_text(&text);
    tpl_format(&text, args[0].s, args[0].n, args + 1, n - 1);
    return tpl_end_text(call, &text, out);
}

/* What html, js and urlquery escape: all arguments as print has them, but nil as an action has. */
static void plain_text(struct buf *text, const struct tpl_value *args, size_t n)
{
    struct tpl_value shown[TPL_ARGS_MAX + 1];
    buf_init(text, TPL_STRING_MAX);
    for (size_t i = 0; i < n; i++)
        shown[i] = args[i].type != NULL ? args[i] : tpl_string("<no value>");
    tpl_print_all(text, shown, n);
}

static bool escape(struct tpl_call *call, const struct tpl_value *args, size_t n,
                   void (*add)(struct buf *out, const char *s, size_t len), struct tpl_value *out)
{
    struct buf plain, text;
    plain_text(&plain, args, n);
    tpl_begin_text(&text);
    add(&text, plain.data, plain.len);
    text.overflow |= plain.overflow;
    buf_deinit(&plain);
    return tpl_end_text(call, &text, out);
}

static void add_html(struct buf *out, const char *s, size_t n)
{
    static const struct {
        char c;
        const char *text;
    } escapes[] = {{'\0', "\xef\xbf\xbd"}, {'"', "&#34;"}, {'\'', "&#39;"},
                   {'&', "&amp;"},         {'<', "&lt;"},  {'>', "&gt;"}};
    for (size_t i = 0; i < n; i++) {
        size_t e = 0;
        while (e < ARRAY_LEN(escapes) && escapes[e].c != s[i])
            e++;
        if (e < ARRAY_LEN(escapes))
            buf_add_str(out, escapes[e].text);
        else
            buf_add_char(out, s[i]);
    }
}

static void add_js(struct buf *out, const char *s, size_t n)
{
    size_t len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t rune = tpl_rune(s + i, n - i, &len);
        if (rune == '\\' || rune == '\'' || rune == '"')
            buf_printf(out, "\\%c", (char)rune);
        else if (rune < ' ' || rune == '<' || rune == '>' || rune == '&' || rune == '=' ||
                 !tpl_rune_is_printable(rune))
            buf_printf(out, "\\u%04X", (unsigned)rune);
        else
            buf_add(out, s + i, len);
    }
}

static bool fn_html(struct tpl_call *call, const struct tpl_value *args, size_t n,
                    struct tpl_value *out)
{
    return escape(call, args, n, add_html, out);
}

static bool fn_js(struct tpl_call *call, const struct tpl_value *args, size_t n,
                  struct tpl_value *out)
{
    return escape(call, args, n, add_js, out);
}

static bool fn_urlquery(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    return escape(call, args, n, tpl_add_query_escaped, out);
}

#define ANY &tpl_type_any

const struct tpl_function tpl_builtins[] = {
    {.name = "and", .args = 1, .is_variadic = true, .params = {ANY, ANY}},
    {.name = "call", .args = 1, .is_variadic = true, .params = {ANY, ANY}, .run = fn_call},
    {.name = "eq", .args = 1, .is_variadic = true, .params = {ANY, ANY}, .run = fn_eq},
    {.name = "ge", .args = 2, .params = {ANY, ANY}, .run = fn_ge},
    {.name = "gt", .args = 2, .params = {ANY, ANY}, .run = fn_gt},
    {.name = "html", .is_variadic = true, .params = {ANY}, .run = fn_html},
    {.name = "index", .args = 1, .is_variadic = true, .params = {ANY, ANY}, .run = fn_index},
    {.name = "js", .is_variadic = true, .params = {ANY}, .run = fn_js},
    {.name = "le", .args = 2, .params = {ANY, ANY}, .run = fn_le},
    {.name = "len", .args = 1, .params = {ANY}, .run = fn_len},
    {.name = "lt", .args = 2, .params = {ANY, ANY}, .run = fn_lt},
    {.name = "ne", .args = 2, .params = {ANY, ANY}, .run = fn_ne},
    {.name = "not", .args = 1, .params = {ANY}, .run = fn_not},
    {.name = "or", .args = 1, .is_variadic = true, .params = {ANY, ANY}},
    {.name = "print", .is_variadic = true, .params = {ANY}, .run = fn_print},
    {.name = "printf",
     .args = 1,
     .is_variadic = true,
     .params = {&tpl_type_string, ANY},
     .run = fn_printf},
    {.name = "println", .is_variadic = true, .params = {ANY}, .run = fn_println},
    {.name = "slice", .args = 1, .is_variadic = true, .params = {ANY, ANY}, .run = fn_slice},
    {.name = "urlquery", .is_variadic = true, .params = {ANY}, .run = fn_urlquery},
};
const size_t tpl_builtin_count = ARRAY_LEN(tpl_builtins);
