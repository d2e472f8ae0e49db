/*
 * chan.c: a mutex, a condition and a circle of pointers.
 *
 * Senders and takers may wait for each other for the length of a few assignments, never longer:
 * nothing is allocated, called or released under the mutex but the circle's own growth. Invariant:
 * count <= max_items and bytes <= max_bytes, always. Waits use CLOCK_MONOTONIC, so that a step of
 * the wall clock cannot stretch them.
 */
#include "pgvigil/base/chan.h"

#include <errno.h>
#include <pthread.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"

#define CHAN_FIRST_ITEMS 16

struct chan_item {
    void *item;
    size_t bytes;
};

struct chan {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    size_t max_items, max_bytes;
    struct chan_item *items; /* circle of cap entries from first on */
    size_t cap, first, count, bytes;
    bool is_closed;
    void (*put_fn)(void *arg);
    void *put_arg;
};

struct chan *chan_create(size_t max_items, size_t max_bytes)
{
    struct chan *chan = mem_alloc(sizeof(*chan));
    pthread_condattr_t attr;

    chan->max_items = max_items;
    chan->max_bytes = max_bytes;
    pthread_mutex_init(&chan->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&chan->filled, &attr);
    pthread_condattr_destroy(&attr);
    return chan;
}

void chan_destroy(struct chan **chan, void (*release)(void *item))
{
    void *item;

    if (!*chan)
        return;
    while ((item = chan_take(*chan)))
        if (release)
            release(item);
    pthread_cond_destroy(&(*chan)->filled);
    pthread_mutex_destroy(&(*chan)->mutex);
    mem_free((*chan)->items);
    MEM_FREE_NULL(chan);
}

void chan_on_put(struct chan *chan, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&chan->mutex);
    chan->put_fn = fn;
    chan->put_arg = arg;
    pthread_mutex_unlock(&chan->mutex);
}

static void circle_grow(struct chan *chan)
{
    size_t cap = chan->cap > 0 ? chan->cap * 2 : CHAN_FIRST_ITEMS;
    struct chan_item *items = mem_alloc_array(cap, sizeof(*items));

    for (size_t i = 0; i < chan->count; i++)
        items[i] = chan->items[(chan->first + i) % chan->cap];
    mem_free(chan->items);
    chan->items = items;
    chan->cap = cap;
    chan->first = 0;
}

/* Under the mutex. */
static bool circle_put(struct chan *chan, void *item, size_t bytes)
{
    if (chan->is_closed || chan->count >= chan->max_items || bytes > chan->max_bytes - chan->bytes)
        return false;
    if (chan->count == chan->cap)
        circle_grow(chan);
    chan->items[(chan->first + chan->count) % chan->cap] =
        (struct chan_item){.item = item, .bytes = bytes};
    chan->count++;
    chan->bytes += bytes;
    return true;
}

/* Under the mutex. */
static void *circle_take(struct chan *chan)
{
    struct chan_item taken;

    if (chan->count == 0)
        return NULL;
    taken = chan->items[chan->first];
    chan->first = (chan->first + 1) % chan->cap;
    chan->count--;
    chan->bytes -= taken.bytes;
    return taken.item;
}

bool chan_put(struct chan *chan, void *item, size_t bytes)
{
    void (*fn)(void *arg);
    void *arg;
    bool is_put;

    pthread_mutex_lock(&chan->mutex);
    is_put = circle_put(chan, item, bytes);
    fn = chan->put_fn;
    arg = chan->put_arg;
    if (is_put)
        pthread_cond_signal(&chan->filled);
    pthread_mutex_unlock(&chan->mutex);
    if (is_put && fn)
        fn(arg);
    return is_put;
}

void *chan_take(struct chan *chan)
{
    void *item;

    pthread_mutex_lock(&chan->mutex);
    item = circle_take(chan);
    pthread_mutex_unlock(&chan->mutex);
    return item;
}

static struct timespec deadline_after(int64_t timeout_ms)
{
    uint64_t now_ns = clock_stage_ns();
    uint64_t ns = now_ns % 1000000000 + (uint64_t)(timeout_ms % 1000) * 1000000;

    return (struct timespec){
        .tv_sec =
            (time_t)(now_ns / 1000000000) + (time_t)(timeout_ms / 1000) + (time_t)(ns / 1000000000),
        .tv_nsec = (long)(ns % 1000000000),
    };
}

void *chan_wait(struct chan *chan, int64_t timeout_ms)
{
    struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    void *item;
    int rc = 0;

    pthread_mutex_lock(&chan->mutex);
    while (chan->count == 0 && !chan->is_closed && rc != ETIMEDOUT) {
        if (timeout_ms < 0)
            pthread_cond_wait(&chan->filled, &chan->mutex);
        else
            rc = pthread_cond_timedwait(&chan->filled, &chan->mutex, &deadline);
    }
    item = circle_take(chan);
    pthread_mutex_unlock(&chan->mutex);
    return item;
}

void chan_close(struct chan *chan)
{
    pthread_mutex_lock(&chan->mutex);
    chan->is_closed = true;
    pthread_cond_broadcast(&chan->filled);
    pthread_mutex_unlock(&chan->mutex);
}

size_t chan_count(struct chan *chan)
{
    size_t count;

    pthread_mutex_lock(&chan->mutex);
    count = chan->count;
    pthread_mutex_unlock(&chan->mutex);
    return count;
}

size_t chan_bytes(struct chan *chan)
{
    size_t bytes;

    pthread_mutex_lock(&chan->mutex);
    bytes = chan->bytes;
    pthread_mutex_unlock(&chan->mutex);
    return bytes;
}
