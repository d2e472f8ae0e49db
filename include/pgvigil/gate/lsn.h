/*
 * lsn.h: log sequence numbers: reading, printing, normalising. Pure.
 */
#ifndef PGVIGIL_GATE_LSN_H
#define PGVIGIL_GATE_LSN_H

#include "pgvigil/base/base.h"
#include "pgvigil/model/verdict.h"

#define LSN_TEXT_MAX 20

/* "0/5A3C2D8"; false for anything else (0/0 is read as 0 = unknown). */
bool lsn_parse(const char *text, lsn_t *out) MUST_CHECK;
const char *lsn_format(lsn_t lsn, char out[LSN_TEXT_MAX]);
/*
 * An insert LSN at the start of a page or segment reads 24 or 40 bytes high (the page header is
 * counted before anything is written there): brought down to the page's start, so that it compares
 * with replay positions. Measured: 0/6000028 against 0/6000000.
 */
lsn_t lsn_normalise_insert(lsn_t lsn);

#endif
