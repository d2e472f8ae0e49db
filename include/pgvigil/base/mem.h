/*
 * mem.h: allocation that cannot fail.
 *
 * Out of memory aborts (the service manager restarts us), so no caller tests for NULL. In return
 * every size that comes from outside has a named limit before it reaches these functions.
 * Any thread may call. Everything is released with mem_free (free() is the same).
 */
#ifndef PGVIGIL_BASE_MEM_H
#define PGVIGIL_BASE_MEM_H

#include "pgvigil/base/base.h"

/* n bytes of zeros; n may be 0 (a unique pointer is returned all the same). */
void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
/* count x size zeroed bytes; aborts if the product overflows. */
void *mem_alloc_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows or shrinks to count x size; new bytes are NOT zeroed. p may be NULL. */
void *mem_realloc_array(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Copies at most n bytes of s and ends them with NUL. */
char *mem_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
void mem_free(void *p);

/* Frees *pp and nulls it: the body of most destroyers. */
#define MEM_FREE_NULL(pp) \
    do {                  \
        mem_free(*(pp));  \
        *(pp) = NULL;     \
    } while (0)

#endif
