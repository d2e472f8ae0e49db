/*
 * selector.h: what an expression asks its reader for, for callers that look before they evaluate:
 * match[] of the API, and rules, which want to know how far back they reach and whether what they
 * ask for is there. Pure.
 */
#ifndef PGVIGIL_PROMQL_SELECTOR_H
#define PGVIGIL_PROMQL_SELECTOR_H

#include "pgvigil/promql/promql.h"

/* Matchers of an instant selector without @ and offset, else NULL; they live with expr. */
const struct matcher *promql_selector(const struct promql_expr *expr, size_t *n,
                                      matcher_regex_fn *regex_match);

/*
 * How far before its time an instant query looks, in milliseconds: windows, offsets, subqueries and
 * the lookback of selectors together. INT64_MAX when `@` pins a part to a time.
 */
int64_t promql_reach_ms(const struct promql_expr *expr);
/* The longest range of a selector or subquery; 0 = there is none. */
int64_t promql_window_ms(const struct promql_expr *expr);

/* A selector whose series the result needs. */
struct promql_selected {
    const struct matcher *matchers; /* live with the expression, like all of it */
    size_t n;
    matcher_regex_fn regex_match;
};
/*
 * Calls fn for each of them, in the order of the text. Those within absent() and
 * absent_over_time() and on the right of `unless` are left out: to find nothing is their purpose.
 */
void promql_each_selected(const struct promql_expr *expr,
                          void (*fn)(const struct promql_selected *selected, void *arg), void *arg);

#endif
