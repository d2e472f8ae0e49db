/*
 * go_text.h: texts as Go prints them, for output that people compare with Prometheus' own. Pure.
 */
#ifndef PGVIGIL_PROMQL_GO_TEXT_H
#define PGVIGIL_PROMQL_GO_TEXT_H

#include "pgvigil/base/base.h"

/* %q; cut to n. Returns out. */
const char *go_quote(const char *s, char *out, size_t n);

#endif
