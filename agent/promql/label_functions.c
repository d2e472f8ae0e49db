/*
 * label_functions.c: label_replace and label_join, the only functions that write labels.
 *
 * Patterns and names are string literals, so the pattern was compiled when the expression was
 * parsed. Writing the metric name this way keeps it, even behind a function that drops it. Two
 * rows that end up with the same labels at the same step are an error. New strings live in the
 * evaluation's arena.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

#define RESULT_MAX (16 * 1024)

static const char same_labels[] = "vector cannot contain metrics with the same labelset";

static const char *arg_string(const struct node *node, size_t i)
{
    return node->call.args[i]->string;
}

/* Since v3 any UTF-8 text may name a label. */
bool is_label_name(const char *name)
{
    const char *s = name;

    for (size_t n; *s; s += n) {
        n = str_utf8_len(s);
        if (n == 0)
            return false;
    }
    return *name != '\0';
}

static void set_label(struct eval *ev, struct row *row, const char *name, const char *value)
{
    row->labels = labels_with(ev->arena, &row->labels, name, value);
    if (str_eq(name, LABEL_METRIC))
        row->drop_name = false;
}

static bool replace_row(struct eval *ev, const struct node *node, const char *dst, struct row *row,
                        struct buf *text)
{
    const char *src = labels_get_or_empty(&row->labels, arg_string(node, 3));
    enum regex_outcome outcome;

    buf_clear(text);
    outcome = regex_expand(node->call.regex, src, arg_string(node, 2), text);
    if (outcome == REGEX_GAVE_UP)
        return err_set(ev->err, ERR_LIMIT,
                       "regular expression of label_replace() needs too many steps");
    if (outcome == REGEX_NO_MATCH)
        return true;
    if (!buf_ok(text))
        return err_set(ev->err, ERR_LIMIT, "label_replace() makes a value longer than %d bytes",
                       RESULT_MAX);
    if (!eval_charge(ev, (row->labels.n + 1) + text->len / sizeof(struct point)))
        return false;
    set_label(ev, row, dst, arena_strdup(ev->arena, text->data));
    return true;
}

bool fn_label_replace(struct eval *ev, const struct node *node, const struct grid *grid,
                      struct value *out)
{
    const char *dst = arg_string(node, 1);
    struct buf text;
    bool ok = true;

    if (!is_label_name(dst))
        return err_set(ev->err, ERR_INVALID,
                       "invalid destination label name in label_replace(): %.128s", dst);
    if (!node->call.regex) {
        return err_set(ev->err, ERR_INVALID,
                       "invalid regular expression in label_replace(): %.256s",
                       arg_string(node, 4));
    }
    if (!eval_node(ev, node->call.args[0], grid, out))
        return false;
    dst = arena_strdup(ev->arena, dst);
    buf_init(&text, RESULT_MAX);
    for (size_t r = 0; ok && r < out->n; r++)
        ok = replace_row(ev, node, dst, &out->rows[r], &text);
    buf_deinit(&text);
    return ok && eval_check_unique(ev, out, grid, same_labels);
}

static bool join_row(struct eval *ev, const struct node *node, const char *dst, struct row *row,
                     struct buf *text)
{
    buf_clear(text);
    for (size_t i = 3; i < node->call.n; i++) {
        if (i > 3)
            buf_add_str(text, arg_string(node, 2));
        buf_add_str(text, labels_get_or_empty(&row->labels, arg_string(node, i)));
    }
    if (!buf_ok(text))
        return err_set(ev->err, ERR_LIMIT, "label_join() makes a value longer than %d bytes",
                       RESULT_MAX);
    if (!eval_charge(ev, (row->labels.n + 1) + text->len / sizeof(struct point)))
        return false;
    set_label(ev, row, dst, arena_strdup(ev->arena, text->data));
    return true;
}

bool fn_label_join(struct eval *ev, const struct node *node, const struct grid *grid,
                   struct value *out)
{
    const char *dst = arg_string(node, 1);
    struct buf text;
    bool ok = true;

    for (size_t i = 3; i < node->call.n; i++) {
        if (!is_label_name(arg_string(node, i))) {
            return err_set(ev->err, ERR_INVALID,
                           "invalid source label name in label_join(): %.128s",
                           arg_string(node, i));
        }
    }
    if (!is_label_name(dst))
        return err_set(ev->err, ERR_INVALID,
                       "invalid destination label name in label_join(): %.128s", dst);
    if (!eval_node(ev, node->call.args[0], grid, out))
        return false;
    dst = arena_strdup(ev->arena, dst);
    buf_init(&text, RESULT_MAX);
    for (size_t r = 0; ok && r < out->n; r++)
        ok = join_row(ev, node, dst, &out->rows[r], &text);
    buf_deinit(&text);
    return ok && eval_check_unique(ev, out, grid, same_labels);
}
