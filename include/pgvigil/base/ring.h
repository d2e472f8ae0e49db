/*
 * ring.h: single-producer single-consumer ring of fixed-size slots, without lock or allocation.
 *
 * This is how the gate's thread hands its reports to the engine: plain data is copied into a slot,
 * so nothing the gate allocated is ever freed by another thread and a stopped consumer can only
 * fill the ring. When it is full the put is refused and counted by the producer.
 */
#ifndef PGVIGIL_BASE_RING_H
#define PGVIGIL_BASE_RING_H

#include "pgvigil/base/base.h"

struct ring;

/* capacity is rounded up to a power of two. */
struct ring *ring_create(size_t capacity, size_t slot_bytes);
void ring_destroy(struct ring **ring);
/* Producer only. Copies slot_bytes from item; false when full. */
bool ring_put(struct ring *ring, const void *item) MUST_CHECK;
/* Consumer only. Copies out the oldest; false when empty. */
bool ring_get(struct ring *ring, void *item) MUST_CHECK;
/* Any thread: how many wait now (a moment old). */
size_t ring_depth(const struct ring *ring);

#endif
