/*
 * loop_timer.c: timers of a loop, in a heap of our own over the monotonic clock.
 *
 * libuv's timers compare with a cached time of the loop and count CLOCK_MONOTONIC, which stands
 * still during suspend and knows nothing of the clock seam. Here every timer has a due time of
 * mono_ms and libuv only wakes the loop up for the earliest one: what is due is decided by the same
 * loop_now() that the callback will see, so a deadline test inside it can never disagree with the
 * timer, and with a fake clock hours of timers pass in milliseconds.
 * Invariant: a timer is in the heap exactly while it is active, and knows its position there.
 */
#include "loop_private.h"

#include "pgvigil/base/mem.h"

#define NOT_IN_HEAP SIZE_MAX

struct loop_timer {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    mono_ms due;
    uint64_t seq;
    size_t pos;
    int64_t period_ms; /* 0 = one-shot */
    uint64_t *skipped;
};

static bool runs_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due.ms != b->due.ms ? a->due.ms < b->due.ms : a->seq < b->seq;
}

static void place(struct timer_heap *heap, size_t pos, struct loop_timer *timer)
{
    heap->items[pos] = timer;
    timer->pos = pos;
}

static void sift_up(struct timer_heap *heap, size_t pos, struct loop_timer *timer)
{
    while (pos > 0 && runs_before(timer, heap->items[(pos - 1) / 2])) {
        place(heap, pos, heap->items[(pos - 1) / 2]);
        pos = (pos - 1) / 2;
    }
    place(heap, pos, timer);
}

static void sift_down(struct timer_heap *heap, size_t pos, struct loop_timer *timer)
{
    for (;;) {
        size_t child = 2 * pos + 1;
        if (child + 1 < heap->count && runs_before(heap->items[child + 1], heap->items[child]))
            child++;
        if (child >= heap->count || !runs_before(heap->items[child], timer))
            break;
        place(heap, pos, heap->items[child]);
        pos = child;
    }
    place(heap, pos, timer);
}

static void heap_insert(struct timer_heap *heap, struct loop_timer *timer)
{
    if (heap->count == heap->cap) {
        heap->cap = heap->cap ? heap->cap * 2 : 16;
        heap->items = mem_realloc_array(heap->items, heap->cap, sizeof(*heap->items));
    }
    timer->seq = ++heap->seq;
    sift_up(heap, heap->count++, timer);
}

static void heap_remove(struct timer_heap *heap, struct loop_timer *timer)
{
    size_t pos = timer->pos;
    struct loop_timer *last = heap->items[--heap->count];
    timer->pos = NOT_IN_HEAP;
    if (last == timer)
        return;
    if (pos > 0 && runs_before(last, heap->items[(pos - 1) / 2]))
        sift_up(heap, pos, last);
    else
        sift_down(heap, pos, last);
}

static void timer_arm(struct loop_timer *timer, mono_ms due)
{
    struct timer_heap *heap = loop_timers(timer->loop);
    if (timer->pos != NOT_IN_HEAP)
        heap_remove(heap, timer);
    timer->due = due;
    heap_insert(heap, timer);
}

/* The next point of the grid after now; what was missed is counted, never caught up. */
static void timer_rearm(struct loop_timer *timer, int64_t late_ms)
{
    int64_t missed = late_ms / timer->period_ms;
    if (timer->skipped)
        *timer->skipped += (uint64_t)missed;
    timer_arm(timer, mono_add(timer->due, (missed + 1) * timer->period_ms));
}

void loop_timers_run(struct loop *loop, struct hist *lateness)
{
    struct timer_heap *heap = loop_timers(loop);
    uint64_t last_seq = heap->seq;
    while (heap->count > 0) {
        struct loop_timer *timer = heap->items[0];
        if (timer->due.ms > loop_now(loop).mono.ms || timer->seq > last_seq)
            break;
        /* Read again, not loop_now(): the callbacks before this one are part of the lateness. */
        int64_t late_ms = i64_max(0, mono_diff(clock_read().mono, timer->due));
        hist_observe_ns(lateness, (uint64_t)late_ms * 1000000);
        if (timer->period_ms > 0)
            timer_rearm(timer, late_ms);
        else
            heap_remove(heap, timer);
        timer->fn(timer->arg); /* may have destroyed the timer */
    }
}

mono_ms loop_timers_next(const struct timer_heap *heap)
{
    return heap->count ? heap->items[0]->due : MONO_NEVER;
}

void loop_timers_deinit(struct timer_heap *heap)
{
    mem_free(heap->items);
    *heap = (struct timer_heap){0};
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    timer->pos = NOT_IN_HEAP;
    return timer;
}

void loop_timer_destroy(struct loop_timer **timer)
{
    if (!*timer)
        return;
    loop_timer_stop(*timer);
    MEM_FREE_NULL(timer);
}

/* Delays count from the real time, not from the turn's: a long turn must not shorten them. */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
    timer->period_ms = 0;
    timer->skipped = NULL;
    timer_arm(timer, mono_add(clock_read().mono, i64_max(0, delay_ms)));
}

void loop_timer_start_period(struct loop_timer *timer, int64_t delay_ms, int64_t period_ms,
                             uint64_t *skipped)
{
    timer->period_ms = i64_max(1, period_ms);
    timer->skipped = skipped;
    timer_arm(timer, mono_add(clock_read().mono, i64_max(0, delay_ms)));
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->pos != NOT_IN_HEAP)
        heap_remove(loop_timers(timer->loop), timer);
}

bool loop_timer_active(const struct loop_timer *timer)
{
    return timer->pos != NOT_IN_HEAP;
}
