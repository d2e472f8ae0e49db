/*
 * arena.h: memory for things that die together (a batch, a rule evaluation, an HTTP reply).
 *
 * Reset, not freed piecewise. An arena belongs to one thread at a time. Blocks are kept over a
 * reset up to the keep size, so that a steady job allocates nothing. With a limit set, an
 * allocation that would pass it sets `exceeded` and still succeeds, so that no caller tests for
 * NULL; work loops must check arena_exceeded() and give up with an error.
 */
#ifndef PGVIGIL_BASE_ARENA_H
#define PGVIGIL_BASE_ARENA_H

#include "pgvigil/base/base.h"

struct arena;

#define ARENA_NO_LIMIT SIZE_MAX

/* keep_bytes: how much is kept over a reset. limit_bytes: budget, or ARENA_NO_LIMIT. */
struct arena *arena_create(size_t keep_bytes, size_t limit_bytes);
/* Takes a pointer to the pointer and nulls it; NULL is fine. */
void arena_destroy(struct arena **arena);
void arena_reset(struct arena *arena);

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t n) __attribute__((malloc, returns_nonnull));
void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
    __attribute__((malloc, returns_nonnull));
/* Grows an array that was allocated from this arena: copies, unless it is the last allocation. */
void *arena_grow_array(struct arena *arena, void *old, size_t old_count, size_t new_count,
                       size_t size) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *arena, const char *s) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *arena, const char *s, size_t n) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3)
    __attribute__((returns_nonnull));

/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *arena);
/* True once an allocation since the last reset would have passed the limit. */
bool arena_exceeded(const struct arena *arena);

#endif
