/*
 * `pgvigil query`: PromQL by the daemon's API, whose head has the newest seconds, or, while it is
 * down, over history.db through a read-only connection of its own, with the same answers. The JSON
 * form is that answer as it is; the others are made from it. Invariant: data on stdout, what the
 * query makes one doubt (warnings, infos) on stderr.
 */
#include "cli_private.h"
#include "query_print.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/serve/offline.h"

#include <math.h>

#define STEP_DEFAULT_MS 60000
#define FORM_MAX        (4 * PROMQL_LENGTH_MAX)

struct times {
    bool is_range;
    int64_t at, start, end, step;
};

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "pgvigil: %s: '%s'\n", what, value);
    return EXIT_CODE_USAGE;
}

static bool parse_time(const char *text, int64_t *ms)
{
    double seconds;
    wall_ms wall;
    if (clock_parse_rfc3339(text, &wall)) {
        *ms = wall.ms;
        return true;
    }
    if (!str_parse_double(text, &seconds) || !(fabs(seconds) < 1e12))
        return false;
    *ms = (int64_t)llround(seconds * 1000);
    return true;
}

static bool parse_step(const char *text, int64_t *ms)
{
    double seconds;
    if (str_parse_duration(text, ms))
        return *ms > 0;
    if (!str_parse_double(text, &seconds) || !(seconds >= 0.001 && seconds < 1e9))
        return false;
    *ms = (int64_t)llround(seconds * 1000);
    return true;
}

/* What does not go together. */
static int check_times(const struct cli_args *args, const struct times *t)
{
    if (args->time != NULL && args->start != NULL)
        return bad("--time is for one time, not for a range from --start", args->time);
    if (args->start == NULL && (args->end != NULL || args->step != NULL))
        return bad("a range needs", "--start");
    if (t->is_range && t->end < t->start)
        return bad("--end is before --start", args->end != NULL ? args->end : "now");
    return EXIT_CODE_OK;
}

static int read_times(const struct cli_args *args, struct times *t)
{
    int64_t now = clock_read().wall.ms;
    *t = (struct times){.at = now, .end = now, .step = STEP_DEFAULT_MS};
    t->is_range = args->start != NULL;
    if (args->time != NULL && !parse_time(args->time, &t->at))
        return bad("--time is neither RFC 3339 nor Unix seconds", args->time);
    if (args->start != NULL && !parse_time(args->start, &t->start))
        return bad("--start is neither RFC 3339 nor Unix seconds", args->start);
    if (args->end != NULL && !parse_time(args->end, &t->end))
        return bad("--end is neither RFC 3339 nor Unix seconds", args->end);
    if (args->step != NULL && !parse_step(args->step, &t->step))
        return bad("--step is not a duration like 30s", args->step);
    return check_times(args, t);
}

/* ---- the request ---- */

static void add_escaped(struct buf *form, const char *text)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
                     (*text >= 'A' && *text <= 'Z');
        if (plain)
            buf_add_char(form, *text);
        else
            buf_printf(form, "%%%02x", (unsigned char)*text);
    }
}

static void add_seconds(struct buf *form, const char *name, int64_t ms)
{
    buf_printf(form, "&%s=%s%lld.%03lld", name, ms < 0 ? "-" : "", llabs((long long)ms) / 1000,
               llabs((long long)ms) % 1000);
}

static void add_request(struct buf *form, const char *expression, const struct times *t)
{
    buf_add_str(form, "query=");
    add_escaped(form, expression);
    if (t->is_range) {
        add_seconds(form, "start", t->start);
        add_seconds(form, "end", t->end);
        add_seconds(form, "step", t->step);
    } else {
        add_seconds(form, "time", t->at);
    }
}

/* ---- the answer ---- */

struct answer {
    int status;
    struct buf body;
};

static int ask_file(const struct cli_args *args, const struct times *t, const char *form,
                    struct answer *answer)
{
    struct err err = {0};
    char path[1024];
    struct config *config = cli_config(args);
    if (config == NULL)
        return EXIT_CODE_CONFIG;
    char *instance = offline_instance(config->listen_host, config->listen_port);
    snprintf(path, sizeof(path), "%s/history.db", config->state_dir);
    config_unref(&config);
    bool ok =
        offline_query(path, instance, t->is_range, form, &answer->status, &answer->body, &err);
    mem_free(instance);
    if (ok)
        return EXIT_CODE_OK;
    fprintf(stderr, "pgvigil: %s\n", err.text);
    return err.kind == ERR_NEWER ? EXIT_CODE_STORE_NEWER : EXIT_CODE_FAILED;
}

/* The daemon refuses what takes long or comes in a crowd; the file can be read without it. */
static bool daemon_gave_up(const struct cli_answer *from)
{
    return from->status >= 500;
}

static int ask(const struct cli_args *args, const struct times *t, const char *form,
               struct answer *answer)
{
    struct cli_answer from;
    int rc = cli_ask(args, t->is_range ? "/api/v1/query_range" : "/api/v1/query", form, &from);
    bool use_file =
        from.is_local && (rc == EXIT_CODE_DAEMON || (rc == EXIT_CODE_OK && daemon_gave_up(&from)));
    if (use_file) {
        if (rc == EXIT_CODE_OK)
            fprintf(stderr, "pgvigil: the daemon gave up, its history file is read instead\n");
        rc = ask_file(args, t, form, answer);
    } else if (rc == EXIT_CODE_OK) {
        answer->status = (int)from.status;
        buf_add_str(&answer->body, from.body);
    } else if (rc == EXIT_CODE_DAEMON) {
        fprintf(stderr, "pgvigil: %s\n", from.why);
    }
    mem_free(from.body);
    return rc;
}

/* What is wrong with the query is a wrong call; what goes wrong with it is a failure. */
static int refused(const struct answer *answer, const json_t *root)
{
    static const char prefix[] = "invalid parameter \"query\": ";
    const char *why = json_string_value(json_object_get(root, "error"));
    const char *type = json_string_value(json_object_get(root, "errorType"));
    if (why != NULL && str_starts(why, prefix)) /* of an API; here it is the only expression */
        why += strlen(prefix);
    fprintf(stderr, "pgvigil: %s\n", why != NULL ? why : answer->body.data);
    return type != NULL && str_eq(type, "bad_data") ? EXIT_CODE_USAGE : EXIT_CODE_FAILED;
}

static int show(const struct answer *answer, enum query_format format)
{
    json_t *root = json_loads(answer->body.data, 0, NULL);
    int rc = EXIT_CODE_OK;
    if (answer->status != 200) {
        rc = refused(answer, root);
    } else if (root == NULL) {
        fprintf(stderr, "pgvigil: the answer is not JSON\n");
        rc = EXIT_CODE_FAILED;
    } else {
        if (format == QUERY_FORMAT_JSON) {
            printf("%s\n", answer->body.data); /* with its warnings and infos */
        } else {
            query_print_notes(root);
            query_print(json_object_get(root, "data"), format);
        }
    }
    json_decref(root);
    return rc;
}

/* A slip of the finger is told at once and by its own exit code, daemon or not. */
static bool is_promql(const char *text)
{
    struct promql_error error;
    struct promql_expr *expr = promql_parse(text, &error);
    if (expr == NULL)
        fprintf(stderr, "pgvigil: %s\n", error.text);
    bool ok = expr != NULL;
    promql_destroy(&expr);
    return ok;
}

int cli_query(const struct cli_args *args)
{
    static const char *const formats[] = {
        [QUERY_FORMAT_TABLE] = "table", [QUERY_FORMAT_JSON] = "json", [QUERY_FORMAT_CSV] = "csv"};
    size_t format = 0;
    struct times t;
    struct buf form;
    struct answer answer = {0};
    while (args->output != NULL && format < ARRAY_LEN(formats) &&
           !str_eq(args->output, formats[format]))
        format++;
    if (format == ARRAY_LEN(formats))
        return bad("-o takes table, json or csv here, not", args->output);
    int rc = read_times(args, &t);
    if (rc != EXIT_CODE_OK)
        return rc;
    if (!is_promql(args->positional[0]))
        return EXIT_CODE_USAGE;
    buf_init(&form, FORM_MAX);
    buf_init(&answer.body, OFFLINE_ANSWER_MAX);
    add_request(&form, args->positional[0], &t);
    rc = ask(args, &t, form.data, &answer);
    if (rc == EXIT_CODE_OK)
        rc = show(&answer, (enum query_format)format);
    buf_deinit(&answer.body);
    buf_deinit(&form);
    return rc;
}
