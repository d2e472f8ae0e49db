/*
 * world.h: a simulated cluster under a judge, in fake time: nodes that lag, freeze, get promoted.
 *
 * world_tick does what the gate does in a second: reads the replicas, then the primary, then asks
 * the judge. At each tick it also checks what must always hold: the truth lies within the bounds.
 */
#ifndef WORLD_H
#define WORLD_H

#include "gate/sim.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/judge.h"

#define WORLD_NODES  5
#define WORLD_FLIPS  2000
#define WORLD_SYSTEM 7001
#define STEP_MS      10

struct world_node {
    enum node_role role;
    bool is_silent;          /* no result at all: a probe hangs */
    enum pg_failure failure; /* PG_FAIL_NONE: answers */
    bool is_paused, is_cut;
    lsn_t replay, receive;
    uint32_t tli;
    uint64_t system_id;
    int64_t delay_ms;
    bool has_no_replay_lsn;
    int64_t connections_permille;
    char sender_host[32];
    int64_t receipt_age_ms; /* -1: unknown */
};

struct world {
    struct sim sim;
    struct judge *judge;
    struct config_gate gate;
    enum config_scope scope;
    struct config_node configs[WORLD_NODES];
    char dsns[WORLD_NODES][64];
    struct world_node nodes[WORLD_NODES];
    size_t n;
    bool is_idle; /* no commits */
    bool is_bulk; /* WAL without commits */
    int64_t interval_ms;
    struct gate_flip *flips;
    size_t flip_count;
    bool skip_truth;
    int64_t wall_offset_ms;
};

static inline struct now world_now(const struct world *w)
{
    return (struct now){{w->sim.now_ms}, {w->sim.now_ms + w->wall_offset_ms}};
}

static inline void world_on_flip(const struct gate_flip *flip, void *arg)
{
    struct world *w = arg;
    if (w->flip_count == WORLD_FLIPS)
        abort();
    w->flips[w->flip_count++] = *flip;
}

static inline struct judge_opts world_opts(struct world *w)
{
    return (struct judge_opts){.cluster = "main",
                               .scope = w->scope,
                               .gate = &w->gate,
                               .nodes = w->configs,
                               .node_count = w->n,
                               .interval_ms = w->interval_ms,
                               .on_flip = world_on_flip,
                               .arg = w};
}

static inline void world_add_node(struct world *w, enum node_role role)
{
    size_t i = w->n++;
    struct config_node *c = &w->configs[i];
    (void)snprintf(w->dsns[i], sizeof(w->dsns[i]), "host=10.0.0.%zu port=5432 dbname=app", i + 1);
    *c = (struct config_node){.dsn = w->dsns[i],
                              .read = true,
                              .max_lag_ms = w->gate.max_lag_ms,
                              .hard_lag_ms = w->gate.hard_lag_ms};
    (void)snprintf(c->name, sizeof(c->name), "pg%zu", i + 1);
    (void)snprintf(c->cluster, sizeof(c->cluster), "main");
    w->nodes[i] = (struct world_node){.role = role,
                                      .tli = 1,
                                      .system_id = WORLD_SYSTEM,
                                      .replay = SIM_WAL_START,
                                      .receive = SIM_WAL_START,
                                      .receipt_age_ms = -1};
}

/* pg1 is the primary, the others are replicas. The judge is not there yet: change what you need. */
static inline void world_init(struct world *w, size_t nodes)
{
    *w = (struct world){
        .scope = SCOPE_CLUSTER, .interval_ms = 1000, .wall_offset_ms = INT64_C(1700000000000)};
    w->gate = (struct config_gate){.max_lag_ms = 3000,
                                   .hard_lag_ms = 15000,
                                   .hold_ms = 5000,
                                   .lease_ms = 10000,
                                   .probe_timeout_ms = 2000,
                                   .fall = 2,
                                   .down_after = 3,
                                   .min_fresh = 1,
                                   .panic = PANIC_PRIMARY,
                                   .on_total_loss = LOSS_HOLD,
                                   .guard_connections = 0.8,
                                   .guard_weight = 0.3};
    sim_init(&w->sim, 42);
    w->flips = mem_alloc_array(WORLD_FLIPS, sizeof(*w->flips));
    for (size_t i = 0; i < nodes; i++)
        world_add_node(w, i == 0 ? ROLE_PRIMARY : ROLE_REPLICA);
}

static inline void world_start(struct world *w)
{
    const struct judge_opts opts = world_opts(w);
    w->judge = judge_create(&opts, world_now(w));
}

static inline void world_deinit(struct world *w)
{
    judge_destroy(&w->judge);
    sim_deinit(&w->sim);
    MEM_FREE_NULL(&w->flips);
}

static inline const struct verdict *world_verdict(const struct world *w, size_t node)
{
    return judge_verdict(w->judge, node - 1);
}

/* pg1, pg2, ... */
static inline struct world_node *world_node(struct world *w, size_t node)
{
    return &w->nodes[node - 1];
}

static inline lsn_t world_lsn_at(const struct sim *s, int64_t at_ms)
{
    for (size_t i = s->n; i-- > 0;) {
        if (s->wal[i].at_ms <= at_ms)
            return s->wal[i].end;
    }
    return SIM_WAL_START;
}

static inline void world_pass(struct world *w, int64_t ms)
{
    for (int64_t end = w->sim.now_ms + ms; w->sim.now_ms < end;) {
        int64_t next = w->sim.now_ms - w->sim.now_ms % STEP_MS + STEP_MS;
        w->sim.now_ms = i64_min(next, end);
        if (!w->is_idle && w->sim.now_ms % 50 == 0)
            sim_write(&w->sim, 200, true);
        if (w->is_bulk && w->sim.now_ms % 50 == 0)
            sim_write(&w->sim, 100000, false);
        for (size_t i = 0; i < w->n; i++) {
            struct world_node *n = &w->nodes[i];
            if (n->role != ROLE_REPLICA || n->is_cut)
                continue;
            n->receive = sim_lsn(&w->sim);
            if (!n->is_paused)
                n->replay = n->delay_ms > 0 ? world_lsn_at(&w->sim, w->sim.now_ms - n->delay_ms)
                                            : n->receive;
        }
    }
}

static inline struct probe_result world_answer(const struct world *w, const struct world_node *n)
{
    struct probe_result r = {.answered = true,
                             .started = {w->sim.now_ms},
                             .ended = {w->sim.now_ms + 2},
                             .role = n->role,
                             .server_version = 150020,
                             .system_id = n->system_id,
                             .timeline = n->tli,
                             .replay_age_ms = -1,
                             .receipt_age_ms = -1,
                             .connections_used_permille = n->connections_permille};
    if (n->role == ROLE_PRIMARY) {
        const struct timeline_entry e = sim_entry(&w->sim, 2);
        r.write = e.write;
        r.insert = e.insert;
        r.snap[0] = e.snap[0];
        r.snap[1] = e.snap[1];
        return r;
    }
    r.has_replay = !n->has_no_replay_lsn;
    r.replay = n->has_no_replay_lsn ? 0 : n->replay;
    r.receive = n->receive;
    r.replay_paused = n->is_paused;
    r.apply_delay_ms = n->delay_ms;
    r.receiver_known = true;
    r.streaming = !n->is_cut;
    r.latest_end = n->receive;
    r.receipt_age_ms = n->receipt_age_ms;
    r.sender_port = 5432;
    (void)str_copy(r.sender_host, sizeof(r.sender_host), n->sender_host);
    return r;
}

static inline void world_probe(struct world *w, size_t i)
{
    const struct world_node *n = &w->nodes[i];
    struct probe_result r = world_answer(w, n);
    if (n->is_silent)
        return;
    if (n->failure != PG_FAIL_NONE)
        r = (struct probe_result){
            .failure = n->failure, .started = {w->sim.now_ms}, .ended = {w->sim.now_ms}};
    judge_observe(w->judge, i, &r);
}

static inline void world_check_truth(const struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct verdict *v = judge_verdict(w->judge, i);
        if (v->role != ROLE_REPLICA || v->lag_ms == LAG_UNKNOWN || w->nodes[i].is_silent ||
            w->nodes[i].failure != PG_FAIL_NONE)
            continue;
        int64_t truth_ms = sim_truth_ms(&w->sim, v->lsn);
        bool is_within = v->lag_lo_ms - 60 <= truth_ms && truth_ms - 60 <= v->lag_hi_ms;
        if (!is_within && !w->skip_truth)
            fail_msg("%s: truth %lld, lo %lld, hi %lld", v->node, (long long)truth_ms,
                     (long long)v->lag_lo_ms, (long long)v->lag_hi_ms);
    }
}

static inline void world_tick_gap(struct world *w, bool gap)
{
    int64_t start_ms = w->sim.now_ms;
    for (size_t i = 0; i < w->n; i++) {
        if (w->nodes[i].role != ROLE_PRIMARY)
            world_probe(w, i);
    }
    world_pass(w, 5);
    for (size_t i = 0; i < w->n; i++) {
        if (w->nodes[i].role == ROLE_PRIMARY)
            world_probe(w, i);
    }
    world_pass(w, 5);
    judge_tick(w->judge, world_now(w), gap);
    world_check_truth(w);
    world_pass(w, w->interval_ms - (w->sim.now_ms - start_ms));
}

static inline void world_tick(struct world *w)
{
    world_tick_gap(w, false);
}

static inline void world_ticks(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        world_tick(w);
}

/* Ticks until the node's read is as wanted; returns how many it took, fails after max. */
static inline int world_until_read(struct world *w, size_t node, bool read, int max)
{
    for (int i = 0; i <= max; i++) {
        if (world_verdict(w, node)->read == read)
            return i;
        world_tick(w);
    }
    fail_msg("pg%zu: read is not %d after %d ticks; %s, %s", node, read, max,
             world_verdict(w, node)->reason, world_verdict(w, node)->evidence);
    return -1;
}

/* Flips of this kind so far; node 0: of any. */
static inline size_t world_flips(const struct world *w, const char *what, size_t node)
{
    size_t count = 0;
    char name[8];
    (void)snprintf(name, sizeof(name), "pg%zu", node);
    for (size_t i = 0; i < w->flip_count; i++)
        count += str_eq(w->flips[i].what, what) && (node == 0 || str_eq(w->flips[i].node, name));
    return count;
}

static inline void world_forget_flips(struct world *w)
{
    w->flip_count = 0;
}

/* Nodes that are all well, after a few ticks. */
static inline void world_settle(struct world *w, size_t nodes)
{
    world_init(w, nodes);
    world_start(w);
    world_ticks(w, 5);
    for (size_t i = 2; i <= nodes; i++)
        assert_true(world_verdict(w, i)->read);
    world_forget_flips(w);
}

/* Replicas (pg2 and on) that take no reads. */
static inline size_t world_out(const struct world *w)
{
    size_t out = 0;
    for (size_t i = 2; i <= w->n; i++)
        out += !world_verdict(w, i)->read;
    return out;
}

#endif
