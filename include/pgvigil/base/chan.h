/*
 * chan.h: bounded queue of pointers between threads that may wait (never the gate's).
 *
 * A short mutex guards it. The bound is in items and in bytes; who sends says how big the item is.
 */
#ifndef PGVIGIL_BASE_CHAN_H
#define PGVIGIL_BASE_CHAN_H

#include "pgvigil/base/base.h"

struct chan;

struct chan *chan_create(size_t max_items, size_t max_bytes);
/* Calls release for each item that is still inside (may be NULL). */
void chan_destroy(struct chan **chan, void (*release)(void *item));
/* Called after each put, under no lock, from the putting thread (loop_wake_send); may be NULL. */
void chan_on_put(struct chan *chan, void (*fn)(void *arg), void *arg);
/* false when a bound would be passed or the channel is closed: the caller keeps the item. */
bool chan_put(struct chan *chan, void *item, size_t bytes) MUST_CHECK;
/* Without waiting; NULL when empty. */
void *chan_take(struct chan *chan);
/* Waits up to timeout_ms (-1 = for ever) for an item; NULL on timeout or when closed and empty. */
void *chan_wait(struct chan *chan, int64_t timeout_ms);
/* No more puts; waiters get what is left, then NULL. */
void chan_close(struct chan *chan);
size_t chan_count(struct chan *chan);
size_t chan_bytes(struct chan *chan);

#endif
