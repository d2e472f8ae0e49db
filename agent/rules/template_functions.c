/*
 * template_functions.c: the functions that Prometheus gives to the templates of rules.
 *
 * Names, arguments and texts are Prometheus'. `tmpl` is not here: Prometheus has it in consoles
 * only and refuses it in rule files. A regex or a query costs more than a step and is charged so.
 */
#include "template_private.h"

#include <arpa/inet.h>

#include "pgvigil/promql/regex.h"
#include "pgvigil/rules/template.h"

#define REGEX_STEPS      500  /* it takes ten microseconds; one that backtracks, a millisecond */
#define REGEX_BYTE_STEPS 32   /* there may be a match at each byte of the text */
#define QUERY_STEPS      1000 /* a query takes some hundred microseconds and more */

/* ---- texts ---- */

enum word_case { CASE_UPPER, CASE_LOWER, CASE_TITLE };

/* Go's strings.Title: a letter behind anything that is no letter, digit or underscore. */
static bool change_case(struct tpl_call *call, const struct tpl_value *v, enum word_case to,
                        struct tpl_value *out)
{
    struct buf text;
    bool inside = false;
    size_t len;
    tpl_begin_text(&text);
    for (size_t i = 0; i < v->n; i += len) {
        uint32_t rune = tpl_rune(v->s + i, v->n - i, &len);
        if (to == CASE_LOWER)
            tpl_add_rune(&text, tpl_rune_lower(rune));
        else
            tpl_add_rune(&text, to == CASE_TITLE && inside ? rune : tpl_rune_upper(rune));
        inside = tpl_rune_is_letter(rune) || (rune >= '0' && rune <= '9');
    }
    return tpl_end_text(call, &text, out);
}

static bool fn_title(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    (void)n;
    return change_case(call, &args[0], CASE_TITLE, out);
}

static bool fn_to_lower(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    (void)n;
    return change_case(call, &args[0], CASE_LOWER, out);
}

static bool fn_to_upper(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    (void)n;
    return change_case(call, &args[0], CASE_UPPER, out);
}

/* Text that the HTML of a console would not escape; in rules it is a text of another type. */
static bool fn_safe_html(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out)
{
    static const struct tpl_type type_html = {.name = "template.HTML", .kind = TPL_STRING};
    (void)call;
    (void)n;
    *out = args[0];
    out->type = &type_html;
    return true;
}

static bool fn_url_query_escape(struct tpl_call *call, const struct tpl_value *args, size_t n,
                                struct tpl_value *out)
{
    struct buf text;
    (void)n;
    tpl_begin_text(&text);
    tpl_add_query_escaped(&text, args[0].s, args[0].n);
    return tpl_end_text(call, &text, out);
}

static bool expression_link(struct tpl_call *call, const struct tpl_value *args, const char *tab,
                            struct tpl_value *out)
{
    struct buf text;
    tpl_begin_text(&text);
    buf_add_str(&text, "/graph?g0.expr=");
    tpl_add_query_escaped(&text, args[0].s, args[0].n);
    buf_printf(&text, "&g0.tab=%s", tab);
    return tpl_end_text(call, &text, out);
}

static bool fn_graph_link(struct tpl_call *call, const struct tpl_value *args, size_t n,
                          struct tpl_value *out)
{
    (void)n;
    return expression_link(call, args, "0", out);
}

static bool fn_table_link(struct tpl_call *call, const struct tpl_value *args, size_t n,
                          struct tpl_value *out)
{
    (void)n;
    return expression_link(call, args, "1", out);
}

/* "host:port", "[v6]:port"; false if it is not that. Both parts live in the arena. */
static bool split_host_port(struct tpl_call *call, const char *s, const char **host,
                            const char **port)
{
    const char *colon = strrchr(s, ':'), *end = colon;
    if (colon == NULL)
        return false;
    if (*s == '[') {
        end = strchr(s, ']');
        if (end == NULL || end + 1 != colon)
            return false;
        s++;
    } else if (memchr(s, ':', (size_t)(colon - s)) != NULL) {
        return false;
    }
    *host = arena_strndup(call->arena, s, (size_t)(end - s));
    *port = colon + 1;
    return strpbrk(*host, "[]") == NULL && strpbrk(*port, "[]") == NULL;
}

static bool fn_strip_port(struct tpl_call *call, const struct tpl_value *args, size_t n,
                          struct tpl_value *out)
{
    const char *s = tpl_c_string(call, &args[0]), *host, *port;
    (void)n;
    return tpl_text_result(out, split_host_port(call, s, &host, &port) ? host : s);
}

static bool fn_strip_domain(struct tpl_call *call, const struct tpl_value *args, size_t n,
                            struct tpl_value *out)
{
    const char *s = tpl_c_string(call, &args[0]), *host, *port;
    unsigned char address[sizeof(struct in6_addr)];
    (void)n;
    if (!split_host_port(call, s, &host, &port)) {
        host = s;
        port = "";
    }
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return tpl_text_result(out, s);
    host = arena_strndup(call->arena, host, strcspn(host, "."));
    if (*port == '\0')
        return tpl_text_result(out, host);
    bool brackets = strchr(host, ':') != NULL;
    return tpl_text_result(out,
                           arena_printf(call->arena, brackets ? "[%s]:%s" : "%s:%s", host, port));
}

/* ---- regular expressions ---- */

/* prefix: what stands before the reason in Go's error. */
static struct regex *compile(struct tpl_call *call, const struct tpl_value *pattern,
                             const struct tpl_value *text, const char *prefix)
{
    struct err err = {0};
    if (!tpl_charge(call, REGEX_STEPS + (int64_t)text->n * REGEX_BYTE_STEPS))
        return NULL;
    struct regex *regex = regex_create_search(tpl_c_string(call, pattern), &err);
    if (regex == NULL)
        tpl_fail(call, "%serror parsing regexp: %s", prefix, err.text);
    return regex;
}

static bool gave_up(struct tpl_call *call)
{
    return tpl_fail(call, "matching takes too many steps");
}

static bool fn_match(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    struct regex *regex = compile(call, &args[0], &args[1], "");
    (void)n;
    if (regex == NULL)
        return false;
    enum regex_outcome outcome = regex_search(regex, args[1].s, args[1].n);
    regex_destroy(&regex);
    *out = tpl_bool(outcome == REGEX_MATCH);
    return outcome != REGEX_GAVE_UP || gave_up(call);
}

static bool fn_re_replace_all(struct tpl_call *call, const struct tpl_value *args, size_t n,
                              struct tpl_value *out)
{
    const char *pattern = tpl_c_string(call, &args[0]);
    const char *prefix = arena_printf(call->arena, "regexp: Compile(`%s`): ", pattern);
    struct regex *regex = compile(call, &args[0], &args[2], prefix);
    struct buf text;
    (void)n;
    if (regex == NULL)
        return false;
    tpl_begin_text(&text);
    enum regex_outcome outcome =
        regex_replace_all(regex, args[2].s, args[2].n, tpl_c_string(call, &args[1]), &text);
    regex_destroy(&regex);
    return tpl_end_text(call, &text, out) && (outcome != REGEX_GAVE_UP || gave_up(call));
}

/* ---- results of queries ---- */

static const struct promql_sample *sample_of(const struct tpl_value *v)
{
    return v->self;
}

static bool sample_labels(struct tpl_call *call, const struct tpl_value *args, size_t n,
                          struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_labels(&sample_of(&args[0])->labels);
    return true;
}

static bool sample_value(struct tpl_call *call, const struct tpl_value *args, size_t n,
                         struct tpl_value *out)
{
    (void)call;
    (void)n;
    *out = tpl_float(sample_of(&args[0])->value);
    return true;
}

static const struct tpl_function sample_members[] = {
    {.name = "Labels", .is_field = true, .run = sample_labels},
    {.name = "Value", .is_field = true, .run = sample_value},
};
static const struct tpl_type type_sample = {.name = "*template.sample",
                                            .kind = TPL_OBJECT,
                                            .is_pointer = true,
                                            .members = sample_members,
                                            .member_count = ARRAY_LEN(sample_members)};
static const struct tpl_type type_result = {
    .name = "template.queryResult", .kind = TPL_LIST, .elem = &type_sample};

static bool result_list(struct tpl_call *call, const struct promql_sample *samples, size_t n,
                        struct tpl_value *out)
{
    struct tpl_value *items = arena_alloc_array(call->arena, n + 1, sizeof(*items));
    for (size_t i = 0; i < n; i++)
        items[i] = (struct tpl_value){.type = &type_sample, .self = &samples[i]};
    *out = (struct tpl_value){.type = &type_result, .items = items, .n = n};
    return true;
}

static bool fn_query(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    const struct template_data *data = call->env;
    struct promql_value result = {0};
    struct err err = {0};
    (void)n;
    if (data->query == NULL)
        return tpl_fail(call, "no queries here");
    if (!tpl_charge(call, QUERY_STEPS))
        return false;
    if (!data->query(tpl_c_string(call, &args[0]), call->arena, &result, &err, data->arg))
        return tpl_fail(call, "%s", err.text);
    if (result.type == PROMQL_VECTOR)
        return result_list(call, result.vector, result.n, out);
    if (result.type != PROMQL_SCALAR)
        return tpl_fail(call, "rule result is not a vector or scalar");
    struct promql_sample *scalar = arena_alloc(call->arena, sizeof(*scalar));
    scalar->value = result.scalar;
    return result_list(call, scalar, 1, out);
}

static bool fn_first(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    (void)n;
    if (args[0].n == 0)
        return tpl_fail(call, "first() called on vector with no elements");
    *out = args[0].items[0];
    return true;
}

static bool no_sample(struct tpl_call *call)
{
    return tpl_fail(call, "runtime error: invalid memory address or nil pointer dereference");
}

static bool label_of(struct tpl_call *call, const struct tpl_value *sample, const char *name,
                     struct tpl_value *out)
{
    if (sample->self == NULL)
        return no_sample(call);
    return tpl_text_result(out, labels_get_or_empty(&sample_of(sample)->labels, name));
}

static bool fn_label(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    (void)n;
    return label_of(call, &args[1], tpl_c_string(call, &args[0]), out);
}

static bool fn_strvalue(struct tpl_call *call, const struct tpl_value *args, size_t n,
                        struct tpl_value *out)
{
    (void)n;
    return label_of(call, &args[0], "__value__", out);
}

static bool fn_value(struct tpl_call *call, const struct tpl_value *args, size_t n,
                     struct tpl_value *out)
{
    if (args[0].self == NULL)
        return no_sample(call);
    return sample_value(call, args, n, out);
}

struct keyed {
    const char *key;
    size_t place; /* before the sort: equal keys stay in order */
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int by_key = strcmp(x->key, y->key);
    return by_key != 0 ? by_key : (x->place > y->place) - (x->place < y->place);
}

static bool fn_sort_by_label(struct tpl_call *call, const struct tpl_value *args, size_t n,
                             struct tpl_value *out)
{
    const struct tpl_value *list = &args[1];
    const char *name = tpl_c_string(call, &args[0]);
    struct keyed *keys = arena_alloc_array(call->arena, list->n + 1, sizeof(*keys));
    struct tpl_value *items = arena_alloc_array(call->arena, list->n + 1, sizeof(*items));
    (void)n;
    if (!tpl_charge(call, (int64_t)list->n))
        return false;
    for (size_t i = 0; i < list->n; i++)
        keys[i] = (struct keyed){labels_get_or_empty(&sample_of(&list->items[i])->labels, name), i};
    qsort(keys, list->n, sizeof(*keys), compare_keyed);
    for (size_t i = 0; i < list->n; i++)
        items[i] = list->items[keys[i].place];
    *out = (struct tpl_value){.type = &type_result, .items = items, .n = list->n};
    return true;
}

/* ---- the rest ---- */

static bool fn_args(struct tpl_call *call, const struct tpl_value *args, size_t n,
                    struct tpl_value *out)
{
    struct keyed *keys = arena_alloc_array(call->arena, n + 1, sizeof(*keys));
    struct tpl_pair *pairs = arena_alloc_array(call->arena, n + 1, sizeof(*pairs));
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct keyed){arena_printf(call->arena, "arg%zu", i), i};
    qsort(keys, n, sizeof(*keys), compare_keyed);
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct tpl_pair){keys[i].key, args[keys[i].place]};
    *out = (struct tpl_value){.type = &tpl_type_map, .pairs = pairs, .n = n};
    return true;
}

static bool fn_external_url(struct tpl_call *call, const struct tpl_value *args, size_t n,
                            struct tpl_value *out)
{
    const struct template_data *data = call->env;
    (void)args;
    (void)n;
    return tpl_text_result(out, data->external_url);
}

static bool fn_path_prefix(struct tpl_call *call, const struct tpl_value *args, size_t n,
                           struct tpl_value *out)
{
    const struct template_data *data = call->env;
    const char *authority = strstr(data->external_url, "://");
    (void)args;
    (void)n;
    const char *path = strchr(authority != NULL ? authority + 3 : data->external_url, '/');
    if (path == NULL)
        path = "";
    return tpl_text_result(out, arena_strndup(call->arena, path, strcspn(path, "?#")));
}

static bool fn_now(struct tpl_call *call, const struct tpl_value *args, size_t n,
                   struct tpl_value *out)
{
    const struct template_data *data = call->env;
    (void)args;
    (void)n;
    *out = tpl_float((double)data->t / 1000);
    return true;
}

#define ANY     &tpl_type_any
#define TEXT    &tpl_type_string
#define SAMPLE  &type_sample
#define SAMPLES &type_result

const struct tpl_function tpl_rule_functions[] = {
    {.name = "args", .is_variadic = true, .params = {ANY}, .run = fn_args},
    {.name = "externalURL", .run = fn_external_url},
    {.name = "first", .args = 1, .params = {SAMPLES}, .run = fn_first},
    {.name = "graphLink", .args = 1, .params = {TEXT}, .run = fn_graph_link},
    {.name = "humanize", .args = 1, .params = {ANY}, .run = tpl_fn_humanize},
    {.name = "humanize1024", .args = 1, .params = {ANY}, .run = tpl_fn_humanize1024},
    {.name = "humanizeDuration", .args = 1, .params = {ANY}, .run = tpl_fn_humanize_duration},
    {.name = "humanizePercentage", .args = 1, .params = {ANY}, .run = tpl_fn_humanize_percentage},
    {.name = "humanizeTimestamp", .args = 1, .params = {ANY}, .run = tpl_fn_humanize_timestamp},
    {.name = "label", .args = 2, .params = {TEXT, SAMPLE}, .run = fn_label},
    {.name = "match", .args = 2, .params = {TEXT, TEXT}, .run = fn_match},
    {.name = "now", .run = fn_now},
    {.name = "parseDuration", .args = 1, .params = {TEXT}, .run = tpl_fn_parse_duration},
    {.name = "pathPrefix", .run = fn_path_prefix},
    {.name = "query", .args = 1, .params = {TEXT}, .run = fn_query},
    {.name = "reReplaceAll", .args = 3, .params = {TEXT, TEXT, TEXT}, .run = fn_re_replace_all},
    {.name = "safeHtml", .args = 1, .params = {TEXT}, .run = fn_safe_html},
    {.name = "sortByLabel", .args = 2, .params = {TEXT, SAMPLES}, .run = fn_sort_by_label},
    {.name = "stripDomain", .args = 1, .params = {TEXT}, .run = fn_strip_domain},
    {.name = "stripPort", .args = 1, .params = {TEXT}, .run = fn_strip_port},
    {.name = "strvalue", .args = 1, .params = {SAMPLE}, .run = fn_strvalue},
    {.name = "tableLink", .args = 1, .params = {TEXT}, .run = fn_table_link},
    {.name = "title", .args = 1, .params = {TEXT}, .run = fn_title},
    {.name = "toDuration", .args = 1, .params = {ANY}, .run = tpl_fn_to_duration},
    {.name = "toLower", .args = 1, .params = {TEXT}, .run = fn_to_lower},
    {.name = "toTime", .args = 1, .params = {ANY}, .run = tpl_fn_to_time},
    {.name = "toUpper", .args = 1, .params = {TEXT}, .run = fn_to_upper},
    {.name = "urlQueryEscape", .args = 1, .params = {TEXT}, .run = fn_url_query_escape},
    {.name = "value", .args = 1, .params = {SAMPLE}, .run = fn_value},
};
const size_t tpl_rule_function_count = ARRAY_LEN(tpl_rule_functions);
