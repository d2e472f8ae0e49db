/*
 * template_parse.c: tokens to a tree, with Go's grammar and Go's texts of errors.
 *
 * Recursive descent with three tokens of look-ahead, because white space is a token: in "$x foo"
 * the word decides whether $x is declared or an argument. Every function gives NULL or false once
 * an error is set, and the first error stands. Invariant: nothing recurses without enter(), so the
 * nesting of the text bounds the stack.
 */
#include "template_private.h"

#include <stdarg.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define VARIABLES_MAX 256

struct parser {
    struct tpl_tree *tree;
    struct tpl_lexer lexer;
    struct tpl_token ahead[3]; /* [0] is the last one read, those above it were put back */
    int ahead_count;
    const struct tpl_function *functions;
    size_t function_count;
    const char *variables[VARIABLES_MAX];
    size_t variable_count, scope_start; /* those below scope_start are of a template around */
    int nesting, range_depth;
    int action_line; /* 0: outside an action */
    bool failed;
    struct err *err;
};

/* ---- errors ---- */

static void *fail(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void *fail(struct parser *p, const char *fmt, ...)
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
static void describe(struct parser *p, const struct tpl_token *t, struct buf *out)
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

static void *unexpected(struct parser *p, const struct tpl_token *t, const char *context)
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
    fail(p, "%s", text.data);
    buf_deinit(&text);
    return NULL;
}

static bool enter(struct parser *p)
{
    if (++p->nesting > TPL_NESTING_MAX)
        fail(p, "nested more than %d deep", TPL_NESTING_MAX);
    return !p->failed;
}

/* ---- tokens ---- */

static struct tpl_token next(struct parser *p)
{
    if (p->ahead_count > 0)
        p->ahead_count--;
    else
        p->ahead[0] = tpl_lexer_next(&p->lexer);
    return p->ahead[p->ahead_count];
}

static void back(struct parser *p)
{
    p->ahead_count++;
}

/* Puts back tokens that were read before the one that ahead[0] holds. */
static void back_also(struct parser *p, struct tpl_token t)
{
    p->ahead[p->ahead_count] = t;
    p->ahead_count++;
}

static struct tpl_token peek(struct parser *p)
{
    struct tpl_token t = next(p);
    back(p);
    return t;
}

static struct tpl_token next_word(struct parser *p)
{
    struct tpl_token t = next(p);
    while (t.type == TPL_TOK_SPACE)
        t = next(p);
    return t;
}

static struct tpl_token peek_word(struct parser *p)
{
    struct tpl_token t = next_word(p);
    back(p);
    return t;
}

static bool expect(struct parser *p, enum tpl_token_type type, const char *context)
{
    struct tpl_token t = next_word(p);
    return t.type == type || unexpected(p, &t, context) != NULL;
}

/* ---- nodes ---- */

static struct tpl_node *node(struct parser *p, enum tpl_node_kind kind, uint32_t pos)
{
    struct tpl_node *n = arena_alloc(p->tree->arena, sizeof(*n));
    n->kind = kind;
    n->pos = pos;
    return n;
}

static char *text_of(struct parser *p, const struct tpl_token *t)
{
    return arena_strndup(p->tree->arena, p->lexer.text + t->pos, t->len);
}

static struct tpl_node *literal(struct parser *p, const struct tpl_token *t, struct tpl_value value)
{
    struct tpl_node *n = node(p, TPL_NODE_LITERAL, t->pos);
    n->source = p->lexer.text + t->pos;
    n->source_len = t->len;
    n->value = value;
    return n;
}

static struct tpl_node *quoted(struct parser *p, const struct tpl_token *t)
{
    struct tpl_value value;
    if (!tpl_unquote(p->tree->arena, p->lexer.text + t->pos, t->len, &value))
        return fail(p, "invalid syntax");
    return literal(p, t, value);
}

static struct tpl_node *number(struct parser *p, const struct tpl_token *t)
{
    struct tpl_value value;
    struct err why = {0};
    if (!tpl_parse_number(p->lexer.text + t->pos, t->len, &value, &why))
        return fail(p, "%s", why.text);
    return literal(p, t, value);
}

static void add_name(struct parser *p, struct tpl_node *n, const char *s)
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

static struct tpl_node *function(struct parser *p, const struct tpl_token *t)
{
    const char *name = text_of(p, t);
    const struct tpl_function *f = find_in(p->functions, p->function_count, name);
    if (f == NULL)
        f = find_in(tpl_builtins, tpl_builtin_count, name);
    if (f == NULL)
        return fail(p, "function \"%s\" not defined", name);
    struct tpl_node *n = node(p, TPL_NODE_FUNCTION, t->pos);
    n->function = f;
    return n;
}

/* ---- variables: names that are known at this place ---- */

static const char *declare(struct parser *p, const char *name)
{
    if (p->variable_count == VARIABLES_MAX)
        fail(p, "more than %d variables", VARIABLES_MAX);
    else
        p->variables[p->variable_count++] = name;
    return name;
}

static struct tpl_node *variable(struct parser *p, const struct tpl_token *t)
{
    const char *name = text_of(p, t);
    struct tpl_node *n = node(p, TPL_NODE_VARIABLE, t->pos);
    add_name(p, n, name);
    for (size_t i = p->scope_start; i < p->variable_count; i++)
        if (str_eq(p->variables[i], name))
            return n;
    return fail(p, "undefined variable \"%s\"", name);
}

/* ---- pipelines ---- */

static struct tpl_node *pipeline(struct parser *p, const char *context, enum tpl_token_type end);

/* NULL without an error: what follows is no operand, and is left there. */
static struct tpl_node *term(struct parser *p)
{
    struct tpl_token t = next_word(p);
    struct tpl_node *n;
    switch (t.type) {
    case TPL_TOK_IDENT:
        return function(p, &t);
    case TPL_TOK_DOT:
        return node(p, TPL_NODE_DOT, t.pos);
    case TPL_TOK_NIL:
        return node(p, TPL_NODE_NIL, t.pos);
    case TPL_TOK_VARIABLE:
        return variable(p, &t);
    case TPL_TOK_FIELD:
        n = node(p, TPL_NODE_FIELD, t.pos);
        add_name(p, n, text_of(p, &t) + 1);
        return n;
    case TPL_TOK_BOOL:
        return literal(p, &t, tpl_bool(t.len == strlen("true")));
    case TPL_TOK_CHAR_CONSTANT:
    case TPL_TOK_NUMBER:
        return number(p, &t);
    case TPL_TOK_OPEN:
        return pipeline(p, "parenthesized pipeline", TPL_TOK_CLOSE);
    case TPL_TOK_STRING:
    case TPL_TOK_RAW_STRING:
        return quoted(p, &t);
    default:
        back(p);
        return NULL;
    }
}

/* Behind a term: fields of it. Go gives the whole the place of the first of them. */
static struct tpl_node *chain(struct parser *p, struct tpl_node *base)
{
    struct tpl_node *n = base;
    uint32_t pos = peek(p).pos;
    if (base->kind == TPL_NODE_PIPE || base->kind == TPL_NODE_FUNCTION) {
        n = node(p, TPL_NODE_CHAIN, pos);
        n->chain.base = base;
    } else if (base->kind != TPL_NODE_FIELD && base->kind != TPL_NODE_VARIABLE) {
        struct buf text;
        buf_init(&text, 512);
        while (peek(p).type == TPL_TOK_FIELD)
            (void)next(p);
        tpl_node_print(base, &text);
        char *shown = arena_strdup(p->tree->arena, text.data);
        buf_clear(&text);
        tpl_quote(&text, shown, strlen(shown), false);
        fail(p, "unexpected . after term %s", text.data);
        buf_deinit(&text);
        return NULL;
    }
    n->pos = pos;
    while (peek(p).type == TPL_TOK_FIELD) {
        struct tpl_token t = next(p);
        add_name(p, n, text_of(p, &t) + 1);
    }
    return n;
}

static struct tpl_node *operand(struct parser *p)
{
    struct tpl_node *n = term(p);
    return n != NULL && peek(p).type == TPL_TOK_FIELD ? chain(p, n) : n;
}

/* Operands divided by white space, up to a pipe or to the end of the pipeline, which stays. */
static struct tpl_node *command(struct parser *p)
{
    struct tpl_node *n = node(p, TPL_NODE_COMMAND, peek_word(p).pos), **link = &n->command.args;
    for (;;) {
        (void)peek_word(p);
        *link = operand(p);
        if (p->failed)
            return NULL;
        if (*link != NULL) {
            link = &(*link)->next;
            n->command.count++;
        }
        struct tpl_token t = next(p);
        if (t.type == TPL_TOK_SPACE)
            continue;
        if (t.type == TPL_TOK_RIGHT || t.type == TPL_TOK_CLOSE)
            back(p);
        else if (t.type != TPL_TOK_PIPE)
            return unexpected(p, &t, "operand");
        break;
    }
    if (n->command.count == 0)
        return fail(p, "empty command");
    if (n->command.count > TPL_ARGS_MAX)
        return fail(p, "more than %d arguments", TPL_ARGS_MAX);
    return n;
}

/* `$x :=`, `$x =` or, for a range, `$x, $y :=`; nothing is taken if it is no declaration. */
static bool declarations(struct parser *p, struct tpl_node *pipe, const char *context)
{
    struct tpl_token v = peek_word(p);
    if (v.type != TPL_TOK_VARIABLE)
        return true;
    (void)next(p);
    struct tpl_token adjacent = peek(p), after = peek_word(p);
    bool is_comma = after.type == TPL_TOK_CHAR && p->lexer.text[after.pos] == ',';
    if (after.type != TPL_TOK_ASSIGN && after.type != TPL_TOK_DECLARE && !is_comma) {
        if (adjacent.type == TPL_TOK_SPACE)
            back_also(p, adjacent);
        back_also(p, v);
        return true;
    }
    (void)next_word(p);
    pipe->pipe.is_assign = after.type == TPL_TOK_ASSIGN;
    pipe->pipe.variables[pipe->pipe.variable_count++] = declare(p, text_of(p, &v));
    if (!is_comma)
        return !p->failed;
    if (!str_eq(context, "range") || pipe->pipe.variable_count == 2)
        return fail(p, "too many declarations in %s", context) != NULL;
    struct tpl_token t = peek_word(p);
    if (t.type != TPL_TOK_VARIABLE && t.type != TPL_TOK_RIGHT && t.type != TPL_TOK_CLOSE)
        return fail(p, "range can only initialize variables") != NULL;
    return declarations(p, pipe, context);
}

/* Only the first command may be a plain value: the others get the result of the one before. */
static bool check_commands(struct parser *p, const struct tpl_node *pipe, const char *context)
{
    const struct tpl_node *c = pipe->pipe.commands;
    if (c == NULL)
        return fail(p, "missing value for %s", context) != NULL;
    c = c->next;
    for (int stage = 2; c != NULL; c = c->next, stage++) {
        enum tpl_node_kind kind = c->command.args->kind;
        if (kind == TPL_NODE_LITERAL || kind == TPL_NODE_DOT || kind == TPL_NODE_NIL)
            return fail(p, "non executable command in pipeline stage %d", stage) != NULL;
    }
    return true;
}

static bool starts_operand(enum tpl_token_type type)
{
    return (type >= TPL_TOK_STRING && type <= TPL_TOK_VARIABLE) || type == TPL_TOK_DOT ||
           type == TPL_TOK_NIL || type == TPL_TOK_OPEN;
}

static struct tpl_node *pipeline(struct parser *p, const char *context, enum tpl_token_type end)
{
    struct tpl_node *n = node(p, TPL_NODE_PIPE, peek_word(p).pos), **link = &n->pipe.commands;
    if (!enter(p) || !declarations(p, n, context))
        return NULL;
    for (;;) {
        struct tpl_token t = next_word(p);
        if (t.type == end)
            break;
        if (!starts_operand(t.type))
            return unexpected(p, &t, context);
        back(p);
        *link = command(p);
        if (*link == NULL)
            return NULL;
        link = &(*link)->next;
    }
    p->nesting--;
    return check_commands(p, n, context) ? n : NULL;
}

/* ---- actions ---- */

static struct tpl_node *text_or_action(struct parser *p);

/* Actions up to {{end}} or {{else}}, which is in *last. */
static struct tpl_node *item_list(struct parser *p, struct tpl_node **last)
{
    struct tpl_node *list = node(p, TPL_NODE_LIST, peek_word(p).pos), **link = &list->first;
    while (peek_word(p).type != TPL_TOK_EOF) {
        struct tpl_node *n = text_or_action(p);
        if (n == NULL)
            return NULL;
        if (n->kind == TPL_NODE_END || n->kind == TPL_NODE_ELSE) {
            *last = n;
            return list;
        }
        *link = n;
        link = &n->next;
    }
    return fail(p, "unexpected EOF");
}

static struct tpl_node *control(struct parser *p, enum tpl_node_kind kind);

/* `{{else if ...}}` is `{{else}}{{if ...}}` that needs no end of its own; so is `else with`. */
static struct tpl_node *else_list(struct parser *p, enum tpl_node_kind kind)
{
    struct tpl_node *last, *list;
    enum tpl_token_type type = peek(p).type;
    bool chained = (kind == TPL_NODE_IF && type == TPL_TOK_IF) ||
                   (kind == TPL_NODE_WITH && type == TPL_TOK_WITH);
    if (chained) {
        (void)next(p);
        list = node(p, TPL_NODE_LIST, p->ahead[0].pos);
        list->first = control(p, kind);
        return list->first != NULL ? list : NULL;
    }
    list = item_list(p, &last);
    if (list != NULL && last->kind != TPL_NODE_END)
        return fail(p, "expected end; found {{else}}");
    return list;
}

static struct tpl_node *control(struct parser *p, enum tpl_node_kind kind)
{
    const char *context = kind == TPL_NODE_IF ? "if" : kind == TPL_NODE_WITH ? "with" : "range";
    struct tpl_node *n = node(p, kind, 0), *last;
    size_t variables = p->variable_count;
    bool is_range = kind == TPL_NODE_RANGE;
    if (!enter(p) || (n->block.pipe = pipeline(p, context, TPL_TOK_RIGHT)) == NULL)
        return NULL;
    n->pos = n->block.pipe->pos;
    p->range_depth += is_range;
    n->block.list = item_list(p, &last);
    p->range_depth -= is_range;
    if (n->block.list == NULL)
        return NULL;
    if (last->kind == TPL_NODE_ELSE && (n->block.else_list = else_list(p, kind)) == NULL)
        return NULL;
    p->variable_count = variables;
    p->nesting--;
    return n;
}

static struct tpl_node *else_control(struct parser *p)
{
    struct tpl_token t = peek_word(p);
    if (t.type == TPL_TOK_IF || t.type == TPL_TOK_WITH)
        return node(p, TPL_NODE_ELSE, t.pos);
    return expect(p, TPL_TOK_RIGHT, "else") ? node(p, TPL_NODE_ELSE, t.pos) : NULL;
}

static struct tpl_node *jump(struct parser *p, enum tpl_node_kind kind, const char *shown,
                             uint32_t pos)
{
    if (!expect(p, TPL_TOK_RIGHT, shown))
        return NULL;
    return p->range_depth > 0 ? node(p, kind, pos) : fail(p, "%s outside {{range}}", shown);
}

/* ---- named templates ---- */

bool tpl_is_empty(const struct tpl_node *list)
{
    for (const struct tpl_node *n = list->first; n != NULL; n = n->next)
        if (n->kind != TPL_NODE_TEXT || strspn(n->source, " \t\r\n") < n->source_len)
            return false;
    return true;
}

static const char *template_name(struct parser *p, const char *context, uint32_t *pos)
{
    struct tpl_token t = next_word(p);
    *pos = t.pos;
    if (t.type != TPL_TOK_STRING && t.type != TPL_TOK_RAW_STRING)
        return unexpected(p, &t, context);
    struct tpl_node *n = quoted(p, &t);
    return n != NULL ? n->value.s : NULL;
}

static bool add_define(struct parser *p, const char *name, struct tpl_node *list)
{
    struct tpl_define *d = p->tree->defines;
    while (d != NULL && !str_eq(d->name, name))
        d = d->next;
    if (d == NULL) {
        d = arena_alloc(p->tree->arena, sizeof(*d));
        *d = (struct tpl_define){.name = name, .next = p->tree->defines};
        p->tree->defines = d;
    } else if (!tpl_is_empty(d->list)) {
        if (tpl_is_empty(list))
            return true;
        return fail(p, "template: multiple definition of template \"%s\"", name) != NULL;
    }
    d->list = list;
    return true;
}

/* The body of a definition knows neither the variables nor the ranges around it. */
static bool body(struct parser *p, const char *name, const char *context)
{
    size_t variables = p->variable_count, scope = p->scope_start;
    int range_depth = p->range_depth;
    struct tpl_node *last, *list;
    p->scope_start = variables;
    p->range_depth = 0;
    declare(p, "$");
    if (!enter(p) || (list = item_list(p, &last)) == NULL)
        return false;
    p->nesting--;
    p->variable_count = variables;
    p->scope_start = scope;
    p->range_depth = range_depth;
    if (last->kind != TPL_NODE_END)
        return fail(p, "unexpected {{else}} in %s", context) != NULL;
    return add_define(p, name, list);
}

static bool definition(struct parser *p)
{
    static const char context[] = "define clause";
    uint32_t pos;
    const char *name = template_name(p, context, &pos);
    return name != NULL && expect(p, TPL_TOK_RIGHT, context) && body(p, name, context);
}

static struct tpl_node *template_control(struct parser *p)
{
    static const char context[] = "template clause";
    struct tpl_node *n = node(p, TPL_NODE_TEMPLATE, 0);
    n->block.name = template_name(p, context, &n->pos);
    if (n->block.name == NULL)
        return NULL;
    if (next_word(p).type == TPL_TOK_RIGHT)
        return n;
    back(p);
    n->block.pipe = pipeline(p, context, TPL_TOK_RIGHT);
    return n->block.pipe != NULL ? n : NULL;
}

/* A definition and its call at one place. */
static struct tpl_node *block_control(struct parser *p)
{
    static const char context[] = "block clause";
    struct tpl_node *n = node(p, TPL_NODE_TEMPLATE, 0);
    n->block.name = template_name(p, context, &n->pos);
    if (n->block.name == NULL)
        return NULL;
    n->block.pipe = pipeline(p, context, TPL_TOK_RIGHT);
    return n->block.pipe != NULL && body(p, n->block.name, context) ? n : NULL;
}

/* ---- the whole ---- */

static struct tpl_node *action(struct parser *p)
{
    struct tpl_token t = next_word(p);
    struct tpl_node *n;
    switch (t.type) {
    case TPL_TOK_BLOCK:
        return block_control(p);
    case TPL_TOK_BREAK:
        return jump(p, TPL_NODE_BREAK, "{{break}}", t.pos);
    case TPL_TOK_CONTINUE:
        return jump(p, TPL_NODE_CONTINUE, "{{continue}}", t.pos);
    case TPL_TOK_ELSE:
        return else_control(p);
    case TPL_TOK_END:
        return expect(p, TPL_TOK_RIGHT, "end") ? node(p, TPL_NODE_END, t.pos) : NULL;
    case TPL_TOK_IF:
        return control(p, TPL_NODE_IF);
    case TPL_TOK_RANGE:
        return control(p, TPL_NODE_RANGE);
    case TPL_TOK_TEMPLATE:
        return template_control(p);
    case TPL_TOK_WITH:
        return control(p, TPL_NODE_WITH);
    default:
        back(p);
        n = node(p, TPL_NODE_ACTION, t.pos);
        n->block.pipe = pipeline(p, "command", TPL_TOK_RIGHT);
        return n->block.pipe != NULL ? n : NULL;
    }
}

static struct tpl_node *text_or_action(struct parser *p)
{
    struct tpl_token t = next_word(p);
    struct tpl_node *n;
    if (t.type == TPL_TOK_TEXT) {
        n = literal(p, &t, tpl_text(p->lexer.text + t.pos, t.len));
        n->kind = TPL_NODE_TEXT;
        return n;
    }
    if (t.type != TPL_TOK_LEFT)
        return unexpected(p, &t, "input");
    p->action_line = t.line;
    n = action(p);
    p->action_line = 0;
    return n;
}

/* At `{{` of a definition, which may stand at the top only. */
static bool at_definition(struct parser *p)
{
    struct tpl_token left = peek(p);
    if (left.type != TPL_TOK_LEFT)
        return false;
    (void)next(p);
    if (next_word(p).type == TPL_TOK_DEFINE)
        return true;
    back(p);
    back_also(p, left);
    return false;
}

static bool whole(struct parser *p)
{
    struct tpl_node *list = node(p, TPL_NODE_LIST, 0), **link = &list->first;
    while (peek(p).type != TPL_TOK_EOF) {
        if (at_definition(p)) {
            if (!definition(p))
                return false;
            continue;
        }
        struct tpl_node *n = text_or_action(p);
        if (n == NULL)
            return false;
        if (n->kind == TPL_NODE_END || n->kind == TPL_NODE_ELSE)
            return fail(p, "unexpected {{%s}}", n->kind == TPL_NODE_END ? "end" : "else") != NULL;
        *link = n;
        link = &n->next;
    }
    p->tree->root.list = list;
    return true;
}

struct tpl_tree *tpl_parse(const char *name, const char *text, const struct tpl_function *functions,
                           size_t function_count, struct err *err)
{
    struct tpl_tree *tree = mem_alloc(sizeof(*tree));
    tree->arena = arena_create(0, ARENA_NO_LIMIT);
    tree->name = arena_strdup(tree->arena, name);
    tree->text = arena_strdup(tree->arena, text);
    tree->root.name = tree->name;
    struct parser *p = mem_alloc(sizeof(*p));
    p->tree = tree;
    p->functions = functions;
    p->function_count = function_count;
    p->err = err;
    declare(p, "$");
    tpl_lexer_init(&p->lexer, tree->text);
    if (!whole(p))
        tpl_destroy(&tree);
    mem_free(p);
    return tree;
}

void tpl_destroy(struct tpl_tree **tree)
{
    if (*tree == NULL)
        return;
    arena_destroy(&(*tree)->arena);
    MEM_FREE_NULL(tree);
}
