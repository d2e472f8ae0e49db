/*
 * verdict.h: what the gate says of a node and of a cluster: plain data without pointers, so that
 * it can be copied through a seqlock, a ring and a database row.
 */
#ifndef PGVIGIL_MODEL_VERDICT_H
#define PGVIGIL_MODEL_VERDICT_H

#include "pgvigil/base/clock.h"

#define NODE_NAME_MAX 64 /* bytes with NUL; [A-Za-z0-9][A-Za-z0-9._-]* */
#define NODES_MAX     1024
#define REASON_MAX    48
#define EVIDENCE_MAX  160

typedef uint64_t lsn_t; /* 0 = unknown */

#define LAG_UNKNOWN  INT64_C(-1)
#define LAG_INFINITE INT64_MAX

enum node_role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_REPLICA };

enum fresh_state {
    FRESH_UNKNOWN, /* evidence missing: holds what was published */
    FRESH_FRESH,
    FRESH_STALE,
    FRESH_DOWN,
    FRESH_DIVERGED,
    FRESH_EXCLUDED
};

/* Shown to people beside the state. */
enum fresh_cause {
    CAUSE_NONE,
    CAUSE_STARTING,
    CAUSE_CATCHING_UP,
    CAUSE_REPLAY_PAUSED,
    CAUSE_LINK_DOWN,
    CAUSE_ABSENT,
    CAUSE_DELAYED
};

/*
 * Why the agent cannot observe a node, through no proven fault of the node: what it does not see
 * is then neither up nor down.
 */
enum unobservable {
    UNOBSERVABLE_NOT,
    UNOBSERVABLE_LOGIN,      /* the server refuses the role */
    UNOBSERVABLE_GRANT,      /* the role may not run the probe */
    UNOBSERVABLE_CONFIG,     /* the DSN leads to no server */
    UNOBSERVABLE_NAME,       /* the host's name does not resolve */
    UNOBSERVABLE_SATURATED,  /* no connection is left for the agent */
    UNOBSERVABLE_BLIND,      /* no node of the cluster answers */
    UNOBSERVABLE_STREAMING,  /* a primary that is silent here, while replicas stream from it */
    UNOBSERVABLE_NEVER_SEEN, /* has not answered since the start: nobody knows what it is */
};

struct verdict {
    char cluster[NODE_NAME_MAX];
    char node[NODE_NAME_MAX];
    char zone[NODE_NAME_MAX];
    enum node_role role;
    enum fresh_state state;
    enum fresh_cause cause;
    enum unobservable unobservable;
    bool up;              /* the last probe answered, or fewer than down_after have failed */
    bool read;            /* published: may take reads */
    bool write;           /* may take writes */
    bool fallback;        /* primary takes reads because no replica is fit, or there is none */
    bool read_config;     /* `read: false` keeps it out */
    bool local;           /* whom /primary and /replica speak of without ?node= */
    bool streaming;       /* replica: its receiver streams */
    bool streaming_known; /* it answers, and its receiver may be looked at */
    bool replay_paused;
    int weight; /* percent, 0-100 */
    int64_t max_lag_ms;
    int64_t lag_ms, lag_lo_ms, lag_hi_ms; /* data lag; LAG_UNKNOWN, LAG_INFINITE */
    int64_t wal_lag_ms;
    int64_t lag_bytes;         /* LAG_UNKNOWN or >= 0 */
    int64_t expected_delay_ms; /* recovery_min_apply_delay */
    lsn_t lsn;                 /* replica: replay; primary: current write position */
    uint32_t timeline;
    uint64_t system_id;
    int32_t server_version; /* 150020; 0 = unknown */
    wall_ms since;          /* state entered */
    wall_ms read_at;        /* last good probe; WALL_UNSET = never */
    wall_ms decided_at;
    char reason[REASON_MAX];     /* word without blanks: lag, hold, replay_paused, ... */
    char evidence[EVIDENCE_MAX]; /* for people */
};

struct cluster_verdict {
    char cluster[NODE_NAME_MAX];
    bool judged;           /* scope: cluster */
    bool reads_on_primary; /* the fallback is on */
    bool blind;            /* no node answers: everything is held */
    bool primary_unseen;   /* no primary answers */
    bool split_brain;
    bool no_replicas;
    int fresh_count, replica_count;
    char primary[NODE_NAME_MAX]; /* "" = none */
    char reason[REASON_MAX];
};

const char *node_role_name(enum node_role role);
const char *fresh_state_name(enum fresh_state state);
const char *fresh_cause_name(enum fresh_cause cause); /* "" for none */
const char *unobservable_name(enum unobservable why); /* "" for observable */

#endif
