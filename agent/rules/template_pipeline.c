/*
 * template_pipeline.c: the reading side of the parser, and pipelines: what stands inside an action.
 *
 * Three tokens of look-ahead, because white space is a token: in "$x foo" the word decides whether
 * $x is declared or an argument. The first error stands; who meets one gives NULL or false.
 * Invariant: nothing recurses without tpl_parser_enter, so the nesting of the text bounds the
 * stack.
 */
#include "template_private.h"

#include <stdarg.h>

#include "pgvigil/base/str.h"

/* ---- errors ---- */

void *tpl_parser_fail(struct tpl_parser *p, const char *fmt, ...)
{
    char why[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    if (!p->failed)
        err_set(p->err, ERR_INVALID, "template: %s:%d: %s", p->tree->name, p->ahead[0].line, why);
    p->failed = true;
    return NULL;
}

/* As Go names a token: quoted and cut after ten characters, words of the grammar in brackets. */
static void describe(struct tpl_parser *p, const struct tpl_token *t, struct buf *out)
{
    const char *s = p->lexer.text + t->pos;
    if (t->type == TPL_TOK_EOF) {
        buf_add_str(out, "EOF");
    } else if (t->type > TPL_TOK_KEYWORD) {
        buf_printf(out, "<%.*s>", (int)t->len, s);
    } else {
        tpl_quote(out, s, size_min(t->len, 10), false);
        buf_add_str(out, t->len > 10 ? "..." : "");
    }
}

void *tpl_parser_unexpected(struct tpl_parser *p, const struct tpl_token *t, const char *context)
{
    struct buf text;
    buf_init(&text, 1024);
    if (t->type == TPL_TOK_ERROR) {
        bool elsewhere = p->action_line != 0 && p->action_line != t->line;
        size_t n = strlen(p->lexer.error);
        buf_add_str(&text, p->lexer.error);
        if (elsewhere) {
            bool tells = n > 7 && str_eq(p->lexer.error + n - 7, " action");
            buf_printf(&text, "%s started at %s:%d", tells ? "" : " in action", p->tree->name,
                       p->action_line);
        }
    } else {
        buf_add_str(&text, "unexpected ");
        describe(p, t, &text);
        buf_printf(&text, " in %s", context);
    }
    tpl_parser_fail(p, "%s", text.data);
    buf_deinit(&text);
    return NULL;
}

bool tpl_parser_enter(struct tpl_parser *p)
{
    if (++p->nesting > TPL_NESTING_MAX)
        tpl_parser_fail(p, "nested more than %d deep", TPL_NESTING_MAX);
    return !p->failed;
}

/* ---- tokens ---- */

struct tpl_token tpl_parser_next(struct tpl_parser *p)
{
    if (p->ahead_count > 0)
        p->ahead_count--;
    else
        p->ahead[0] = tpl_lexer_next(&p->lexer);
    return p->ahead[p->ahead_count];
}

void tpl_parser_back(struct tpl_parser *p)
{
    p->ahead_count++;
}

/* Puts back tokens that were read before the one that ahead[0] holds. */
void tpl_parser_back_also(struct tpl_parser *p, struct tpl_token t)
{
    p->ahead[p->ahead_count] = t;
    p->ahead_count++;
}

struct tpl_token tpl_parser_peek(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next(p);
    tpl_parser_back(p);
    return t;
}

struct tpl_token tpl_parser_next_word(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next(p);
    while (t.type == TPL_TOK_SPACE)
        t = tpl_parser_next(p);
    return t;
}

struct tpl_token tpl_parser_peek_word(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next_word(p);
    tpl_parser_back(p);
    return t;
}

bool tpl_parser_expect(struct tpl_parser *p, enum tpl_token_type type, const char *context)
{
    struct tpl_token t = tpl_parser_next_word(p);
    return t.type == type || tpl_parser_unexpected(p, &t, context) != NULL;
}

/* ---- nodes ---- */

struct tpl_node *tpl_parser_node(struct tpl_parser *p, enum tpl_node_kind kind, uint32_t pos)
{
    struct tpl_node *n = arena_alloc(p->tree->arena, sizeof(*n));
    n->kind = kind;
    n->pos = pos;
    return n;
}

static char *text_of(struct tpl_parser *p, const struct tpl_token *t)
{
    return arena_strndup(p->tree->arena, p->lexer.text + t->pos, t->len);
}

struct tpl_node *tpl_parser_literal(struct tpl_parser *p, const struct tpl_token *t,
                                    struct tpl_value value)
{
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_LITERAL, t->pos);
    n->source = p->lexer.text + t->pos;
    n->source_len = t->len;
    n->value = value;
    return n;
}

struct tpl_node *tpl_parser_quoted(struct tpl_parser *p, const struct tpl_token *t)
{
    struct tpl_value value;
    if (!tpl_unquote(p->tree->arena, p->lexer.text + t->pos, t->len, &value))
        return tpl_parser_fail(p, "invalid syntax");
    return tpl_parser_literal(p, t, value);
}

static struct tpl_node *number(struct tpl_parser *p, const struct tpl_token *t)
{
    struct tpl_value value;
    struct err why = {0};
    if (!tpl_parse_number(p->lexer.text + t->pos, t->len, &value, &why))
        return tpl_parser_fail(p, "%s", why.text);
    return tpl_parser_literal(p, t, value);
}

static void add_name(struct tpl_parser *p, struct tpl_node *n, const char *s)
{
    struct tpl_name **link = &n->chain.names;
    while (*link != NULL)
        link = &(*link)->next;
    *link = arena_alloc(p->tree->arena, sizeof(**link));
    (*link)->s = s;
}

static const struct tpl_function *find_in(const struct tpl_function *functions, size_t n,
                                          const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(functions[i].name, name))
            return &functions[i];
    return NULL;
}

static struct tpl_node *function(struct tpl_parser *p, const struct tpl_token *t)
{
    const char *name = text_of(p, t);
    const struct tpl_function *f = find_in(p->functions, p->function_count, name);
    if (f == NULL)
        f = find_in(tpl_builtins, tpl_builtin_count, name);
    if (f == NULL)
        return tpl_parser_fail(p, "function \"%s\" not defined", name);
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_FUNCTION, t->pos);
    n->function = f;
    return n;
}

/* ---- variables: names that are known at this place ---- */

const char *tpl_parser_declare(struct tpl_parser *p, const char *name)
{
    if (p->variable_count == TPL_VARIABLES_MAX)
        tpl_parser_fail(p, "more than %d variables", TPL_VARIABLES_MAX);
    else
        p->variables[p->variable_count++] = name;
    return name;
}

static struct tpl_node *variable(struct tpl_parser *p, const struct tpl_token *t)
{
    const char *name = text_of(p, t);
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_VARIABLE, t->pos);
    add_name(p, n, name);
    for (size_t i = p->scope_start; i < p->variable_count; i++)
        if (str_eq(p->variables[i], name))
            return n;
    return tpl_parser_fail(p, "undefined variable \"%s\"", name);
}

/* ---- pipelines ---- */

/* NULL without an error: what follows is no operand, and is left there. */
static struct tpl_node *term(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next_word(p);
    struct tpl_node *n;
    switch (t.type) {
    case TPL_TOK_IDENT:
        return function(p, &t);
    case TPL_TOK_DOT:
        return tpl_parser_node(p, TPL_NODE_DOT, t.pos);
    case TPL_TOK_NIL:
        return tpl_parser_node(p, TPL_NODE_NIL, t.pos);
    case TPL_TOK_VARIABLE:
        return variable(p, &t);
    case TPL_TOK_FIELD:
        n = tpl_parser_node(p, TPL_NODE_FIELD, t.pos);
        add_name(p, n, text_of(p, &t) + 1);
        return n;
    case TPL_TOK_BOOL:
        return tpl_parser_literal(p, &t, tpl_bool(t.len == strlen("true")));
    case TPL_TOK_CHAR_CONSTANT:
    case TPL_TOK_NUMBER:
        return number(p, &t);
    case TPL_TOK_OPEN:
        return tpl_parser_pipeline(p, "parenthesized pipeline", TPL_TOK_CLOSE);
    case TPL_TOK_STRING:
    case TPL_TOK_RAW_STRING:
        return tpl_parser_quoted(p, &t);
    default:
        tpl_parser_back(p);
        return NULL;
    }
}

/* Behind a term: fields of it. Go gives the whole the place of the first of them. */
static struct tpl_node *chain(struct tpl_parser *p, struct tpl_node *base)
{
    struct tpl_node *n = base;
    uint32_t pos = tpl_parser_peek(p).pos;
    if (base->kind == TPL_NODE_PIPE || base->kind == TPL_NODE_FUNCTION) {
        n = tpl_parser_node(p, TPL_NODE_CHAIN, pos);
        n->chain.base = base;
    } else if (base->kind != TPL_NODE_FIELD && base->kind != TPL_NODE_VARIABLE) {
        struct buf text;
        buf_init(&text, 512);
        while (tpl_parser_peek(p).type == TPL_TOK_FIELD)
            (void)tpl_parser_next(p);
        tpl_node_print(base, &text);
        char *shown = arena_strdup(p->tree->arena, text.data);
        buf_clear(&text);
        tpl_quote(&text, shown, strlen(shown), false);
        tpl_parser_fail(p, "unexpected . after term %s", text.data);
        buf_deinit(&text);
        return NULL;
    }
    n->pos = pos;
    while (tpl_parser_peek(p).type == TPL_TOK_FIELD) {
        struct tpl_token t = tpl_parser_next(p);
        add_name(p, n, text_of(p, &t) + 1);
    }
    return n;
}

static struct tpl_node *operand(struct tpl_parser *p)
{
    struct tpl_node *n = term(p);
    return n != NULL && tpl_parser_peek(p).type == TPL_TOK_FIELD ? chain(p, n) : n;
}

/* Operands divided by white space, up to a pipe or to the end of the pipeline, which stays. */
static struct tpl_node *command(struct tpl_parser *p)
{
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_COMMAND, tpl_parser_peek_word(p).pos),
                    **link = &n->command.args;
    for (;;) {
        (void)tpl_parser_peek_word(p);
        *link = operand(p);
        if (p->failed)
            return NULL;
        if (*link != NULL) {
            link = &(*link)->next;
            n->command.count++;
        }
        struct tpl_token t = tpl_parser_next(p);
        if (t.type == TPL_TOK_SPACE)
            continue;
        if (t.type == TPL_TOK_RIGHT || t.type == TPL_TOK_CLOSE)
            tpl_parser_back(p);
        else if (t.type != TPL_TOK_PIPE)
            return tpl_parser_unexpected(p, &t, "operand");
        break;
    }
    if (n->command.count == 0)
        return tpl_parser_fail(p, "empty command");
    if (n->command.count > TPL_ARGS_MAX)
        return tpl_parser_fail(p, "more than %d arguments", TPL_ARGS_MAX);
    return n;
}

/* `$x :=`, `$x =` or, for a range, `$x, $y :=`; nothing is taken if it is no declaration. */
static bool declarations(struct tpl_parser *p, struct tpl_node *pipe, const char *context)
{
    struct tpl_token v = tpl_parser_peek_word(p);
    if (v.type != TPL_TOK_VARIABLE)
        return true;
    (void)tpl_parser_next(p);
    struct tpl_token adjacent = tpl_parser_peek(p), after = tpl_parser_peek_word(p);
    bool is_comma = after.type == TPL_TOK_CHAR && p->lexer.text[after.pos] == ',';
    if (after.type != TPL_TOK_ASSIGN && after.type != TPL_TOK_DECLARE && !is_comma) {
        if (adjacent.type == TPL_TOK_SPACE)
            tpl_parser_back_also(p, adjacent);
        tpl_parser_back_also(p, v);
        return true;
    }
    (void)tpl_parser_next_word(p);
    pipe->pipe.is_assign = after.type == TPL_TOK_ASSIGN;
    pipe->pipe.variables[pipe->pipe.variable_count++] = tpl_parser_declare(p, text_of(p, &v));
    if (!is_comma)
        return !p->failed;
    if (!str_eq(context, "range") || pipe->pipe.variable_count == 2)
        return tpl_parser_fail(p, "too many declarations in %s", context) != NULL;
    struct tpl_token t = tpl_parser_peek_word(p);
    if (t.type != TPL_TOK_VARIABLE && t.type != TPL_TOK_RIGHT && t.type != TPL_TOK_CLOSE)
        return tpl_parser_fail(p, "range can only initialize variables") != NULL;
    return declarations(p, pipe, context);
}

/* Only the first command may be a plain value: the others get the result of the one before. */
static bool check_commands(struct tpl_parser *p, const struct tpl_node *pipe, const char *context)
{
    const struct tpl_node *c = pipe->pipe.commands;
    if (c == NULL)
        return tpl_parser_fail(p, "missing value for %s", context) != NULL;
    c = c->next;
    for (int stage = 2; c != NULL; c = c->next, stage++) {
        enum tpl_node_kind kind = c->command.args->kind;
        if (kind == TPL_NODE_LITERAL || kind == TPL_NODE_DOT || kind == TPL_NODE_NIL)
            return tpl_parser_fail(p, "non executable command in pipeline stage %d", stage) != NULL;
    }
    return true;
}

static bool starts_operand(enum tpl_token_type type)
{
    return (type >= TPL_TOK_STRING && type <= TPL_TOK_VARIABLE) || type == TPL_TOK_DOT ||
           type == TPL_TOK_NIL || type == TPL_TOK_OPEN;
}

struct tpl_node *tpl_parser_pipeline(struct tpl_parser *p, const char *context,
                                     enum tpl_token_type end)
{
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_PIPE, tpl_parser_peek_word(p).pos),
                    **link = &n->pipe.commands;
    if (!tpl_parser_enter(p) || !declarations(p, n, context))
        return NULL;
    for (;;) {
        struct tpl_token t = tpl_parser_next_word(p);
        if (t.type == end)
            break;
        if (!starts_operand(t.type))
            return tpl_parser_unexpected(p, &t, context);
        tpl_parser_back(p);
        *link = command(p);
        if (*link == NULL)
            return NULL;
        link = &(*link)->next;
    }
    p->nesting--;
    return check_commands(p, n, context) ? n : NULL;
}
