/*
 * selector.h: an expression as the selector that it is, for callers that list series instead of
 * evaluating (match[] of the API). Pure.
 */
#ifndef PGVIGIL_PROMQL_SELECTOR_H
#define PGVIGIL_PROMQL_SELECTOR_H

#include "pgvigil/promql/promql.h"

/* Matchers of an instant selector without @ and offset, else NULL; they live with expr. */
const struct matcher *promql_selector(const struct promql_expr *expr, size_t *n,
                                      matcher_regex_fn *regex_match);

#endif
