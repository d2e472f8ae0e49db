/*
 * The daemon's wiring: the only file that knows all stages. The main thread is the engine's loop;
 * the gate, the two stores and the HTTP side have threads of their own and meet here by queues and
 * snapshots only.
 *
 * Order of one engine turn: reports of the gate become samples -> head, history and snapshots;
 * collectors add theirs as they answer; the rule timer, which trails the gate's tick by a few
 * milliseconds, evaluates what is due; changes of alerts are committed with their outbox rows;
 * after the commit they are shown and sent.
 */
#include "pgvigil/app.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/overrides.h"

#define REPORTS_PER_NODE    24
#define REPORTS_MIN         128
#define WORKERS             8
#define RULES_AFTER_GATE_MS 30   /* the gate's batch is in the head by then */
#define FIRST_POLLS_WAIT_MS 5000 /* rules wait for first answers: an empty head is no recovery */
#define SELF_MS             5000
#define UPKEEP_MS           60000
#define PERSIST_MS          10000
#define LARGE_BLOCK         (128 * 1024) /* from here on the kernel gives memory and gets it back */

/* ---- samples ---- */

void app_store_batch(struct app *app, struct batch *batch)
{
    head_append(app->head, batch);
    history_put(app->history, batch);
}

static void on_batch(struct batch *batch, void *arg)
{
    struct app *app = arg;
    app_store_batch(app, batch);
    snapshots_put(app->snapshots, batch);
    batch_unref(batch);
}

static void on_drop(const char *source, wall_ms at, void *arg)
{
    struct app *app = arg;
    static const char *const none[] = {NULL};
    head_end_source(app->head, source, at);
    snapshots_drop(app->snapshots, source);
    batch_begin(app->self, source, at, none);
    struct batch *empty = batch_finish(app->self); /* ends the series in history too */
    history_put(app->history, empty);
    batch_unref(empty);
}

/* ---- alerts ---- */

static void on_committed(void *arg)
{
    app_show_next(arg);
}

/* ---- reports of the gate ---- */

static void remember_role(struct app *app, const struct verdict *v)
{
    for (size_t i = 0; i < app->seen_count; i++) {
        if (str_eq(app->seen[i].node, v->node)) {
            app->seen[i].role = v->role;
            return;
        }
    }
    app->seen = mem_realloc_array(app->seen, app->seen_count + 1, sizeof(*app->seen));
    struct node_seen *seen = &app->seen[app->seen_count++];
    str_copy(seen->node, sizeof(seen->node), v->node);
    seen->role = v->role;
}

static struct alerts_tx *gate_tx(struct app *app)
{
    if (app->gate_tx == NULL)
        app->gate_tx = alerts_tx_create();
    return app->gate_tx;
}

static void keep_timeline(struct app *app, const struct gate_report *report)
{
    for (size_t i = 0; i < app->timeline_count; i++) {
        if (app->timelines[i].u.timeline.system_id == report->u.timeline.system_id &&
            app->timelines[i].u.timeline.timeline == report->u.timeline.timeline) {
            app->timelines[i] = *report;
            return;
        }
    }
    if (app->timeline_count < NODES_MAX) {
        app->timelines =
            mem_realloc_array(app->timelines, app->timeline_count + 1, sizeof(*app->timelines));
        app->timelines[app->timeline_count++] = *report;
    }
}

static void take_report(struct app *app, const struct gate_report *report)
{
    switch (report->kind) {
    case GATE_REPORT_NODE:
        remember_role(app, &report->u.node.verdict);
        collect_gate_report(app->collect, report);
        break;
    case GATE_REPORT_CLUSTER:
        collect_gate_report(app->collect, report);
        app->gate_reported = true;
        break;
    case GATE_REPORT_FLIP:
        alerts_tx_put_gate_flip(gate_tx(app), &report->u.flip);
        app->gate_urgent = true;
        break;
    case GATE_REPORT_STATE:
        alerts_tx_put_gate_node(gate_tx(app), &report->u.state);
        break;
    case GATE_REPORT_TIMELINE:
        keep_timeline(app, report);
        break;
    case GATE_REPORT_CONFIG: {
        struct config *old = report->u.config;
        config_unref(&old);
        break;
    }
    }
}

static void commit_gate(struct app *app)
{
    if (app->gate_tx != NULL)
        alerts_db_commit(app->alerts_db, &app->gate_tx, NULL, NULL);
    app->gate_urgent = false;
}

/*
 * Each 10 s, and with every flip and every change of an alert: whoever starts after a kill must be
 * able to prove the lag that they were decided on.
 */
static void persist_gate(struct app *app)
{
    struct now now = loop_now(app->loop);
    for (size_t i = 0; i < app->timeline_count; i++) {
        alerts_tx_put_timeline(gate_tx(app), app->timelines[i].u.timeline.system_id,
                               app->timelines[i].u.timeline.timeline,
                               &app->timelines[i].u.timeline.entry, now);
    }
    app->timeline_count = 0;
    wall_ms evaluated_at = app_rules_evaluated_at(app);
    if (wall_is_set(evaluated_at))
        alerts_tx_put_evaluated(gate_tx(app), evaluated_at);
    commit_gate(app);
}

static void persist(void *arg)
{
    persist_gate(arg);
}

/* ---- rules ---- */

void app_flush_alerts(struct app *app, struct now now)
{
    bool changed = notify_flush(app->notify, now);
    app_show_later(app, changed, now.wall);
    if (changed)
        persist_gate(app);
}

static void rules_turn(void *arg)
{
    struct app *app = arg;
    struct now now = loop_now(app->loop);
    sources_check_late(app->sources, now.mono);
    app_rules_check_far(app, now);
    rules_tick(app->rules, now);
    app_flush_alerts(app, now);
}

/* Rules start a moment after the gate's tick and stay there: both keep to the monotonic clock. */
static void start_rules_after_gate(struct app *app, struct now now)
{
    bool waited = mono_diff(now.mono, app->started) >= FIRST_POLLS_WAIT_MS;
    if (app->rules_started || (!waited && !app_first_polls_done(app)))
        return;
    app->rules_started = true;
    serve_set_ready(app->serve);
    loop_timer_start_period(app->rules_timer, RULES_AFTER_GATE_MS,
                            app->config->evaluation_interval_ms, NULL);
}

/* ---- turns of the gate ---- */

static void on_reports(void *arg)
{
    struct app *app = arg;
    struct gate_report report;
    while (ring_get(app->reports, &report))
        take_report(app, &report);
    if (app->gate_urgent)
        persist_gate(app);
    if (!app->gate_reported)
        return;
    app->gate_reported = false;
    struct now now = loop_now(app->loop);
    collect_gate_flush(app->collect, now);
    start_rules_after_gate(app, now);
}

/* Called from the gate's thread. */
static void wake_for_reports(void *arg)
{
    struct app *app = arg;
    loop_wake_send(app->reports_wake);
}

/* ---- upkeep ---- */

static void upkeep(void *arg)
{
    struct app *app = arg;
    head_trim(app->head, loop_now(app->loop).wall);
    series_table_sweep(app->series);
}

static void self_turn(void *arg)
{
    struct app *app = arg;
    app_self_metrics(app);
    rule_board_put(app->rule_board, rules_report(app->rules));
}

/* ---- reload ---- */

static void print_findings(struct diag *diag)
{
    struct buf b;
    buf_init(&b, 1024 * 1024);
    diag_print(diag, &b);
    fputs(b.data, stderr);
    buf_deinit(&b);
}

static void tell_restart_keys(const struct config *running, const struct config *fresh)
{
    const char *keys[8];
    size_t n = config_restart_keys(running, fresh, keys, ARRAY_LEN(keys));
    for (size_t i = 0; i < n; i++)
        log_warn("setting has changed and counts from the next start on key=%s", keys[i]);
}

static bool apply_config(struct app *app, struct config *fresh, struct rule_set *set)
{
    struct err err;
    struct now now = loop_now(app->loop);
    if (!notify_reconfigure(app->notify, fresh, &err)) {
        log_error("reload failed error=\"%s\"", err.text);
        rule_set_destroy(&set);
        return false;
    }
    tell_restart_keys(app->config, fresh);
    gate_reconfigure(app->gate, fresh);
    collect_reconfigure(app->collect, fresh);
    serve_reconfigure(app->serve, fresh);
    history_reconfigure(app->history, fresh->history.retention_ms, fresh->history.max_size_bytes);
    config_unref(&app->config);
    app->config = config_ref(fresh);
    app_rules_load(app, set);
    rule_board_put(app->rule_board, rules_report(app->rules));
    app_flush_alerts(app, now);
    return true;
}

static void reload(struct app *app)
{
    struct diag diag;
    diag_init(&diag);
    struct config *fresh = config_load(app->config_path, &diag);
    struct rule_set *set = fresh != NULL ? rule_set_of_config(fresh, &diag) : NULL;
    app->reload_ok = set != NULL && apply_config(app, fresh, set);
    if (set == NULL) {
        print_findings(&diag);
        log_error("reload failed, the old configuration runs on findings=%zu", diag.count);
    } else if (app->reload_ok) {
        app->reloaded_at = loop_now(app->loop).wall;
        log_info("configuration reloaded nodes=%zu pools=%zu", app->config->node_count,
                 app->config->pool_count);
    }
    config_unref(&fresh);
    diag_deinit(&diag);
}

static void on_signal(int events, void *arg)
{
    struct app *app = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (read(app->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            reload(app);
        } else {
            log_info("stopping signal=%d", (int)info.ssi_signo);
            loop_stop(app->loop);
        }
    }
}

/* ---- start ---- */

/* Makes the directory and its parents; what cannot be made is told by who needs it. */
static void make_dir(const char *path, mode_t mode)
{
    char part[512];
    if (!str_copy(part, sizeof(part), path))
        return;
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    mkdir(part, mode);
}

/* One agent per state_dir: the second one names the first and leaves. */
static bool lock_state(struct app *app, struct err *err)
{
    char path[512], pid[32];
    snprintf(path, sizeof(path), "%s/pgvigil.lock", app->config->state_dir);
    app->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (app->lock_fd < 0) {
        log_warn(
            "state_dir cannot be used, alerts and history live in memory only path=%s error=\"%s\"",
            app->config->state_dir, strerror(errno));
        return true;
    }
    if (flock(app->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(app->lock_fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        return err_set(err, ERR_IO, "'%s' is in use by the pgvigil with pid %s",
                       app->config->state_dir, n > 0 ? pid : "?");
    }
    int n = snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (ftruncate(app->lock_fd, 0) != 0 || pwrite(app->lock_fd, pid, (size_t)n, 0) != n)
        log_warn("cannot write pid path=%s", path);
    return true;
}

static bool open_signals(struct app *app, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    app->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (app->signal_fd < 0)
        return err_set(err, ERR_INTERNAL, "cannot open a signal descriptor: %s", strerror(errno));
    app->signal_poll = loop_poll_create(app->loop, app->signal_fd, on_signal, app, err);
    if (app->signal_poll == NULL)
        return false;
    loop_poll_set(app->signal_poll, LOOP_READ);
    return true;
}

static void open_stores(struct app *app, struct alerts_image *image)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/alerts.db", app->config->state_dir);
    app->alerts_db = alerts_db_create(app->loop, path, NULL, image);
    snprintf(app->history_path, sizeof(app->history_path), "%s/history.db", app->config->state_dir);
    app->history = history_create(&(struct history_opts){
        .path = app->history_path,
        .retention_ms = app->config->history.retention_ms,
        .max_size_bytes = app->config->history.max_size_bytes,
    });
}

static void make_model(struct app *app)
{
    app->series = series_table_create(SERIES_CAP_DEFAULT);
    app->sources = sources_create();
    app->head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    app->snapshots = snapshots_create();
    app->alerts = alert_board_create();
    app->rule_board = rule_board_create();
    app->board = board_create();
    app->self = batch_builder_create(app->series);
    size_t slots = app->config->node_count * REPORTS_PER_NODE;
    app->reports =
        ring_create(slots > REPORTS_MIN ? slots : REPORTS_MIN, sizeof(struct gate_report));
    app->reports_wake = loop_wake_create(app->loop, on_reports, app);
}

/* Where people reach the page: a wildcard is no address, and IPv6 stands in brackets. */
static void page_url(const struct app *app, char *out, size_t n)
{
    char name[256];
    const char *host = app->config->listen_host;
    if ((str_eq(host, "0.0.0.0") || str_eq(host, "::")) && gethostname(name, sizeof(name)) == 0)
        host = name;
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(out, n, "http://%s%s%s:%d", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
             serve_port(app->serve));
}

static bool start_notify(struct app *app, const struct alerts_image *image, struct err *err)
{
    page_url(app, app->page_url, sizeof(app->page_url));
    app->notify = notify_create(&(struct notify_opts){.loop = app->loop,
                                                      .db = app->alerts_db,
                                                      .config = app->config,
                                                      .external_url = app->page_url,
                                                      .on_committed = on_committed,
                                                      .arg = app},
                                err);
    if (app->notify == NULL)
        return false;
    notify_restore(app->notify, image, loop_now(app->loop));
    return true;
}

static bool start_serve(struct app *app, struct err *err)
{
    char socket_path[512];
    const char *slash = strrchr(app->config->health_dir, '/');
    snprintf(socket_path, sizeof(socket_path), "%.*s/api.sock",
             slash != NULL ? (int)(slash - app->config->health_dir) : 0, app->config->health_dir);
    app->serve = serve_create(&(struct serve_opts){.config = app->config,
                                                   .board = app->board,
                                                   .snapshots = app->snapshots,
                                                   .alerts = app->alerts,
                                                   .rules = app->rule_board,
                                                   .head = app->head,
                                                   .history_path = app->history_path,
                                                   .version = PGVIGIL_VERSION,
                                                   .api_socket = socket_path},
                              err);
    return app->serve != NULL;
}

static void start_timers(struct app *app)
{
    app->rules_timer = loop_timer_create(app->loop, rules_turn, app);
    app->self_timer = loop_timer_create(app->loop, self_turn, app);
    app->upkeep_timer = loop_timer_create(app->loop, upkeep, app);
    app->persist_timer = loop_timer_create(app->loop, persist, app);
    loop_timer_start_period(app->self_timer, 1000, SELF_MS, NULL);
    loop_timer_start_period(app->upkeep_timer, UPKEEP_MS, UPKEEP_MS, NULL);
    loop_timer_start_period(app->persist_timer, PERSIST_MS, PERSIST_MS, NULL);
}

static bool start_stages(struct app *app, struct rule_set **set, struct err *err)
{
    struct alerts_image image = {0};
    make_model(app);
    open_stores(app, &image);
    app->workers = workers_create(app->loop, WORKERS);
    bool ok = start_serve(app, err) && start_notify(app, &image, err);
    if (ok) {
        app->collect = collect_create(&(struct collect_opts){.loop = app->loop,
                                                             .workers = app->workers,
                                                             .series = app->series,
                                                             .sources = app->sources,
                                                             .config = app->config,
                                                             .emit = on_batch,
                                                             .drop = on_drop,
                                                             .arg = app});
        app_rules_start(app, set, &image);
        start_timers(app);
        app->gate = gate_create(&(struct gate_opts){.config = app->config,
                                                    .image = &image.gate,
                                                    .page = app->page,
                                                    .board = app->board,
                                                    .reports = app->reports,
                                                    .on_report = wake_for_reports,
                                                    .arg = app},
                                err);
        ok = app->gate != NULL;
    }
    alerts_image_free(&image);
    return ok;
}

/* Upstream first, so that nothing arrives in a stage that is gone. */
static void stop(struct app *app)
{
    gate_destroy(&app->gate, true);
    if (app->reports != NULL && app->collect != NULL)
        on_reports(app);
    collect_destroy(&app->collect);
    if (app->alerts_db != NULL)
        persist_gate(app); /* the next run proves lags by it */
    serve_destroy(&app->serve);
    app_rules_stop(app);
    loop_timer_destroy(&app->rules_timer);
    loop_timer_destroy(&app->self_timer);
    loop_timer_destroy(&app->upkeep_timer);
    loop_timer_destroy(&app->persist_timer);
    rules_destroy(&app->rules);
    notify_destroy(&app->notify);
    alerts_db_destroy(&app->alerts_db);
    history_destroy(&app->history);
    workers_destroy(&app->workers);
    lease_close(&app->page);
    app_show_drop(app);
    mem_free(app->seen);
    mem_free(app->timelines);
    batch_builder_destroy(&app->self);
    snapshots_destroy(&app->snapshots);
    alert_board_destroy(&app->alerts);
    rule_board_destroy(&app->rule_board);
    board_destroy(&app->board);
    ring_destroy(&app->reports);
    loop_wake_destroy(&app->reports_wake);
    loop_poll_destroy(&app->signal_poll);
    head_destroy(&app->head);
    sources_destroy(&app->sources);
    series_table_destroy(&app->series);
    loop_destroy(&app->loop);
    if (app->signal_fd >= 0)
        close(app->signal_fd);
    if (app->lock_fd >= 0)
        close(app->lock_fd);
    config_unref(&app->config);
}

static int refuse(struct app *app, const struct err *err)
{
    fprintf(stderr, "pgvigil: %s\n", err->text);
    stop(app);
    return EXIT_CODE_FAILED;
}

static void announce(const struct app *app)
{
    log_info("pgvigil %s started nodes=%zu pools=%zu scope=%s page=%s/ health_dir=%s",
             PGVIGIL_VERSION, app->config->node_count, app->config->pool_count,
             app->config->scope == SCOPE_CLUSTER ? "cluster" : "node", app->page_url,
             app->config->health_dir);
}

int app_run(const struct cli_args *args)
{
    struct app app = {.signal_fd = -1, .lock_fd = -1, .reload_ok = true};
    struct diag diag;
    struct err err = {0};
    log_init(args->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    /* Fixed: else glibc raises it with each large block that is freed, and then keeps what a query
     * has used. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    diag_init(&diag);
    app.config_path = args->config;
    app.config = config_load(args->config, &diag);
    struct rule_set *set = app.config != NULL ? rule_set_of_config(app.config, &diag) : NULL;
    if (set == NULL) {
        print_findings(&diag);
        config_unref(&app.config);
        diag_deinit(&diag);
        return EXIT_CODE_CONFIG;
    }
    diag_deinit(&diag);
    if (args->once) {
        rule_set_destroy(&set);
        return app_once(&app.config);
    }
    make_dir(app.config->state_dir, 0750);
    make_dir(app.config->health_dir, 0755);
    pthread_setname_np(pthread_self(), "pgv-engine");
    bool ok = lock_state(&app, &err);
    if (ok)
        app.page = lease_start(app.config->health_dir, &err); /* forks: before any thread */
    ok = ok && app.page != NULL;
    if (ok)
        app.loop = loop_create("engine", &err);
    ok = ok && app.loop != NULL && open_signals(&app, &err) && start_stages(&app, &set, &err);
    rule_set_destroy(&set);
    if (!ok)
        return refuse(&app, &err);
    app.started = loop_now(app.loop).mono;
    app.reloaded_at = app.started_wall = loop_now(app.loop).wall;
    announce(&app);
    loop_run(app.loop);
    stop(&app);
    return EXIT_CODE_OK;
}
