/*
 * loop.h: one event loop (libuv) with its clocks, timers, descriptors, wakes and deferred work.
 *
 * A loop belongs to the thread that runs it; only loop_wake_send and loop_stop may be called from
 * elsewhere (both lock-free for the caller: an eventfd write). Both clocks are read once a turn:
 * loop_now() reads them at its first call after the loop woke up and returns the same pair until
 * the loop sleeps again. A callback translates the event, calls a named function and returns;
 * nothing blocks for more than LOOP_TURN_WARN_MS, and a turn that does is counted and logged once
 * a minute. Handles may be destroyed inside their own callback (the memory is released after it).
 */
#ifndef PGVIGIL_BASE_LOOP_H
#define PGVIGIL_BASE_LOOP_H

#include "pgvigil/base/clock.h"
#include "pgvigil/base/err.h"
#include "pgvigil/base/hist.h"

#define LOOP_TURN_WARN_MS 50

struct loop;
struct loop_timer;
struct loop_poll;
struct loop_wake;

struct loop *loop_create(const char *name, struct err *err) MUST_CHECK;
/* Closes what is still open (handles that were not destroyed are a leak of their owner). */
void loop_destroy(struct loop **loop);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* Tests: one pass, blocking at most until the next event if block. */
void loop_run_once(struct loop *loop, bool block);
void loop_stop(struct loop *loop);
const char *loop_name(const struct loop *loop);
struct now loop_now(struct loop *loop);
/* The uv_loop_t, for libraries that want it (http_client only). */
void *loop_uv(struct loop *loop);
/* Runs fn(arg) at the end of this turn, in order. */
void loop_defer(struct loop *loop, void (*fn)(void *arg), void *arg);

/* Time from due to run of timers, and length of turns; readable from any thread. */
const struct hist *loop_lateness(const struct loop *loop);
const struct hist *loop_turn_time(const struct loop *loop);
/* Turns so far: progress for a watchdog. Any thread. */
uint64_t loop_turns(const struct loop *loop);

/*
 * ---- timers: one-shot unless started with a period; lateness is measured for both ----
 * They are due by clock_read(): with a fake clock they run when it has been moved on and the loop
 * is given a turn. Delays count from the real time of the call, not from loop_now().
 */
struct loop_timer *loop_timer_create(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_timer_destroy(struct loop_timer **timer);
/* After delay_ms (>= 0); replaces what was set. */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
/*
 * First after delay_ms, then every period_ms on the same grid of the monotonic clock; a run that
 * is late by more than a period skips the missed ones and adds them to *skipped (may be NULL).
 */
void loop_timer_start_period(struct loop_timer *timer, int64_t delay_ms, int64_t period_ms,
                             uint64_t *skipped);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_active(const struct loop_timer *timer);

/* ---- descriptors ---- */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
/* events: LOOP_READ|LOOP_WRITE that fired; an error shows as both. The fd stays the caller's. */
struct loop_poll *loop_poll_create(struct loop *loop, int fd, void (*fn)(int events, void *arg),
                                   void *arg, struct err *err) MUST_CHECK;
void loop_poll_destroy(struct loop_poll **poll);
/* 0 stops watching. */
void loop_poll_set(struct loop_poll *poll, int events);

/* ---- wakes from other threads: many sends may become one call ---- */
struct loop_wake *loop_wake_create(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_wake_destroy(struct loop_wake **wake);
void loop_wake_send(struct loop_wake *wake);

#endif
