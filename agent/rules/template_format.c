/*
 * template_format.c: values as text: what {{ v }}, print and printf make of them.
 *
 * Go's fmt: a wrong verb, a missing or a spare argument is no error but a mark in the text. What is
 * printed is bounded by the buffer, and the walk over nested values stops once that is full, so
 * lists that hold each other many times cost no more than their text.
 */
#include "template_private.h"

#define DEPTH_MAX  50      /* of values in each other: deeper ones print as "..." */
#define NUMBER_MAX 1000000 /* Go's limit of widths and precisions */

/* ---- one value ---- */

static void bad_verb(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    bool plain = p->plain;
    buf_add_str(p->out, "%!");
    tpl_add_rune(p->out, verb);
    buf_add_char(p->out, '(');
    if (v->type == NULL) {
        buf_add_str(p->out, "<nil>");
    } else {
        buf_printf(p->out, "%s=", v->type->name);
        p->plain = true;
        tpl_printer_value(p, v, 'v');
        p->plain = plain;
    }
    buf_add_char(p->out, ')');
}

static void print_map(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    bool of_labels = v->type->elem == &tpl_type_string;
    buf_add_str(p->out, p->flags.sharp_v ? v->type->name : "map");
    buf_add_char(p->out, p->flags.sharp_v ? '{' : '[');
    for (size_t i = 0; i < v->n && buf_ok(p->out); i++) {
        struct tpl_value key = tpl_string(of_labels ? v->labels[i].name : v->pairs[i].key);
        struct tpl_value item = of_labels ? tpl_string(v->labels[i].value) : v->pairs[i].value;
        if (i > 0)
            buf_add_str(p->out, p->flags.sharp_v ? ", " : " ");
        tpl_printer_value(p, &key, verb);
        buf_add_char(p->out, ':');
        tpl_printer_value(p, &item, verb);
    }
    buf_add_char(p->out, p->flags.sharp_v ? '}' : ']');
}

static void print_list(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    if (p->flags.sharp_v)
        buf_add_str(p->out, v->type->name);
    buf_add_char(p->out, p->flags.sharp_v ? '{' : '[');
    for (size_t i = 0; i < v->n && buf_ok(p->out); i++) {
        if (i > 0)
            buf_add_str(p->out, p->flags.sharp_v ? ", " : " ");
        tpl_printer_value(p, &v->items[i], verb);
    }
    buf_add_char(p->out, p->flags.sharp_v ? '}' : ']');
}

static void print_fields(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    const char *separator = "";
    for (size_t i = 0; i < v->type->member_count && buf_ok(p->out); i++) {
        const struct tpl_function *member = &v->type->members[i];
        struct tpl_call call = {0};
        struct tpl_value field = {0};
        if (!member->is_field || !member->run(&call, v, 1, &field))
            continue;
        buf_add_str(p->out, separator);
        separator = p->flags.sharp_v ? ", " : " ";
        if (p->flags.plus_v || p->flags.sharp_v)
            buf_printf(p->out, "%s:", member->name);
        tpl_printer_value(p, &field, verb);
    }
}

/* An object prints as its fields in their order. */
static void print_object(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    const struct tpl_type *t = v->type;
    if (t->is_pointer && v->self == NULL) {
        buf_add_str(p->out, "<nil>");
        return;
    }
    if (t->is_pointer && !(p->no_ampersand && p->depth == 1))
        buf_add_char(p->out, '&');
    if (p->flags.sharp_v)
        buf_add_str(p->out, t->name + (t->is_pointer && t->name[0] == '*'));
    buf_add_char(p->out, '{');
    print_fields(p, v, verb);
    buf_add_char(p->out, '}');
}

/* Its String method prints it, where the verb is one for texts. */
static bool print_by_method(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    struct buf text;
    if (v->type->print == NULL || p->plain || p->flags.sharp_v || verb > 0x7f ||
        strchr("vsxXq", (int)verb) == NULL)
        return false;
    buf_init(&text, 256);
    v->type->print(v, &text);
    tpl_format_string(p, text.data, text.len, verb);
    buf_deinit(&text);
    return true;
}

static bool verb_fits(enum tpl_kind kind, uint32_t verb)
{
    static const char *const verbs[] = {
        [TPL_BOOL] = "vt",
        [TPL_INT] = "vdbcoOqxXU",
        [TPL_FLOAT] = "vbxXeEfFgG",
        [TPL_STRING] = "vsqxX",
    };
    return kind > TPL_STRING || (verb <= 0x7f && strchr(verbs[kind], (int)verb) != NULL);
}

static void print_kind(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    switch (v->type->kind) {
    case TPL_BOOL:
        tpl_format_bool(p, v->b);
        break;
    case TPL_INT:
        tpl_format_int(p, v->i, verb);
        break;
    case TPL_FLOAT:
        tpl_format_float(p, v->f, verb);
        break;
    case TPL_STRING:
        tpl_format_string(p, v->s, v->n, verb);
        break;
    case TPL_MAP:
        print_map(p, v, verb);
        break;
    case TPL_LIST:
        print_list(p, v, verb);
        break;
    case TPL_OBJECT:
    case TPL_ANY:
        print_object(p, v, verb);
        break;
    }
}

static void print_type(struct tpl_printer *p, const struct tpl_value *v)
{
    if (v->type == NULL)
        tpl_pad(p, "<nil>", strlen("<nil>"));
    else
        tpl_format_string(p, v->type->name, strlen(v->type->name), 's');
}

void tpl_printer_value(struct tpl_printer *p, const struct tpl_value *v, uint32_t verb)
{
    if (p->depth >= DEPTH_MAX || !buf_ok(p->out)) {
        buf_add_str(p->out, "...");
        return;
    }
    p->depth++;
    if (verb == 'T' || (v->type == NULL && verb == 'v'))
        print_type(p, v);
    else if (v->type == NULL)
        bad_verb(p, v, verb);
    else if (!print_by_method(p, v, verb))
        (verb_fits(v->type->kind, verb) ? print_kind : bad_verb)(p, v, verb);
    p->depth--;
}

void tpl_print(const struct tpl_value *v, struct buf *out)
{
    struct tpl_printer p = {.out = out, .no_ampersand = true};
    if (v->type == NULL)
        buf_add_str(out, "<no value>");
    else if (v->type->kind == TPL_STRING)
        buf_add(out, v->s, v->n);
    else
        tpl_printer_value(&p, v, 'v');
}

void tpl_print_all(struct buf *out, const struct tpl_value *args, size_t count)
{
    bool after_text = true;
    for (size_t i = 0; i < count; i++) {
        struct tpl_printer p = {.out = out};
        bool is_text = args[i].type != NULL && args[i].type->kind == TPL_STRING;
        if (i > 0 && !is_text && !after_text)
            buf_add_char(out, ' ');
        tpl_printer_value(&p, &args[i], 'v');
        after_text = is_text;
    }
}

/* ---- printf ---- */

struct format {
    const char *s, *end;
    const struct tpl_value *args;
    size_t count, next;
    bool reordered, bad_index;
    struct tpl_printer p;
};

static void read_flags(struct format *f)
{
    struct tpl_flags *flags = &f->p.flags;
    *flags = (struct tpl_flags){0};
    for (; f->s < f->end; f->s++) {
        switch (*f->s) {
        case '-':
            flags->minus = true;
            break;
        case '+':
            flags->plus = true;
            break;
        case '#':
            flags->sharp = true;
            break;
        case ' ':
            flags->space = true;
            break;
        case '0':
            flags->zero = true;
            break;
        default:
            return;
        }
    }
}

/* Digits; false if there are none. Above Go's limit they count as none, and it is told. */
static bool read_number(struct format *f, int *out, bool *too_large)
{
    const char *start = f->s;
    *out = 0;
    for (; f->s < f->end && *f->s >= '0' && *f->s <= '9'; f->s++) {
        if (*out <= NUMBER_MAX)
            *out = *out * 10 + (*f->s - '0');
    }
    *too_large = *out > NUMBER_MAX;
    return f->s > start && !*too_large;
}

/* `[n]`: which argument is next, counted from 1. */
static void read_index(struct format *f)
{
    int number;
    bool too_large;
    if (f->s == f->end || *f->s != '[')
        return;
    f->reordered = true;
    const char *close = memchr(f->s, ']', (size_t)(f->end - f->s));
    f->s++;
    bool ok = close != NULL && read_number(f, &number, &too_large) && f->s == close &&
              number >= 1 && (size_t)number <= f->count;
    if (ok)
        f->next = (size_t)number - 1;
    else
        f->bad_index = true;
    if (close != NULL)
        f->s = close + 1;
}

/* `*`: width or precision is an argument. */
static bool number_argument(struct format *f, int *out)
{
    f->s++;
    const struct tpl_value *v = f->next < f->count ? &f->args[f->next++] : NULL;
    if (v == NULL || v->type == NULL || v->type->kind != TPL_INT || v->i > NUMBER_MAX ||
        v->i < -NUMBER_MAX)
        return false;
    *out = (int)v->i;
    return true;
}

static void read_width(struct format *f)
{
    struct tpl_flags *flags = &f->p.flags;
    bool too_large = false;
    read_index(f);
    if (f->s < f->end && *f->s == '*') {
        flags->has_width = number_argument(f, &flags->width);
        if (!flags->has_width)
            buf_add_str(f->p.out, "%!(BADWIDTH)");
        if (flags->width < 0) {
            flags->width = -flags->width;
            flags->minus = true;
        }
        return;
    }
    flags->has_width = read_number(f, &flags->width, &too_large);
    if (too_large)
        buf_add_str(f->p.out, "%!(BADWIDTH)");
}

static void read_precision(struct format *f)
{
    struct tpl_flags *flags = &f->p.flags;
    bool too_large = false;
    if (f->s == f->end || *f->s != '.')
        return;
    f->s++;
    read_index(f);
    if (f->s < f->end && *f->s == '*') {
        flags->has_precision = number_argument(f, &flags->precision) && flags->precision >= 0;
        if (!flags->has_precision)
            buf_add_str(f->p.out, "%!(BADPREC)");
        return;
    }
    flags->has_precision = read_number(f, &flags->precision, &too_large) || !too_large;
    if (too_large)
        buf_add_str(f->p.out, "%!(BADPREC)");
}

static void mark(struct format *f, uint32_t verb, const char *what)
{
    buf_add_str(f->p.out, "%!");
    tpl_add_rune(f->p.out, verb);
    buf_add_str(f->p.out, what);
}

static void convert(struct format *f, uint32_t verb)
{
    struct tpl_flags *flags = &f->p.flags;
    if (verb == '%') {
        buf_add_char(f->p.out, '%');
    } else if (f->bad_index) {
        mark(f, verb, "(BADINDEX)");
    } else if (f->next >= f->count) {
        mark(f, verb, "(MISSING)");
    } else {
        if (verb == 'v') {
            flags->sharp_v = flags->sharp;
            flags->plus_v = flags->plus;
            flags->sharp = flags->plus = false;
        }
        flags->zero = flags->zero && !flags->minus;
        tpl_printer_value(&f->p, &f->args[f->next++], verb);
    }
}

static void directive(struct format *f)
{
    size_t len;
    f->bad_index = false;
    read_flags(f);
    read_width(f);
    read_precision(f);
    read_index(f);
    if (f->s == f->end) {
        buf_add_str(f->p.out, "%!(NOVERB)");
        return;
    }
    uint32_t verb = tpl_rune(f->s, (size_t)(f->end - f->s), &len);
    f->s += len;
    convert(f, verb);
}

static void spare_arguments(struct format *f)
{
    f->p.flags = (struct tpl_flags){0};
    buf_add_str(f->p.out, "%!(EXTRA ");
    for (size_t i = f->next; i < f->count; i++) {
        const struct tpl_value *v = &f->args[i];
        buf_add_str(f->p.out, i > f->next ? ", " : "");
        if (v->type != NULL)
            buf_printf(f->p.out, "%s=", v->type->name);
        tpl_printer_value(&f->p, v, 'v');
    }
    buf_add_char(f->p.out, ')');
}

void tpl_format(struct buf *out, const char *format, size_t n, const struct tpl_value *args,
                size_t count)
{
    struct format f = {
        .s = format, .end = format + n, .args = args, .count = count, .p = {.out = out}};
    while (f.s < f.end && buf_ok(out)) {
        const char *percent = memchr(f.s, '%', (size_t)(f.end - f.s));
        const char *stop = percent != NULL ? percent : f.end;
        buf_add(out, f.s, (size_t)(stop - f.s));
        f.s = percent != NULL ? percent + 1 : f.end;
        if (percent != NULL)
            directive(&f);
    }
    if (!f.reordered && f.next < count)
        spare_arguments(&f);
}
