/*
 * run.c: one case: as it stands, pinned with @ at other evaluation times, and as a range query.
 *
 * A case is skipped only if it needs native histograms (its expected result holds one, a selector
 * matches a series of them, or it uses `</` or `>/`) or else experimental parts. Pinning writes
 * into the parsed tree, which is the runner's own: selectors in a subquery keep moving, the
 * subquery itself is pinned. Expressions whose result hangs on the evaluation time or on the
 * range of the query itself are not run again.
 */
#include "promqltest.h"

#include "pgvigil/base/str.h"

#define RANGE_STEP_MS 60000

struct run {
    struct storage *storage;
    const struct test_case *c;
    struct promql_expr *expr;
    struct arena *arena;
    struct err *err;
};

static const struct promql_limits limits = PROMQL_LIMITS_RULES;

/* ---- the tree ---- */

static bool uses_time(const struct node *node)
{
    static const char *const functions[] = {
        "days_in_month", "day_of_month",   "day_of_week", "day_of_year", "hour", "minute",
        "month",         "predict_linear", "time",        "timestamp",   "year"};

    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (str_eq(node->call.fn->name, functions[i]))
            return true;
    return false;
}

/* t NULL: inside a subquery nothing is pinned. */
static void pin(struct modifiers *mods, const int64_t *t)
{
    if (!t || mods->at != AT_NONE)
        return;
    mods->at = AT_TIME;
    mods->at_ms = *t;
}

static bool pin_tree(struct node *node, const int64_t *t);

static bool pin_call(struct node *node, const int64_t *t)
{
    bool ok = !uses_time(node);

    for (size_t i = 0; i < node->call.n; i++)
        ok = pin_tree(node->call.args[i], t) && ok;
    return ok;
}

/* Pins what has no @ yet; false if the expression hangs on the time in another way. */
static bool pin_tree(struct node *node, const int64_t *t)
{
    bool ok;

    switch (node->kind) {
    case NODE_NUMBER:
    case NODE_STRING:
        return true;
    case NODE_SELECTOR:
        pin(&node->selector.mods, t);
        return true;
    case NODE_SUBQUERY:
        pin(&node->subquery.mods, t);
        return pin_tree(node->subquery.child, NULL);
    case NODE_UNARY:
        return pin_tree(node->unary.child, t);
    case NODE_BINARY:
        ok = pin_tree(node->binary.lhs, t);
        return pin_tree(node->binary.rhs, t) && ok;
    case NODE_AGGREGATE:
        ok = !node->aggregate.param || pin_tree(node->aggregate.param, t);
        return pin_tree(node->aggregate.child, t) && ok;
    case NODE_CALL:
        return pin_call(node, t);
    }
    return false;
}

/* start(), end(), step() and range() mean something else in another query. */
static bool names_its_range(const char *expr)
{
    static const char *const words[] = {"start()", "end()", "step()", "range()"};
    char text[PROMQL_LENGTH_MAX + 1];
    size_t n = 0;

    for (; *expr && n < sizeof(text) - 1; expr++)
        if (*expr != ' ' && *expr != '\t')
            text[n++] = (char)(*expr >= 'A' && *expr <= 'Z' ? *expr | 0x20 : *expr);
    text[n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

/* ---- queries ---- */

static bool check_result(struct run *run, bool ok, const struct promql_value *got)
{
    struct err why = *run->err;

    if (!ok)
        return compare_failure(run->c, why.text, run->err);
    if (run->c->fails)
        return err_set(run->err, ERR_INVALID, "did not fail");
    return compare_value(run->c, got, run->err) && compare_notes(run->c, got, run->err);
}

/* The middle step of a range result as the instant result that it must be. */
static struct promql_value middle_step(struct run *run, const struct promql_value *range, int64_t t)
{
    struct promql_value out = {.type = promql_type(run->expr), .t = t};

    out.vector = arena_alloc_array(run->arena, range->n, sizeof(*out.vector));
    for (size_t i = 0; i < range->n; i++) {
        for (size_t k = 0; k < range->matrix[i].n; k++) {
            if (range->matrix[i].points[k].t != t)
                continue;
            out.scalar = range->matrix[i].points[k].v;
            out.vector[out.n++] =
                (struct promql_sample){.labels = range->matrix[i].labels, .value = out.scalar};
        }
    }
    return out;
}

static bool run_as_range(struct run *run, int64_t t)
{
    struct promql_value range, middle;

    if (!promql_range(run->expr, &run->storage->floats.reader, t - RANGE_STEP_MS, t + RANGE_STEP_MS,
                      RANGE_STEP_MS, &limits, run->arena, &range, run->err))
        return err_wrap(run->err, "as a range query");
    for (size_t i = 1; i < range.n; i++)
        if (labels_compare(&range.matrix[i - 1].labels, &range.matrix[i].labels) >= 0)
            return err_set(run->err, ERR_INVALID, "as a range query: not sorted by labels");
    middle = middle_step(run, &range, t);
    return compare_value(run->c, &middle, run->err) || err_wrap(run->err, "as a range query");
}

static bool run_instant(struct run *run, int64_t t)
{
    enum promql_type type = promql_type(run->expr);
    struct promql_value value;
    bool ok;

    arena_reset(run->arena);
    ok = promql_instant(run->expr, &run->storage->floats.reader, t, &limits, run->arena, &value,
                        run->err);
    if (!check_result(run, ok, &value))
        return err_wrap(run->err, "at %.3f s", (double)t / 1000);
    if (!ok || run->c->ordered || type == PROMQL_MATRIX || type == PROMQL_STRING ||
        names_its_range(run->c->expr))
        return true;
    return run_as_range(run, t) || err_wrap(run->err, "at %.3f s", (double)t / 1000);
}

static bool run_pinned(struct run *run)
{
    int64_t at = run->c->at;
    const int64_t usual[] = {-10 * at, 0, at / 5, at, 10 * at}, zero[] = {-1000, 0, 1000};
    const int64_t *times = at != 0 ? usual : zero;
    size_t n = at != 0 ? ARRAY_LEN(usual) : ARRAY_LEN(zero);

    if (names_its_range(run->c->expr) || !pin_tree(run->expr->root, &at))
        return true;
    for (size_t i = 0; i < n; i++)
        if (!run_instant(run, times[i]))
            return err_wrap(run->err, "pinned with @");
    return true;
}

static bool run_range(struct run *run)
{
    struct promql_value value;
    bool ok = promql_range(run->expr, &run->storage->floats.reader, run->c->start, run->c->end,
                           run->c->step, &limits, run->arena, &value, run->err);

    return check_result(run, ok, &value);
}

/*
 * A metric called fill is none of our business: the data's own count puts the case that tests
 * whether the word can still be a name among those of the fill modifiers.
 */
static bool names_fill(const struct promql_expr *expr)
{
    static const char *const words[] = {"fill", "fill_left", "fill_right"};

    for (const struct node *s = expr->selectors; s; s = s->selector.next) {
        for (size_t i = 0; s->selector.name && i < ARRAY_LEN(words); i++)
            if (str_eq(s->selector.name, words[i]))
                return true;
    }
    return false;
}

enum outcome parse_case(const struct storage *storage, const struct test_case *c,
                        struct promql_expr **expr, struct err *err)
{
    struct promql_error perr = {.refusal = PROMQL_NOT_REFUSED};

    *expr = promql_parse_any(c->expr, &perr);
    if (!*expr && c->wants_native)
        return SKIPPED_NATIVE;
    if (!*expr) {
        (void)err_set(err, ERR_INVALID, "%s", perr.text);
        return FAILED;
    }
    if (c->wants_native || perr.refusal == PROMQL_NATIVE_HISTOGRAM ||
        storage_touches_native(storage, *expr))
        return SKIPPED_NATIVE;
    if (perr.refusal == PROMQL_EXPERIMENTAL || names_fill(*expr))
        return SKIPPED_EXPERIMENTAL;
    return PASSED;
}

enum outcome run_case(struct storage *storage, const struct test_case *c, struct err *err)
{
    struct run run = {.storage = storage, .c = c, .err = err};
    enum outcome outcome = parse_case(storage, c, &run.expr, err);

    if (outcome == PASSED) {
        run.arena = arena_create(0, ARENA_NO_LIMIT);
        if (!(c->is_range ? run_range(&run) : run_instant(&run, c->at) && run_pinned(&run)))
            outcome = FAILED;
        arena_destroy(&run.arena);
    }
    promql_destroy(&run.expr);
    return outcome;
}
