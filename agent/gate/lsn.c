/*
 * lsn.c: log sequence numbers as text and as numbers.
 *
 * PostgreSQL prints both halves in hexadecimal ("%X/%X", since 19 "%X/%08X"); both forms are read,
 * the short one is written, as every supported server before 19 shows it. Invariant: what lsn_parse
 * accepts, lsn_format prints back to an equal number.
 */
#include "pgvigil/gate/lsn.h"

#include <ctype.h>

#define HALF_DIGITS 8
/* WAL page, its short header, and the long one of the first page of a segment. */
#define PAGE_BYTES         UINT64_C(8192)
#define SHORT_HEADER_BYTES UINT64_C(24)
#define LONG_HEADER_BYTES  UINT64_C(40)
/*
 * initdb's default. With other segment sizes a segment start may be left 40 bytes high, which only
 * makes the snapshot rule wait for the next record.
 */
#define SEGMENT_BYTES (UINT64_C(16) << 20)

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)(tolower((unsigned char)c) - 'a') + 10;
}

/* Reads 1 to 8 hexadecimal digits; returns what follows, or NULL. */
static const char *parse_half(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    int digits = 0;
    for (; isxdigit((unsigned char)*s); s++) {
        if (++digits > HALF_DIGITS)
            return NULL;
        v = v << 4 | hex_value(*s);
    }
    *out = v;
    return digits > 0 ? s : NULL;
}

bool lsn_parse(const char *text, lsn_t *out)
{
    uint64_t high = 0, low = 0;
    if (text == NULL)
        return false;
    const char *rest = parse_half(text, &high);
    if (rest == NULL || *rest != '/')
        return false;
    rest = parse_half(rest + 1, &low);
    if (rest == NULL || *rest != '\0')
        return false;
    *out = high << 32 | low;
    return true;
}

const char *lsn_format(lsn_t lsn, char out[LSN_TEXT_MAX])
{
    (void)snprintf(out, LSN_TEXT_MAX, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
    return out;
}

lsn_t lsn_normalise_insert(lsn_t lsn)
{
    if (lsn % SEGMENT_BYTES == LONG_HEADER_BYTES)
        return lsn - LONG_HEADER_BYTES;
    if (lsn % PAGE_BYTES == SHORT_HEADER_BYTES)
        return lsn - SHORT_HEADER_BYTES;
    return lsn;
}
