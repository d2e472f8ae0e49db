/*
 * gate.c: the gate's thread: start, stop and hand-over of configurations.
 *
 * The thread shares nothing that could make it wait: configurations come in through one atomic
 * pointer, reports go out through a ring, verdicts through the board. What it uses it has
 * allocated itself; an old configuration goes back to whoever gave it, to be freed there.
 *
 * Order of a turn: wake (stop, configuration), tick (send probes), answers (observe), and when the
 * last one is in or its time is over: judge, files, board, reports.
 */
#include "pgvigil/gate/gate.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define GATE_WORKERS 8
/* Long enough for most sessions to be there, so that a start does not count as a failed probe. */
#define FIRST_TICK_MS 200

static void on_tick(void *arg)
{
    gate_tick(arg);
}

static void on_step(void *arg)
{
    gate_step(arg);
}

static void start_ticks(struct gate *gate)
{
    int64_t interval = gate->config->intervals.replication_ms;
    loop_timer_start_period(gate->tick_timer, i64_min(FIRST_TICK_MS, interval), interval, NULL);
}

/* ---- messages from other threads ---- */

static void take_config(struct gate *gate)
{
    struct config *next = atomic_exchange(&gate->next_config, NULL);
    if (!next)
        return;
    struct now now = loop_now(gate->loop);
    int64_t old_interval = gate->config->intervals.replication_ms;
    gate->retired =
        mem_realloc_array(gate->retired, gate->retired_count + 1, sizeof(*gate->retired));
    gate->retired[gate->retired_count++] = gate->config;
    gate->config = next;
    gate_abandon_tick(gate);
    gate_apply_config(gate, now);
    if (next->intervals.replication_ms != old_interval)
        start_ticks(gate);
    gate_tell_retired(gate, now.wall);
}

static void on_wake(void *arg)
{
    struct gate *gate = arg;
    enum gate_stop stop = (enum gate_stop)atomic_load(&gate->stop);
    if (stop == GATE_RUN) {
        take_config(gate);
        return;
    }
    gate_publish_last(gate, loop_now(gate->loop), stop == GATE_STOP_KEEP);
    loop_stop(gate->loop);
}

/* ---- the thread ---- */

static void *thread_main(void *arg)
{
    struct gate *gate = arg;
    pthread_setname_np(pthread_self(), "pgv-gate");
    atomic_store(&gate->thread_id, (int)syscall(SYS_gettid));
    sem_post(&gate->started);
    start_ticks(gate);
    loop_run(gate->loop);
    loop_timer_destroy(&gate->tick_timer);
    loop_timer_destroy(&gate->step_timer);
    gate_drop_config(gate);
    workers_destroy(&gate->workers);
    return NULL;
}

/* Signals are the main thread's. */
static bool start_thread(struct gate *gate, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&gate->thread, NULL, thread_main, gate);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "cannot start the gate's thread: %s", strerror(rc));
    while (sem_wait(&gate->started) != 0)
        ;
    return true;
}

/* What does not belong to the thread, after it has ended or if it never started. */
static void release(struct gate *gate)
{
    loop_timer_destroy(&gate->tick_timer);
    loop_timer_destroy(&gate->step_timer);
    gate_drop_config(gate);
    workers_destroy(&gate->workers);
    loop_wake_destroy(&gate->wake);
    loop_destroy(&gate->loop);
    files_close(&gate->files);
    struct config *next = atomic_exchange(&gate->next_config, NULL);
    config_unref(&next);
    for (size_t i = 0; i < gate->retired_count; i++)
        config_unref(&gate->retired[i]);
    mem_free(gate->retired);
    config_unref(&gate->config);
    mem_free(gate->health_dir);
    sem_destroy(&gate->started);
    mem_free(gate);
}

static void restore(struct gate *gate, const struct gate_image *image, struct now now)
{
    for (size_t i = 0; image && i < gate->cluster_count; i++)
        judge_restore(gate->clusters[i]->judge, image, now);
}

struct gate *gate_create(const struct gate_opts *opts, struct err *err)
{
    struct gate *gate = mem_alloc(sizeof(*gate));
    sem_init(&gate->started, 0, 0);
    gate->config = config_ref(opts->config);
    gate->health_dir = mem_strdup(opts->config->health_dir);
    gate->page = opts->page;
    gate->board = opts->board;
    gate->reports = opts->reports;
    gate->on_report = opts->on_report;
    gate->on_report_arg = opts->arg;
    gate->ticked_at = gate->files_retry_at = gate->states_told_at = MONO_UNSET;
    atomic_store(&gate->files_ok, true);
    gate->loop = loop_create("gate", err);
    if (!gate->loop) {
        release(gate);
        return NULL;
    }
    struct now now = loop_now(gate->loop);
    gate->workers = workers_create(gate->loop, GATE_WORKERS);
    gate->tick_timer = loop_timer_create(gate->loop, on_tick, gate);
    gate->step_timer = loop_timer_create(gate->loop, on_step, gate);
    gate->wake = loop_wake_create(gate->loop, on_wake, gate);
    gate_apply_config(gate, now);
    restore(gate, opts->image, now);
    gate_open_files(gate, opts->image, now);
    if (!start_thread(gate, err)) {
        release(gate);
        return NULL;
    }
    return gate;
}

void gate_destroy(struct gate **gate, bool keep_files)
{
    struct gate *g = *gate;
    if (!g)
        return;
    atomic_store(&g->stop, keep_files ? GATE_STOP_KEEP : GATE_STOP_REMOVE);
    loop_wake_send(g->wake);
    pthread_join(g->thread, NULL);
    release(g);
    *gate = NULL;
}

void gate_reconfigure(struct gate *gate, struct config *config)
{
    struct config *unseen = atomic_exchange(&gate->next_config, config_ref(config));
    /* The gate had not even looked at it. */
    config_unref(&unseen);
    loop_wake_send(gate->wake);
}

void gate_stats(const struct gate *gate, struct gate_stats *out)
{
    out->lateness = loop_lateness(gate->loop);
    out->turn = loop_turn_time(gate->loop);
    out->publish = &gate->publish;
    out->reports_lost = atomic_load_explicit(&gate->reports_lost, memory_order_relaxed);
    out->files_ok = atomic_load_explicit(&gate->files_ok, memory_order_relaxed);
}

int gate_thread_id(const struct gate *gate)
{
    return atomic_load(&gate->thread_id);
}
