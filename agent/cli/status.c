/*
 * `pgvigil status`: one screen from three answers of the daemon: verdict first, then what fires,
 * nodes and pools. The JSON form is the answers themselves, side by side.
 */
#include <time.h>
#include <unistd.h>

#include "cli_private.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/alert.h"

struct status {
    json_t *gate, *alerts, *pools;
};

static void status_free(struct status *s)
{
    json_decref(s->gate);
    json_decref(s->alerts);
    json_decref(s->pools);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

static const char *label_of(const json_t *item, const char *name)
{
    return text_of(json_object_get(item, "labels"), name);
}

static const json_t *alert_items(const struct status *s)
{
    return json_object_get(json_object_get(s->alerts, "data"), "alerts");
}

static void paint(const char *code, const char *text)
{
    if (cli_colour())
        printf("\033[%sm%s\033[0m", code, text);
    else
        fputs(text, stdout);
}

#define RED    "31"
#define YELLOW "33"
#define GREEN  "32"

/* What always fires (Watchdog) says nothing about the cluster. */
static bool counts(const json_t *alert)
{
    return !str_eq(label_of(alert, "severity"), SEVERITY_NONE);
}

static void print_verdict(const struct status *s)
{
    size_t i, firing = 0, critical = 0, down = 0;
    const json_t *item;
    const json_t *nodes = json_object_get(s->gate, "nodes");
    json_array_foreach(alert_items(s), i, item)
    {
        bool fires = str_eq(text_of(item, "state"), "firing") && counts(item);
        firing += fires;
        critical += fires && str_eq(label_of(item, "severity"), "critical");
    }
    json_array_foreach(nodes, i, item)
    {
        down += !json_is_true(json_object_get(item, "up"));
    }
    char text[160];
    if (critical > 0 || down > 0) {
        snprintf(text, sizeof(text),
                 "TROUBLE: %zu critical of %zu firing alerts, %zu of %zu nodes down", critical,
                 firing, down, json_array_size(nodes));
        paint(RED, text);
    } else if (firing > 0) {
        snprintf(text, sizeof(text), "LOOK: %zu alerts firing, all %zu nodes answer", firing,
                 json_array_size(nodes));
        paint(YELLOW, text);
    } else {
        snprintf(text, sizeof(text), "OK: all %zu nodes answer, nothing fires",
                 json_array_size(nodes));
        paint(GREEN, text);
    }
    putchar('\n');
}

static void print_alerts(const struct status *s)
{
    size_t i;
    bool any = false;
    const json_t *item;
    json_array_foreach(alert_items(s), i, item)
    {
        if (!counts(item))
            continue;
        if (!any)
            printf("\n%-9s  %-9s  %-24s  %s\n", "STATE", "SEVERITY", "ALERT", "SUMMARY");
        any = true;
        printf("%-9s  %-9s  %-24s  %s%s\n", text_of(item, "state"), label_of(item, "severity"),
               label_of(item, "alertname"),
               text_of(json_object_get(item, "annotations"), "summary"),
               json_is_true(json_object_get(item, "held")) ? " (held: input missing)" : "");
    }
}

static void print_seconds(const json_t *value)
{
    if (json_is_number(value))
        printf("  %8.2fs", json_number_value(value));
    else
        printf("  %9s", "-");
}

static void print_nodes(const struct status *s)
{
    size_t i;
    const json_t *item;
    printf("\n%-20s  %-8s  %-9s  %9s  %-5s  %-5s  %s\n", "NODE", "ROLE", "STATE", "LAG", "READ",
           "WRITE", "REASON");
    json_array_foreach(json_object_get(s->gate, "nodes"), i, item)
    {
        bool up = json_is_true(json_object_get(item, "up"));
        bool replica = str_eq(text_of(item, "role"), "replica");
        printf("%-20s  %-8s  %-9s", text_of(item, "node"), text_of(item, "role"),
               !up       ? "down"
               : replica ? text_of(item, "state")
                         : "up");
        print_seconds(replica ? json_object_get(item, "lag_seconds") : NULL);
        printf("  %-5s  %-5s  %s\n", json_is_true(json_object_get(item, "read")) ? "yes" : "no",
               json_is_true(json_object_get(item, "write")) ? "yes" : "no",
               text_of(item, "reason"));
    }
}

static double pool_value(const json_t *samples, const json_t *like, const char *metric,
                         const char *state)
{
    size_t i;
    const json_t *item;
    json_array_foreach(samples, i, item)
    {
        if (str_eq(label_of(item, "__name__"), metric) && str_eq(label_of(item, "state"), state) &&
            str_eq(label_of(item, "pool"), label_of(like, "pool")) &&
            str_eq(label_of(item, "database"), label_of(like, "database")) &&
            str_eq(label_of(item, "user"), label_of(like, "user")))
            return json_number_value(json_object_get(item, "value"));
    }
    return -1;
}

static void print_pool(const json_t *samples, const json_t *item)
{
    char busy[16] = "no limit";
    double share = pool_value(samples, item, "db_connection_pool_utilization", "");
    if (share >= 0)
        snprintf(busy, sizeof(busy), "%.0f%%", share * 100);
    printf("%-12s  %-14s  %-12s  %8s  %6.0f  %5.0f  %7.0f  %6.2fs\n", label_of(item, "pool"),
           label_of(item, "database"), label_of(item, "user"), busy,
           pool_value(samples, item, "db_connection_pool_size", "active"),
           pool_value(samples, item, "db_connection_pool_size", "idle"),
           pool_value(samples, item, "db_connection_pool_size", "waiting"),
           json_number_value(json_object_get(item, "value")));
}

static void print_pools(const struct status *s)
{
    size_t i;
    bool any = false;
    const json_t *item, *samples = json_object_get(s->pools, "samples");
    json_array_foreach(samples, i, item)
    {
        if (!str_eq(label_of(item, "__name__"), "db_connection_pool_wait_time_seconds"))
            continue;
        if (!any)
            printf("\n%-12s  %-14s  %-12s  %8s  %6s  %5s  %7s  %7s\n", "POOL", "DATABASE", "USER",
                   "BUSY", "ACTIVE", "IDLE", "WAITING", "WAIT");
        any = true;
        print_pool(samples, item);
    }
}

static int print_json(const struct status *s)
{
    json_t *all = json_pack("{s:s, s:O, s:O, s:O}", "schema", "pgvigil.status/1", "gate", s->gate,
                            "alerts", json_object_get(s->alerts, "data"), "pools", s->pools);
    int rc = json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(all);
    return rc == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int show(const struct cli_args *args, bool json)
{
    struct status s = {0};
    int rc = cli_get_json(args, "/api/pgvigil/gate", &s.gate);
    if (rc == EXIT_CODE_OK)
        rc = cli_get_json(args, "/api/v1/alerts", &s.alerts);
    if (rc == EXIT_CODE_OK)
        rc = cli_get_json(args, "/api/pgvigil/pools", &s.pools);
    if (rc == EXIT_CODE_OK && json) {
        rc = print_json(&s);
    } else if (rc == EXIT_CODE_OK) {
        if (args->watch_s > 0 && isatty(STDOUT_FILENO))
            fputs("\033[H\033[2J", stdout);
        print_verdict(&s);
        print_alerts(&s);
        print_nodes(&s);
        print_pools(&s);
    }
    status_free(&s);
    return rc;
}

int cli_status(const struct cli_args *args)
{
    bool json = args->output != NULL && str_eq(args->output, "json");
    if (args->output != NULL && !json && !str_eq(args->output, "text")) {
        fprintf(stderr, "pgvigil: -o takes text or json here, not '%s'\n", args->output);
        return EXIT_CODE_USAGE;
    }
    int rc = show(args, json);
    while (args->watch_s > 0) {
        fflush(stdout);
        nanosleep(&(struct timespec){.tv_sec = args->watch_s}, NULL);
        rc = show(args, json);
    }
    return rc;
}
