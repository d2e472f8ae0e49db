/*
 * What the agent tells about itself, each 5 s as one batch: loops, stages, collectors, stores,
 * deliveries, memory. Read from the stages' own statistics; nothing here is on a hot path.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/str.h"

static void add_hist(struct app *app, const char *base, const struct hist *h, const char *label,
                     const char *value)
{
    char bucket[96], name[96], le[32];
    uint64_t count = 0;
    snprintf(bucket, sizeof(bucket), "%s_bucket", base);
    for (size_t i = 0; i <= HIST_BOUNDS; i++) {
        count += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        if (i < HIST_BOUNDS) /* OpenMetrics: a float even if it is whole */
            snprintf(le, sizeof(le), hist_bounds_s[i] >= 1 ? "%.1f" : "%g", hist_bounds_s[i]);
        else
            str_copy(le, sizeof(le), "+Inf");
        BATCH_ADD(app->self, bucket, (double)count, label, value, "le", le);
    }
    snprintf(name, sizeof(name), "%s_sum", base);
    BATCH_ADD(app->self, name, (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9,
              label, value);
    snprintf(name, sizeof(name), "%s_count", base);
    BATCH_ADD(app->self, name, (double)count, label, value);
}

static void add_source(const struct source_state *st, void *arg)
{
    struct app *app = arg;
    if (!st->configured)
        return;
    const char *const labels[] = {"target", st->target, "collector", st->collector, NULL};
    batch_add(app->self, "pgvigil_collector_failing", st->failing, labels);
    batch_add(app->self, "pgvigil_collector_polls_total", (double)st->polls_total, labels);
    batch_add(app->self, "pgvigil_collector_failures_total", (double)st->failures_total, labels);
    batch_add(app->self, "pgvigil_collector_skipped_total", (double)st->skipped_total, labels);
    if (!wall_is_set(st->last_good))
        return;
    batch_add(app->self, "pgvigil_collector_poll_duration_seconds", (double)st->duration_us / 1e6,
              labels);
    batch_add(app->self, "pgvigil_last_collect_timestamp_seconds", (double)st->last_good.ms / 1000,
              labels);
}

/* RssAnon and VmRSS of procfs, in bytes. */
static void add_memory(struct app *app)
{
    char text[4096];
    FILE *f = fopen("/proc/self/status", "re");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    text[n] = '\0';
    const char *rss = strstr(text, "VmRSS:"), *anon = strstr(text, "RssAnon:");
    if (rss != NULL)
        BATCH_ADD(app->self, "pgvigil_memory_resident_bytes", strtod(rss + 6, NULL) * 1024);
    if (anon != NULL)
        BATCH_ADD(app->self, "pgvigil_memory_anonymous_bytes", strtod(anon + 8, NULL) * 1024);
}

static void add_open_files(struct app *app)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;
    while (dir != NULL && readdir(dir) != NULL)
        n++;
    if (dir == NULL)
        return;
    closedir(dir);
    BATCH_ADD(app->self, "pgvigil_open_fds", (double)n - 3); /* ., .. and the directory itself */
}

static void add_process(struct app *app)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    BATCH_ADD(app->self, "pgvigil_cpu_seconds_total",
              (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    add_memory(app);
    add_open_files(app);
    BATCH_ADD(app->self, "pgvigil_start_time_seconds", (double)app->started_wall.ms / 1000);
    BATCH_ADD(app->self, "pgvigil_log_dropped_total", (double)log_dropped());
    BATCH_ADD(app->self, "pgvigil_build_info", 1, "version", PGVIGIL_VERSION);
    BATCH_ADD(app->self, "pgvigil_config_last_reload_successful", app->reload_ok);
    BATCH_ADD(app->self, "pgvigil_config_last_reload_success_timestamp_seconds",
              (double)app->reloaded_at.ms / 1000);
}

static void add_gate(struct app *app)
{
    struct gate_stats st;
    gate_stats(app->gate, &st);
    add_hist(app, "pgvigil_loop_lateness_seconds", st.lateness, "loop", "gate");
    add_hist(app, "pgvigil_loop_turn_seconds", st.turn, "loop", "gate");
    add_hist(app, "pgvigil_stage_seconds", st.publish, "stage", "publish");
    BATCH_ADD(app->self, "pgvigil_gate_reports_lost_total", (double)st.reports_lost);
    BATCH_ADD(app->self, "pgvigil_gate_files_ok", st.files_ok);
    BATCH_ADD(app->self, "pgvigil_queue_length", (double)ring_depth(app->reports), "queue",
              "gate_reports");
}

static void add_missing(const char *file, const char *group, const char *rule, void *arg)
{
    struct app *app = arg;
    BATCH_ADD(app->self, "pgvigil_rule_without_series", 1, "file", file, "group", group, "rule",
              rule);
}

static void add_engine(struct app *app)
{
    struct rules_stats st;
    struct head_stats head = head_stats(app->head);
    rules_stats(app->rules, &st);
    add_hist(app, "pgvigil_loop_lateness_seconds", loop_lateness(app->loop), "loop", "engine");
    add_hist(app, "pgvigil_loop_turn_seconds", loop_turn_time(app->loop), "loop", "engine");
    add_hist(app, "pgvigil_stage_seconds", st.tick_time, "stage", "rules");
    BATCH_ADD(app->self, "pgvigil_rule_evaluations_total", (double)st.evaluations_total);
    BATCH_ADD(app->self, "pgvigil_rule_evaluation_failures_total", (double)st.failures_total);
    BATCH_ADD(app->self, "pgvigil_rule_evaluations_missed_total", (double)st.missed_total);
    rules_each_missing(app->rules, add_missing, app);
    BATCH_ADD(app->self, "pgvigil_alerts", (double)st.pending, "state", "pending");
    BATCH_ADD(app->self, "pgvigil_alerts", (double)st.firing, "state", "firing");
    BATCH_ADD(app->self, "pgvigil_head_series", (double)head.series);
    BATCH_ADD(app->self, "pgvigil_head_bytes", (double)head.bytes);
    BATCH_ADD(app->self, "pgvigil_head_samples_total", (double)head.samples_total);
    BATCH_ADD(app->self, "pgvigil_head_dropped_total", (double)head.dropped_total);
    BATCH_ADD(app->self, "pgvigil_loop_turns_total", (double)loop_turns(app->loop), "loop",
              "engine");
    BATCH_ADD(app->self, "pgvigil_series", (double)series_table_count(app->series));
    BATCH_ADD(app->self, "pgvigil_series_dropped_total", (double)series_table_dropped(app->series));
}

static void add_stores(struct app *app)
{
    struct history_stats history;
    struct alerts_db_stats alerts;
    history_stats(app->history, &history);
    alerts_db_stats(app->alerts_db, &alerts);
    add_hist(app, "pgvigil_stage_seconds", history_commit_time(app->history), "stage",
             "history_commit");
    add_hist(app, "pgvigil_stage_seconds", alerts_db_commit_time(app->alerts_db), "stage",
             "alerts_commit");
    BATCH_ADD(app->self, "pgvigil_history_degraded", history.degraded);
    BATCH_ADD(app->self, "pgvigil_alerts_db_degraded", alerts.degraded);
    BATCH_ADD(app->self, "pgvigil_alerts_db_commits_total", (double)alerts.commits_total);
    BATCH_ADD(app->self, "pgvigil_alerts_db_failures_total", (double)alerts.failures_total);
    BATCH_ADD(app->self, "pgvigil_history_commits_total", (double)history.commits_total);
    BATCH_ADD(app->self, "pgvigil_history_bytes", (double)history.file_bytes);
    BATCH_ADD(app->self, "pgvigil_history_samples_total", (double)history.samples_total);
    BATCH_ADD(app->self, "pgvigil_history_dropped_total", (double)history.dropped_total);
    BATCH_ADD(app->self, "pgvigil_history_queue_bytes", (double)history.queued_bytes);
    BATCH_ADD(app->self, "pgvigil_queue_length", (double)alerts.queued, "queue", "alerts_db");
}

static void add_delivery(struct app *app, struct now now)
{
    struct notify_stats st;
    struct serve_stats http;
    notify_stats(app->notify, now, &st);
    serve_stats(app->serve, &http);
    BATCH_ADD(app->self, "pgvigil_outbox_length", (double)st.outbox_depth);
    BATCH_ADD(app->self, "pgvigil_outbox_oldest_seconds", (double)st.oldest_ms / 1000);
    BATCH_ADD(app->self, "pgvigil_deliveries_total", (double)st.delivered_total, "outcome",
              "delivered");
    BATCH_ADD(app->self, "pgvigil_deliveries_total", (double)st.failed_attempts_total, "outcome",
              "failed");
    BATCH_ADD(app->self, "pgvigil_deliveries_not_durable_total", (double)st.not_durable_total);
    BATCH_ADD(app->self, "pgvigil_http_requests_total", (double)http.requests_total);
    BATCH_ADD(app->self, "pgvigil_http_refused_total", (double)http.refused_total);
    add_hist(app, "pgvigil_stage_seconds", http.request_time, "stage", "http");
}

void app_self_metrics(struct app *app)
{
    struct now now = loop_now(app->loop);
    const char *const common[] = {"cluster", app->config->cluster, NULL};
    batch_begin(app->self, "pgvigil/self", now.wall, common);
    add_process(app);
    add_gate(app);
    add_engine(app);
    add_stores(app);
    add_delivery(app, now);
    sources_each(app->sources, add_source, app);
    struct batch *batch = batch_finish(app->self);
    head_append(app->head, batch);
    history_put(app->history, batch);
    snapshots_put(app->snapshots, batch);
    batch_unref(batch);
}

struct first_polls {
    bool all;
};

static void check_polled(const struct source_state *st, void *arg)
{
    struct first_polls *polls = arg;
    if (st->configured && st->polls_total + st->failures_total == 0)
        polls->all = false;
}

bool app_first_polls_done(const struct app *app)
{
    struct first_polls polls = {.all = true};
    sources_each(app->sources, check_polled, &polls);
    return polls.all;
}
