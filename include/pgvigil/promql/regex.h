/*
 * regex.h: RE2's language for who is not a matcher: found anywhere in a text, dot without newline.
 *
 * Pure; a struct regex may be used from several threads at once. Matching has limits, and giving up
 * over one is an outcome of its own.
 */
#ifndef PGVIGIL_PROMQL_REGEX_H
#define PGVIGIL_PROMQL_REGEX_H

#include "pgvigil/base/buf.h"
#include "pgvigil/model/reader.h"

struct regex;

/* NULL with RE2's reason when the pattern is not one. */
struct regex *regex_create_search(const char *pattern, struct err *err) MUST_CHECK;
void regex_destroy(struct regex **regex);
enum regex_outcome regex_search(const struct regex *regex, const char *text, size_t n);
/* Appends text with each match replaced by the template ($1, ${name}, $$); never NO_MATCH. */
enum regex_outcome regex_replace_all(const struct regex *regex, const char *text, size_t n,
                                     const char *template, struct buf *out);

#endif
