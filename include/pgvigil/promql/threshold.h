/*
 * threshold.h: the number that an alert's expression compares with, as a place in its text.
 *
 * Pure; any thread. The text is the one that the expression was parsed from.
 */
#ifndef PGVIGIL_PROMQL_THRESHOLD_H
#define PGVIGIL_PROMQL_THRESHOLD_H

#include "pgvigil/promql/promql.h"

struct promql_threshold {
    size_t pos, len; /* in the text, with its sign; len 0: it is no plain number, like 2 * 30 */
    double value;
};

/*
 * How many comparisons (> >= < <=) there are of something that is measured with something that is
 * constant; those with `bool` count only if there is no other. If there is one, out tells it.
 */
size_t promql_threshold_find(const struct promql_expr *expr, struct promql_threshold *out);

#endif
