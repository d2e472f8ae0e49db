/*
 * A template is read and expanded in one pass by recursive descent over its text: annotations are
 * short, expanded once per change of an alert, and a tree would be more code than the walk.
 * template_check runs the same walk without data, so what passes at load cannot fail for its syntax
 * later. A missing label expands to "" as in Prometheus.
 */
#include "pgvigil/rules/template.h"

#include <ctype.h>
#include <math.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define PIPE_ARGS_MAX 8
#define WORD_MAX      128

enum value_kind { VALUE_STRING, VALUE_NUMBER };

struct value {
    enum value_kind kind;
    const char *text;
    double number;
};

struct walk {
    const char *p;
    const struct template_data *data; /* NULL: check only */
    struct arena *arena;
    struct err *err;
};

/* ---- functions: name, how many arguments (the piped value is the last), and the work ---- */

static const char *number_text(struct walk *w, double v)
{
    struct buf b;
    buf_init(&b, 64);
    buf_add_double(&b, v);
    const char *s = arena_strdup(w->arena, b.data);
    buf_deinit(&b);
    return s;
}

static bool as_number(struct walk *w, const struct value *v, double *out)
{
    if (v->kind == VALUE_NUMBER)
        *out = v->number;
    else if (!str_parse_double(v->text, out) && w->data != NULL)
        return err_set(w->err, ERR_INVALID, "'%s' is not a number", v->text);
    return true;
}

static const char *as_text(struct walk *w, const struct value *v)
{
    return v->kind == VALUE_STRING ? v->text : number_text(w, v->number);
}

static struct value text_value(const char *text)
{
    return (struct value){.kind = VALUE_STRING, .text = text};
}

static const char *scaled(struct walk *w, double v, double base, const char *const *up,
                          const char *const *down)
{
    const char *unit = "";
    if (v == 0 || isnan(v) || isinf(v))
        return arena_printf(w->arena, "%.4g", v);
    for (size_t i = 0; fabs(v) >= base && up[i] != NULL; i++) {
        unit = up[i];
        v /= base;
    }
    for (size_t i = 0; fabs(v) < 1 && down != NULL && down[i] != NULL; i++) {
        unit = down[i];
        v *= base;
    }
    return arena_printf(w->arena, "%.4g%s", v, unit);
}

static bool fn_humanize(struct walk *w, const struct value *args, struct value *out)
{
    static const char *const up[] = {"k", "M", "G", "T", "P", "E", "Z", "Y", NULL};
    static const char *const down[] = {"m", "u", "n", "p", "f", "a", "z", "y", NULL};
    double v = 0;
    if (!as_number(w, &args[0], &v))
        return false;
    *out = text_value(scaled(w, v, 1000, up, down));
    return true;
}

static bool fn_humanize1024(struct walk *w, const struct value *args, struct value *out)
{
    static const char *const up[] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi", NULL};
    double v = 0;
    if (!as_number(w, &args[0], &v))
        return false;
    *out = text_value(scaled(w, v, 1024, up, NULL));
    return true;
}

static bool fn_humanize_percentage(struct walk *w, const struct value *args, struct value *out)
{
    double v = 0;
    if (!as_number(w, &args[0], &v))
        return false;
    *out = text_value(arena_printf(w->arena, "%.4g%%", v * 100));
    return true;
}

/* "1h 2m 5s" from a minute on; below, seconds with 4 digits and a prefix as Prometheus prints. */
static bool fn_humanize_duration(struct walk *w, const struct value *args, struct value *out)
{
    static const char *const down[] = {"m", "u", "n", "p", "f", "a", "z", "y", NULL};
    static const char *const none[] = {NULL};
    double v = 0;
    if (!as_number(w, &args[0], &v))
        return false;
    if (isnan(v) || fabs(v) > 1e15) { /* beyond it seconds cannot be counted as an integer */
        *out = text_value(arena_printf(w->arena, "%.4g", v));
        return true;
    }
    if (fabs(v) < 60) {
        *out = text_value(arena_printf(w->arena, "%ss", scaled(w, v, 1000, none, down)));
        return true;
    }
    const char *sign = v < 0 ? "-" : "";
    int64_t s = (int64_t)fabs(v);
    int64_t days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60;
    s %= 60;
    if (days > 0) {
        *out = text_value(arena_printf(w->arena, "%s%lldd %lldh %lldm %llds", sign, (long long)days,
                                       (long long)hours, (long long)minutes, (long long)s));
    } else if (hours > 0) {
        *out = text_value(arena_printf(w->arena, "%s%lldh %lldm %llds", sign, (long long)hours,
                                       (long long)minutes, (long long)s));
    } else {
        *out = text_value(
            arena_printf(w->arena, "%s%lldm %llds", sign, (long long)minutes, (long long)s));
    }
    return true;
}

static bool fn_change_case(struct walk *w, const struct value *args, struct value *out,
                           int (*first)(int), int (*rest)(int))
{
    char *s = arena_strdup(w->arena, as_text(w, &args[0]));
    bool start = true;
    for (char *c = s; *c != '\0'; c++) {
        int (*fn)(int) = start ? first : rest;
        if (fn != NULL)
            *c = (char)fn((unsigned char)*c);
        start = isspace((unsigned char)*c);
    }
    *out = text_value(s);
    return true;
}

static bool fn_title(struct walk *w, const struct value *args, struct value *out)
{
    return fn_change_case(w, args, out, toupper, NULL);
}

static bool fn_upper(struct walk *w, const struct value *args, struct value *out)
{
    return fn_change_case(w, args, out, toupper, toupper);
}

static bool fn_lower(struct walk *w, const struct value *args, struct value *out)
{
    return fn_change_case(w, args, out, tolower, tolower);
}

/* printf FORMAT ARG with one verb: %s, %v, %q-less subset, %d, %f, %e, %g with width and precision.
 */
static bool fn_printf(struct walk *w, const struct value *args, struct value *out)
{
    const char *fmt = as_text(w, &args[0]);
    const char *verb = strchr(fmt, '%');
    size_t spec = verb != NULL ? 1 + strspn(verb + 1, "+-0123456789.") : 0;
    if (verb == NULL || spec > 12 || strchr("svdfeg", verb[spec]) == NULL || verb[spec] == '\0' ||
        strchr(verb + spec, '%') != NULL)
        return err_set(w->err, ERR_INVALID, "printf needs one of %%s %%v %%d %%f %%e %%g, not '%s'",
                       fmt);
    char number_fmt[16];
    char conversion = verb[spec];
    snprintf(number_fmt, sizeof(number_fmt), "%.*s%c", (int)spec, verb,
             conversion == 'd' ? 'f' : conversion);
    const char *middle;
    double v = 0;
    if (conversion == 's' || conversion == 'v') {
        middle = as_text(w, &args[1]);
    } else {
        char digits[400];
        if (!as_number(w, &args[1], &v))
            return false;
        if (conversion == 'd')
            snprintf(number_fmt, sizeof(number_fmt), "%%.0f");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        /* checked above: one conversion of a double, at most 12 characters of flags */
        snprintf(digits, sizeof(digits), number_fmt, v);
#pragma GCC diagnostic pop
        middle = arena_strdup(w->arena, digits);
    }
    *out = text_value(
        arena_printf(w->arena, "%.*s%s%s", (int)(verb - fmt), fmt, middle, verb + spec + 1));
    return true;
}

static const struct function {
    const char *name;
    size_t args;
    bool (*run)(struct walk *w, const struct value *args, struct value *out);
} functions[] = {
    {"humanize", 1, fn_humanize},
    {"humanize1024", 1, fn_humanize1024},
    {"humanizeDuration", 1, fn_humanize_duration},
    {"humanizePercentage", 1, fn_humanize_percentage},
    {"printf", 2, fn_printf},
    {"title", 1, fn_title},
    {"toLower", 1, fn_lower},
    {"toUpper", 1, fn_upper},
};

/* ---- the walk ---- */

static void skip_blanks(struct walk *w)
{
    while (isspace((unsigned char)*w->p))
        w->p++;
}

static const char *read_word(struct walk *w)
{
    size_t n = strspn(w->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    const char *word = arena_strndup(w->arena, w->p, size_min(n, WORD_MAX));
    w->p += n;
    return word;
}

static bool read_string(struct walk *w, struct value *out)
{
    char quote = *w->p++;
    const char *start = w->p;
    while (*w->p != '\0' && *w->p != quote)
        w->p += *w->p == '\\' && quote == '"' && w->p[1] != '\0' ? 2 : 1;
    if (*w->p == '\0')
        return err_set(w->err, ERR_INVALID, "unterminated quoted string");
    char *s = arena_strndup(w->arena, start, (size_t)(w->p - start));
    w->p++;
    char *to = s;
    for (const char *from = s; *from != '\0'; from++) {
        if (quote == '"' && *from == '\\' && from[1] != '\0') {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    *out = text_value(s);
    return true;
}

static bool read_label(struct walk *w, const char *of, struct value *out)
{
    if (*w->p != '.')
        return err_set(w->err, ERR_INVALID, "'%s' needs a name, like %s.node", of, of);
    w->p++;
    const char *name = read_word(w);
    const struct labels *ls = NULL;
    if (w->data != NULL)
        ls = strstr(of, "xternal") != NULL ? w->data->external_labels : w->data->labels;
    *out = text_value(ls != NULL ? labels_get_or_empty(ls, name) : "");
    return true;
}

static bool read_variable(struct walk *w, struct value *out)
{
    char sigil = *w->p++;
    const char *word = read_word(w);
    const char *shown = arena_printf(w->arena, "%c%s", sigil, word);
    if (str_eq(shown, "$value") || str_eq(shown, ".Value")) {
        *out = (struct value){.kind = VALUE_NUMBER, .number = w->data ? w->data->value : 0};
        return true;
    }
    if (str_eq(shown, "$labels") || str_eq(shown, ".Labels") || str_eq(shown, "$externalLabels") ||
        str_eq(shown, ".ExternalLabels"))
        return read_label(w, shown, out);
    return err_set(w->err, ERR_INVALID, "undefined variable '%s'", shown);
}

static bool read_operand(struct walk *w, struct value *out)
{
    if (*w->p == '$' || *w->p == '.')
        return read_variable(w, out);
    if (*w->p == '"' || *w->p == '`')
        return read_string(w, out);
    size_t n = strspn(w->p, "+-0123456789.eE");
    const char *text = arena_strndup(w->arena, w->p, n);
    out->kind = VALUE_NUMBER;
    if (n == 0 || !str_parse_double(text, &out->number))
        return err_set(w->err, ERR_INVALID, "unexpected '%.20s' in action", w->p);
    w->p += n;
    return true;
}

static const struct function *function_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (str_eq(functions[i].name, name))
            return &functions[i];
    return NULL;
}

/* One stage of a pipeline: an operand, or a function with its arguments; piped is NULL at first. */
static bool read_stage(struct walk *w, const struct value *piped, struct value *out)
{
    const struct function *fn = NULL;
    if (isalpha((unsigned char)*w->p)) {
        const char *name = read_word(w);
        fn = function_find(name);
        if (fn == NULL)
            return err_set(w->err, ERR_INVALID, "function '%s' is not supported", name);
    } else if (piped != NULL) {
        return err_set(w->err, ERR_INVALID, "a pipe must lead to a function");
    }
    if (fn == NULL)
        return read_operand(w, out);
    struct value args[PIPE_ARGS_MAX];
    size_t n = 0;
    for (skip_blanks(w);
         *w->p != '|' && *w->p != '}' && *w->p != '\0' && !(w->p[0] == '-' && w->p[1] == '}');
         skip_blanks(w)) {
        if (n + 1 >= PIPE_ARGS_MAX)
            return err_set(w->err, ERR_LIMIT, "too many arguments of '%s'", fn->name);
        if (!read_operand(w, &args[n]))
            return false;
        n++;
    }
    if (piped != NULL)
        args[n++] = *piped;
    if (n != fn->args)
        return err_set(w->err, ERR_INVALID, "wrong number of arguments for '%s': want %zu, got %zu",
                       fn->name, fn->args, n);
    return fn->run(w, args, out);
}

static bool read_action(struct walk *w, struct value *out)
{
    struct value piped;
    bool has_piped = false;
    for (;;) {
        skip_blanks(w);
        if (!read_stage(w, has_piped ? &piped : NULL, out))
            return false;
        skip_blanks(w);
        if (*w->p != '|')
            return true;
        w->p++;
        piped = *out;
        has_piped = true;
    }
}

static void trim_right(struct buf *b)
{
    while (b->len > 0 && isspace((unsigned char)b->data[b->len - 1]))
        b->data[--b->len] = '\0';
}

static bool walk_template(struct walk *w, struct buf *out)
{
    for (;;) {
        const char *open = strstr(w->p, "{{");
        if (open == NULL) {
            buf_add_str(out, w->p);
            return true;
        }
        buf_add(out, w->p, (size_t)(open - w->p));
        w->p = open + 2;
        if (w->p[0] == '-' && isspace((unsigned char)w->p[1])) {
            trim_right(out);
            w->p++;
        }
        struct value v;
        if (!read_action(w, &v))
            return false;
        bool trim = w->p[0] == '-' && w->p[1] == '}';
        w->p += trim;
        if (w->p[0] != '}' || w->p[1] != '}')
            return err_set(w->err, ERR_INVALID, "unclosed action near '%.20s'", open);
        w->p += 2;
        if (trim)
            skip_blanks(w);
        buf_add_str(out, as_text(w, &v));
    }
}

struct template
{
    char *text;
};

struct template *template_parse(const char *name, const char *text, struct err *err)
{
    (void)name;
    if (strlen(text) > TEMPLATE_MAX) {
        err_set(err, ERR_LIMIT, "longer than %d bytes", TEMPLATE_MAX);
        return NULL;
    }
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct walk w = {.p = text, .arena = arena, .err = err};
    struct buf out;
    buf_init(&out, 2 * TEMPLATE_MAX);
    bool ok = walk_template(&w, &out);
    buf_deinit(&out);
    arena_destroy(&arena);
    if (!ok)
        return NULL;
    struct template *t = mem_alloc(sizeof(*t));
    t->text = mem_strdup(text);
    return t;
}

void template_destroy(struct template **t)
{
    if (*t == NULL)
        return;
    mem_free((*t)->text);
    MEM_FREE_NULL(t);
}

const char *template_expand(const struct template *t, const struct template_data *data,
                            struct arena *arena)
{
    if (strstr(t->text, "{{") == NULL)
        return arena_strdup(arena, t->text);
    struct err err = {0};
    struct walk w = {.p = t->text, .data = data, .arena = arena, .err = &err};
    struct buf out;
    buf_init(&out, 4 * TEMPLATE_MAX);
    bool ok = walk_template(&w, &out);
    if (ok && !buf_ok(&out))
        ok = err_set(&err, ERR_LIMIT, "result is too long");
    const char *result = ok ? arena_strdup(arena, out.data)
                            : arena_printf(arena, "<error expanding template: %s>", err.text);
    buf_deinit(&out);
    return result;
}
