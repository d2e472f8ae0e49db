/*
 * The body is written straight into a buffer: its shape is fixed by Alertmanager's webhook version
 * 4, and receivers that people already have parse it. Fields and their order follow that format.
 */
#include "pgvigil/notify/webhook_body.h"

#include <inttypes.h>

#include "pgvigil/base/str.h"

#define NO_TIME "0001-01-01T00:00:00Z"

static void add_time(struct buf *out, wall_ms t)
{
    char text[CLOCK_RFC3339_MAX];
    buf_add_char(out, '"');
    buf_add_str(out, wall_is_set(t) ? clock_format_rfc3339(t, text) : NO_TIME);
    buf_add_char(out, '"');
}

static void add_pair(struct buf *out, bool *first, const struct label *pair)
{
    if (!*first)
        buf_add_char(out, ',');
    *first = false;
    buf_add_json(out, pair->name);
    buf_add_char(out, ':');
    buf_add_json(out, pair->value);
}

/* Characters that stay as they are in a query string. */
static void add_url_escaped(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~", *s))
            buf_add_char(out, *s);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

static void add_generator_url(struct buf *out, const char *external_url, const char *expr)
{
    struct buf url;
    buf_init(&url, 32 * 1024);
    buf_add_str(&url, external_url);
    buf_add_str(&url, "/graph?g0.expr=");
    add_url_escaped(&url, expr != NULL ? expr : "");
    buf_add_str(&url, "&g0.tab=1");
    buf_add_json(out, url.data);
    buf_deinit(&url);
}

static void add_alert(struct buf *out, const struct alert *a, const char *external_url)
{
    bool firing = a->state == ALERT_FIRING;
    buf_printf(out, "{\"status\":\"%s\",\"labels\":", firing ? "firing" : "resolved");
    labels_print_json(&a->labels, out);
    buf_add_str(out, ",\"annotations\":");
    labels_print_json(&a->annotations, out);
    buf_add_str(out, ",\"startsAt\":");
    add_time(out, a->fired_at);
    buf_add_str(out, ",\"endsAt\":");
    add_time(out, firing ? WALL_UNSET : a->resolved_at);
    buf_add_str(out, ",\"generatorURL\":");
    add_generator_url(out, external_url, a->expr);
    buf_printf(out, ",\"fingerprint\":\"%016" PRIx64 "\"}", a->fingerprint);
}

static const struct labels *labels_of(const struct alert *a, bool annotations)
{
    return annotations ? &a->annotations : &a->labels;
}

/* The pairs that every alert of the group has alike. */
static void add_common(struct buf *out, const struct webhook_group *group, bool annotations)
{
    bool first = true;
    buf_add_char(out, '{');
    const struct labels *ls = group->n > 0 ? labels_of(group->alerts[0], annotations) : NULL;
    for (size_t i = 0; ls != NULL && i < ls->n; i++) {
        bool common = true;
        for (size_t k = 1; k < group->n && common; k++) {
            const char *other = labels_get(labels_of(group->alerts[k], annotations), ls->v[i].name);
            common = other != NULL && str_eq(other, ls->v[i].value);
        }
        if (common)
            add_pair(out, &first, &ls->v[i]);
    }
    buf_add_char(out, '}');
}

void webhook_body(const struct webhook_group *group, struct buf *out)
{
    bool firing = false;
    for (size_t i = 0; i < group->n; i++)
        firing = firing || group->alerts[i]->state == ALERT_FIRING;
    buf_add_str(out, "{\"receiver\":");
    buf_add_json(out, group->receiver);
    buf_printf(out, ",\"status\":\"%s\",\"alerts\":[", firing ? "firing" : "resolved");
    for (size_t i = 0; i < group->n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_alert(out, group->alerts[i], group->external_url);
    }
    buf_add_str(out, "],\"groupLabels\":");
    labels_print_json(&group->group_labels, out);
    buf_add_str(out, ",\"commonLabels\":");
    add_common(out, group, false);
    buf_add_str(out, ",\"commonAnnotations\":");
    add_common(out, group, true);
    buf_add_str(out, ",\"externalURL\":");
    buf_add_json(out, group->external_url);
    buf_add_str(out, ",\"version\":\"4\",\"groupKey\":");
    buf_add_json(out, group->group_key);
    buf_add_str(out, ",\"truncatedAlerts\":0}");
}
