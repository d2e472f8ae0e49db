/*
 * app_private.h: what the files of the wiring share: the stages of the running daemon.
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
#include "pgvigil/store/joined.h"

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
    struct joined_head *far_head; /* NULL once the daemon stops */
    struct workers *far_workers;
    struct far *fars; /* under way */
    size_t far_count;
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
    char page_url[300];     /* where people reach the page */
    char history_path[512]; /* of the state_dir at start: a reload does not move it */
};

/* To head and history; the batch stays the caller's. */
void app_store_batch(struct app *app, struct batch *batch);
/* What the rules gave since the last flush goes to store, receivers and, in time, to the page. */
void app_flush_alerts(struct app *app, struct now now);

/* ---- app_rules.c ---- */
/* Takes over the set; alerts carry what the configuration says. */
void app_rules_load(struct app *app, struct rule_set *set);
/* Takes over the set. */
void app_rules_start(struct app *app, struct rule_set **set, const struct alerts_image *image);
/* Gives up evaluations that hang. */
void app_rules_check_far(struct app *app, struct now now);
/* When a group was evaluated last; WALL_UNSET = none yet. */
wall_ms app_rules_evaluated_at(const struct app *app);
/* Nothing is evaluated elsewhere any more; before the head and the rules go. */
void app_rules_stop(struct app *app);

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
