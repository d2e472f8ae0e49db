/*
 * base.h: attributes, small helpers and the ban list that every file sees.
 *
 * Include it first in every header of ours. It holds no types of the domain.
 */
#ifndef PGVIGIL_BASE_BASE_H
#define PGVIGIL_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* Before the ban list below: these declare what it poisons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN               __attribute__((noreturn))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline int64_t i64_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t i64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * Banned: no bound, hidden state, or silent failure. Use buf_*, snprintf, str_parse_* and
 * clock_format_* instead. The headers that declare them are
 * included above. alloca is refused by -Walloca.
 * clang's fortified headers make macros of two of them, which cannot be poisoned.
 */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gmtime localtime ctime asctime atoi atol \
    atof gets

#endif
