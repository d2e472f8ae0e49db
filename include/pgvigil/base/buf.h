/*
 * buf.h: a growing byte buffer that is born with a maximum.
 *
 * Appending past the maximum sets `overflow`, keeps what fits nothing of the failed append, and
 * every later append is ignored: build the whole text, then check once with buf_ok().
 * The content is always NUL-terminated. One thread at a time.
 */
#ifndef PGVIGIL_BASE_BUF_H
#define PGVIGIL_BASE_BUF_H

#include "pgvigil/base/base.h"

struct buf {
    char *data; /* NUL-terminated; never NULL after init */
    size_t len;
    size_t cap;
    size_t max; /* content never gets longer than this */
    bool overflow;
};

void buf_init(struct buf *b, size_t max);
void buf_deinit(struct buf *b);
/* Empties it and keeps the memory; clears overflow. */
void buf_clear(struct buf *b);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends s as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void buf_add_json(struct buf *b, const char *s);
/* Appends s escaped for HTML text and double-quoted attributes; invalid UTF-8 becomes U+FFFD. */
void buf_add_html(struct buf *b, const char *s);
/*
 * Appends a float as Prometheus prints it: shortest text that reads back to the same double,
 * `NaN`, `+Inf`, `-Inf`, exponent form below 1e-6 or from 1e21.
 */
void buf_add_double(struct buf *b, double v);
static inline bool buf_ok(const struct buf *b)
{
    return !b->overflow;
}
/* Hands the memory over to the caller (mem_free) and leaves an empty buffer that owns nothing. */
char *buf_take(struct buf *b, size_t *len);

#endif
