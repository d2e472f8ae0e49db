/*
 * promql_bench.c: the query engine over a head with made data, driven by lines on stdin.
 *
 * Why so: the data takes seconds to make, and the same samples must be asked in process, over HTTP
 * and, written as OpenMetrics, of Prometheus. Values depend on series and tick only, so a file
 * and a head that were made by two runs are the same. Each answer is one line of JSON.
 * Usage: promql_bench SERIES TICKS START_SECONDS [--write FILE]
 * Lines (fields end with tabs, the last with the line):
 *   instant REPEATS TIME_MS EXPR         range REPEATS START_MS END_MS STEP_MS EXPR
 *   parse REPEATS EXPR                   serve PORT
 *   rules REPEATS PAGE FILE...           PAGE: a text of /metrics that the head is filled from
 */
#include <inttypes.h>
#include <malloc.h>
#include <math.h>

#include "promql/mem_reader.h"

#include "pgvigil/base/str.h"
#include "pgvigil/promql/json.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/rules/rules.h"
#include "pgvigil/serve/serve.h"

#define TICK_MS       5000
#define LAG_SERIES    10
#define REPEATS_MAX   10000
#define LINE_BYTES    16384
#define FIELDS_MAX    64
#define RESULT_MAX    ((size_t)256 << 20)
#define HEAD_MAX      ((size_t)1 << 30)
#define KEEP_MS       (INT64_C(400) * 24 * 3600 * 1000)
#define QUERY_ARENA   ((size_t)128 << 20) /* what the API gives to a query */
#define LARGE_BLOCK   (128 * 1024)        /* as the agent sets it: large blocks are given back */
#define PAGE_MAX      ((size_t)16 << 20)
#define RULE_TICKS    1440 /* 2 h at 5 s */
#define RULE_STEP_MS  60000
#define RULE_START_MS INT64_C(1767225600000)

static void die(const char *what, const char *why)
{
    fprintf(stderr, "promql_bench: %s: %s\n", what, why);
    exit(1);
}

/* ---- data ---- */

struct made {
    size_t series, ticks;
    int64_t start_ms;
};

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static double fraction(size_t series, size_t tick)
{
    return (double)(mix((uint64_t)series << 32 | tick) >> 11) * 0x1p-53;
}

/* By kind: hardly ever another value, a counter that is reset twice, decimals, full doubles. */
static double made_value(size_t series, size_t tick)
{
    double noise = fraction(series, tick);

    switch (series % 4) {
    case 0:
        return (double)(series + (tick + 37 * series) / 4000 % 3);
    case 1:
        return (double)((tick + 211 * series) % 7000 * 13 + mix(tick) % 13);
    case 2:
        return round(noise * 60000) / 1000;
    default:
        return 100 * noise;
    }
}

/* The first of the decimals are the lag of replicas. */
static void made_name(size_t series, char *name, size_t n, const char **label, char *value)
{
    size_t of_kind = series / 4;
    bool is_lag = series % 4 == 2 && of_kind < LAG_SERIES;

    snprintf(name, n, is_lag ? "db_replication_lag_seconds" : "db_kind%zu", series % 4);
    *label = is_lag ? "replica" : "series";
    snprintf(value, 32, is_lag ? "replica%zu" : "%zu", of_kind);
}

static void write_openmetrics(const struct made *made, const char *path)
{
    FILE *file = fopen(path, "w");
    struct buf line;

    if (!file)
        die(path, "cannot be written");
    buf_init(&line, 1024);
    for (size_t s = 0; s < made->series; s++) {
        char name[64], value[32];
        const char *label;

        made_name(s, name, sizeof(name), &label, value);
        for (size_t i = 0; i < made->ticks; i++) {
            buf_clear(&line);
            buf_printf(&line, "%s{%s=\"%s\"} ", name, label, value);
            buf_add_double(&line, made_value(s, i));
            buf_printf(&line, " %" PRId64 "\n", (made->start_ms + (int64_t)i * TICK_MS) / 1000);
            fwrite(line.data, 1, line.len, file);
        }
    }
    fputs("# EOF\n", file);
    buf_deinit(&line);
    if (fclose(file) != 0)
        die(path, "was not written whole");
}

static void append(struct head *head, struct batch *batch)
{
    head_append(head, batch);
    batch_unref(batch);
}

static void fill_head(const struct made *made, struct head *head, struct series_table *table)
{
    static const char *const none[] = {NULL};
    struct batch_builder *builder = batch_builder_create(table);
    struct series **series = mem_alloc_array(made->series, sizeof(struct series *));

    for (size_t s = 0; s < made->series; s++) {
        char name[64], value[32];
        struct label pair = {.value = value};

        made_name(s, name, sizeof(name), &pair.name, value);
        series[s] = series_table_make(table, name, &pair, 1);
    }
    for (size_t i = 0; i < made->ticks; i++) {
        batch_begin(builder, "bench/made", (wall_ms){made->start_ms + (int64_t)i * TICK_MS}, none);
        for (size_t s = 0; s < made->series; s++)
            batch_add_series(builder, series[s], made_value(s, i));
        append(head, batch_finish(builder));
    }
    mem_free(series);
    batch_builder_destroy(&builder);
}

/* ---- figures ---- */

struct figures {
    uint64_t ns[REPEATS_MAX], cpu[REPEATS_MAX];
    size_t n, bytes;
};

struct moment {
    uint64_t ns, cpu;
};

/* A busy machine makes the one longer, hardly the other. */
static struct moment moment_now(void)
{
    struct timespec cpu;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (struct moment){clock_stage_ns(),
                           (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec};
}

static void note_time(struct figures *f, struct moment begin)
{
    struct moment now = moment_now();

    f->ns[f->n] = now.ns - begin.ns;
    f->cpu[f->n++] = now.cpu - begin.cpu;
}

static int compare_ns(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The smallest that a share of all does not exceed, in ms. */
static double percentile_ms(uint64_t *ns, size_t n, double share)
{
    double rank = ceil(share * (double)n);

    qsort(ns, n, sizeof(*ns), compare_ns);
    return (double)ns[rank < 1 ? 0 : (size_t)rank - 1] / 1e6;
}

static void print_figures(struct figures *f, struct buf *out)
{
    buf_printf(out, "{\"p50\":%.6f,\"p99\":%.6f,\"cpu\":%.6f,\"bytes\":%zu",
               percentile_ms(f->ns, f->n, 0.5), percentile_ms(f->ns, f->n, 0.99),
               percentile_ms(f->cpu, f->n, 0.5), f->bytes);
}

/* ---- commands ---- */

struct bench {
    struct made made;
    struct head *head;
    struct series_table *table;
    struct figures figures;
    struct buf out;
    struct serve *serve;
};

static size_t repeats_of(const char *text)
{
    int64_t n = 1;

    if (!str_parse_i64(text, 1, REPEATS_MAX, &n))
        die(text, "number of repeats wanted");
    return (size_t)n;
}

static int64_t time_of(const char *text)
{
    int64_t t = 0;

    if (!str_parse_i64(text, INT64_MIN, INT64_MAX, &t))
        die(text, "number wanted");
    return t;
}

struct asked {
    const char *text;
    struct promql_expr *expr;
    int64_t start, end, step; /* step 0: instant */
};

static void ask(struct bench *b, const struct asked *q, bool print)
{
    static const struct promql_limits limits = PROMQL_LIMITS_RULES;
    struct reader *reader = head_reader(b->head);
    struct promql_value value;
    struct err err = {0};
    struct moment begin = moment_now();
    struct arena *arena = arena_create(0, QUERY_ARENA);
    bool ok = q->step == 0 ? promql_instant(q->expr, reader, q->start, &limits, arena, &value, &err)
                           : promql_range(q->expr, reader, q->start, q->end, q->step, &limits,
                                          arena, &value, &err);

    if (!ok)
        die(q->text, err.text);
    b->figures.bytes = arena_used(arena);
    if (print)
        promql_print_json(&value, &b->out);
    arena_destroy(&arena);
    note_time(&b->figures, begin);
}

static struct promql_expr *parse(const char *text)
{
    struct promql_error err = {0};
    struct promql_expr *expr = promql_parse(text, &err);

    if (!expr)
        die(text, err.text);
    return expr;
}

static void run_query(struct bench *b, char **field, size_t n)
{
    bool is_range = str_eq(field[0], "range");
    size_t repeats = repeats_of(field[1]);
    struct asked q = {.text = field[n - 1], .expr = parse(field[n - 1])};

    q.start = time_of(field[2]);
    if (is_range) {
        q.end = time_of(field[3]);
        q.step = time_of(field[4]);
    }
    ask(b, &q, false); /* to warm up */
    b->figures.n = 0;
    for (size_t i = 0; i < repeats; i++)
        ask(b, &q, false);
    print_figures(&b->figures, &b->out);
    buf_add_str(&b->out, ",\"data\":");
    ask(b, &q, true);
    buf_add_str(&b->out, "}");
    promql_destroy(&q.expr);
}

static void run_parse(struct bench *b, char **field)
{
    size_t repeats = repeats_of(field[1]);

    for (size_t i = 0; i < repeats; i++) {
        struct moment begin = moment_now();
        struct promql_expr *expr = parse(field[2]);

        promql_destroy(&expr);
        note_time(&b->figures, begin);
    }
    print_figures(&b->figures, &b->out);
    buf_add_str(&b->out, "}");
}

/* ---- rules ---- */

struct page {
    struct series_table *table;
    struct head *head;
    struct batch_builder *builder;
    struct series **series;
    double *values;
    size_t n;
};

static char *read_page(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = mem_alloc(PAGE_MAX + 1);

    if (!file || fread(text, 1, PAGE_MAX, file) == 0)
        die(path, "cannot be read");
    fclose(file);
    return text;
}

static void page_load(struct page *page, const char *path)
{
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    char *text = read_page(path), *next = text;
    size_t lines = 0;

    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    page->series = mem_alloc_array(lines + 1, sizeof(struct series *));
    page->values = mem_alloc_array(lines + 1, sizeof(double));
    for (char *line; (line = strsep(&next, "\n")) != NULL;) {
        struct labels labels;
        const char *value;

        if (*line == '\0' || *line == '#')
            continue;
        value = mem_labels(arena, line, &labels);
        page->series[page->n] = series_ref(series_table_get(page->table, &labels));
        page->values[page->n++] = strtod(value, NULL);
    }
    mem_free(text);
    arena_destroy(&arena);
}

static void page_append(struct page *page, wall_ms at)
{
    static const char *const none[] = {NULL};

    batch_begin(page->builder, "bench/page", at, none);
    for (size_t i = 0; i < page->n; i++)
        batch_add_series(page->builder, page->series[i], page->values[i]);
    append(page->head, batch_finish(page->builder));
}

static void on_samples(struct batch *batch, void *arg)
{
    append(arg, batch);
}

static void on_change(const struct alert *alert, enum alert_state from, void *arg)
{
    (void)alert;
    (void)from;
    (void)arg;
}

static bool not_failing(const char *metric, const struct labels *labels, void *arg)
{
    (void)metric;
    (void)labels;
    (void)arg;
    return false;
}

static bool not_gone(const struct labels *labels, void *arg)
{
    (void)labels;
    (void)arg;
    return false;
}

static struct rule_set *load_rules(char **files, size_t n)
{
    const char *names[FIELDS_MAX];
    struct rule_set *set;
    struct diag diag;

    for (size_t i = 0; i < n; i++)
        names[i] = files[i];
    diag_init(&diag);
    set = rule_set_load(names, n, &diag);
    if (!set)
        die(files[0], "not all rule files can be used");
    diag_deinit(&diag);
    return set;
}

static void tick_rules(struct bench *b, struct page *page, struct rules *rules, size_t repeats)
{
    struct now now = {{1000000}, {RULE_START_MS}};
    struct rules_stats before, after;

    for (size_t i = 0; i < RULE_TICKS; i++) {
        page_append(page, now.wall);
        now.wall = wall_add(now.wall, TICK_MS);
    }
    rules_stats(rules, &before);
    for (size_t i = 0; i < repeats; i++) {
        struct moment begin;

        /* Far enough for every group to be due. */
        now = (struct now){mono_add(now.mono, RULE_STEP_MS), wall_add(now.wall, RULE_STEP_MS)};
        page_append(page, now.wall);
        begin = moment_now();
        rules_tick(rules, now);
        note_time(&b->figures, begin);
    }
    rules_stats(rules, &after);
    print_figures(&b->figures, &b->out);
    buf_printf(&b->out, ",\"evaluations\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"series\":%zu}",
               after.evaluations_total - before.evaluations_total,
               after.failures_total - before.failures_total, page->n);
}

static void run_rules(struct bench *b, char **field, size_t n)
{
    struct page page = {.table = series_table_create(SERIES_CAP_DEFAULT)};
    struct rule_set *set = load_rules(field + 3, n - 3);
    struct rules *rules;

    page.head = head_create(HEAD_KEEP_MS, HEAD_BYTES_MAX);
    page.builder = batch_builder_create(page.table);
    rules = rules_create(&(struct rules_opts){.evaluation_interval_ms = 1000,
                                              .series = page.table,
                                              .reader = head_reader(page.head),
                                              .on_samples = on_samples,
                                              .on_change = on_change,
                                              .failing = not_failing,
                                              .gone = not_gone,
                                              .arg = page.head});
    page_load(&page, field[2]);
    rules_load(rules, set, (struct now){{1000000}, {RULE_START_MS}});
    tick_rules(b, &page, rules, repeats_of(field[1]));
    rules_destroy(&rules);
    for (size_t i = 0; i < page.n; i++)
        series_unref(page.series[i]);
    mem_free(page.series);
    mem_free(page.values);
    batch_builder_destroy(&page.builder);
    head_destroy(&page.head);
    series_table_destroy(&page.table);
}

/* ---- over HTTP ---- */

/* Serves until the program ends; what it reads is never given back. */
static void run_serve(struct bench *b, const char *port)
{
    char text[128];
    struct err err = {0};
    struct diag diag;

    snprintf(text, sizeof(text),
             "listen: 127.0.0.1:%s\nnodes: [{name: p, dsn: 'host=127.0.0.1'}]\n", port);
    diag_init(&diag);
    b->serve = serve_create(
        &(struct serve_opts){.config = config_parse("bench", text, strlen(text), &diag),
                             .board = board_create(),
                             .snapshots = snapshots_create(),
                             .alerts = alert_board_create(),
                             .rules = rule_board_create(),
                             .version = "bench",
                             .head = b->head},
        &err);
    if (!b->serve)
        die("serve", err.text);
    diag_deinit(&diag);
    buf_printf(&b->out, "{\"port\":%d}", serve_port(b->serve));
}

static void run_line(struct bench *b, char *line)
{
    static const struct {
        const char *word;
        size_t fields; /* at least */
    } commands[] = {{"instant", 4}, {"range", 6}, {"parse", 3}, {"rules", 4}, {"serve", 2}};
    char *field[FIELDS_MAX], *next = line;
    size_t n = 0, c = 0;

    while (next && n < FIELDS_MAX)
        field[n++] = strsep(&next, "\t");
    while (c < ARRAY_LEN(commands) &&
           (!str_eq(commands[c].word, field[0]) || n < commands[c].fields))
        c++;
    b->figures.n = b->figures.bytes = 0;
    buf_clear(&b->out);
    if (c == ARRAY_LEN(commands))
        die(field[0], "no such command, or fields are missing");
    else if (c < 2)
        run_query(b, field, n);
    else if (c == 2)
        run_parse(b, field);
    else if (c == 3)
        run_rules(b, field, n);
    else
        run_serve(b, field[1]);
    if (!buf_ok(&b->out))
        die(field[0], "the answer is too long");
    puts(b->out.data);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct bench b;
    static char line[LINE_BYTES];

    if (argc != 4 && argc != 6)
        die("usage", "promql_bench SERIES TICKS START_SECONDS [--write FILE]");
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    b.made = (struct made){.series = (size_t)time_of(argv[1]),
                           .ticks = (size_t)time_of(argv[2]),
                           .start_ms = 1000 * time_of(argv[3])};
    if (argc == 6) {
        write_openmetrics(&b.made, argv[5]);
        return 0;
    }
    b.table = series_table_create(SERIES_CAP_DEFAULT);
    b.head = head_create(KEEP_MS, HEAD_MAX);
    buf_init(&b.out, RESULT_MAX);
    fill_head(&b.made, b.head, b.table);
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        run_line(&b, line);
    }
    serve_destroy(&b.serve);
    return 0;
}
