/*
 * `pgvigil rules replay`: rules over the local history: when each would have fired. It reads
 * history.db through a connection of its own that cannot write, so the daemon may run or be down.
 * What is printed is data for people or, with -o json, for programs; gaps stand in both, since
 * "resolved" and "nobody looked" are not the same.
 */
#include <inttypes.h>
#include <unistd.h>

#include "cli_private.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/overrides.h"
#include "pgvigil/rules/replay_history.h"
#include "pgvigil/store/history.h"

#define SINCE_DEFAULT_MS (INT64_C(7) * 24 * 3600 * 1000)
#define OUT_MAX          ((size_t)256 * 1024 * 1024)

/* ---- words ---- */

/* Seconds are enough for people. */
static const char *time_text(wall_ms t, char out[CLOCK_RFC3339_MAX])
{
    clock_format_rfc3339((wall_ms){t.ms - t.ms % 1000}, out);
    size_t n = strlen(out);
    memcpy(out + n - 5, "Z", 2); /* without .000 */
    return out;
}

static const char *span_text(int64_t ms, char out[64])
{
    return str_format_duration(ms >= 1000 ? ms - ms % 1000 : ms, out, 64);
}

static void add_labels(struct buf *out, const struct labels *labels)
{
    struct label pairs[LABELS_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < labels->n && n < LABELS_MAX; i++)
        if (!str_eq(labels->v[i].name, "alertname"))
            pairs[n++] = labels->v[i];
    labels_print(&(struct labels){n, pairs}, out);
}

static wall_ms end_of(const struct replay_outcome *o, const struct replay_firing *f)
{
    return wall_is_set(f->to) ? f->to : o->data_end;
}

/* Did the agent look away while it fired, or just before? The first step of a group with a long
 * interval may be that late behind a gap. */
static bool touches(const struct replay_outcome *o, const struct replay_firing *f,
                    const struct replay_gap *gap)
{
    static const int64_t slack = INT64_C(5) * 60 * 1000;
    return f->from.ms <= gap->resumed.ms + slack && end_of(o, f).ms >= gap->from.ms;
}

/* ---- text ---- */

static void add_gap(struct buf *out, const struct replay_gap *gap)
{
    char from[CLOCK_RFC3339_MAX], to[CLOCK_RFC3339_MAX], span[64];
    buf_printf(out, "%s to %s (%s)", time_text(gap->from, from), time_text(gap->to, to),
               span_text(wall_diff(gap->to, gap->from), span));
}

static void add_firing(struct buf *out, const struct replay_outcome *o,
                       const struct replay_firing *f)
{
    char from[CLOCK_RFC3339_MAX], to[CLOCK_RFC3339_MAX], span[64];
    const char *summary = labels_get_or_empty(&f->alert->annotations, "summary");
    buf_printf(out, "  %s  %-20s  %8s  peak %.6g  ", time_text(f->from, from),
               wall_is_set(f->to) ? time_text(f->to, to) : "still firing",
               span_text(wall_diff(end_of(o, f), f->from), span), f->peak);
    add_labels(out, &f->alert->labels);
    if (*summary != '\0')
        buf_printf(out, "  %s", summary);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < o->gap_count; i++) {
        if (!touches(o, f, &o->gaps[i]))
            continue;
        buf_add_str(out, "    no data ");
        add_gap(out, &o->gaps[i]);
        buf_add_str(out, ": where it ends and begins there nobody saw\n");
    }
}

static void add_totals(struct buf *out, const struct replay_outcome *o)
{
    char span[64];
    bool any = false;
    for (size_t i = 0; i < o->rule_count; i++) {
        const struct replay_rule *r = &o->rules[i];
        if (r->firing_count == 0)
            continue;
        if (!any)
            buf_printf(out, "%-32s %7s  %s\n", "ALERT", "TIMES", "TOTAL");
        any = true;
        buf_printf(out, "%-32s %7zu  %s\n", r->name, r->firing_count,
                   span_text(r->firing_ms, span));
    }
    if (any)
        buf_add_char(out, '\n');
}

static void add_never(struct buf *out, const struct replay_outcome *o)
{
    bool any = false;
    for (size_t i = 0; i < o->rule_count; i++) {
        const struct replay_rule *r = &o->rules[i];
        if (!r->is_alert || r->firing_count > 0 || r->left_out || r->failures > 0)
            continue;
        buf_printf(out, "%s%s", any ? ", " : "never fired: ", r->name);
        any = true;
    }
    if (any)
        buf_add_char(out, '\n');
}

static void add_trouble(struct buf *out, const struct replay_outcome *o)
{
    char span[64];
    for (size_t i = 0; i < o->rule_count; i++) {
        const struct replay_rule *r = &o->rules[i];
        if (r->left_out)
            buf_printf(out, "not replayed: %s looks back %s, more than fits into memory\n", r->name,
                       span_text(r->reach_ms, span));
        if (r->failures > 0)
            buf_printf(out, "failed %" PRIu64 " times: %s: %s\n", r->failures, r->name, r->error);
    }
}

static void add_text(struct buf *out, const struct replay_outcome *o)
{
    char start[CLOCK_RFC3339_MAX], end[CLOCK_RFC3339_MAX];
    buf_printf(out, "%s to %s\n", time_text(o->start, start), time_text(o->end, end));
    for (size_t i = 0; i < o->gap_count; i++) {
        buf_add_str(out, "no data ");
        add_gap(out, &o->gaps[i]);
        buf_add_str(out, ": nothing was evaluated, and no alert aged\n");
    }
    for (size_t i = 0; i < o->rule_count; i++) {
        const struct replay_rule *r = &o->rules[i];
        if (r->firing_count > 0)
            buf_printf(out, "\n%s (group %s)\n", r->name, r->group);
        for (size_t k = 0; k < r->firing_count; k++)
            add_firing(out, o, &r->firings[k]);
    }
    buf_add_char(out, '\n');
    add_totals(out, o);
    add_never(out, o);
    add_trouble(out, o);
}

/* ---- JSON: an array with an object for each rule ---- */

static void add_json_time(struct buf *out, const char *key, wall_ms t)
{
    char text[CLOCK_RFC3339_MAX];
    buf_printf(out, "\"%s\":\"%s\"", key, clock_format_rfc3339(t, text));
}

static void add_json_gaps(struct buf *out, const struct replay_outcome *o,
                          const struct replay_firing *f)
{
    bool any = false;
    buf_add_str(out, ",\"gaps\":[");
    for (size_t i = 0; i < o->gap_count; i++) {
        if (f != NULL && !touches(o, f, &o->gaps[i]))
            continue;
        buf_add_str(out, any ? ",{" : "{");
        add_json_time(out, "from", o->gaps[i].from);
        buf_add_char(out, ',');
        add_json_time(out, "to", o->gaps[i].to);
        buf_add_char(out, '}');
        any = true;
    }
    buf_add_char(out, ']');
}

static void add_json_firing(struct buf *out, const struct replay_outcome *o,
                            const struct replay_firing *f)
{
    struct buf peak;
    buf_init(&peak, 64);
    buf_add_double(&peak, f->peak);
    buf_add_char(out, '{');
    add_json_time(out, "from", f->from);
    buf_add_str(out, ",");
    if (wall_is_set(f->to))
        add_json_time(out, "to", f->to);
    else
        buf_add_str(out, "\"to\":null");
    buf_printf(out, ",\"seconds\":%.3f,\"peak\":", (double)wall_diff(end_of(o, f), f->from) / 1000);
    buf_add_json(out, peak.data); /* a text, as in Prometheus' API: it may be NaN */
    buf_add_str(out, ",\"labels\":");
    labels_print_json(&f->alert->labels, out);
    buf_add_str(out, ",\"annotations\":");
    labels_print_json(&f->alert->annotations, out);
    add_json_gaps(out, o, f);
    buf_add_char(out, '}');
    buf_deinit(&peak);
}

static void add_json_rule(struct buf *out, const struct replay_outcome *o,
                          const struct replay_rule *r)
{
    buf_printf(out, "{\"%s\":", r->is_alert ? "alert" : "record");
    buf_add_json(out, r->name);
    buf_add_str(out, ",\"group\":");
    buf_add_json(out, r->group);
    buf_add_str(out, ",\"file\":");
    buf_add_json(out, r->file);
    buf_add_char(out, ',');
    add_json_time(out, "start", o->start);
    buf_add_char(out, ',');
    add_json_time(out, "end", o->end);
    buf_printf(out, ",\"times\":%zu,\"seconds\":%.3f,\"failures\":%" PRIu64 ",\"error\":",
               r->firing_count, (double)r->firing_ms / 1000, r->failures);
    buf_add_json(out, r->error);
    buf_printf(out, ",\"left_out\":%s", r->left_out ? "true" : "false");
    add_json_gaps(out, o, NULL);
    buf_add_str(out, ",\"firings\":[");
    for (size_t k = 0; k < r->firing_count; k++) {
        buf_add_str(out, k > 0 ? "," : "");
        add_json_firing(out, o, &r->firings[k]);
    }
    buf_add_str(out, "]}");
}

static void add_json(struct buf *out, const struct replay_outcome *o)
{
    for (size_t i = 0; i < o->rule_count; i++) {
        buf_add_str(out, i > 0 ? ",\n " : "[");
        add_json_rule(out, o, &o->rules[i]);
    }
    buf_add_str(out, o->rule_count > 0 ? "]\n" : "[]\n");
}

/* ---- the work ---- */

struct job {
    const struct cli_args *args;
    const struct config *config;
    struct reader *history;
    wall_ms start, end;
    bool is_json, is_terminal;
};

static void show_progress(wall_ms at, void *arg)
{
    const struct job *job = arg;
    char text[CLOCK_RFC3339_MAX];
    int64_t done = i64_max(0, at.ms - job->start.ms), all = job->end.ms - job->start.ms;
    fprintf(stderr, "\r%3d %%  %s", (int)(100 * done / all), time_text(at, text));
}

/* NULL: the findings are on stderr. */
static struct rule_set *load_rules(const struct job *job)
{
    const struct cli_args *args = job->args;
    struct diag diag;
    struct buf text;
    diag_init(&diag);
    struct rule_set *set = args->positional_count > 0
                               ? rule_set_load(args->positional, args->positional_count, &diag)
                               : rule_set_of_config(job->config, &diag);
    buf_init(&text, 1024 * 1024);
    diag_print(&diag, &text);
    fputs(text.data, stderr);
    buf_deinit(&text);
    diag_deinit(&diag);
    return set;
}

static int print_outcome(const struct job *job, const struct replay_outcome *outcome)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    if (job->is_json)
        add_json(&out, outcome);
    else
        add_text(&out, outcome);
    bool ok = buf_ok(&out);
    if (ok)
        fwrite(out.data, 1, out.len, stdout);
    else
        fputs("pgvigil: the result is too long, ask for less at once\n", stderr);
    buf_deinit(&out);
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

/* Where rules look back on more than fits into memory, it begins anew without those. */
static int replay(const struct job *job)
{
    static const int64_t reaches[] = {0, INT64_C(24) * 3600 * 1000, INT64_C(2) * 3600 * 1000};
    struct replay_outcome *outcome = NULL;
    struct label labels[CONFIG_ALERT_LABELS_MAX];
    size_t label_count = config_alert_labels(job->config, labels);
    struct err err = {.kind = ERR_LIMIT};
    for (size_t i = 0; outcome == NULL && err.kind == ERR_LIMIT && i < ARRAY_LEN(reaches); i++) {
        struct rule_set *set = load_rules(job);
        if (set == NULL)
            return EXIT_CODE_CONFIG;
        outcome = replay_history_run(
            &(struct replay_history_opts){.history = job->history,
                                          .evaluation_interval_ms =
                                              job->config->evaluation_interval_ms,
                                          .external_labels = labels,
                                          .external_label_count = label_count,
                                          .start = job->start,
                                          .end = job->end,
                                          .max_reach_ms = reaches[i],
                                          .progress = job->is_terminal ? show_progress : NULL,
                                          .arg = (void *)(uintptr_t)job},
            set, &err);
        if (job->is_terminal)
            fputs("\r\033[K", stderr);
    }
    if (outcome == NULL) {
        fprintf(stderr, "pgvigil: %s\n", err.text);
        return err.kind == ERR_NEWER ? EXIT_CODE_STORE_NEWER : EXIT_CODE_FAILED;
    }
    int rc = print_outcome(job, outcome);
    replay_outcome_destroy(&outcome);
    return rc;
}

static int open_and_replay(struct job *job)
{
    struct err err = {0};
    char path[1024];
    snprintf(path, sizeof(path), "%s/history.db", job->config->state_dir);
    job->history = history_reader_open(path, &err);
    if (job->history == NULL) {
        fprintf(stderr, "pgvigil: %s\n", err.text);
        return err.kind == ERR_NEWER ? EXIT_CODE_STORE_NEWER : EXIT_CODE_FAILED;
    }
    int rc = replay(job);
    history_reader_close(&job->history);
    return rc;
}

int cli_rules(const struct cli_args *args)
{
    int64_t since = SINCE_DEFAULT_MS;
    struct job job = {.args = args, .is_terminal = isatty(STDERR_FILENO)};
    if (args->since != NULL && (!str_parse_duration(args->since, &since) || since <= 0)) {
        fprintf(stderr, "pgvigil: --since is not a duration like 7d: '%s'\n", args->since);
        return EXIT_CODE_USAGE;
    }
    job.is_json = args->output != NULL && str_eq(args->output, "json");
    if (args->output != NULL && !job.is_json && !str_eq(args->output, "text")) {
        fprintf(stderr, "pgvigil: -o takes text or json here, not: '%s'\n", args->output);
        return EXIT_CODE_USAGE;
    }
    struct config *config = cli_config(args);
    if (config == NULL)
        return EXIT_CODE_CONFIG;
    job.config = config;
    job.end = clock_read().wall;
    job.start = wall_add(job.end, -since);
    log_set_level(LOG_LEVEL_ERROR); /* errors of rules are told as results */
    int rc = open_and_replay(&job);
    config_unref(&config);
    return rc;
}
