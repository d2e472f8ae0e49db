/*
 * print.c: the tree as text, as Prometheus words it: matchers sorted, durations in their largest
 * units, grouping before the arguments, `@` before `offset`.
 *
 * Parentheses are those of the source, so no operator's strength is looked at. Chains of operators
 * lean to the left as long as an expression may be, so they are walked in loops, down their left
 * sides and up again; all else recurses no deeper than PROMQL_DEPTH_MAX. Invariant: what is printed
 * parses to an equal tree; where Prometheus 2 drops something that has a meaning (an empty
 * `ignoring ()` with a group_left) it is kept.
 */
#include "pgvigil/promql/print.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "promql_private.h"

#define LINE_MAX_BYTES 100 /* Prometheus' prettier */

/* ---- literals ---- */

/* The digits of text ("1.25e-07") around a point: 0.000000125. */
static void add_digits(const char *text, struct buf *out)
{
    const char *e = strchr(text, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10), digits = 0;

    for (int i = exponent; i < 0; i++)
        buf_add_str(out, i == exponent ? "0." : "0");
    for (; text < e; text++) {
        if (*text == '.')
            continue;
        if (digits == exponent + 1 && digits > 0)
            buf_add_char(out, '.');
        buf_add_char(out, *text);
        digits++;
    }
    for (; digits <= exponent; digits++)
        buf_add_char(out, '0');
}

void print_plain(double v, struct buf *out)
{
    char text[40];
    double back = 0;

    if (isnan(v) || isinf(v)) {
        buf_add_str(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (signbit(v))
        buf_add_char(out, '-');
    v = fabs(v);
    for (int digits = 0; digits < 18; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits, v);
        if (str_parse_double(text, &back) && back == v)
            break;
    }
    add_digits(text, out);
}

static void add_duration(int64_t ms, struct buf *out)
{
    char text[64];

    buf_add_str(out, str_format_duration(ms, text, sizeof(text)));
}

static void add_number(double v, bool is_duration, struct buf *out)
{
    if (is_duration)
        add_duration(llround(v * 1000), out);
    else
        print_plain(v, out);
}

void promql_print_string(const char *s, struct buf *out)
{
    size_t n = 4 * strlen(s) + 16; /* \xff for each byte */
    char *text = mem_alloc(n);

    buf_add_str(out, go_quote(s, text, n));
    mem_free(text);
}

static bool is_plain_name(const char *name)
{
    static const char digits[] = "0123456789",
                      chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

    return *name != '\0' && !strchr(digits, *name) && name[strspn(name, chars)] == '\0';
}

/* A name where a label name stands: in quotes if it is none of the old kind. */
static void add_label_name(const char *name, struct buf *out)
{
    if (is_plain_name(name))
        buf_add_str(out, name);
    else
        promql_print_string(name, out);
}

static void add_label_list(const struct label_list *list, struct buf *out)
{
    buf_add_char(out, '(');
    for (size_t i = 0; i < list->n; i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        add_label_name(list->names[i], out);
    }
    buf_add_char(out, ')');
}

/* ---- durations and modifiers ---- */

static void print_duration_expr(const struct duration_expr *d, struct buf *out)
{
    bool power_of_negative = d->op == DUR_ARITHMETIC && d->arithmetic == OP_POW &&
                             d->lhs->op == DUR_LITERAL && signbit(d->lhs->seconds);

    buf_add_str(out, d->parens ? "(" : "");
    switch (d->op) {
    case DUR_LITERAL:
        add_number(d->seconds, d->is_duration, out);
        break;
    case DUR_STEP:
    case DUR_RANGE:
        buf_add_str(out, d->op == DUR_STEP ? "step()" : "range()");
        break;
    case DUR_MIN:
    case DUR_MAX:
        buf_add_str(out, d->op == DUR_MIN ? "min_of(" : "max_of(");
        print_duration_expr(d->lhs, out);
        buf_add_str(out, ", ");
        print_duration_expr(d->rhs, out);
        buf_add_char(out, ')');
        break;
    case DUR_NEGATE:
        buf_add_char(out, '-');
        print_duration_expr(d->rhs, out);
        break;
    case DUR_ARITHMETIC:
        /* -2 ^ 2 would be -(2 ^ 2) */
        buf_add_str(out, power_of_negative ? "(" : "");
        print_duration_expr(d->lhs, out);
        buf_printf(out, "%s %s ", power_of_negative ? ")" : "", op_name(d->arithmetic));
        print_duration_expr(d->rhs, out);
        break;
    }
    buf_add_str(out, d->parens ? ")" : "");
}

static void print_duration(const struct duration *d, struct buf *out)
{
    if (d->expr)
        print_duration_expr(d->expr, out);
    else
        add_duration(d->ms, out);
}

static void print_modifiers(const struct modifiers *mods, struct buf *out)
{
    switch (mods->at) {
    case AT_NONE:
        break;
    case AT_TIME:
        buf_printf(out, " @ %s%lld.%03lld", mods->at_ms < 0 ? "-" : "",
                   llabs((long long)mods->at_ms) / 1000, llabs((long long)mods->at_ms) % 1000);
        break;
    case AT_START:
    case AT_END:
        buf_add_str(out, mods->at == AT_START ? " @ start()" : " @ end()");
        break;
    }
    if (mods->offset.ms != 0 || mods->offset.expr) {
        buf_add_str(out, " offset ");
        print_duration(&mods->offset, out);
    }
}

/* ---- selectors ---- */

static void print_matcher(const struct matcher *m, struct buf *out)
{
    static const char *const ops[] = {
        [MATCH_EQ] = "=", [MATCH_NE] = "!=", [MATCH_RE] = "=~", [MATCH_NRE] = "!~"};

    add_label_name(m->name, out);
    buf_add_str(out, ops[m->op]);
    promql_print_string(m->value, out);
}

static bool is_outer_name(const struct node *node, const struct matcher *m)
{
    return node->selector.name && !node->selector.name_in_braces && m->op == MATCH_EQ &&
           str_eq(m->name, LABEL_METRIC) && str_eq(m->value, node->selector.name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_braces(char **texts, size_t n, struct buf *out)
{
    qsort(texts, n, sizeof(*texts), by_text);
    for (size_t i = 0; i < n; i++) {
        buf_add_char(out, i > 0 ? ',' : '{');
        buf_add_str(out, texts[i]);
        mem_free(texts[i]);
    }
    buf_add_char(out, '}');
}

static void print_selector(const struct node *node, struct buf *out)
{
    size_t count = node->selector.matcher_count, n = 0;
    char **texts = mem_alloc_array(count + 1, sizeof(*texts));
    struct buf text;

    buf_init(&text, 16 * PROMQL_LENGTH_MAX);
    for (size_t i = 0; i < count; i++) {
        if (is_outer_name(node, &node->selector.matchers[i]))
            continue;
        print_matcher(&node->selector.matchers[i], &text);
        texts[n++] = buf_take(&text, NULL);
    }
    buf_deinit(&text);
    if (node->selector.name && !node->selector.name_in_braces)
        buf_add_str(out, node->selector.name);
    if (n > 0)
        print_braces(texts, n, out);
    mem_free(texts);
    if (node->selector.has_range) {
        buf_add_char(out, '[');
        print_duration(&node->selector.range, out);
        buf_add_char(out, ']');
    }
    print_modifiers(&node->selector.mods, out);
}

/* ---- the rest, in one line ---- */

static void print_node(const struct node *node, struct buf *out);

static void print_brackets(const struct node *node, struct buf *out)
{
    const struct duration *step = &node->subquery.step;

    buf_add_char(out, '[');
    print_duration(&node->subquery.range, out);
    buf_add_char(out, ':');
    if (step->ms != 0 || step->expr)
        print_duration(step, out);
    buf_add_char(out, ']');
    print_modifiers(&node->subquery.mods, out);
}

/* The operator's word and its grouping. */
static void print_aggregation(const struct node *node, struct buf *out)
{
    const struct label_list *labels = &node->aggregate.labels;

    buf_add_str(out, aggr_name(node->aggregate.op));
    if (!node->aggregate.without && labels->n == 0)
        return;
    buf_add_str(out, node->aggregate.without ? " without " : " by ");
    add_label_list(labels, out);
    buf_add_char(out, ' ');
}

static void print_operator(const struct node *node, struct buf *out)
{
    const struct matching *m = &node->binary.matching;

    buf_add_str(out, op_name(node->binary.op));
    buf_add_str(out, node->binary.is_bool ? " bool" : "");
    if (m->labels.n > 0 || m->on || m->card != CARD_ONE_TO_ONE) {
        buf_add_str(out, m->on ? " on " : " ignoring ");
        add_label_list(&m->labels, out);
    }
    if (m->card != CARD_ONE_TO_ONE) {
        buf_add_str(out, m->card == CARD_MANY_TO_ONE ? " group_left " : " group_right ");
        add_label_list(&m->include, out);
    }
}

static void print_args(const struct node *node, struct buf *out)
{
    for (size_t i = 0; i < node->call.n; i++) {
        buf_add_str(out, i > 0 ? ", " : "");
        print_node(node->call.args[i], out);
    }
}

static void add_chars(char c, unsigned n, struct buf *out)
{
    for (unsigned i = 0; i < n; i++)
        buf_add_char(out, c);
}

static void print_chain(const struct node *node, struct buf *out)
{
    const struct node *first = node;

    for (; first->binary.lhs->kind == NODE_BINARY; first = first->binary.lhs)
        add_chars('(', first->binary.lhs->parens, out);
    print_node(first->binary.lhs, out);
    for (; buf_ok(out); first = first->up) {
        buf_add_char(out, ' ');
        print_operator(first, out);
        buf_add_char(out, ' ');
        print_node(first->binary.rhs, out);
        if (first == node)
            break;
        add_chars(')', first->parens, out);
    }
}

/* Without the parentheses around it. A buffer that is full ends it: see fits. */
static void print_bare(const struct node *node, struct buf *out)
{
    switch (node->kind) {
    case NODE_NUMBER:
        add_number(node->number, node->is_duration, out);
        break;
    case NODE_STRING:
        promql_print_string(node->string, out);
        break;
    case NODE_SELECTOR:
        print_selector(node, out);
        break;
    case NODE_SUBQUERY:
        print_node(node->subquery.child, out);
        print_brackets(node, out);
        break;
    case NODE_UNARY:
        buf_add_str(out, op_name(node->unary.op));
        print_node(node->unary.child, out);
        break;
    case NODE_BINARY:
        print_chain(node, out);
        break;
    case NODE_AGGREGATE:
        print_aggregation(node, out);
        buf_add_char(out, '(');
        if (node->aggregate.param) {
            print_node(node->aggregate.param, out);
            buf_add_str(out, ", ");
        }
        print_node(node->aggregate.child, out);
        buf_add_char(out, ')');
        break;
    case NODE_CALL:
        buf_printf(out, "%s(", node->call.fn->name);
        print_args(node, out);
        buf_add_char(out, ')');
        break;
    }
}

static void print_wrapped(const struct node *node, unsigned parens, struct buf *out)
{
    if (!buf_ok(out))
        return;
    add_chars('(', parens, out);
    print_bare(node, out);
    add_chars(')', parens, out);
}

static void print_node(const struct node *node, struct buf *out)
{
    print_wrapped(node, node->parens, out);
}

void promql_print(const struct promql_expr *expr, struct buf *out)
{
    print_node(expr->root, out);
}

/* ---- in lines ---- */

static void pretty(const struct node *node, unsigned parens, int level, struct buf *out);

static void indent(int level, struct buf *out)
{
    for (int i = 0; i < level; i++)
        buf_add_str(out, "  ");
}

/* Does it stand in one line? The indentation is not counted. */
static bool fits(const struct node *node, unsigned parens)
{
    struct buf line;
    bool is_short;

    buf_init(&line, LINE_MAX_BYTES);
    print_wrapped(node, parens, &line);
    is_short = buf_ok(&line);
    buf_deinit(&line);
    return is_short;
}

static void pretty_list(struct node *const *nodes, size_t n, int level, struct buf *out)
{
    buf_add_str(out, "(\n");
    for (size_t i = 0; i < n; i++) {
        pretty(nodes[i], nodes[i]->parens, level + 1, out);
        buf_add_str(out, i + 1 < n ? ",\n" : "\n");
    }
    indent(level, out);
    buf_add_char(out, ')');
}

static void pretty_aggregate(const struct node *node, int level, struct buf *out)
{
    struct node *args[2] = {node->aggregate.param, node->aggregate.child};
    size_t skip = args[0] ? 0 : 1;

    indent(level, out);
    print_aggregation(node, out);
    pretty_list(args + skip, 2 - skip, level, out);
}

static void open_lines(int level, struct buf *out)
{
    indent(level, out);
    buf_add_str(out, "(\n");
}

/* Closes n parentheses whose content is at this level; returns the level of the outermost. */
static int close_lines(int level, unsigned n, struct buf *out)
{
    for (unsigned i = 0; i < n; i++) {
        buf_add_char(out, '\n');
        indent(--level, out);
        buf_add_char(out, ')');
    }
    return level;
}

static void pretty_right(const struct node *node, int level, struct buf *out)
{
    buf_add_char(out, '\n');
    indent(level, out);
    print_operator(node, out);
    buf_add_char(out, '\n');
    pretty(node->binary.rhs, node->binary.rhs->parens, level + 1, out);
}

/*
 * Opens what must be split of the left side and leaves *level at what is within; false: that was
 * printed, with all its parentheses. True: it is an operation to be split itself.
 */
static bool pretty_left(const struct node *lhs, int *level, struct buf *out)
{
    unsigned parens = lhs->parens;

    while (lhs->kind == NODE_BINARY && !fits(lhs, parens)) {
        if (parens == 0)
            return true;
        open_lines((*level)++, out);
        parens--;
    }
    pretty(lhs, parens, *level, out);
    *level = close_lines(*level, lhs->parens - parens, out);
    return false;
}

static void pretty_binary(const struct node *node, int level, struct buf *out)
{
    const struct node *first = node;

    for (level++; buf_ok(out) && pretty_left(first->binary.lhs, &level, out); level++)
        first = first->binary.lhs;
    for (level--; buf_ok(out); first = first->up) {
        pretty_right(first, level, out);
        if (first == node)
            break;
        level = close_lines(level, first->parens, out) - 1;
    }
}

/* The operand keeps its level but stands behind the sign. */
static void pretty_unary(const struct node *node, int level, struct buf *out)
{
    struct buf child;

    buf_init(&child, out->max);
    pretty(node->unary.child, node->unary.child->parens, level, &child);
    indent(level, out);
    buf_add_str(out, op_name(node->unary.op));
    buf_add_str(out, child.data + strspn(child.data, " "));
    buf_deinit(&child);
}

static void pretty_split(const struct node *node, int level, struct buf *out)
{
    switch (node->kind) {
    case NODE_AGGREGATE:
        pretty_aggregate(node, level, out);
        break;
    case NODE_BINARY:
        pretty_binary(node, level, out);
        break;
    case NODE_CALL:
        indent(level, out);
        buf_add_str(out, node->call.fn->name);
        pretty_list(node->call.args, node->call.n, level, out);
        break;
    case NODE_SUBQUERY:
        pretty(node->subquery.child, node->subquery.child->parens, level, out);
        print_brackets(node, out);
        break;
    case NODE_UNARY:
        pretty_unary(node, level, out);
        break;
    case NODE_NUMBER:
    case NODE_STRING:
    case NODE_SELECTOR:
        indent(level, out);
        print_bare(node, out);
        break;
    }
}

static void pretty(const struct node *node, unsigned parens, int level, struct buf *out)
{
    bool is_subquery = node->kind == NODE_SUBQUERY && parens == 0;

    if (!buf_ok(out))
        return;
    if (node->kind == NODE_UNARY && parens == 0) {
        pretty_unary(node, level, out);
    } else if (fits(node, parens)) {
        /* Prometheus does not indent a subquery that needs no split. */
        indent(is_subquery ? 0 : level, out);
        print_wrapped(node, parens, out);
    } else if (parens > 0) {
        open_lines(level, out);
        pretty(node, parens - 1, level + 1, out);
        close_lines(level + 1, 1, out);
    } else {
        pretty_split(node, level, out);
    }
}

void promql_print_pretty(const struct promql_expr *expr, struct buf *out)
{
    pretty(expr->root, expr->root->parens, 0, out);
}
