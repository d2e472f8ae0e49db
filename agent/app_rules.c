/*
 * app_rules.c: how the rules are wired to the rest: where their samples and changes go, what they
 * are told of targets, and the workers in which rules are evaluated that look further back than the
 * head. Those have two threads of their own: a hung disk must stop neither name look-ups nor the
 * rules that need no disk. Invariant: a job is in app->fars from its start to its end, and the
 * rules hear of its end exactly once, unless the daemon stops.
 */
#include <utlist.h>

#include "app_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"
#include "pgvigil/store/joined.h"

#define FAR_THREADS 2
#define FARS_MAX    256
/* A job that its own deadline does not end hangs in a call, or waits behind one that does. */
#define FAR_GIVE_UP_MS (3 * RULE_FAR_TIMEOUT_MS)

/* ---- samples and alerts ---- */

/* Samples of rules are shown after the commit of the changes that they belong to (app_show.c). */
static void on_rule_samples(struct batch *batch, void *arg)
{
    struct app *app = arg;
    app_store_batch(app, batch);
    app->uncommitted =
        mem_realloc_array(app->uncommitted, app->uncommitted_count + 1, sizeof(*app->uncommitted));
    app->uncommitted[app->uncommitted_count++] = batch;
}

static void on_alert_change(const struct alert *alert, enum alert_state from, void *arg)
{
    struct app *app = arg;
    char labels[600], name[200];
    struct buf b;
    buf_init(&b, sizeof(labels) - 1);
    labels_print(&alert->labels, &b);
    if (alert->state != from) {
        log_info("alert alertname=%s from=%s to=%s value=%g reason=%s labels=%s",
                 log_quote(name, sizeof(name), alert->rule), alert_state_name(from),
                 alert_state_name(alert->state), alert->value,
                 *alert->reason != '\0' ? alert->reason : "-",
                 log_quote(labels, sizeof(labels), b.data));
    }
    buf_deinit(&b);
    notify_change(app->notify, alert, from);
}

/* ---- targets ---- */

static bool input_failing(const char *metric, const struct labels *labels, void *arg)
{
    struct app *app = arg;
    return sources_metric_failing(app->sources, metric, labels);
}

static const struct node_seen *node_seen_find(const struct app *app, const char *name)
{
    for (size_t i = 0; i < app->seen_count; i++)
        if (str_eq(app->seen[i].node, name))
            return &app->seen[i];
    return NULL;
}

static bool is_pool(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (str_eq(config->pools[i].name, name))
            return true;
    return false;
}

/* The target was taken out of the configuration, or a replica has become a primary. */
static bool target_gone(const struct labels *labels, void *arg)
{
    struct app *app = arg;
    const char *node = labels_get(labels, "node");
    const char *replica = labels_get(labels, "replica");
    const char *pool = labels_get(labels, "pool");
    if (pool != NULL)
        return !is_pool(app->config, pool);
    const char *name = node != NULL ? node : replica;
    if (name == NULL)
        return false;
    if (config_node_find(app->config, name) == NULL)
        return true;
    const struct node_seen *seen = node_seen_find(app, name);
    return node == NULL && seen != NULL && seen->role == ROLE_PRIMARY;
}

/* ---- rules that look further back than the head ---- */

struct far {
    struct app *app; /* loop thread */
    struct workers_job *ticket;
    mono_ms give_up_at;
    struct far *prev, *next;
    /* the worker's */
    struct rule_job *job;
    struct joined_head *head;
    char *history_path;
    mono_ms deadline;
    _Atomic bool given_up;
};

static bool far_cancelled(void *arg)
{
    const struct far *far = arg;
    return atomic_load_explicit(&far->given_up, memory_order_relaxed) ||
           !mono_before(clock_read().mono, far->deadline);
}

/* Half a history gives no half of a result: an alert must not follow from samples that could not be
 * read. */
static void far_work(void *arg)
{
    struct far *far = arg;
    struct joined *joined = joined_create(far->head, far->history_path);
    far->deadline = mono_add(clock_read().mono, RULE_FAR_TIMEOUT_MS);
    joined_begin(joined, far_cancelled, far);
    rule_job_run(far->job, joined_reader(joined), far_cancelled, far);
    if (*joined_warning(joined) != '\0')
        rule_job_fail(far->job, joined_warning(joined));
    joined_destroy(&joined);
}

static void far_done(void *arg, bool cancelled)
{
    struct far *far = arg;
    struct app *app = far->app;
    struct now now = loop_now(app->loop);
    DL_DELETE(app->fars, far);
    app->far_count--;
    atomic_store_explicit(&far->given_up, true, memory_order_relaxed);
    if (app->far_head == NULL)
        return; /* the daemon stops */
    if (cancelled)
        rules_far_failed(app->rules, far->job, "the history does not answer", now);
    else
        rules_far_done(app->rules, far->job, now);
    app_flush_alerts(app, now);
}

static void far_dispose(void *arg)
{
    struct far *far = arg;
    rule_job_destroy(&far->job);
    joined_head_unref(far->head);
    mem_free(far->history_path);
    mem_free(far);
}

static bool run_far(struct rule_job *job, void *arg)
{
    static const struct workers_ops ops = {far_work, far_done, far_dispose};
    struct app *app = arg;
    if (app->far_count >= FARS_MAX)
        return false;
    struct far *far = mem_alloc(sizeof(*far));
    far->app = app;
    far->give_up_at = mono_add(clock_read().mono, FAR_GIVE_UP_MS);
    far->job = job;
    far->head = joined_head_ref(app->far_head);
    far->history_path = mem_strdup(app->history_path);
    far->ticket = workers_submit(app->far_workers, NULL, &ops, far);
    if (far->ticket == NULL) {
        far->job = NULL; /* the caller's */
        far_dispose(far);
        return false;
    }
    DL_APPEND(app->fars, far);
    app->far_count++;
    return true;
}

void app_rules_check_far(struct app *app, struct now now)
{
    struct far *far, *next;
    DL_FOREACH_SAFE(app->fars, far, next)
    {
        if (!mono_before(now.mono, far->give_up_at))
            workers_cancel(app->far_workers, far->ticket);
    }
}

static int64_t complete_since(void *arg)
{
    return head_complete_since(((struct app *)arg)->head);
}

/* ---- life ---- */

/* Globs may match nothing, as those of a machine without the package: nobody would be alerted. */
static void tell_empty(const struct rule_set *set)
{
    if (rule_set_count(set, true) + rule_set_count(set, false) == 0)
        log_warn("no rules are loaded, so nothing can alert setting=rules");
}

void app_rules_load(struct app *app, struct rule_set *set)
{
    struct label labels[CONFIG_ALERT_LABELS_MAX];
    tell_empty(set);
    rules_set_external(app->rules, labels, config_alert_labels(app->config, labels));
    rules_load(app->rules, set, loop_now(app->loop));
}

void app_rules_start(struct app *app, struct rule_set **set, const struct alerts_image *image)
{
    app->far_head = joined_head_create(app->head);
    app->far_workers = workers_create(app->loop, FAR_THREADS);
    app->rules = rules_create(&(struct rules_opts){
        .evaluation_interval_ms = app->config->evaluation_interval_ms,
        .external_url = app->page_url,
        .series = app->series,
        .reader = head_reader(app->head),
        .on_samples = on_rule_samples,
        .on_change = on_alert_change,
        .failing = input_failing,
        .gone = target_gone,
        .run_far = run_far,
        .complete_since = complete_since,
        .reader_keep_ms = HEAD_KEEP_MS,
        .sources = app->sources,
        .arg = app,
    });
    app_rules_load(app, *set);
    *set = NULL;
    rules_restore(app->rules, image->alerts, image->alert_count, image->evaluated_at,
                  loop_now(app->loop));
    alert_board_put(app->alerts, rules_list(app->rules, loop_now(app->loop).wall));
    rule_board_put(app->rule_board, rules_report(app->rules));
    app_flush_alerts(app, loop_now(app->loop));
}

wall_ms app_rules_evaluated_at(const struct app *app)
{
    struct rules_stats st;
    if (app->rules == NULL)
        return WALL_UNSET;
    rules_stats(app->rules, &st);
    return st.last_run;
}

void app_rules_stop(struct app *app)
{
    if (app->far_head == NULL)
        return;
    joined_head_close(app->far_head);
    joined_head_unref(app->far_head);
    app->far_head = NULL;
    workers_destroy(&app->far_workers);
}
