/*
 * err.c: fixed text inside the caller's struct, so that reporting an error cannot fail itself.
 *
 * Invariant: text is formatted aside and copied in one piece, because callers rightly pass the old
 * text as an argument of the new one.
 */
#include "pgvigil/base/err.h"

#include <stdarg.h>

#include "pgvigil/base/str.h"

bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    if (!e)
        return false;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    e->kind = kind;
    memcpy(e->text, text, strlen(text) + 1);
    return false;
}

bool err_wrap(struct err *e, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    size_t len;
    va_list ap;

    if (!e)
        return false;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    len = strlen(text);
    str_copy(text + len, sizeof(text) - len, ": ");
    len = strlen(text);
    str_copy(text + len, sizeof(text) - len, e->text);
    memcpy(e->text, text, strlen(text) + 1);
    return false;
}

const char *err_kind_name(enum err_kind kind)
{
    switch (kind) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_LIMIT:
        return "limit";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_IO:
        return "io";
    case ERR_NET:
        return "net";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_AUTH:
        return "auth";
    case ERR_PERMISSION:
        return "permission";
    case ERR_DATABASE:
        return "database";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_NEWER:
        return "newer";
    case ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
