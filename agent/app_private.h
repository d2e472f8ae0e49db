/*
 * app_private.h: what app.c shares with app_self.c and app_once.c: the stages of the running
 * daemon.
 */
#ifndef AGENT_APP_PRIVATE_H
#define AGENT_APP_PRIVATE_H

#include "pgvigil/app.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/ring.h"
#include "pgvigil/collect/collect.h"
#include "pgvigil/gate/gate.h"
#include "pgvigil/notify/notify.h"
#include "pgvigil/rules/rules.h"
#include "pgvigil/serve/serve.h"
#include "pgvigil/store/head.h"
#include "pgvigil/store/history.h"

struct node_seen {
    char node[NODE_NAME_MAX];
    enum node_role role;
};

struct app {
    const char *config_path; /* as given; NULL = default or zero-config */
    struct config *config;
    struct loop *loop; /* the engine's */
    struct workers *workers;
    struct lease_page *page;

    struct series_table *series;
    struct sources *sources;
    struct head *head;
    struct snapshots *snapshots;
    struct alert_board *alerts;
    struct rule_board *rule_board;
    struct board *board;
    struct batch_builder *self;

    struct gate *gate;
    struct ring *reports;
    struct loop_wake *reports_wake;
    struct collect *collect;
    struct alerts_db *alerts_db;
    struct history *history;
    struct rules *rules;
    struct notify *notify;
    struct serve *serve;

    struct loop_timer *rules_timer, *self_timer, *upkeep_timer, *persist_timer;
    struct loop_poll *signal_poll;
    int signal_fd, lock_fd;

    struct alerts_tx *gate_tx; /* flips and states not yet committed */
    struct gate_report *timelines;
    size_t timeline_count;
    struct node_seen *seen;
    size_t seen_count;
    struct batch **uncommitted; /* samples of rules since the last flush */
    size_t uncommitted_count;
    struct show *shows; /* what waits for its commit, oldest first */
    bool gate_reported, gate_urgent, rules_started;
    bool reload_ok;
    wall_ms reloaded_at, started_wall;
    mono_ms started;
};

/* After each flush of alerts; waits: a commit was begun, and app_show_next follows. */
void app_show_later(struct app *app, bool waits, wall_ms now);
/* The oldest flush is durable, or was given up waiting for. */
void app_show_next(struct app *app);
void app_show_drop(struct app *app);
/* Has every configured source answered or failed once? */
bool app_first_polls_done(const struct app *app);
/* Emits "pgvigil/self": what the agent tells about itself. */
void app_self_metrics(struct app *app);
/*
 * `run --once`: probes all nodes once, prints the verdicts, returns an exit code. Publishes and
 * stores nothing, so it may run beside the daemon. Takes over the reference.
 */
int app_once(struct config **config);

#endif
