/*
 * judge_private.h: what the judge's files share.
 *
 * judge.c          life cycle, the order of a tick
 * judge_cluster.c  identity, primary, ring, blind, half rule, split brain
 * judge_panic.c    where reads go when no replica is fit
 * judge_node.c     from one node's evidence to an event
 * judge_table.c    the rows {from, event, to, reason} and the one function that applies them
 * judge_weight.c   weights by lag
 * judge_publish.c  from states to verdicts and flips of read and write
 */
#ifndef JUDGE_PRIVATE_H
#define JUDGE_PRIVATE_H

#include "pgvigil/gate/judge.h"

#define FROM_ANY_NODE 255
/* The last run's rings carry no cluster's name: with more systems than this they are left out. */
#define RESTORED_MAX 8

/* States of nodes (those of enum fresh_state) and, after them, of the cluster's reads. */
enum judge_state {
    JS_UNKNOWN = FRESH_UNKNOWN,
    JS_FRESH = FRESH_FRESH,
    JS_STALE = FRESH_STALE,
    JS_DOWN = FRESH_DOWN,
    JS_DIVERGED = FRESH_DIVERGED,
    JS_EXCLUDED = FRESH_EXCLUDED,
    JS_NORMAL,     /* reads go to the replicas that are published */
    JS_ON_PRIMARY, /* fallback: none is fit, the primary takes reads */
    JS_ON_BEST,    /* the least stale under hard_lag takes them */
    JS_ON_HOLD,    /* those that were published last keep them */
    JS_COUNT
};

enum judge_event {
    EV_NONE,
    /* replica: kept out by what it is */
    EV_READ_OFF,
    EV_NO_REPLAY_LSN,
    EV_DELAYED,
    EV_READMITTED,
    EV_OTHER_SYSTEM,
    EV_OLD_TIMELINE,
    EV_REJOINED,
    /* any node: answers or not */
    EV_FAILED,
    EV_TOTAL_LOSS,
    EV_ANSWERED,
    EV_STARTING,
    EV_UNOBSERVABLE,
    /* replica: lag */
    EV_FIRST,
    EV_SURE,
    EV_UNSURE,
    EV_UNSEEN,
    EV_HALF,
    EV_LAG,
    EV_HARD,
    EV_BEHIND,
    EV_HOLD,
    EV_RETURN,
    /* roles */
    EV_PRIMARY,
    EV_DEMOTED,
    /* the cluster's reads */
    EV_TO_PRIMARY,
    EV_TO_BEST,
    EV_TO_HOLD,
    EV_SATURATED,
    EV_PRIMARY_LOST,
    EV_CALM,
    EV_COUNT
};

struct judge_row {
    unsigned char from, event, to;
    const char *reason;
};

struct judge_node {
    struct verdict v;        /* as published; state and since are judge_table.c's */
    char reason[REASON_MAX]; /* of its state; shown unless the cluster has a reason of its own */

    /* from the configuration */
    int64_t max_lag_ms, hard_lag_ms;
    char host[64]; /* as in its DSN; "" = unknown */
    int port;

    /* what was observed */
    struct probe_result last; /* the last answer; started is MONO_UNSET before the first */
    bool observed;            /* a result came since the last tick */
    bool answered;            /* the last result was an answer */
    enum pg_failure failure;  /* of the last result */
    mono_ms result_at;        /* end of the last result; MONO_UNSET before the first */
    int failures;             /* in a row: decides `up` */
    int counted; /* of these: those that speak against the node and not of our own loss */
    mono_ms starting_since;
    enum node_role role; /* last known */
    bool as_primary;     /* its state is that of a primary */
    uint32_t timeline;   /* highest seen as a replica, or its own as a primary */
    lsn_t replay_seen;   /* as a replica: where it would fork */

    /* evidence of this tick */
    struct lag_bounds lag;
    bool tightened; /* hi stands on the receipt age: may stay fresh, never become it */

    /* hysteresis */
    int over_ticks, doubt_ticks;
    mono_ms good_since, good_at;
    int64_t hold_ms;
    struct now returned; /* last return; mono is MONO_UNSET if never */
    bool undecided;      /* nothing was ever published or decided: no hold before the first time */
    bool published;      /* by its state: may take reads */
    bool was_published;  /* when the primary was lost from sight */
    bool panic_read;     /* takes reads by policy best or hold */
    int weight_next;
    mono_ms weight_since;
};

struct judge {
    char cluster[NODE_NAME_MAX];
    enum config_scope scope;
    struct config_gate gate;
    int64_t interval_ms;
    void (*on_flip)(const struct gate_flip *flip, void *arg);
    void *arg;

    struct judge_node *nodes;
    size_t node_count;
    mono_ms created;
    int settle; /* full ticks that must still pass before any flip */

    uint64_t system_id;
    uint32_t tli; /* highest ever seen */
    struct timeline *ring;
    /* Of the last run, newest of each system, until it is known which system this cluster is. */
    struct timeline *restored[RESTORED_MAX];
    size_t restored_count;
    lsn_t fork;  /* where ring's timeline began, if seen; 0 = unknown */
    int primary; /* index, or -1 */
    bool primary_seen;
    bool had_sight;
    bool blind, split_brain, split_held;
    mono_ms sight_back; /* when blindness ended */

    enum judge_state mode;
    const char *mode_reason;
    struct cluster_verdict verdict;
};

/* ---- judge_cluster.c ---- */
/* Who is who at this tick: identity, primary, ring, blindness, sight. */
void judge_look(struct judge *j, struct now now);
void judge_drop_restored(struct judge *j);
/* The event to apply instead of one that would take a replica out against the half rule. */
enum judge_event judge_half_rule(const struct judge *j, const struct judge_node *n,
                                 enum judge_event event);
/* How old a result may be and still speak for now. */
int64_t judge_contact_ms(const struct judge *j);

/* ---- judge_panic.c ---- */
void judge_panic(struct judge *j, struct now now);
bool judge_is_own(const struct judge *j, const struct judge_node *n);
/* Nodes that reads could be on beside the primary. */
size_t judge_candidates(const struct judge *j);
bool judge_primary_usable(const struct judge *j);

/* ---- judge_node.c ---- */
void judge_measure(const struct judge *j, struct judge_node *n, mono_ms now);
/* Counts what hysteresis needs and says what the evidence means. */
enum judge_event judge_node_event(const struct judge *j, struct judge_node *n, mono_ms now);
/* false: the failure may be the agent's own (login, name, no free slot). */
bool judge_counts_against(enum pg_failure failure);
bool judge_starting(const struct judge_node *n, mono_ms now);
bool judge_up(const struct judge *j, const struct judge_node *n, mono_ms now);
/* Why what we do not see of it proves nothing. */
enum unobservable judge_unobservable(const struct judge *j, const struct judge_node *n,
                                     mono_ms now);
enum fresh_cause judge_cause(const struct judge *j, const struct judge_node *n, mono_ms now);
/* Old timeline, unless it has not yet passed the fork and follows nobody. */
bool judge_on_old_timeline(const struct judge *j, const struct judge_node *n);
void judge_endpoint(const char *dsn, char *host, size_t n, int *port);

/* ---- judge_table.c ---- */
const struct judge_row *judge_rows(size_t *n);
const struct judge_row *judge_row_find(enum judge_state from, enum judge_event event);
const char *judge_event_name(enum judge_event event);
const char *judge_state_name(enum judge_state state);
/* The only place where a state changes; n NULL: the cluster's. No row: nothing happens. */
void judge_apply(struct judge *j, struct judge_node *n, enum judge_event event, struct now now);
/* Puts back what the last run published. */
void judge_table_restore(struct judge *j, struct judge_node *n,
                         const struct gate_node_state *saved);
void judge_emit(const struct judge *j, const struct judge_node *n, const struct gate_flip *what,
                struct now now);

/* ---- judge_weight.c ---- */
int judge_weight_for(int64_t lag_ms, int64_t max_lag_ms);
void judge_weigh(struct judge_node *n, bool was_read, mono_ms now);

/* ---- judge_publish.c ---- */
/* Writes the evidence for people. */
void judge_tell(const struct judge *j, struct judge_node *n);
/* held: what is published stays as it is; only facts are brought up to date. */
void judge_publish(struct judge *j, struct now now, bool held);

#endif
