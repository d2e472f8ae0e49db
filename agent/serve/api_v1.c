/*
 * api_v1.c: the table of endpoints. What needs no sample is answered on the HTTP loop, so that
 * Grafana's start-up works while all query workers are busy.
 */
#include "api_v1.h"

#include "api_params.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/metrics.h"
#include "pgvigil/promql/promql.h"
#include "pgvigil/serve/expose.h"

/* No `features`: Grafana would take us for Mimir. */
static void build_info(const struct request *req, struct reply *reply)
{
    buf_add_str(&reply->body, "{\"status\":\"success\",\"data\":{\"version\":");
    buf_add_json(&reply->body, req->from->version);
    buf_add_str(&reply->body, ",\"revision\":\"\",\"branch\":\"\",\"buildUser\":\"\","
                              "\"buildDate\":\"\",\"goVersion\":\"\"}}");
}

static bool number_or_absent(const struct request *req, const char *name, struct reply *reply,
                             int64_t *n)
{
    const char *text = req->param(req, name);
    *n = -1;
    if (text == NULL || *text == '\0' || str_parse_i64(text, INT64_MIN, INT64_MAX, n))
        return true;
    api_fail(reply, API_BAD_DATA, "%s must be a number", name);
    return false;
}

/* One entry for each metric, so limit_per_metric has nothing to cut. */
static void metadata(const struct request *req, struct reply *reply)
{
    struct buf *out = &reply->body;
    size_t n;
    const struct metric_info *all = metric_info_all(&n);
    const char *metric = req->param(req, "metric");
    int64_t limit, ignored, given = 0;
    if (!number_or_absent(req, "limit", reply, &limit) ||
        !number_or_absent(req, "limit_per_metric", reply, &ignored))
        return;
    buf_add_str(out, "{\"status\":\"success\",\"data\":{");
    for (size_t i = 0; i < n && (limit < 0 || given < limit); i++) {
        if (metric != NULL && *metric != '\0' && !str_eq(metric, all[i].name))
            continue;
        buf_add_str(out, given++ > 0 ? "," : "");
        buf_add_json(out, all[i].name);
        buf_printf(out, ":[{\"type\":\"%s\",\"help\":", metric_type_name(all[i].type));
        buf_add_json(out, all[i].help);
        buf_printf(out, ",\"unit\":\"%s\"}]", expose_unit(&all[i]));
    }
    buf_add_str(out, "}}");
}

/* There are none, but Grafana asks for them to learn whether there could be. */
static void exemplars(const struct request *req, struct reply *reply)
{
    struct promql_error err;
    int64_t start = -PARAM_TIME_MAX, end = PARAM_TIME_MAX;
    const char *query = req->param(req, "query");
    if (!api_time(req->connection, "start", reply, &start) ||
        !api_time(req->connection, "end", reply, &end))
        return;
    if (end < start) {
        api_fail(reply, API_BAD_DATA, "end timestamp must not be before start timestamp");
        return;
    }
    struct promql_expr *expr = promql_parse(query != NULL ? query : "", &err);
    if (expr == NULL)
        api_fail(reply, API_BAD_DATA, "%s", err.text);
    else
        buf_add_str(&reply->body, "{\"status\":\"success\",\"data\":[]}");
    promql_destroy(&expr);
}

static const struct api_endpoint endpoints[] = {
    {"/api/v1/query", true, NULL, QUERY_INSTANT},
    {"/api/v1/query_range", true, NULL, QUERY_RANGE},
    {"/api/v1/series", true, NULL, QUERY_SERIES},
    {"/api/v1/labels", true, NULL, QUERY_LABELS},
    {"/api/v1/format_query", true, NULL, QUERY_FORMAT},
    {"/api/v1/parse_query", true, NULL, QUERY_PARSE},
    {"/api/v1/alerts", false, api_alerts, QUERY_INSTANT},
    {"/api/v1/rules", false, api_rules, QUERY_INSTANT},
    {"/api/v1/metadata", false, metadata, QUERY_INSTANT},
    {"/api/v1/status/buildinfo", false, build_info, QUERY_INSTANT},
    {"/api/v1/query_exemplars", true, exemplars, QUERY_INSTANT},
};
static const struct api_endpoint label_values = {"/api/v1/label/", false, NULL, QUERY_LABEL_VALUES};

const struct api_endpoint *api_find(const char *path, char **label)
{
    *label = NULL;
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++)
        if (str_eq(endpoints[i].path, path))
            return &endpoints[i];
    if (!str_starts(path, label_values.path))
        return NULL;
    const char *name = path + strlen(label_values.path), *slash = strrchr(name, '/');
    if (slash == NULL || slash == name || !str_eq(slash, "/values"))
        return NULL;
    *label = mem_strndup(name, (size_t)(slash - name));
    return &label_values;
}
