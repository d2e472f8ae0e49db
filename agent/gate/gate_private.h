/*
 * gate_private.h: the gate's state, shared by gate.c (life cycle), gate_config.c (clusters, nodes
 * and their probes), gate_tick.c (probing and deciding) and gate_publish.c (files, reports).
 *
 * Everything here belongs to the gate's thread, except what is atomic, and except before the thread
 * starts and after it is joined.
 */
#ifndef PGVIGIL_GATE_GATE_PRIVATE_H
#define PGVIGIL_GATE_GATE_PRIVATE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "pgvigil/base/workers.h"
#include "pgvigil/gate/files.h"
#include "pgvigil/gate/gate.h"
#include "pgvigil/gate/judge.h"
#include "pgvigil/gate/probe.h"

enum gate_phase {
    GATE_RESTING,  /* between ticks */
    GATE_REPLICAS, /* everyone that is not known to be a primary was asked */
    GATE_PRIMARIES /* the known primaries too */
};

enum gate_stop { GATE_RUN, GATE_STOP_REMOVE, GATE_STOP_KEEP };

struct gate_cluster {
    struct gate *gate;
    char name[NODE_NAME_MAX];
    struct judge *judge;
    mono_ms timeline_told; /* t_before of the ring entry that was reported last */
};

struct gate_node {
    struct gate_cluster *cluster;
    size_t index; /* in its judge */
    char name[NODE_NAME_MAX];
    char read_file[FILES_NAME_MAX], write_file[FILES_NAME_MAX];
    char *dsn; /* what the probe was made with */
    struct probe *probe;
    bool waiting;         /* its answer belongs to the tick that runs */
    bool failure_counted; /* a failure was observed since the last decision */
    bool state_told;
    struct gate_node_state told; /* the last GATE_REPORT_STATE */
};

struct gate {
    struct loop *loop;
    struct workers *workers;
    struct loop_timer *tick_timer, *step_timer;
    struct loop_wake *wake;
    pthread_t thread;
    sem_t started;
    _Atomic int thread_id;
    _Atomic int stop; /* enum gate_stop */

    struct config *config;
    _Atomic(struct config *) next_config;
    struct config **retired; /* to be told by GATE_REPORT_CONFIG; the ring was full */
    size_t retired_count;

    struct gate_cluster **clusters;
    size_t cluster_count;
    struct gate_node **nodes;
    size_t node_count;
    const struct verdict **verdicts; /* for the board: as many as nodes */
    const struct cluster_verdict **cluster_verdicts;

    enum gate_phase phase;
    size_t waiting; /* nodes whose answer the phase waits for */
    mono_ms ticked_at;
    bool gap;
    int quiet_ticks;         /* to come in which nothing is published: see gate_tick() */
    uint64_t last_answer_ns; /* 0 = none in this tick */

    char *health_dir; /* of the start: the guardian knows no other */
    struct lease_page *page;
    struct files *files; /* NULL: not open */
    mono_ms files_retry_at;
    _Atomic bool files_ok;
    mono_ms states_told_at;

    struct board *board;
    struct ring *reports;
    void (*on_report)(void *arg);
    void *on_report_arg;
    _Atomic uint64_t reports_lost;
    struct hist publish;
};

/* ---- gate_config.c ---- */
/* Makes clusters, nodes and probes those of gate->config; keeps what stays, and its state. */
void gate_apply_config(struct gate *gate, struct now now);
/* Probes, judges, nodes: all of it. */
void gate_drop_config(struct gate *gate);

/* ---- gate_tick.c ---- */
void gate_tick(struct gate *gate);
/* Timer inside a tick: the time for a phase is over. */
void gate_step(struct gate *gate);
void gate_on_result(const struct probe_result *result, void *node);
/* Forgets a tick that has begun (a new configuration came in between). */
void gate_abandon_tick(struct gate *gate);

/* ---- gate_publish.c ---- */
void gate_publish(struct gate *gate, struct now now);
void gate_publish_last(struct gate *gate, struct now now, bool keep_files);
void gate_on_flip(const struct gate_flip *flip, void *gate);
/* names: read files that the last run published and whose lease may still run; opens at once. */
void gate_open_files(struct gate *gate, const struct gate_image *image, struct now now);
void gate_tell_retired(struct gate *gate, wall_ms now);

#endif
