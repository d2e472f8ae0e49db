/*
 * diag.h: a list of findings with a place, so that all errors of a file are told at once.
 *
 * Printed as `file:line:col: message`. One owner, one thread. At most DIAG_MAX are kept; what is
 * over that is counted.
 */
#ifndef PGVIGIL_BASE_DIAG_H
#define PGVIGIL_BASE_DIAG_H

#include "pgvigil/base/buf.h"

#define DIAG_MAX 200

struct diag_entry {
    char *file;
    int line, col; /* from 1; 0 = unknown */
    char *text;
};

struct diag {
    struct diag_entry *entries;
    size_t count;
    size_t dropped;
};

void diag_init(struct diag *d);
void diag_deinit(struct diag *d);
void diag_add(struct diag *d, const char *file, int line, int col, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* One line per finding, in the order of file, line, column. */
void diag_print(const struct diag *d, struct buf *out);

#endif
