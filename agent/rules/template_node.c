/*
 * template_node.c: nodes as text and as a place, for errors of an execution.
 *
 * Go tells "template: NAME:LINE:COLUMN: executing ... at <NODE>", where NODE is printed from the
 * tree, not cut from the text: one space between operands, parentheses where a pipe is one. Only
 * nodes at which an execution can fail are ever printed.
 */
#include "template_private.h"

static void print_names(const struct tpl_node *node, struct buf *out, const char *separator)
{
    for (const struct tpl_name *n = node->chain.names; n != NULL; n = n->next) {
        buf_printf(out, "%s%s", separator, n->s);
        separator = ".";
    }
}

static void print_pipe(const struct tpl_node *node, struct buf *out)
{
    for (size_t i = 0; i < node->pipe.variable_count; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", node->pipe.variables[i]);
    if (node->pipe.variable_count > 0)
        buf_add_str(out, node->pipe.is_assign ? " = " : " := ");
    for (const struct tpl_node *c = node->pipe.commands; c != NULL; c = c->next) {
        tpl_node_print(c, out);
        buf_add_str(out, c->next != NULL ? " | " : "");
    }
}

static void print_operand(const struct tpl_node *node, struct buf *out)
{
    bool is_pipe = node->kind == TPL_NODE_PIPE;
    buf_add_str(out, is_pipe ? "(" : "");
    tpl_node_print(node, out);
    buf_add_str(out, is_pipe ? ")" : "");
}

static void print_template(const struct tpl_node *node, struct buf *out)
{
    buf_add_str(out, "{{template ");
    tpl_quote(out, node->block.name, strlen(node->block.name), false);
    if (node->block.pipe != NULL) {
        buf_add_char(out, ' ');
        tpl_node_print(node->block.pipe, out);
    }
    buf_add_str(out, "}}");
}

void tpl_node_print(const struct tpl_node *node, struct buf *out)
{
    switch (node->kind) {
    case TPL_NODE_PIPE:
        print_pipe(node, out);
        break;
    case TPL_NODE_COMMAND:
        for (const struct tpl_node *a = node->command.args; a != NULL; a = a->next) {
            print_operand(a, out);
            buf_add_str(out, a->next != NULL ? " " : "");
        }
        break;
    case TPL_NODE_FUNCTION:
        buf_add_str(out, node->function->name);
        break;
    case TPL_NODE_FIELD:
        print_names(node, out, ".");
        break;
    case TPL_NODE_VARIABLE:
        print_names(node, out, "");
        break;
    case TPL_NODE_CHAIN:
        print_operand(node->chain.base, out);
        print_names(node, out, ".");
        break;
    case TPL_NODE_DOT:
        buf_add_char(out, '.');
        break;
    case TPL_NODE_NIL:
        buf_add_str(out, "nil");
        break;
    case TPL_NODE_TEXT:
    case TPL_NODE_LITERAL:
        buf_add(out, node->source, node->source_len);
        break;
    case TPL_NODE_TEMPLATE:
        print_template(node, out);
        break;
    case TPL_NODE_ACTION:
    case TPL_NODE_IF:
    case TPL_NODE_WITH:
    case TPL_NODE_RANGE:
        tpl_node_print(node->block.pipe, out);
        break;
    case TPL_NODE_LIST:
    case TPL_NODE_BREAK:
    case TPL_NODE_CONTINUE:
    case TPL_NODE_END:
    case TPL_NODE_ELSE:
        break;
    }
}

void tpl_place(const char *text, uint32_t pos, int *line, int *column)
{
    *line = 1;
    *column = (int)pos;
    for (uint32_t i = 0; i < pos; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = (int)(pos - i - 1);
        }
    }
}
