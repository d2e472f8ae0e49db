/* The page in both forms to the letter, and what a client's headers ask for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/serve/negotiate.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

/* ---- headers ---- */

static const struct {
    const char *accept;
    enum expose_format format;
} accepts[] = {
    {"", EXPOSE_TEXT},
    {"*/*", EXPOSE_TEXT},
    {"text/html, */*;q=0.1", EXPOSE_TEXT},
    {"text/plain", EXPOSE_TEXT},
    {"application/openmetrics-text", EXPOSE_OPENMETRICS},
    {"application/openmetrics-text;version=1.0.0", EXPOSE_OPENMETRICS},
    {"Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", EXPOSE_OPENMETRICS},
    {"application/openmetrics-text; version=0.0.1", EXPOSE_OPENMETRICS_0_0_1},
    {"application/openmetrics-text; version=9.0.0", EXPOSE_TEXT},
    {"application/openmetrics-text;q=0, text/plain;q=0.1", EXPOSE_TEXT},
    {"application/openmetrics-text;q=0", EXPOSE_TEXT},
    {"application/openmetrics-text;q=x", EXPOSE_TEXT},
    {"text/plain;q=0.5,application/openmetrics-text;q=0.6", EXPOSE_OPENMETRICS},
    {"text/plain;q=0.6 ,application/openmetrics-text; q = 0.5", EXPOSE_TEXT},
    {"text/plain,application/openmetrics-text", EXPOSE_TEXT},
    {";;,,;q=1,application/openmetrics-text", EXPOSE_OPENMETRICS},
    /* Prometheus 2.42, 3.x, and what does not scrape this way */
    {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
     EXPOSE_OPENMETRICS},
    {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
     "q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
     "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;"
     "escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
     EXPOSE_OPENMETRICS},
};

static const struct {
    const char *encoding;
    bool gzip;
} encodings[] = {
    {"", false},           {"identity", false},
    {"gzip", true},        {"deflate, GZIP", true},
    {"gzip;q=0", false},   {"gzip ; q = 0.0", false},
    {"gzip;q=0.1", true},  {"*", true},
    {"*;q=0", false},      {"gzip;q=0, *", false},
    {"x-gzip-not", false}, {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
};

static void headers_choose(void **state)
{
    char longest[2000];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepts); i++)
        if (negotiate_exposition(accepts[i].accept) != accepts[i].format)
            fail_msg("Accept: %s", accepts[i].accept);
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++)
        if (negotiate_gzip(encodings[i].encoding) != encodings[i].gzip)
            fail_msg("Accept-Encoding: %s", encodings[i].encoding);
    memset(longest, 'x', sizeof(longest));
    str_copy(longest + 1000, 1000, ",gzip");
    assert_true(negotiate_gzip(longest));
}

/* ---- the page ---- */

static struct batch *batch_of(struct batch_builder *builder, int number)
{
    char source[20];
    snprintf(source, sizeof(source), "pg%d/x", number);
    const char *node = number == 0 ? "a" : "b\\\"\n";
    batch_begin(builder, source, (wall_ms){1700000000000}, NULL);
    BATCH_ADD(builder, "db_up", 1, "node", node);
    BATCH_ADD(builder, "db_transactions_total", 1e21, "node", node, "outcome", "commit");
    BATCH_ADD(builder, "db_connection_pool_wait_seconds_total", 0.5, "node", node);
    if (number == 0) {
        BATCH_ADD(builder, "pgvigil_stage_seconds_bucket", 1, "le", "0.5");
        BATCH_ADD(builder, "pgvigil_stage_seconds_bucket", 2, "le", "+Inf");
        BATCH_ADD(builder, "pgvigil_stage_seconds_sum", 0.25);
        BATCH_ADD(builder, "pgvigil_stage_seconds_count", 2);
        BATCH_ADD(builder, "job:rate_total", NAN);
    }
    return batch_finish(builder);
}

static char *page(enum expose_format format)
{
    struct series_table *table = series_table_create(100);
    struct batch_builder *builder = batch_builder_create(table);
    struct batch *batches[] = {batch_of(builder, 0), batch_of(builder, 1)};
    struct buf out;
    buf_init(&out, 1 << 20);
    expose(format, batches, ARRAY_LEN(batches), &out);
    for (size_t i = 0; i < ARRAY_LEN(batches); i++)
        batch_unref(batches[i]);
    batch_builder_destroy(&builder);
    series_table_destroy(&table);
    char *text = buf_take(&out, NULL);
    buf_deinit(&out);
    return text;
}

#define NODES(name, rest, value) \
    name "{node=\"a\"" rest "} " value "\n" name "{node=\"b\\\\\\\"\\n\"" rest "} " value "\n"
#define STAGE                                       \
    "pgvigil_stage_seconds_bucket{le=\"0.5\"} 1\n"  \
    "pgvigil_stage_seconds_bucket{le=\"+Inf\"} 2\n" \
    "pgvigil_stage_seconds_sum 0.25\n"              \
    "pgvigil_stage_seconds_count 2\n"

static const struct {
    enum expose_format format;
    const char *parts[9];
} pages[] = {
    {EXPOSE_TEXT,
     {"# HELP db_connection_pool_wait_seconds_total ",
      "\n# TYPE db_connection_pool_wait_seconds_total counter\n" NODES(
          "db_connection_pool_wait_seconds_total", "", "0.5") "# HELP db_transactions_total ",
      "\n# TYPE db_transactions_total counter\n" NODES("db_transactions_total",
                                                       ",outcome=\"commit\"", "1e+21") "# HELP ",
      "\n# TYPE db_up gauge\n" NODES("db_up", "", "1"),
      "# HELP job:rate_total Recorded by a rule.\n# TYPE job:rate_total untyped\n"
      "job:rate_total NaN\n",
      "\n# TYPE pgvigil_stage_seconds histogram\n" STAGE}},
    {EXPOSE_OPENMETRICS,
     {"# TYPE db_connection_pool_wait_seconds counter\n"
      "# UNIT db_connection_pool_wait_seconds seconds\n"
      "# HELP db_connection_pool_wait_seconds ",
      "\n" NODES("db_connection_pool_wait_seconds_total", "",
                 "0.5") "# TYPE db_transactions counter\n# HELP db_transactions ",
      "\n" NODES("db_transactions_total", ",outcome=\"commit\"",
                 "1e+21") "# TYPE db_up gauge\n# HELP db_up ",
      "\n" NODES("db_up", "", "1"),
      "# TYPE job:rate_total unknown\n# HELP job:rate_total Recorded by a rule.\n"
      "job:rate_total NaN\n",
      "# TYPE pgvigil_stage_seconds histogram\n# UNIT pgvigil_stage_seconds seconds\n"
      "# HELP pgvigil_stage_seconds ",
      "\n" STAGE "# EOF\n"}},
};

static void pages_are_to_the_letter(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        char *text = page(pages[i].format);
        const char *at = text;
        for (size_t k = 0; pages[i].parts[k] != NULL; k++) {
            const char *found = strstr(at, pages[i].parts[k]);
            if (found == NULL || (k == 0 && found != text))
                fail_msg("%s\nis not in\n%s", pages[i].parts[k], at);
            at = found + strlen(pages[i].parts[k]);
        }
        assert_string_equal(at, "");
        mem_free(text);
    }
}

static void types_are_named_exactly(void **state)
{
    (void)state;
    assert_string_equal(expose_content_type(EXPOSE_TEXT),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(expose_content_type(EXPOSE_OPENMETRICS),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_string_equal(expose_content_type(EXPOSE_OPENMETRICS_0_0_1),
                        "application/openmetrics-text; version=0.0.1; charset=utf-8");
}

static bool is_sample_name(const char *name, const char *family, size_t n)
{
    static const char *const suffixes[] = {"_total", "_created", "_bucket", "_count", "_sum",
                                           "_info",  "_gcount",  "_gsum",   ""};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (strncmp(name, family, n) == 0 && str_eq(name + n, suffixes[i]))
            return true;
    return false;
}

/* No family's name may be a sample of another: OpenMetrics could not tell them apart. */
static void the_catalogue_fits_openmetrics(void **state)
{
    size_t n;
    const struct metric_info *all = metric_info_all(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(all[i].name);
        bool total = len > 6 && str_eq(all[i].name + len - 6, "_total");
        if ((all[i].type == METRIC_COUNTER) != total)
            fail_msg("%s: counters and only they end in _total", all[i].name);
        len -= total ? 6 : 0;
        for (size_t k = 0; k < n; k++)
            if (k != i && is_sample_name(all[k].name, all[i].name, len))
                fail_msg("%s and %s collide", all[i].name, all[k].name);
    }
    assert_string_equal(expose_unit(metric_info_find("db_connection_pool_wait_seconds_total")),
                        "seconds");
    assert_string_equal(expose_unit(metric_info_find("db_slot_retained_bytes")), "bytes");
    assert_string_equal(expose_unit(metric_info_find("db_up")), "");
    assert_string_equal(expose_unit(NULL), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_choose),
        cmocka_unit_test(pages_are_to_the_letter),
        cmocka_unit_test(types_are_named_exactly),
        cmocka_unit_test(the_catalogue_fits_openmetrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
