/*
 * go_text.h: texts as Go prints them, for output that people compare with Prometheus' own. Pure.
 */
#ifndef PGVIGIL_PROMQL_GO_TEXT_H
#define PGVIGIL_PROMQL_GO_TEXT_H

#include "pgvigil/base/base.h"

/* %q; cut to n. Returns out. */
const char *go_quote(const char *s, char *out, size_t n);
/* %#U of the first character of s: `U+00E9 'é'`. Returns out. */
#define GO_CHAR_MAX 24
const char *go_char(const char *s, char out[GO_CHAR_MAX]);

#endif
