/*
 * template_exec.c: walks the actions of a template and writes the result.
 *
 * Variables are a stack that every block cuts back to where it found it; a template that is called
 * sees only its own part. The budgets are those of template_eval.c.
 */
#include "template_private.h"

#include "pgvigil/base/str.h"

/* What a node did to the lists around it. */
enum walk { WALK_ON, WALK_BREAK, WALK_CONTINUE, WALK_FAILED };

/* ---- actions ---- */

static enum walk walk_list(struct tpl_state *s, const struct tpl_value *dot,
                           const struct tpl_node *list);

static bool check_out(struct tpl_state *s)
{
    return buf_ok(&s->out) || tpl_exec_fail(s, "result is longer than %zu bytes", TPL_STRING_MAX);
}

static bool walk_action(struct tpl_state *s, const struct tpl_value *dot,
                        const struct tpl_node *node)
{
    struct tpl_value v;
    if (!tpl_eval_pipe(s, dot, node->block.pipe, &v))
        return false;
    if (node->block.pipe->pipe.variable_count > 0)
        return true;
    s->node = node;
    tpl_print(&v, &s->out);
    return check_out(s);
}

static enum walk walk_branch(struct tpl_state *s, const struct tpl_value *dot,
                             const struct tpl_node *node)
{
    size_t variables = s->variable_count;
    enum walk result = WALK_ON;
    struct tpl_value v;
    if (!tpl_eval_pipe(s, dot, node->block.pipe, &v))
        return WALK_FAILED;
    if (tpl_is_true(&v))
        result = walk_list(s, node->kind == TPL_NODE_WITH ? &v : dot, node->block.list);
    else if (node->block.else_list != NULL)
        result = walk_list(s, dot, node->block.else_list);
    s->variable_count = variables;
    return result;
}

/* Item i of a list, map or number: what one turn of a range is given. */
static void range_item(const struct tpl_value *v, size_t i, struct tpl_value *key,
                       struct tpl_value *item)
{
    *key = tpl_int((int64_t)i);
    switch (v->type->kind) {
    case TPL_MAP:
        if (v->type->elem == &tpl_type_string) {
            *key = tpl_string(v->labels[i].name);
            *item = tpl_string(v->labels[i].value);
        } else {
            *key = tpl_string(v->pairs[i].key);
            *item = v->pairs[i].value;
        }
        break;
    case TPL_LIST:
        *item = v->items[i];
        break;
    default: /* a number counts */
        *item = *key;
        item->type = v->type;
        break;
    }
}

static bool set_range_variables(struct tpl_state *s, const struct tpl_node *pipe,
                                const struct tpl_value *key, const struct tpl_value *item)
{
    size_t n = pipe->pipe.variable_count;
    const char *const *names = pipe->pipe.variables;
    if (pipe->pipe.is_assign)
        return (n < 2 || tpl_exec_assign(s, names[0], *key)) &&
               (n < 1 || tpl_exec_assign(s, names[n - 1], *item));
    if (n > 0)
        s->variables[s->variable_count - 1].value = *item;
    if (n > 1)
        s->variables[s->variable_count - 2].value = *key;
    return true;
}

static bool range_count(struct tpl_state *s, const struct tpl_node *node, const struct tpl_value *v,
                        size_t *count)
{
    enum tpl_kind kind = v->type != NULL ? v->type->kind : TPL_LIST;
    struct buf text;
    *count = v->n;
    if (kind == TPL_INT && node->block.pipe->pipe.variable_count < 2)
        *count = v->i > 0 ? (size_t)v->i : 0;
    if (*count > TPL_RANGE_MAX)
        return tpl_exec_fail(s, "range over more than %d items", TPL_RANGE_MAX);
    if (kind == TPL_LIST || kind == TPL_MAP ||
        (kind == TPL_INT && node->block.pipe->pipe.variable_count < 2))
        return true;
    buf_init(&text, TPL_ERROR_MAX / 2);
    tpl_print(v, &text);
    tpl_exec_fail(s,
                  kind == TPL_INT ? "can't use %s to iterate over more than one variable"
                                  : "range can't iterate over %s",
                  text.data);
    buf_deinit(&text);
    return false;
}

static enum walk walk_items(struct tpl_state *s, const struct tpl_node *node,
                            const struct tpl_value *v, size_t count)
{
    size_t variables = s->variable_count;
    enum walk result = WALK_ON;
    for (size_t i = 0; i < count && result != WALK_BREAK; i++) {
        struct tpl_value key, item;
        range_item(v, i, &key, &item);
        if (!tpl_exec_step(s) || !set_range_variables(s, node->block.pipe, &key, &item))
            return WALK_FAILED;
        result = walk_list(s, &item, node->block.list);
        if (result == WALK_FAILED)
            return WALK_FAILED;
        s->variable_count = variables;
    }
    return WALK_ON;
}

static enum walk walk_range(struct tpl_state *s, const struct tpl_value *dot,
                            const struct tpl_node *node)
{
    size_t variables = s->variable_count, count;
    enum walk result = WALK_ON;
    struct tpl_value v;
    s->node = node;
    if (!tpl_eval_pipe(s, dot, node->block.pipe, &v) || !range_count(s, node, &v, &count))
        return WALK_FAILED;
    if (count > 0)
        result = walk_items(s, node, &v, count);
    else if (node->block.else_list != NULL)
        result = walk_list(s, dot, node->block.else_list);
    s->variable_count = variables;
    return result;
}

static const struct tpl_define *define_find(const struct tpl_tree *tree, const char *name)
{
    for (const struct tpl_define *d = tree->defines; d != NULL; d = d->next)
        if (str_eq(d->name, name))
            return d;
    return str_eq(tree->root.name, name) ? &tree->root : NULL;
}

/* A template sees none of the caller's variables. */
static enum walk walk_template(struct tpl_state *s, const struct tpl_value *dot,
                               const struct tpl_node *node)
{
    const struct tpl_define *caller = s->define, *callee = define_find(s->tree, node->block.name);
    struct tpl_value v = {0};
    enum walk result = WALK_FAILED;
    s->node = node;
    if (callee == NULL) {
        tpl_exec_fail(s, "template \"%s\" not defined", node->block.name);
    } else if (s->calls == TPL_CALLS_MAX) {
        tpl_exec_fail(s, "exceeded maximum template depth (%d)", TPL_CALLS_MAX);
    } else if (node->block.pipe == NULL || tpl_eval_pipe(s, dot, node->block.pipe, &v)) {
        size_t variables = s->variable_count, scope = s->scope;
        s->calls++;
        s->scope = variables;
        s->define = callee;
        tpl_exec_push(s, "$", v);
        result = walk_list(s, &v, callee->list);
        s->calls--;
        s->scope = scope;
        s->variable_count = variables;
        if (result != WALK_FAILED)
            s->define = caller;
    }
    return result;
}

static enum walk walk(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_node *node)
{
    s->node = node;
    if (!tpl_exec_step(s))
        return WALK_FAILED;
    switch (node->kind) {
    case TPL_NODE_TEXT:
        buf_add(&s->out, node->source, node->source_len);
        return check_out(s) ? WALK_ON : WALK_FAILED;
    case TPL_NODE_ACTION:
        return walk_action(s, dot, node) ? WALK_ON : WALK_FAILED;
    case TPL_NODE_IF:
    case TPL_NODE_WITH:
        return walk_branch(s, dot, node);
    case TPL_NODE_RANGE:
        return walk_range(s, dot, node);
    case TPL_NODE_TEMPLATE:
        return walk_template(s, dot, node);
    case TPL_NODE_BREAK:
        return WALK_BREAK;
    default: /* nothing else is in a list */
        return WALK_CONTINUE;
    }
}

static enum walk walk_list(struct tpl_state *s, const struct tpl_value *dot,
                           const struct tpl_node *list)
{
    enum walk result = WALK_ON;
    if (!tpl_exec_enter(s))
        return WALK_FAILED;
    for (const struct tpl_node *n = list->first; n != NULL && result == WALK_ON; n = n->next)
        result = walk(s, dot, n);
    s->depth--;
    return result;
}

bool tpl_execute(const struct tpl_tree *tree, const struct tpl_value *root, const void *env,
                 struct arena *arena, const char **out)
{
    struct tpl_state s = {
        .call = {.arena = arena, .env = env, .steps_left = TPL_STEPS_MAX},
        .tree = tree,
        .define = &tree->root,
        .node = tree->root.list,
        .arena_start = arena_used(arena),
    };
    buf_init(&s.out, TPL_STRING_MAX);
    tpl_exec_push(&s, "$", *root);
    bool ok = walk_list(&s, root, tree->root.list) != WALK_FAILED;
    if (ok) {
        char *nul = s.out.data; /* texts outside end at the first one */
        while ((nul = memchr(nul, '\0', (size_t)(s.out.data + s.out.len - nul))) != NULL)
            *nul = '?';
        s.error = arena_strdup(arena, s.out.data);
    }
    *out = s.error;
    buf_deinit(&s.out);
    return ok;
}
