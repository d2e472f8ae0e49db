/*
 * gate_report.h: what the gate's thread tells the engine: plain data, copied through a ring.
 *
 * The gate never waits for the reader; a report that finds the ring full is counted and lost, so
 * every report is complete in itself (no deltas).
 */
#ifndef PGVIGIL_MODEL_GATE_REPORT_H
#define PGVIGIL_MODEL_GATE_REPORT_H

#include "pgvigil/model/verdict.h"

/* One position of a primary: seen first by a query that ended at t_after, last by one that began
 * at t_before. Times are of this boot; snap is a 128-bit hash of pg_current_snapshot(). */
struct timeline_entry {
    mono_ms t_before, t_after;
    lsn_t write, insert;
    uint64_t snap[2];
};

/* How the last probe of a node went. */
struct probe_stats {
    uint64_t polls_total, failures_total, skipped_total;
    int64_t duration_us; /* of the last good probe */
    int32_t consecutive_failures;
    bool answered;    /* the last one */
    char failure[24]; /* pg_failure_name, "" if none */
    char error[160];  /* for people, masked */
};

/* What survives a restart, for each node. */
struct gate_node_state {
    char cluster[NODE_NAME_MAX], node[NODE_NAME_MAX];
    enum node_role role;
    enum fresh_state state;
    bool read, write;
    int weight;
    char reason[REASON_MAX];
    wall_ms since;
    wall_ms lease_until; /* of its files */
    int64_t hold_ms;     /* current hold, doubled when it flaps */
    wall_ms last_return;
    wall_ms saved_at;
};

struct gate_flip {
    wall_ms at;
    char cluster[NODE_NAME_MAX], node[NODE_NAME_MAX];
    char what[16]; /* "state", "read", "write", "fallback" */
    char from[24], to[24];
    char reason[REASON_MAX];
    int64_t lo_ms, hi_ms;
    lsn_t replay, primary;
    char evidence[EVIDENCE_MAX];
};

enum gate_report_kind {
    GATE_REPORT_NODE,    /* each tick and node */
    GATE_REPORT_CLUSTER, /* each tick and cluster, after its nodes */
    GATE_REPORT_FLIP,
    GATE_REPORT_STATE,    /* each 10 s and on change */
    GATE_REPORT_TIMELINE, /* newest entry of a ring, each tick that a primary answered */
    GATE_REPORT_CONFIG    /* a new configuration is in use: the old one may be released */
};

struct gate_report {
    enum gate_report_kind kind;
    wall_ms at;
    union {
        struct {
            struct verdict verdict;
            struct probe_stats probe;
        } node;
        struct cluster_verdict cluster;
        struct gate_flip flip;
        struct gate_node_state state;
        struct {
            uint64_t system_id;
            uint32_t timeline;
            struct timeline_entry entry;
        } timeline;
        void *config; /* struct config that is no longer used */
    } u;
};

/* What the last run left: given to the gate before it starts. */
struct gate_image_timeline {
    uint64_t system_id;
    uint32_t timeline;
    struct timeline_entry *entries; /* oldest first, on this boot's clock */
    size_t count;
};

struct gate_image {
    struct gate_node_state *nodes;
    size_t node_count;
    struct gate_image_timeline *timelines;
    size_t timeline_count;
    /* Boot id equal: entry times are exact. Else they have been brought to this boot's clock by
     * wall time, and lie before its start. */
    bool same_boot;
};
void gate_image_free(struct gate_image *image);

#endif
