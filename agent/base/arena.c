/*
 * arena.c: a chain of blocks with a cursor, because the things of one round die together.
 *
 * After a reset the same sequence of requests walks the same blocks in the same order, so a steady
 * job asks the C library for nothing. Invariants: blocks before `current` are in use, blocks after
 * it are empty; what is handed out is zeroed at that moment, not at reset (a reset is cheap).
 */
#include "pgvigil/base/arena.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"

#define BLOCK_FIRST_BYTES ((size_t)4096)
#define BLOCK_MAX_BYTES   ((size_t)256 * 1024)
#define ALIGN             _Alignof(max_align_t)

struct block {
    struct block *next;
    size_t cap, used;
    _Alignas(max_align_t) char data[];
};

struct arena {
    struct block *first, *current;
    size_t keep_bytes, limit_bytes;
    size_t used;
    size_t next_block_bytes;
    bool exceeded;
    void *last; /* the newest allocation, the only one that can grow in place */
};

struct arena *arena_create(size_t keep_bytes, size_t limit_bytes)
{
    struct arena *arena = mem_alloc(sizeof(*arena));

    arena->keep_bytes = keep_bytes;
    arena->limit_bytes = limit_bytes;
    arena->next_block_bytes = BLOCK_FIRST_BYTES;
    return arena;
}

static void blocks_free(struct block *block)
{
    while (block) {
        struct block *next = block->next;

        mem_free(block);
        block = next;
    }
}

void arena_destroy(struct arena **arena)
{
    if (!*arena)
        return;
    blocks_free((*arena)->first);
    MEM_FREE_NULL(arena);
}

void arena_reset(struct arena *arena)
{
    struct block **link = &arena->first;
    size_t kept = 0;

    while (*link) {
        struct block *block = *link;

        block->used = 0;
        if (block->cap <= arena->keep_bytes - kept) {
            kept += block->cap;
            link = &block->next;
        } else {
            *link = block->next;
            mem_free(block);
        }
    }
    arena->current = arena->first;
    arena->used = 0;
    arena->exceeded = false;
    arena->last = NULL;
    if (!arena->first)
        arena->next_block_bytes = BLOCK_FIRST_BYTES;
}

/*
 * Whoever needs blocks of this size fills them: all pages at once cost half of what faults one by
 * one do, which is a tenth of the time of a query over a day. Kernels before 5.14 refuse, which is
 * no loss.
 */
static void populate(struct block *block)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)block;
    uintptr_t end = (from + sizeof(*block) + block->cap) & ~(page - 1);

    from = (from + page - 1) & ~(page - 1);
    if (block->cap >= BLOCK_MAX_BYTES)
        (void)madvise((void *)from, end - from, MADV_POPULATE_WRITE);
#else
    (void)block;
#endif
}

/* A block behind the current one that holds n bytes: the next in the chain, or a new one. */
static struct block *block_advance(struct arena *arena, size_t n)
{
    struct block *next = arena->current ? arena->current->next : arena->first;
    struct block *fresh;
    size_t cap;

    if (next && n <= next->cap)
        return arena->current = next;
    cap = n > arena->next_block_bytes ? n : arena->next_block_bytes;
    if (arena->next_block_bytes < BLOCK_MAX_BYTES)
        arena->next_block_bytes *= 2;
    fresh = mem_realloc_array(NULL, sizeof(*fresh) + cap, 1);
    *fresh = (struct block){.next = next, .cap = cap};
    populate(fresh);
    if (arena->current)
        arena->current->next = fresh;
    else
        arena->first = fresh;
    return arena->current = fresh;
}

/* Sizes this large are bugs: no limit of ours comes near them, and below it sums cannot wrap. */
static size_t size_round(size_t n)
{
    if (n > SIZE_MAX / 4)
        abort();
    return n > 0 ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
}

static void arena_count(struct arena *arena, size_t n)
{
    if (arena->used > arena->limit_bytes || n > arena->limit_bytes - arena->used)
        arena->exceeded = true;
    arena->used += n;
}

void *arena_alloc(struct arena *arena, size_t n)
{
    size_t rounded = size_round(n);
    struct block *block = arena->current;
    void *p;

    if (!block || rounded > block->cap - block->used)
        block = block_advance(arena, rounded);
    p = block->data + block->used;
    block->used += rounded;
    arena_count(arena, rounded);
    arena->last = p;
    memset(p, 0, rounded);
    return p;
}

static size_t size_product(size_t count, size_t size)
{
    size_t n;

    if (__builtin_mul_overflow(count, size, &n))
        abort();
    return n;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t size)
{
    return arena_alloc(arena, size_product(count, size));
}

void *arena_grow_array(struct arena *arena, void *old, size_t old_count, size_t new_count,
                       size_t size)
{
    size_t old_bytes = size_product(old_count, size), new_bytes = size_product(new_count, size);
    size_t more;
    void *p;

    if (old && new_count <= old_count)
        return old;
    if (old && old == arena->last) {
        struct block *block = arena->current;

        more = size_round(new_bytes) - size_round(old_bytes);
        if (more <= block->cap - block->used) {
            memset((char *)old + old_bytes, 0, new_bytes - old_bytes);
            block->used += more;
            arena_count(arena, more);
            return old;
        }
    }
    p = arena_alloc(arena, new_bytes);
    if (old)
        memcpy(p, old, old_bytes);
    return p;
}

char *arena_strdup(struct arena *arena, const char *s)
{
    return arena_strndup(arena, s, strlen(s));
}

char *arena_strndup(struct arena *arena, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = arena_alloc(arena, len + 1);

    memcpy(copy, s, len);
    return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    char *text;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    text = arena_alloc(arena, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

bool arena_exceeded(const struct arena *arena)
{
    return arena->exceeded;
}
