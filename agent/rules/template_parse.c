/*
 * template_parse.c: actions and named templates to a tree, with Go's grammar and texts of errors.
 *
 * Recursive descent on top of template_pipeline.c. A definition may stand at the top only; its body
 * knows neither the variables nor the ranges around it, though both are in the same text.
 */
#include "template_private.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* ---- actions ---- */

static struct tpl_node *text_or_action(struct tpl_parser *p);

/* Actions up to {{end}} or {{else}}, which is in *last. */
static struct tpl_node *item_list(struct tpl_parser *p, struct tpl_node **last)
{
    struct tpl_node *list = tpl_parser_node(p, TPL_NODE_LIST, tpl_parser_peek_word(p).pos),
                    **link = &list->first;
    while (tpl_parser_peek_word(p).type != TPL_TOK_EOF) {
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
    return tpl_parser_fail(p, "unexpected EOF");
}

static struct tpl_node *control(struct tpl_parser *p, enum tpl_node_kind kind);

/* `{{else if ...}}` is `{{else}}{{if ...}}` that needs no end of its own; so is `else with`. */
static struct tpl_node *else_list(struct tpl_parser *p, enum tpl_node_kind kind)
{
    struct tpl_node *last, *list;
    enum tpl_token_type type = tpl_parser_peek(p).type;
    bool chained = (kind == TPL_NODE_IF && type == TPL_TOK_IF) ||
                   (kind == TPL_NODE_WITH && type == TPL_TOK_WITH);
    if (chained) {
        (void)tpl_parser_next(p);
        list = tpl_parser_node(p, TPL_NODE_LIST, p->ahead[0].pos);
        list->first = control(p, kind);
        return list->first != NULL ? list : NULL;
    }
    list = item_list(p, &last);
    if (list != NULL && last->kind != TPL_NODE_END)
        return tpl_parser_fail(p, "expected end; found {{else}}");
    return list;
}

static struct tpl_node *control(struct tpl_parser *p, enum tpl_node_kind kind)
{
    const char *context = kind == TPL_NODE_IF ? "if" : kind == TPL_NODE_WITH ? "with" : "range";
    struct tpl_node *n = tpl_parser_node(p, kind, 0), *last;
    size_t variables = p->variable_count;
    bool is_range = kind == TPL_NODE_RANGE;
    if (!tpl_parser_enter(p) ||
        (n->block.pipe = tpl_parser_pipeline(p, context, TPL_TOK_RIGHT)) == NULL)
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

static struct tpl_node *else_control(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_peek_word(p);
    if (t.type == TPL_TOK_IF || t.type == TPL_TOK_WITH)
        return tpl_parser_node(p, TPL_NODE_ELSE, t.pos);
    return tpl_parser_expect(p, TPL_TOK_RIGHT, "else") ? tpl_parser_node(p, TPL_NODE_ELSE, t.pos)
                                                       : NULL;
}

static struct tpl_node *jump(struct tpl_parser *p, enum tpl_node_kind kind, const char *shown,
                             uint32_t pos)
{
    if (!tpl_parser_expect(p, TPL_TOK_RIGHT, shown))
        return NULL;
    return p->range_depth > 0 ? tpl_parser_node(p, kind, pos)
                              : tpl_parser_fail(p, "%s outside {{range}}", shown);
}

/* ---- named templates ---- */

bool tpl_is_empty(const struct tpl_node *list)
{
    for (const struct tpl_node *n = list->first; n != NULL; n = n->next)
        if (n->kind != TPL_NODE_TEXT || strspn(n->source, " \t\r\n") < n->source_len)
            return false;
    return true;
}

static const char *template_name(struct tpl_parser *p, const char *context, uint32_t *pos)
{
    struct tpl_token t = tpl_parser_next_word(p);
    *pos = t.pos;
    if (t.type != TPL_TOK_STRING && t.type != TPL_TOK_RAW_STRING)
        return tpl_parser_unexpected(p, &t, context);
    struct tpl_node *n = tpl_parser_quoted(p, &t);
    return n != NULL ? n->value.s : NULL;
}

static bool add_define(struct tpl_parser *p, const char *name, struct tpl_node *list)
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
        return tpl_parser_fail(p, "template: multiple definition of template \"%s\"", name) != NULL;
    }
    d->list = list;
    return true;
}

/* The body of a definition knows neither the variables nor the ranges around it. */
static bool body(struct tpl_parser *p, const char *name, const char *context)
{
    size_t variables = p->variable_count, scope = p->scope_start;
    int range_depth = p->range_depth;
    struct tpl_node *last, *list;
    p->scope_start = variables;
    p->range_depth = 0;
    tpl_parser_declare(p, "$");
    if (!tpl_parser_enter(p) || (list = item_list(p, &last)) == NULL)
        return false;
    p->nesting--;
    p->variable_count = variables;
    p->scope_start = scope;
    p->range_depth = range_depth;
    if (last->kind != TPL_NODE_END)
        return tpl_parser_fail(p, "unexpected {{else}} in %s", context) != NULL;
    return add_define(p, name, list);
}

static bool definition(struct tpl_parser *p)
{
    static const char context[] = "define clause";
    uint32_t pos;
    const char *name = template_name(p, context, &pos);
    return name != NULL && tpl_parser_expect(p, TPL_TOK_RIGHT, context) && body(p, name, context);
}

static struct tpl_node *template_control(struct tpl_parser *p)
{
    static const char context[] = "template clause";
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_TEMPLATE, 0);
    n->block.name = template_name(p, context, &n->pos);
    if (n->block.name == NULL)
        return NULL;
    if (tpl_parser_next_word(p).type == TPL_TOK_RIGHT)
        return n;
    tpl_parser_back(p);
    n->block.pipe = tpl_parser_pipeline(p, context, TPL_TOK_RIGHT);
    return n->block.pipe != NULL ? n : NULL;
}

/* A definition and its call at one place. */
static struct tpl_node *block_control(struct tpl_parser *p)
{
    static const char context[] = "block clause";
    struct tpl_node *n = tpl_parser_node(p, TPL_NODE_TEMPLATE, 0);
    n->block.name = template_name(p, context, &n->pos);
    if (n->block.name == NULL)
        return NULL;
    n->block.pipe = tpl_parser_pipeline(p, context, TPL_TOK_RIGHT);
    return n->block.pipe != NULL && body(p, n->block.name, context) ? n : NULL;
}

/* ---- the whole ---- */

static struct tpl_node *action(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next_word(p);
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
        return tpl_parser_expect(p, TPL_TOK_RIGHT, "end") ? tpl_parser_node(p, TPL_NODE_END, t.pos)
                                                          : NULL;
    case TPL_TOK_IF:
        return control(p, TPL_NODE_IF);
    case TPL_TOK_RANGE:
        return control(p, TPL_NODE_RANGE);
    case TPL_TOK_TEMPLATE:
        return template_control(p);
    case TPL_TOK_WITH:
        return control(p, TPL_NODE_WITH);
    default:
        tpl_parser_back(p);
        n = tpl_parser_node(p, TPL_NODE_ACTION, t.pos);
        n->block.pipe = tpl_parser_pipeline(p, "command", TPL_TOK_RIGHT);
        return n->block.pipe != NULL ? n : NULL;
    }
}

static struct tpl_node *text_or_action(struct tpl_parser *p)
{
    struct tpl_token t = tpl_parser_next_word(p);
    struct tpl_node *n;
    if (t.type == TPL_TOK_TEXT) {
        n = tpl_parser_literal(p, &t, tpl_text(p->lexer.text + t.pos, t.len));
        n->kind = TPL_NODE_TEXT;
        return n;
    }
    if (t.type != TPL_TOK_LEFT)
        return tpl_parser_unexpected(p, &t, "input");
    p->action_line = t.line;
    n = action(p);
    p->action_line = 0;
    return n;
}

/* At `{{` of a definition, which may stand at the top only. */
static bool at_definition(struct tpl_parser *p)
{
    struct tpl_token left = tpl_parser_peek(p);
    if (left.type != TPL_TOK_LEFT)
        return false;
    (void)tpl_parser_next(p);
    if (tpl_parser_next_word(p).type == TPL_TOK_DEFINE)
        return true;
    tpl_parser_back(p);
    tpl_parser_back_also(p, left);
    return false;
}

static bool whole(struct tpl_parser *p)
{
    struct tpl_node *list = tpl_parser_node(p, TPL_NODE_LIST, 0), **link = &list->first;
    while (tpl_parser_peek(p).type != TPL_TOK_EOF) {
        if (at_definition(p)) {
            if (!definition(p))
                return false;
            continue;
        }
        struct tpl_node *n = text_or_action(p);
        if (n == NULL)
            return false;
        if (n->kind == TPL_NODE_END || n->kind == TPL_NODE_ELSE)
            return tpl_parser_fail(p, "unexpected {{%s}}",
                                   n->kind == TPL_NODE_END ? "end" : "else") != NULL;
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
    struct tpl_parser *p = mem_alloc(sizeof(*p));
    p->tree = tree;
    p->functions = functions;
    p->function_count = function_count;
    p->err = err;
    tpl_parser_declare(p, "$");
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
