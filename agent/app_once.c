/*
 * `pgvigil run --once`: the gate alone, in dry run, until every node has been probed or the probes'
 * deadlines have passed; then the verdicts as a table. No store, no listener, no health file, so
 * it can be tried on a host where the daemon runs already.
 */
#include "app_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"

#define ONCE_MARGIN_MS 1500
#define ONCE_POLL_MS   100

struct once {
    struct config *config;
    struct loop *loop;
    struct board *board;
    struct ring *reports; /* nobody reads them */
    mono_ms give_up;
};

/* Every node was read, and the lag of every replica is proven. */
static bool all_judged(const struct verdict *nodes, size_t n, size_t wanted)
{
    size_t judged = 0;
    for (size_t i = 0; i < n; i++)
        judged += wall_is_set(nodes[i].read_at) && nodes[i].role != ROLE_UNKNOWN &&
                  (nodes[i].role == ROLE_PRIMARY || nodes[i].state != FRESH_UNKNOWN);
    return judged == wanted;
}

static void look(void *arg)
{
    struct once *once = arg;
    struct verdict *nodes = NULL;
    size_t n = board_nodes(once->board, &nodes);
    if (all_judged(nodes, n, once->config->node_count) ||
        !mono_before(loop_now(once->loop).mono, once->give_up))
        loop_stop(once->loop);
    mem_free(nodes);
}

static void print_lag(int64_t ms)
{
    if (ms == LAG_UNKNOWN || ms == LAG_INFINITE)
        printf("  %8s", ms == LAG_UNKNOWN ? "-" : "?");
    else
        printf("  %7.2fs", (double)ms / 1000);
}

static int print_verdicts(struct board *board)
{
    struct verdict *nodes = NULL;
    size_t n = board_nodes(board, &nodes);
    bool all_up = n > 0;
    printf("%-24s  %-8s  %-9s  %8s  %-5s  %-5s  %s\n", "NODE", "ROLE", "STATE", "LAG", "READ",
           "WRITE", "REASON");
    for (size_t i = 0; i < n; i++) {
        const struct verdict *v = &nodes[i];
        bool answered = wall_is_set(v->read_at);
        printf("%-24s  %-8s  %-9s", v->node, node_role_name(v->role),
               !answered ? "no answer" : fresh_state_name(v->state));
        print_lag(v->role == ROLE_REPLICA ? v->lag_ms : LAG_UNKNOWN);
        printf("  %-5s  %-5s  %s%s%s\n", v->read ? "yes" : "no", v->write ? "yes" : "no", v->reason,
               *v->evidence != '\0' ? ": " : "", v->evidence);
        all_up = all_up && answered;
    }
    mem_free(nodes);
    return all_up ? EXIT_CODE_OK : EXIT_CODE_DATABASE;
}

static bool run_gate(struct once *once, struct err *err)
{
    struct gate *gate = gate_create(
        &(struct gate_opts){.config = once->config, .board = once->board, .reports = once->reports},
        err);
    if (gate == NULL)
        return false;
    struct loop_timer *timer = loop_timer_create(once->loop, look, once);
    loop_timer_start_period(timer, ONCE_POLL_MS, ONCE_POLL_MS, NULL);
    loop_run(once->loop);
    loop_timer_destroy(&timer);
    gate_destroy(&gate, true);
    return true;
}

int app_once(struct config **config)
{
    struct once once = {.config = *config};
    struct err err = {0};
    log_set_level(LOG_LEVEL_WARN);
    once.config->gate.dry_run = true; /* nobody shares it yet */
    once.loop = loop_create("once", &err);
    once.board = board_create();
    once.reports = ring_create(64, sizeof(struct gate_report));
    int rc = EXIT_CODE_FAILED;
    if (once.loop != NULL) {
        once.give_up = mono_add(loop_now(once.loop).mono,
                                once.config->gate.probe_timeout_ms +
                                    2 * once.config->intervals.replication_ms + ONCE_MARGIN_MS);
        if (run_gate(&once, &err))
            rc = print_verdicts(once.board);
    }
    if (err.kind != ERR_NONE)
        fprintf(stderr, "pgvigil: %s\n", err.text);
    board_destroy(&once.board);
    ring_destroy(&once.reports);
    loop_destroy(&once.loop);
    config_unref(config);
    return rc;
}
