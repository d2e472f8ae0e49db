/*
 * loop.c: the event loop over libuv.
 *
 * A turn is what happens between two sleeps: descriptor and wake callbacks, then the timers that
 * are due, then deferred work, in that order; end_turn() runs the last two from the prepare handle,
 * which libuv calls right before each poll. So the clocks need one lazy read per turn, and turn
 * time is measured from the first callback after the sleep to the end of end_turn().
 * Handles are on the heap and released in libuv's close callback, because libuv keeps using them
 * until then.
 * Invariant: `now_is_fresh` is false while the loop sleeps.
 */
#include "loop_private.h"

#include <uv.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define LOOP_NAME_MAX     32
#define SLOW_LOG_EVERY_MS 60000
/* Deferred work that defers again for ever must not keep a destroyed loop alive. */
#define DESTROY_ROUNDS_MAX 1000

struct deferred {
    void (*fn)(void *arg);
    void *arg;
};

struct deferred_list {
    struct deferred *items;
    size_t count, cap;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while deferred work waits for the next turn: no sleep then */
    uv_timer_t alarm;
    uv_async_t stop;
    char name[LOOP_NAME_MAX];
    struct now now;
    bool now_is_fresh;
    bool is_stepping; /* in loop_run_once: the turn ends after the poll, not before it */
    struct timer_heap timers;
    struct deferred_list deferred, running; /* swapped each turn */
    uint64_t turn_start_ns;                 /* 0 = asleep */
    _Atomic uint64_t turns;
    struct hist lateness, turn_time;
    uint64_t slow_turns, slow_longest_ns; /* since slow_logged */
    mono_ms slow_logged;
};

struct loop_poll {
    uv_poll_t uv;
    struct loop *loop;
    void (*fn)(int events, void *arg);
    void *arg;
    int events; /* watched now */
};

struct loop_wake {
    uv_async_t uv;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

static void turn_begin(struct loop *loop)
{
    if (!loop->turn_start_ns)
        loop->turn_start_ns = clock_stage_ns();
}

/* One line a minute at most: a loop that is slow all the time must not flood the log too. */
static void note_slow_turn(struct loop *loop, uint64_t ns)
{
    mono_ms now = clock_read().mono;
    loop->slow_turns++;
    if (ns > loop->slow_longest_ns)
        loop->slow_longest_ns = ns;
    if (mono_is_set(loop->slow_logged) && mono_diff(now, loop->slow_logged) < SLOW_LOG_EVERY_MS)
        return;
    log_warn("slow turn of the loop loop=%s turns=%llu longest_ms=%llu", loop->name,
             (unsigned long long)loop->slow_turns,
             (unsigned long long)(loop->slow_longest_ns / 1000000));
    loop->slow_logged = now;
    loop->slow_turns = 0;
    loop->slow_longest_ns = 0;
}

static void turn_finish(struct loop *loop)
{
    if (loop->turn_start_ns) {
        uint64_t ns = clock_stage_ns() - loop->turn_start_ns;
        hist_observe_ns(&loop->turn_time, ns);
        if (ns > (uint64_t)LOOP_TURN_WARN_MS * 1000000)
            note_slow_turn(loop, ns);
    }
    loop->turn_start_ns = 0;
    atomic_fetch_add_explicit(&loop->turns, 1, memory_order_relaxed);
}

static void on_alarm(uv_timer_t *alarm)
{
    turn_begin(alarm->data);
}

static void on_idle(uv_idle_t *idle)
{
    turn_begin(idle->data);
}

/*
 * Set before each sleep, because a suspend or a fake clock may have moved the due times nearer.
 * uv_update_time: libuv counts from its cached time, which is as old as the turn is long.
 */
static void set_alarm(struct loop *loop)
{
    mono_ms next = loop_timers_next(&loop->timers);
    if (next.ms == MONO_NEVER.ms) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    uv_update_time(&loop->uv);
    int64_t delay_ms = i64_max(0, mono_diff(next, clock_read().mono));
    uv_timer_start(&loop->alarm, on_alarm, (uint64_t)delay_ms, 0);
}

static void run_deferred(struct loop *loop)
{
    struct deferred_list list = loop->deferred;
    loop->deferred = loop->running;
    loop->deferred.count = 0;
    loop->running = list;
    for (size_t i = 0; i < list.count; i++)
        list.items[i].fn(list.items[i].arg);
    loop->running.count = 0;
}

static void before_sleep(struct loop *loop)
{
    loop->now_is_fresh = false;
    if (loop->deferred.count > 0)
        uv_idle_start(&loop->idle, on_idle);
    else
        uv_idle_stop(&loop->idle);
    set_alarm(loop);
}

static void end_turn(struct loop *loop)
{
    if (loop_timers_next(&loop->timers).ms <= loop_now(loop).mono.ms || loop->deferred.count > 0)
        turn_begin(loop);
    loop_timers_run(loop, &loop->lateness);
    run_deferred(loop);
    turn_finish(loop);
    before_sleep(loop);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    if (loop->is_stepping)
        before_sleep(loop);
    else
        end_turn(loop);
}

/* Covers users of loop_uv(), whose callbacks do not pass through here. */
static void on_check(uv_check_t *check)
{
    turn_begin(check->data);
}

static void on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void init_handles(struct loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->idle.data = loop;
    loop->alarm.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
}

struct loop *loop_create(const char *name, struct err *err)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    str_copy(loop->name, sizeof(loop->name), name);
    loop->slow_logged = MONO_UNSET;
    int rc = uv_loop_init(&loop->uv);
    if (rc) {
        err_set(err, ERR_IO, "event loop '%s' cannot be created: %s", name, uv_strerror(rc));
        mem_free(loop);
        return NULL;
    }
    init_handles(loop);
    rc = uv_async_init(&loop->uv, &loop->stop, on_stop);
    if (rc) {
        err_set(err, ERR_IO, "event loop '%s' cannot be woken up: %s", name, uv_strerror(rc));
        loop_destroy(&loop);
    }
    return loop;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_destroy(struct loop **loop)
{
    struct loop *l = *loop;
    if (!l)
        return;
    for (int i = 0; l->deferred.count > 0 && i < DESTROY_ROUNDS_MAX; i++)
        run_deferred(l);
    uv_walk(&l->uv, close_handle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    loop_timers_deinit(&l->timers);
    mem_free(l->deferred.items);
    mem_free(l->running.items);
    MEM_FREE_NULL(loop);
}

void loop_run(struct loop *loop)
{
    loop->now_is_fresh = false;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    end_turn(loop);
}

void loop_run_once(struct loop *loop, bool block)
{
    loop->is_stepping = true;
    uv_run(&loop->uv, block ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    loop->is_stepping = false;
    end_turn(loop);
}

void loop_stop(struct loop *loop)
{
    uv_async_send(&loop->stop);
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

struct now loop_now(struct loop *loop)
{
    if (!loop->now_is_fresh) {
        loop->now = clock_read();
        loop->now_is_fresh = true;
    }
    return loop->now;
}

void *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

struct timer_heap *loop_timers(struct loop *loop)
{
    return &loop->timers;
}

void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct deferred_list *list = &loop->deferred;
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 8;
        list->items = mem_realloc_array(list->items, list->cap, sizeof(*list->items));
    }
    list->items[list->count++] = (struct deferred){fn, arg};
}

const struct hist *loop_lateness(const struct loop *loop)
{
    return &loop->lateness;
}

const struct hist *loop_turn_time(const struct loop *loop)
{
    return &loop->turn_time;
}

uint64_t loop_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turns, memory_order_relaxed);
}

/* ---- descriptors ---- */

/* libuv stops the handle by itself on an error; remembering that lets the owner set it again. */
static void on_poll(uv_poll_t *uv, int status, int uv_events)
{
    struct loop_poll *poll = uv->data;
    int events = 0;
    turn_begin(poll->loop);
    if (status < 0) {
        poll->events = 0;
        events = LOOP_READ | LOOP_WRITE;
    }
    if (uv_events & UV_READABLE)
        events |= LOOP_READ;
    if (uv_events & UV_WRITABLE)
        events |= LOOP_WRITE;
    poll->fn(events, poll->arg);
}

static void free_handle(uv_handle_t *handle)
{
    mem_free(handle->data);
}

struct loop_poll *loop_poll_create(struct loop *loop, int fd, void (*fn)(int events, void *arg),
                                   void *arg, struct err *err)
{
    struct loop_poll *poll = mem_alloc(sizeof(*poll));
    poll->loop = loop;
    poll->fn = fn;
    poll->arg = arg;
    poll->uv.data = poll;
    int rc = uv_poll_init(&loop->uv, &poll->uv, fd);
    if (rc) {
        err_set(err, ERR_IO, "descriptor %d cannot be watched: %s", fd, uv_strerror(rc));
        MEM_FREE_NULL(&poll);
    }
    return poll;
}

void loop_poll_destroy(struct loop_poll **poll)
{
    if (!*poll)
        return;
    uv_close((uv_handle_t *)&(*poll)->uv, free_handle);
    *poll = NULL;
}

void loop_poll_set(struct loop_poll *poll, int events)
{
    int uv_events = 0;
    if (poll->events == events)
        return;
    poll->events = events;
    if (events & LOOP_READ)
        uv_events |= UV_READABLE;
    if (events & LOOP_WRITE)
        uv_events |= UV_WRITABLE;
    if (uv_events)
        uv_poll_start(&poll->uv, uv_events, on_poll);
    else
        uv_poll_stop(&poll->uv);
}

/* ---- wakes ---- */

static void on_wake(uv_async_t *uv)
{
    struct loop_wake *wake = uv->data;
    turn_begin(wake->loop);
    wake->fn(wake->arg);
}

/* The loop's descriptor for wakes exists since loop_create, so this has nothing left to fail on. */
struct loop_wake *loop_wake_create(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct loop_wake *wake = mem_alloc(sizeof(*wake));
    wake->loop = loop;
    wake->fn = fn;
    wake->arg = arg;
    wake->uv.data = wake;
    if (uv_async_init(&loop->uv, &wake->uv, on_wake))
        abort();
    return wake;
}

void loop_wake_destroy(struct loop_wake **wake)
{
    if (!*wake)
        return;
    uv_close((uv_handle_t *)&(*wake)->uv, free_handle);
    *wake = NULL;
}

void loop_wake_send(struct loop_wake *wake)
{
    uv_async_send(&wake->uv);
}
