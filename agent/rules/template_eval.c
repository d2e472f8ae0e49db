/*
 * template_eval.c: values of pipelines: operands, fields, methods and calls.
 *
 * The order of evaluation, and which node is the current one when something fails, are Go's, so
 * that errors name the same place. Invariant: every node and operand is charged against the budget
 * of steps, every level against the depth, and both are looked at before the work is done.
 */
#include "template_private.h"

#include <stdarg.h>

#include "pgvigil/base/str.h"

/* ---- errors and budgets ---- */

bool tpl_exec_fail(struct tpl_state *s, const char *fmt, ...)
{
    char why[TPL_ERROR_MAX];
    struct buf text;
    int line, column;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    tpl_place(s->tree->text, s->node->pos, &line, &column);
    buf_init(&text, 2 * TPL_STRING_MAX);
    buf_printf(&text, "template: %s:%d:%d: executing ", s->tree->name, line, column);
    tpl_quote(&text, s->define->name, strlen(s->define->name), false);
    buf_add_str(&text, " at <");
    tpl_node_print(s->node, &text);
    buf_printf(&text, ">: %s", why);
    s->error = arena_strdup(s->call.arena, text.data);
    buf_deinit(&text);
    return false;
}

bool tpl_fail(struct tpl_call *call, const char *fmt, ...)
{
    char why[TPL_ERROR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    call->error = arena_strdup(call->arena, why);
    return false;
}

bool tpl_charge(struct tpl_call *call, int64_t steps)
{
    call->steps_left -= steps;
    return call->steps_left >= 0 || tpl_fail(call, "more than %d steps", TPL_STEPS_MAX);
}

bool tpl_exec_step(struct tpl_state *s)
{
    if (--s->call.steps_left < 0)
        return tpl_exec_fail(s, "more than %d steps", TPL_STEPS_MAX);
    if (arena_used(s->call.arena) - s->arena_start > TPL_BYTES_MAX)
        return tpl_exec_fail(s, "values take more than %zu bytes", TPL_BYTES_MAX);
    return true;
}

bool tpl_exec_enter(struct tpl_state *s)
{
    if (s->depth == TPL_DEPTH_MAX)
        return tpl_exec_fail(s, "nested more than %d deep", TPL_DEPTH_MAX);
    s->depth++;
    return true;
}

/* ---- variables ---- */

void tpl_exec_push(struct tpl_state *s, const char *name, struct tpl_value value)
{
    if (s->variable_count == s->variable_room) {
        size_t room = s->variable_room == 0 ? 16 : 2 * s->variable_room;
        s->variables = arena_grow_array(s->call.arena, s->variables, s->variable_room, room,
                                        sizeof(*s->variables));
        s->variable_room = room;
    }
    s->variables[s->variable_count++] = (struct tpl_variable){name, value};
}

static struct tpl_variable *find(struct tpl_state *s, const char *name)
{
    for (size_t i = s->variable_count; i > s->scope; i--)
        if (str_eq(s->variables[i - 1].name, name))
            return &s->variables[i - 1];
    tpl_exec_fail(s, "undefined variable: %s", name);
    return NULL;
}

bool tpl_exec_assign(struct tpl_state *s, const char *name, struct tpl_value value)
{
    struct tpl_variable *v = find(s, name);
    if (v != NULL)
        v->value = value;
    return v != NULL;
}

/* ---- operands ---- */

static const char *type_name(const struct tpl_value *v)
{
    return v->type != NULL ? v->type->name : "interface {}";
}

/* Turns v into what a parameter of this type takes. */
static bool fit(struct tpl_state *s, const struct tpl_type *type, struct tpl_value *v)
{
    if (type == &tpl_type_any || v->type == type)
        return true;
    bool may_be_nil = type->kind == TPL_LIST || type->kind == TPL_MAP || type->is_pointer;
    if (v->type == NULL && may_be_nil) {
        *v = (struct tpl_value){.type = type};
        return true;
    }
    if (v->type == NULL)
        return tpl_exec_fail(s, "invalid value; expected %s", type->name);
    return tpl_exec_fail(s, "wrong type for value; expected %s; got %s", type->name, v->type->name);
}

/* A literal where a parameter of this type is. */
static bool fit_literal(struct tpl_state *s, const struct tpl_type *type,
                        const struct tpl_node *arg, struct tpl_value *out)
{
    *out = arg->value;
    if (type == &tpl_type_any || type == arg->value.type)
        return true;
    int n = (int)size_min(arg->source_len, TPL_ERROR_MAX / 2);
    if (type->kind == TPL_STRING || type->kind == TPL_BOOL)
        return tpl_exec_fail(s, "expected %s; found %.*s", type->name, n, arg->source);
    return tpl_exec_fail(s, "can't handle %.*s for arg of type %s", n, arg->source, type->name);
}

static bool eval_operand(struct tpl_state *s, const struct tpl_value *dot,
                         const struct tpl_node *arg, struct tpl_value *out);

static bool eval_arg(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_type *type,
                     const struct tpl_node *arg, struct tpl_value *out)
{
    s->node = arg;
    if (!tpl_exec_step(s))
        return false;
    if (arg->kind == TPL_NODE_LITERAL)
        return fit_literal(s, type, arg, out);
    if (arg->kind == TPL_NODE_NIL) {
        *out = (struct tpl_value){0};
        bool may_be_nil = type == &tpl_type_any || type->kind == TPL_LIST ||
                          type->kind == TPL_MAP || type->is_pointer;
        return may_be_nil ? fit(s, type, out)
                          : tpl_exec_fail(s, "cannot assign nil to %s", type->name);
    }
    return eval_operand(s, dot, arg, out) && fit(s, type, out);
}

/* ---- calls ---- */

/* The arguments of a call: nodes, and what the pipe hands over as the last. */
struct args {
    const struct tpl_node *node;  /* at which a failure of the callee is */
    const struct tpl_node *first; /* behind the function */
    size_t count;
    const struct tpl_value *piped; /* or NULL */
    const struct tpl_value *self;  /* of a method, else NULL */
};

static const struct tpl_type *param_type(const struct tpl_function *f, size_t i)
{
    return f->params[f->is_variadic && i > f->args ? f->args : i];
}

static bool check_count(struct tpl_state *s, const struct tpl_function *f, const struct args *a)
{
    size_t n = a->count + (a->piped != NULL);
    if (f->is_variadic && n < f->args)
        return tpl_exec_fail(s, "wrong number of args for %s: want at least %d got %zu", f->name,
                             f->args, a->count);
    if (!f->is_variadic && n != f->args)
        return tpl_exec_fail(s, "wrong number of args for %s: want %d got %zu", f->name, f->args,
                             n);
    return true;
}

/* `and` and `or` look at their arguments one by one and leave the rest alone. */
static bool short_circuit(struct tpl_state *s, const struct tpl_value *dot, bool stop_at,
                          const struct args *a, struct tpl_value *out)
{
    for (const struct tpl_node *arg = a->first; arg != NULL; arg = arg->next) {
        if (!eval_arg(s, dot, &tpl_type_any, arg, out))
            return false;
        if (tpl_is_true(out) == stop_at)
            return true;
    }
    if (a->piped != NULL)
        *out = *a->piped;
    return true;
}

static bool run(struct tpl_state *s, const struct tpl_function *f, const struct tpl_value *values,
                size_t n, const struct tpl_node *node, struct tpl_value *out)
{
    s->call.error = NULL;
    *out = (struct tpl_value){0};
    if (f->run(&s->call, values, n, out))
        return true;
    s->node = node;
    return tpl_exec_fail(s, "error calling %s: %s", f->name, s->call.error);
}

static bool call(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_function *f,
                 const struct args *a, struct tpl_value *out)
{
    size_t n = 0, self = a->self != NULL;
    if (!check_count(s, f, a))
        return false;
    if (f->run == NULL)
        return short_circuit(s, dot, str_eq(f->name, "or"), a, out);
    struct tpl_value *values = arena_alloc_array(s->call.arena, a->count + 2, sizeof(*values));
    if (self)
        values[0] = *a->self;
    for (const struct tpl_node *arg = a->first; arg != NULL; arg = arg->next, n++)
        if (!eval_arg(s, dot, param_type(f, n), arg, &values[self + n]))
            return false;
    if (a->piped != NULL) {
        values[self + n] = *a->piped;
        if (!fit(s, param_type(f, n), &values[self + n]))
            return false;
        n++;
    }
    return run(s, f, values, self + n, a->node, out);
}

/* ---- fields ---- */

static const struct tpl_function *member_find(const struct tpl_type *type, const char *name)
{
    for (size_t i = 0; i < type->member_count; i++)
        if (str_eq(type->members[i].name, name))
            return &type->members[i];
    return NULL;
}

static bool eval_field(struct tpl_state *s, const struct tpl_value *dot, const char *name,
                       const struct args *a, struct tpl_value *value)
{
    struct tpl_value receiver = *value;
    struct args with_self = *a;
    bool has_args = a->count > 0 || a->piped != NULL;
    if (receiver.type == NULL)
        return true; /* a field of nothing is nothing */
    const struct tpl_function *member = member_find(receiver.type, name);
    if (member != NULL && !member->is_field) {
        with_self.self = &receiver;
        return call(s, dot, member, &with_self, value);
    }
    if (member != NULL) {
        if (has_args)
            return tpl_exec_fail(s, "%s has arguments but cannot be invoked as function", name);
        if (receiver.type->is_pointer && receiver.self == NULL)
            return tpl_exec_fail(s, "nil pointer evaluating %s.%s", type_name(&receiver), name);
        return run(s, member, &receiver, 1, a->node, value);
    }
    if (receiver.type->kind != TPL_MAP)
        return tpl_exec_fail(s, "can't evaluate field %s in type %s", name, type_name(&receiver));
    if (has_args)
        return tpl_exec_fail(s, "%s is not a method but has arguments", name);
    (void)tpl_map_get(&receiver, name, strlen(name), value);
    return true;
}

/* The last name may be a method and gets the arguments. */
static bool eval_names(struct tpl_state *s, const struct tpl_value *dot,
                       const struct tpl_name *names, const struct args *a, struct tpl_value *value)
{
    const struct args none = {.node = a->node};
    for (const struct tpl_name *n = names; n != NULL; n = n->next) {
        if (n != names && value->type == NULL)
            return tpl_exec_fail(s, "nil pointer evaluating interface {}.%s", n->s);
        if (!eval_field(s, dot, n->s, n->next != NULL ? &none : a, value))
            return false;
    }
    return true;
}

/* A function, field, variable or chain with its arguments. */
static bool eval_call(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_node *node,
                      struct args *a, struct tpl_value *out)
{
    const struct tpl_variable *v;
    s->node = node;
    if (node->kind != TPL_NODE_FUNCTION)
        a->node = node;
    switch (node->kind) {
    case TPL_NODE_FUNCTION:
        return call(s, dot, node->function, a, out);
    case TPL_NODE_FIELD:
        *out = *dot;
        return eval_names(s, dot, node->chain.names, a, out);
    case TPL_NODE_VARIABLE:
        v = find(s, node->chain.names->s);
        if (v == NULL)
            return false;
        *out = v->value;
        if (node->chain.names->next == NULL && (a->count > 0 || a->piped != NULL))
            return tpl_exec_fail(s, "can't give argument to non-function %s", v->name);
        return eval_names(s, dot, node->chain.names->next, a, out);
    default:
        return eval_arg(s, dot, &tpl_type_any, node->chain.base, out) &&
               eval_names(s, dot, node->chain.names, a, out);
    }
}

static bool eval_operand(struct tpl_state *s, const struct tpl_value *dot,
                         const struct tpl_node *arg, struct tpl_value *out)
{
    struct args none = {.node = arg};
    switch (arg->kind) {
    case TPL_NODE_DOT:
        *out = *dot;
        return true;
    case TPL_NODE_PIPE:
        return tpl_eval_pipe(s, dot, arg, out);
    default:
        return eval_call(s, dot, arg, &none, out);
    }
}

/* ---- pipelines ---- */

static bool not_a_function(struct tpl_state *s, const struct tpl_node *node)
{
    struct buf text;
    buf_init(&text, TPL_ERROR_MAX / 2);
    tpl_node_print(node, &text);
    tpl_exec_fail(s, "can't give argument to non-function %s", text.data);
    buf_deinit(&text);
    return false;
}

static bool eval_command(struct tpl_state *s, const struct tpl_value *dot,
                         const struct tpl_node *command, const struct tpl_value *piped,
                         struct tpl_value *out)
{
    const struct tpl_node *first = command->command.args;
    struct args a = {
        .node = command, .first = first->next, .count = command->command.count - 1, .piped = piped};
    if (!tpl_exec_step(s))
        return false;
    if (first->kind == TPL_NODE_FUNCTION || first->kind == TPL_NODE_FIELD ||
        first->kind == TPL_NODE_VARIABLE || first->kind == TPL_NODE_CHAIN)
        return eval_call(s, dot, first, &a, out);
    if (first->kind != TPL_NODE_PIPE)
        s->node = first;
    if (a.count > 0 || piped != NULL)
        return not_a_function(s, first);
    if (first->kind == TPL_NODE_NIL)
        return tpl_exec_fail(s, "nil is not a command");
    if (first->kind != TPL_NODE_LITERAL)
        return eval_operand(s, dot, first, out);
    *out = first->value;
    return true;
}

static bool eval_commands(struct tpl_state *s, const struct tpl_value *dot,
                          const struct tpl_node *pipe, struct tpl_value *out)
{
    const struct tpl_value *piped = NULL;
    struct tpl_value last;
    for (const struct tpl_node *c = pipe->pipe.commands; c != NULL; c = c->next) {
        if (!eval_command(s, dot, c, piped, out))
            return false;
        last = *out;
        piped = &last;
    }
    return true;
}

bool tpl_eval_pipe(struct tpl_state *s, const struct tpl_value *dot, const struct tpl_node *pipe,
                   struct tpl_value *out)
{
    s->node = pipe;
    if (!tpl_exec_enter(s) || !eval_commands(s, dot, pipe, out))
        return false;
    s->depth--;
    for (size_t i = 0; i < pipe->pipe.variable_count; i++) {
        const char *name = pipe->pipe.variables[i];
        if (!pipe->pipe.is_assign)
            tpl_exec_push(s, name, *out);
        else if (!tpl_exec_assign(s, name, *out))
            return false;
    }
    return true;
}
