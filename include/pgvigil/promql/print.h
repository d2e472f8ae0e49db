/*
 * print.h: an expression as text, in one line or in readable lines, and as JSON. Pure; any thread.
 *
 * The texts are those of Prometheus: what is printed parses to the same expression, and printing
 * that gives the same text, but for `+Inf ^ x`, which gets one more sign each time, as there. They
 * can be longer than PROMQL_LENGTH_MAX: durations and numbers are spelled out, and the readable form
 * indents.
 */
#ifndef PGVIGIL_PROMQL_PRINT_H
#define PGVIGIL_PROMQL_PRINT_H

#include "pgvigil/promql/promql.h"

void promql_print(const struct promql_expr *expr, struct buf *out);
/* Of /api/v1/format_query: split where a line would be longer than 100 bytes. */
void promql_print_pretty(const struct promql_expr *expr, struct buf *out);
/* Of /api/v1/parse_query: the tree, as the query page of Prometheus 3 reads it. */
void promql_print_tree(const struct promql_expr *expr, struct buf *out);
/* A string with quotes and escapes, as expressions and Go's errors have it. */
void promql_print_string(const char *s, struct buf *out);

#endif
