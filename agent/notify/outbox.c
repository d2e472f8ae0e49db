/*
 * One queue per group keeps the order of its messages; groups whose first message may be sent
 * stand in the ready queue, those that failed wait until their time. So a message that fails holds
 * up its own group only. Nothing is dropped silently: after 72 h a row is given up with a log line.
 * Invariant: a group is in exactly one of: idle (empty or first message unreleased), ready, in
 * flight, waiting.
 */
#include "outbox.h"

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define uthash_malloc(n)  mem_alloc(n)
#define uthash_free(p, n) mem_free(p)
#include <uthash.h>
#include <utlist.h>

#define BACKOFF_FIRST_MS   1000
#define BACKOFF_REFUSED_MS 60000 /* 4xx: somebody must change something; do not hammer */
/* Fewer than 72 h of tries can have at the longest Retry-After: a clock that was set after the
 * message was made must not make it look old. */
#define GIVE_UP_ATTEMPTS 200

enum queue_state { QUEUE_IDLE, QUEUE_READY, QUEUE_IN_FLIGHT, QUEUE_WAITING };

struct delivery {
    struct outbox_row row;
    bool released, durable;
    struct delivery *prev, *next;
};

struct queue {
    char key[sizeof(((struct outbox_row *)0)->group_key)];
    struct outbox *outbox;
    struct delivery *deliveries; /* in order */
    enum queue_state state;
    mono_ms retry_at;
    struct http_call *call;
    struct queue *prev, *next; /* in ready or waiting */
    UT_hash_handle hh;
};

struct outbox {
    struct loop *loop;
    struct alerts_db *db;
    struct http_client *client;
    char *url;
    struct loop_timer *timer;
    struct queue *queues; /* by key */
    struct queue *ready, *waiting;
    size_t in_flight, depth;
    uint64_t delivered, failed, not_durable;
};

static void pump(struct outbox *o);

/* ---- moving queues between states ---- */

static void leave_state(struct queue *q)
{
    if (q->state == QUEUE_READY)
        DL_DELETE(q->outbox->ready, q);
    if (q->state == QUEUE_WAITING)
        DL_DELETE(q->outbox->waiting, q);
    if (q->state == QUEUE_IN_FLIGHT)
        q->outbox->in_flight--;
}

static void enter_state(struct queue *q, enum queue_state state)
{
    leave_state(q);
    q->state = state;
    if (state == QUEUE_READY)
        DL_APPEND(q->outbox->ready, q);
    if (state == QUEUE_WAITING)
        DL_APPEND(q->outbox->waiting, q);
    if (state == QUEUE_IN_FLIGHT)
        q->outbox->in_flight++;
}

static void free_delivery(struct outbox *o, struct queue *q, struct delivery *d)
{
    DL_DELETE(q->deliveries, d);
    mem_free(d->row.body);
    mem_free(d);
    o->depth--;
}

static void free_queue(struct outbox *o, struct queue *q)
{
    leave_state(q);
    HASH_DEL(o->queues, q);
    mem_free(q);
}

/* Its first message is gone or was released: where does the queue stand now? */
static void settle(struct outbox *o, struct queue *q)
{
    if (q->deliveries == NULL)
        free_queue(o, q);
    else
        enter_state(q, q->deliveries->released ? QUEUE_READY : QUEUE_IDLE);
}

/* ---- the result of an attempt ---- */

static int64_t backoff_ms(const struct delivery *d, const struct http_answer *answer)
{
    int64_t ms = BACKOFF_FIRST_MS;
    for (int i = 1; i < d->row.attempts && ms < OUTBOX_BACKOFF_MAX_MS; i++)
        ms *= 2;
    bool refused = answer->status >= 400 && answer->status < 500 && answer->status != 408 &&
                   answer->status != 429;
    if (refused)
        ms = i64_max(ms, BACKOFF_REFUSED_MS);
    ms = i64_min(ms, OUTBOX_BACKOFF_MAX_MS);
    /* +-20 %: spread by id and attempt, so that many messages do not come back together */
    uint64_t h = str_hash(d->row.id, strlen(d->row.id), STR_HASH_SEED + (uint64_t)d->row.attempts);
    ms = ms * 8 / 10 + (int64_t)(h % 1000) * ms * 4 / 10 / 1000;
    return i64_max(ms, answer->retry_after_ms);
}

static void commit_tx(struct outbox *o, struct alerts_tx *tx)
{
    alerts_db_commit(o->db, &tx, NULL, NULL);
}

static void delivered(struct outbox *o, struct queue *q, struct delivery *d)
{
    struct alerts_tx *tx = alerts_tx_create();
    alerts_tx_outbox_done(tx, d->row.id, loop_now(o->loop).wall);
    commit_tx(o, tx);
    if (d->row.attempts > 1)
        log_info("alert delivered after %d attempts id=%s", d->row.attempts, d->row.id);
    o->delivered++;
    o->not_durable += !d->durable;
    free_delivery(o, q, d);
    settle(o, q);
}

static void give_up(struct outbox *o, struct queue *q, struct delivery *d)
{
    struct alerts_tx *tx = alerts_tx_create();
    alerts_tx_outbox_done(tx, d->row.id, loop_now(o->loop).wall);
    commit_tx(o, tx);
    log_error("alert could not be delivered for 72 h, given up id=%s attempts=%d last_error=\"%s\"",
              d->row.id, d->row.attempts, d->row.last_error);
    free_delivery(o, q, d);
    settle(o, q);
}

static void failed(struct outbox *o, struct queue *q, struct delivery *d,
                   const struct http_answer *answer)
{
    struct now now = loop_now(o->loop);
    o->failed++;
    if (answer->status > 0)
        snprintf(d->row.last_error, sizeof(d->row.last_error), "answer %ld", answer->status);
    else
        str_copy(d->row.last_error, sizeof(d->row.last_error), answer->err.text);
    if (wall_diff(now.wall, d->row.created_at) >= OUTBOX_KEEP_MS &&
        d->row.attempts >= GIVE_UP_ATTEMPTS) {
        give_up(o, q, d);
        return;
    }
    int64_t wait = backoff_ms(d, answer);
    char quoted[sizeof(d->row.last_error) + 64];
    if (d->row.attempts == 1)
        log_warn("alert not delivered, will be tried again id=%s error=%s", d->row.id,
                 log_quote(quoted, sizeof(quoted), d->row.last_error));
    d->row.next_attempt_at = wall_add(now.wall, wait);
    q->retry_at = mono_add(now.mono, wait);
    enter_state(q, QUEUE_WAITING);
    struct alerts_tx *tx = alerts_tx_create();
    alerts_tx_outbox_attempt(tx, d->row.id, d->row.attempts, d->row.next_attempt_at,
                             d->row.last_error);
    commit_tx(o, tx);
}

static void on_answer(const struct http_answer *answer, void *arg)
{
    struct queue *q = arg;
    struct outbox *o = q->outbox;
    q->call = NULL;
    if (answer->status >= 200 && answer->status < 300)
        delivered(o, q, q->deliveries);
    else
        failed(o, q, q->deliveries, answer);
    pump(o);
}

/* ---- sending ---- */

static void send_first(struct outbox *o, struct queue *q)
{
    struct delivery *d = q->deliveries;
    struct now now = loop_now(o->loop);
    char id[80], stamp[64];
    struct err err = {0};
    snprintf(id, sizeof(id), "webhook-id: %s", d->row.id);
    snprintf(stamp, sizeof(stamp), "webhook-timestamp: %lld", (long long)(now.wall.ms / 1000));
    struct http_request req = {
        .method = "POST",
        .url = o->url,
        .headers = {"Content-Type: application/json", id, stamp},
        .body = d->row.body,
        .body_len = strlen(d->row.body),
    };
    d->row.attempts++;
    enter_state(q, QUEUE_IN_FLIGHT);
    q->call = http_client_start(o->client, &req, on_answer, q, &err);
    if (q->call == NULL)
        failed(o, q, d, &(struct http_answer){.retry_after_ms = -1, .err = err});
}

static void arm_timer(struct outbox *o, mono_ms now)
{
    mono_ms next = MONO_NEVER;
    struct queue *q;
    DL_FOREACH(o->waiting, q)
    {
        if (mono_before(q->retry_at, next))
            next = q->retry_at;
    }
    if (o->waiting != NULL)
        loop_timer_start(o->timer, i64_max(1, mono_diff(next, now)));
}

static void pump(struct outbox *o)
{
    while (o->ready != NULL && o->in_flight < OUTBOX_IN_FLIGHT_MAX && o->client != NULL &&
           *o->url != '\0')
        send_first(o, o->ready);
    arm_timer(o, loop_now(o->loop).mono);
}

static void on_timer(void *arg)
{
    struct outbox *o = arg;
    mono_ms now = loop_now(o->loop).mono;
    struct queue *q, *next;
    DL_FOREACH_SAFE(o->waiting, q, next)
    {
        if (!mono_before(now, q->retry_at))
            enter_state(q, QUEUE_READY);
    }
    pump(o);
}

/* ---- outside ---- */

struct outbox *outbox_create(struct loop *loop, struct alerts_db *db)
{
    struct outbox *o = mem_alloc(sizeof(*o));
    o->loop = loop;
    o->db = db;
    o->url = mem_strdup("");
    o->timer = loop_timer_create(loop, on_timer, o);
    return o;
}

void outbox_destroy(struct outbox **outbox)
{
    struct outbox *o = *outbox;
    struct queue *q, *next_queue;
    struct delivery *d, *next;
    if (o == NULL)
        return;
    HASH_ITER(hh, o->queues, q, next_queue)
    {
        if (q->call != NULL)
            http_call_cancel(o->client, &q->call);
        DL_FOREACH_SAFE(q->deliveries, d, next)
        {
            free_delivery(o, q, d);
        }
        free_queue(o, q);
    }
    loop_timer_destroy(&o->timer);
    mem_free(o->url);
    MEM_FREE_NULL(outbox);
}

void outbox_target(struct outbox *o, struct http_client *client, const char *url)
{
    struct queue *q;
    for (q = o->queues; q != NULL; q = q->hh.next) {
        if (q->call == NULL)
            continue;
        http_call_cancel(o->client, &q->call); /* sent again to the new target, same id */
        enter_state(q, QUEUE_READY);
    }
    mem_free(o->url);
    o->client = client;
    o->url = mem_strdup(url);
    pump(o);
}

struct delivery *outbox_add(struct outbox *o, const struct outbox_row *row)
{
    struct queue *q;
    HASH_FIND_STR(o->queues, row->group_key, q);
    if (q == NULL) {
        q = mem_alloc(sizeof(*q));
        q->outbox = o;
        str_copy(q->key, sizeof(q->key), row->group_key);
        HASH_ADD_STR(o->queues, key, q);
    }
    struct delivery *d = mem_alloc(sizeof(*d));
    d->row = *row;
    DL_APPEND(q->deliveries, d);
    o->depth++;
    return d;
}

/* The receiver is told that this message may come again with another id after a crash. */
static void mark_not_durable(struct delivery *d)
{
    size_t len = strlen(d->row.body);
    if (len == 0 || d->row.body[len - 1] != '}')
        return;
    char *marked = mem_printf("%.*s,\"durable\":false}", (int)(len - 1), d->row.body);
    mem_free(d->row.body);
    d->row.body = marked;
}

void outbox_release(struct outbox *o, struct delivery *d, bool durable)
{
    struct queue *q;
    if (!durable)
        mark_not_durable(d);
    d->released = true;
    d->durable = durable;
    HASH_FIND_STR(o->queues, d->row.group_key, q);
    if (q != NULL && q->state == QUEUE_IDLE && q->deliveries == d) {
        struct now now = loop_now(o->loop);
        int64_t wait = wall_diff(d->row.next_attempt_at, now.wall);
        /* a row of the last run keeps its backoff, within reason if the clock was set */
        q->retry_at = mono_add(now.mono, i64_min(wait, OUTBOX_BACKOFF_MAX_MS));
        enter_state(q, wait > 0 ? QUEUE_WAITING : QUEUE_READY);
    }
    pump(o);
}

void outbox_stats(const struct outbox *o, wall_ms now, struct notify_stats *out)
{
    const struct queue *q;
    const struct delivery *d;
    *out = (struct notify_stats){.delivered_total = o->delivered,
                                 .failed_attempts_total = o->failed,
                                 .not_durable_total = o->not_durable,
                                 .outbox_depth = o->depth};
    for (q = o->queues; q != NULL; q = q->hh.next) {
        d = q->deliveries;
        if (d != NULL)
            out->oldest_ms = i64_max(out->oldest_ms, wall_diff(now, d->row.created_at));
    }
}
