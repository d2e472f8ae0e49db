/*
 * Grouping and the order of things: a change is noted in its group and in the transaction under
 * construction; the flush writes one message per changed group into the same transaction; the
 * commit releases the messages and lets the alerts be shown. A store that fails or is slow does not
 * stop delivery: after 2 s the messages go out from memory, marked, with the same id. A group holds
 * its firing alerts, and the resolved ones until the message that tells them is made.
 */
#include "pgvigil/notify/notify.h"

#include "outbox.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/notify/webhook_body.h"

#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>
#include <utlist.h>

#define RECEIVER           "webhook"
#define GROUP_KEY_MAX      4096
#define MESSAGE_ALERTS_MAX 500 /* a larger group tells its changes only, in parts */

static const char *const group_by[] = {"cluster", "pool", "replica"};

struct member {
    uint64_t fingerprint;
    struct alert *alert;
    bool changed; /* since its last message */
    UT_hash_handle hh;
};

struct group {
    char *key;                                /* {}:{cluster="main", replica="pg2"} */
    struct label labels[ARRAY_LEN(group_by)]; /* own copies */
    size_t label_count;
    struct member *members;
    bool changed;
    UT_hash_handle hh;
};

/* Messages of one transaction, until they are released. */
struct flight {
    struct notify *notify;
    wall_ms at;
    struct delivery **items;
    size_t count;
    struct loop_timer *timer;
    bool released, committed;
    struct flight *prev, *next;
};

struct notify {
    struct notify_opts opts;
    char *external_url;
    struct http_client *client;
    char *webhook; /* "" = none */
    struct outbox *outbox;
    struct group *groups;
    struct alerts_tx *tx; /* of this turn */
    struct flight *flights;
    int64_t next_seq;
};

/* The one place that says what the webhook gets; a group never holds anything else. */
static bool is_for_webhook(const struct alert *a)
{
    const char *severity = labels_get(&a->labels, "severity");
    return severity == NULL ||
           (!str_eq(severity, SEVERITY_INFO) && !str_eq(severity, SEVERITY_NONE));
}

/* ---- groups ---- */

static void group_key(const struct alert *a, struct buf *out)
{
    bool first = true;
    buf_add_str(out, "{}:{");
    for (size_t i = 0; i < ARRAY_LEN(group_by); i++) {
        const char *value = labels_get(&a->labels, group_by[i]);
        if (value == NULL)
            continue;
        buf_printf(out, "%s%s=", first ? "" : ", ", group_by[i]);
        buf_add_json(out, value);
        first = false;
    }
    buf_add_char(out, '}');
}

static struct group *group_of(struct notify *n, const struct alert *a)
{
    struct group *g;
    struct buf key;
    buf_init(&key, GROUP_KEY_MAX);
    group_key(a, &key);
    HASH_FIND_STR(n->groups, key.data, g);
    if (g == NULL) {
        g = mem_alloc(sizeof(*g));
        g->key = mem_strdup(key.data);
        for (size_t i = 0; i < ARRAY_LEN(group_by); i++) {
            const char *value = labels_get(&a->labels, group_by[i]);
            if (value != NULL)
                g->labels[g->label_count++] = (struct label){group_by[i], mem_strdup(value)};
        }
        HASH_ADD_KEYPTR(hh, n->groups, g->key, strlen(g->key), g);
    }
    buf_deinit(&key);
    return g;
}

static void drop_member(struct group *g, struct member *m)
{
    HASH_DEL(g->members, m);
    alert_destroy(&m->alert);
    mem_free(m);
}

static void free_group(struct notify *n, struct group *g)
{
    struct member *m, *next;
    HASH_ITER(hh, g->members, m, next)
    {
        drop_member(g, m);
    }
    for (size_t i = 0; i < g->label_count; i++)
        mem_free((void *)(uintptr_t)g->labels[i].value);
    HASH_DEL(n->groups, g);
    mem_free(g->key);
    mem_free(g);
}

static struct member *put_member(struct group *g, const struct alert *a)
{
    struct member *m;
    HASH_FIND(hh, g->members, &a->fingerprint, sizeof(a->fingerprint), m);
    if (m == NULL) {
        m = mem_alloc(sizeof(*m));
        m->fingerprint = a->fingerprint;
        HASH_ADD(hh, g->members, fingerprint, sizeof(m->fingerprint), m);
    }
    alert_destroy(&m->alert);
    m->alert = alert_copy(a);
    return m;
}

static int by_start(const void *a, const void *b)
{
    const struct alert *x = *(const struct alert *const *)a, *y = *(const struct alert *const *)b;
    if (x->fired_at.ms != y->fired_at.ms)
        return x->fired_at.ms < y->fired_at.ms ? -1 : 1;
    return x->fingerprint < y->fingerprint ? -1 : x->fingerprint > y->fingerprint;
}

/* What a message of the group tells: all of it, or what has changed if there is much. */
static const struct alert **group_alerts(const struct group *g, size_t *count)
{
    size_t members = HASH_COUNT(g->members);
    const struct alert **alerts = mem_alloc_array(members + 1, sizeof(*alerts));
    *count = 0;
    for (const struct member *m = g->members; m != NULL; m = m->hh.next)
        if (m->changed || members <= MESSAGE_ALERTS_MAX)
            alerts[(*count)++] = m->alert;
    qsort(alerts, *count, sizeof(*alerts), by_start);
    return alerts;
}

/* The message is made: resolved alerts have been told, a group without firing ones is over. */
static void clean_group(struct notify *n, struct group *g)
{
    struct member *m, *next;
    HASH_ITER(hh, g->members, m, next)
    {
        m->changed = false;
        if (m->alert->state == ALERT_RESOLVED)
            drop_member(g, m);
    }
    g->changed = false;
    if (g->members == NULL)
        free_group(n, g);
}

/* ---- flights ---- */

static void free_flight(struct notify *n, struct flight *f)
{
    DL_DELETE(n->flights, f);
    loop_timer_destroy(&f->timer);
    mem_free(f->items);
    mem_free(f);
}

static void release(struct flight *f, bool durable)
{
    struct notify *n = f->notify;
    if (f->released)
        return;
    f->released = true;
    loop_timer_stop(f->timer);
    for (size_t i = 0; i < f->count; i++)
        outbox_release(n->outbox, f->items[i], durable);
    n->opts.on_committed(n->opts.arg);
}

static void on_commit(bool ok, const struct err *err, void *arg)
{
    struct flight *f = arg;
    if (!ok && !f->released)
        log_warn("alerts.db failed, alerts are sent from memory error=\"%s\"", err->text);
    release(f, ok);
    free_flight(f->notify, f);
}

static void on_slow_commit(void *arg)
{
    struct flight *f = arg;
    log_warn("alerts.db is slow, alerts are sent from memory messages=%zu", f->count);
    release(f, false);
}

/* false: the body would be too long. */
static bool add_message(struct notify *n, struct flight *f, const struct group *g,
                        const struct alert *const *alerts, size_t count)
{
    struct outbox_row row = {.created_at = f->at, .next_attempt_at = f->at};
    char hex[33];
    struct buf body;
    buf_init(&body, NOTIFY_BODY_MAX);
    webhook_body(&(struct webhook_group){.receiver = RECEIVER,
                                         .group_key = g->key,
                                         .group_labels = {g->label_count, g->labels},
                                         .external_url = n->external_url,
                                         .alerts = alerts,
                                         .n = count},
                 &body);
    if (!buf_ok(&body)) {
        buf_deinit(&body);
        return false;
    }
    row.seq = n->next_seq++;
    str_random_hex(hex);
    snprintf(row.id, sizeof(row.id), "msg_%s", hex);
    str_copy(row.receiver, sizeof(row.receiver), RECEIVER);
    snprintf(row.group_key, sizeof(row.group_key), "%016llx",
             (unsigned long long)str_hash(g->key, strlen(g->key), STR_HASH_SEED));
    row.body = buf_take(&body, NULL);
    alerts_tx_put_outbox(n->tx, &row);
    f->items = mem_realloc_array(f->items, f->count + 1, sizeof(struct delivery *));
    f->items[f->count++] = outbox_add(n->outbox, &row);
    return true;
}

/* Halved until it fits: however many alerts come at once, each is told. */
static void add_messages(struct notify *n, struct flight *f, const struct group *g,
                         const struct alert *const *alerts, size_t count)
{
    size_t half = count / 2;
    if (count <= MESSAGE_ALERTS_MAX && add_message(n, f, g, alerts, count))
        return;
    if (count <= 1) {
        log_error("alert is too long, not sent group=%s bytes=%d", g->key, NOTIFY_BODY_MAX);
        return;
    }
    add_messages(n, f, g, alerts, half);
    add_messages(n, f, g, alerts + half, count - half);
}

static void tell_group(struct notify *n, struct flight *f, const struct group *g)
{
    size_t count;
    const struct alert **alerts = group_alerts(g, &count);
    if (count > 0)
        add_messages(n, f, g, alerts, count);
    mem_free(alerts);
}

/* ---- outside ---- */

static struct http_client *make_client(struct loop *loop, const struct config *config,
                                       struct err *err)
{
    return http_client_create(
        loop,
        &(struct http_client_opts){
            .allow_loopback = config->outgoing.allow_loopback,
            .deny = (const char *const *)config->outgoing.deny,
            .deny_count = config->outgoing.deny_count,
            .ca = *config->outgoing.ca != '\0' ? config->outgoing.ca : NULL,
            .cert = *config->outgoing.cert != '\0' ? config->outgoing.cert : NULL,
            .key = *config->outgoing.key != '\0' ? config->outgoing.key : NULL,
            .user_agent = "pgvigil",
        },
        err);
}

/* A receiver that is new here has heard of nothing that fires. */
static void tell_all(struct notify *n)
{
    for (struct group *g = n->groups; g != NULL; g = g->hh.next) {
        g->changed = true;
        for (struct member *m = g->members; m != NULL; m = m->hh.next)
            m->changed = true;
    }
}

bool notify_reconfigure(struct notify *n, const struct config *config, struct err *err)
{
    struct http_client *client = make_client(n->opts.loop, config, err);
    if (client == NULL)
        return false;
    struct http_client *old = n->client;
    n->client = client;
    if (*config->notify.webhook != '\0' && !str_eq(n->webhook, config->notify.webhook))
        tell_all(n);
    mem_free(n->webhook);
    n->webhook = mem_strdup(config->notify.webhook);
    outbox_target(n->outbox, client, n->webhook);
    http_client_destroy(&old);
    return true;
}

struct notify *notify_create(const struct notify_opts *opts, struct err *err)
{
    struct notify *n = mem_alloc(sizeof(*n));
    n->opts = *opts;
    n->external_url = mem_strdup(opts->external_url);
    n->webhook = mem_strdup("");
    n->outbox = outbox_create(opts->loop, opts->db);
    n->tx = alerts_tx_create();
    n->next_seq = 1;
    if (!notify_reconfigure(n, opts->config, err))
        notify_destroy(&n);
    return n;
}

void notify_destroy(struct notify **notify)
{
    struct notify *n = *notify;
    struct group *g, *next_group;
    struct flight *f, *next;
    if (n == NULL)
        return;
    outbox_destroy(&n->outbox);
    http_client_destroy(&n->client);
    HASH_ITER(hh, n->groups, g, next_group)
    {
        free_group(n, g);
    }
    DL_FOREACH_SAFE(n->flights, f, next)
    {
        free_flight(n, f);
    }
    alerts_tx_destroy(&n->tx);
    mem_free(n->external_url);
    mem_free(n->webhook);
    MEM_FREE_NULL(notify);
}

void notify_restore(struct notify *n, const struct alerts_image *image, struct now now)
{
    (void)now;
    n->next_seq = i64_max(n->next_seq, image->next_seq);
    for (size_t i = 0; i < image->alert_count; i++)
        if (image->alerts[i]->state == ALERT_FIRING && is_for_webhook(image->alerts[i]))
            (void)put_member(group_of(n, image->alerts[i]), image->alerts[i]);
    for (size_t i = 0; i < image->outbox_count; i++) {
        struct outbox_row row = image->outbox[i];
        row.body = mem_strdup(row.body);
        outbox_release(n->outbox, outbox_add(n->outbox, &row), true);
    }
    if (image->outbox_count > 0)
        log_info("undelivered alerts of the last run messages=%zu", image->outbox_count);
}

/* An alert that a longer `for` has put back to pending: whoever heard of it hears of its end. */
static void end_member(struct notify *n, const struct alert *a)
{
    struct member *m;
    struct group *g = group_of(n, a);
    HASH_FIND(hh, g->members, &a->fingerprint, sizeof(a->fingerprint), m);
    if (m == NULL)
        m = put_member(g, a);
    m->alert->state = ALERT_RESOLVED;
    m->alert->resolved_at = loop_now(n->opts.loop).wall;
    m->changed = g->changed = true;
}

void notify_change(struct notify *n, const struct alert *a, enum alert_state from)
{
    if (a->state == ALERT_PENDING || a->state == ALERT_FIRING)
        alerts_tx_put_alert(n->tx, a);
    else if (from == ALERT_PENDING || from == ALERT_FIRING)
        alerts_tx_drop_alert(n->tx, a->fingerprint);
    if ((a->state == ALERT_FIRING) == (from == ALERT_FIRING) || !is_for_webhook(a))
        return;
    if (a->state == ALERT_FIRING || a->state == ALERT_RESOLVED) {
        struct group *g = group_of(n, a);
        put_member(g, a)->changed = true;
        g->changed = true;
    } else {
        end_member(n, a);
    }
}

static bool is_any_changed(const struct notify *n)
{
    for (const struct group *g = n->groups; g != NULL; g = g->hh.next)
        if (g->changed)
            return true;
    return false;
}

bool notify_flush(struct notify *n, struct now now)
{
    struct group *g, *next;
    struct flight *f;
    if (alerts_tx_is_empty(n->tx) && !is_any_changed(n))
        return false;
    f = mem_alloc(sizeof(*f));
    f->notify = n;
    f->at = now.wall;
    HASH_ITER(hh, n->groups, g, next)
    {
        if (!g->changed)
            continue;
        if (*n->webhook != '\0')
            tell_group(n, f, g);
        clean_group(n, g);
    }
    f->timer = loop_timer_create(n->opts.loop, on_slow_commit, f);
    loop_timer_start(f->timer, NOTIFY_COMMIT_WAIT_MS);
    DL_APPEND(n->flights, f);
    alerts_db_commit(n->opts.db, &n->tx, on_commit, f);
    n->tx = alerts_tx_create();
    return true;
}

void notify_stats(const struct notify *n, struct now now, struct notify_stats *out)
{
    outbox_stats(n->outbox, now.wall, out);
}
