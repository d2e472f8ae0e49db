/*
 * err.h: how fallible functions tell what went wrong.
 *
 * A fallible function returns bool (MUST_CHECK) and fills the struct err that the caller gave as
 * the last argument; on success it is left alone. Texts: lower case, subject in quotes, no full
 * stop, cause last. Who decides, logs; who passes on, adds context with err_wrap and stays silent.
 */
#ifndef PGVIGIL_BASE_ERR_H
#define PGVIGIL_BASE_ERR_H

#include "pgvigil/base/base.h"

enum err_kind {
    ERR_NONE = 0,
    ERR_INVALID, /* input is wrong: configuration, rule, query, request */
    ERR_LIMIT,   /* a named limit would be passed */
    ERR_NOT_FOUND,
    ERR_IO,  /* file, disk */
    ERR_NET, /* connect, resolve, read, write */
    ERR_TIMEOUT,
    ERR_AUTH,       /* refused login */
    ERR_PERMISSION, /* missing grant, file mode */
    ERR_DATABASE,   /* the database answered with an error */
    ERR_CORRUPT,    /* stored data is damaged */
    ERR_NEWER,      /* store written by a newer version */
    ERR_INTERNAL
};

#define ERR_TEXT_MAX 512

struct err {
    enum err_kind kind;
    char text[ERR_TEXT_MAX];
};

/* Sets kind and text and returns false, so that `return err_set(...)` reads well. */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "prefix: " before the text that is there and returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *err_kind_name(enum err_kind kind);

#endif
