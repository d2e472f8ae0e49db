/*
 * ring.c: two counters that only grow, one per side, and slots in between.
 *
 * Invariants: only the producer writes `put`, only the consumer writes `got`, and got <= put <=
 * got + capacity. A release store of one's own counter after the copy, and an acquire load of the
 * other's before it, are all the order that is needed. The counters are kept on cache lines of
 * their own, each beside its side's old view of the other, so that a side asks for the other's line
 * only when the ring looks full or empty.
 */
#include "pgvigil/base/ring.h"

#include <stdatomic.h>

#include "pgvigil/base/mem.h"

#define CACHE_LINE        64
#define RING_CAPACITY_MAX ((size_t)1 << 32)

/* Padding and not alignment: it holds whatever address the allocator gives. */
struct side {
    char before[CACHE_LINE];
    _Atomic size_t count;
    size_t seen; /* the other side's count when last asked */
    char after[CACHE_LINE];
};

struct ring {
    size_t mask, slot_bytes;
    struct side put, got;
    char *slots;
};

struct ring *ring_create(size_t capacity, size_t slot_bytes)
{
    struct ring *ring = mem_alloc(sizeof(*ring));
    size_t rounded = 1;

    while (rounded < capacity && rounded < RING_CAPACITY_MAX)
        rounded *= 2;
    ring->mask = rounded - 1;
    ring->slot_bytes = slot_bytes;
    ring->slots = mem_alloc_array(rounded, slot_bytes);
    return ring;
}

void ring_destroy(struct ring **ring)
{
    if (!*ring)
        return;
    mem_free((*ring)->slots);
    MEM_FREE_NULL(ring);
}

bool ring_put(struct ring *ring, const void *item)
{
    size_t put = atomic_load_explicit(&ring->put.count, memory_order_relaxed);

    if (put - ring->put.seen > ring->mask) {
        ring->put.seen = atomic_load_explicit(&ring->got.count, memory_order_acquire);
        if (put - ring->put.seen > ring->mask)
            return false;
    }
    memcpy(ring->slots + (put & ring->mask) * ring->slot_bytes, item, ring->slot_bytes);
    atomic_store_explicit(&ring->put.count, put + 1, memory_order_release);
    return true;
}

bool ring_get(struct ring *ring, void *item)
{
    size_t got = atomic_load_explicit(&ring->got.count, memory_order_relaxed);

    if (got == ring->got.seen) {
        ring->got.seen = atomic_load_explicit(&ring->put.count, memory_order_acquire);
        if (got == ring->got.seen)
            return false;
    }
    memcpy(item, ring->slots + (got & ring->mask) * ring->slot_bytes, ring->slot_bytes);
    atomic_store_explicit(&ring->got.count, got + 1, memory_order_release);
    return true;
}

size_t ring_depth(const struct ring *ring)
{
    /* In this order: the other one could show more taken than put. */
    size_t got = atomic_load_explicit(&ring->got.count, memory_order_acquire);
    size_t put = atomic_load_explicit(&ring->put.count, memory_order_acquire);

    return size_min(put - got, ring->mask + 1);
}
