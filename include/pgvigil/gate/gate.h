/*
 * gate.h: the gate's thread: probes, judge, health files, board. An island.
 *
 * Nothing else runs on its loop: no disk but the health directory, no lock that another thread
 * holds, no memory that another thread frees. Out go reports (ring), the board (seqlock) and the
 * files. One turn of a tick: probe replicas, and the primary when all have answered or after 150
 * ms; judge; board; files; reports.
 */
#ifndef PGVIGIL_GATE_GATE_H
#define PGVIGIL_GATE_GATE_H

#include "pgvigil/base/hist.h"
#include "pgvigil/base/loop.h"
#include "pgvigil/base/ring.h"
#include "pgvigil/gate/board.h"
#include "pgvigil/gate/lease.h"
#include "pgvigil/model/config.h"
#include "pgvigil/model/gate_report.h"

/* On SIGTERM the lease is extended once to this: an upgrade is not a stop. */
#define GATE_STOP_LEASE_MS 30000

struct gate;

struct gate_opts {
    struct config *config;          /* a reference is taken */
    const struct gate_image *image; /* may be NULL; used before gate_start returns */
    struct lease_page *page;        /* NULL only with gate.dry_run: no files are kept */
    struct board *board;
    struct ring *reports;         /* of struct gate_report */
    void (*on_report)(void *arg); /* after reports were put: loop_wake_send; may be NULL */
    void *arg;
};

/* Starts the thread. */
struct gate *gate_create(const struct gate_opts *opts, struct err *err) MUST_CHECK;
/* keep_files: extend the leases to GATE_STOP_LEASE_MS; else remove the files. Joins the thread. */
void gate_destroy(struct gate **gate, bool keep_files);
/* From any other thread; the old configuration comes back as GATE_REPORT_CONFIG. */
void gate_reconfigure(struct gate *gate, struct config *config);

struct gate_stats {
    const struct hist *lateness, *turn, *publish; /* publish: last answer parsed to file renamed */
    uint64_t reports_lost;
    bool files_ok;
};
void gate_stats(const struct gate *gate, struct gate_stats *out);
/* Kernel thread id, for tests that stop other threads. */
int gate_thread_id(const struct gate *gate);

#endif
