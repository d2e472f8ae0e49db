/*
 * alerts_tx.c: a transaction of alerts.db before it meets the file.
 *
 * Why so: the engine collects what one turn decided and hands it over whole; everything is copied,
 * so that the engine's objects may change while the disk is slow. Invariant: the order of the
 * calls is the order in the file.
 */
#include "alerts_parts.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

struct alerts_tx *alerts_tx_create(void)
{
    struct alerts_tx *tx = mem_alloc(sizeof(*tx));

    tx->end = &tx->first;
    tx->may_be_lost = true;
    return tx;
}

static void free_change(struct change *c)
{
    if (c->kind == CHANGE_PUT_ALERT)
        alert_destroy(&c->u.alert);
    if (c->kind == CHANGE_PUT_OUTBOX)
        mem_free(c->u.outbox.body);
    mem_free(c);
}

void alerts_tx_destroy(struct alerts_tx **tx)
{
    if (*tx == NULL)
        return;
    while ((*tx)->first != NULL) {
        struct change *next = (*tx)->first->next;
        free_change((*tx)->first);
        (*tx)->first = next;
    }
    MEM_FREE_NULL(tx);
}

bool alerts_tx_is_empty(const struct alerts_tx *tx)
{
    return tx->first == NULL;
}

static struct change *add(struct alerts_tx *tx, enum change_kind kind)
{
    struct change *c = mem_alloc(sizeof(*c));

    c->kind = kind;
    *tx->end = c;
    tx->end = &c->next;
    if (kind != CHANGE_NODE && kind != CHANGE_TIMELINE && kind != CHANGE_EVALUATED)
        tx->may_be_lost = false;
    return c;
}

void alerts_tx_put_alert(struct alerts_tx *tx, const struct alert *a)
{
    add(tx, CHANGE_PUT_ALERT)->u.alert = alert_copy(a);
}

void alerts_tx_drop_alert(struct alerts_tx *tx, uint64_t fingerprint)
{
    add(tx, CHANGE_DROP_ALERT)->u.fingerprint = fingerprint;
}

void alerts_tx_put_outbox(struct alerts_tx *tx, const struct outbox_row *row)
{
    struct change *c = add(tx, CHANGE_PUT_OUTBOX);

    c->u.outbox = *row;
    c->u.outbox.body = mem_strdup(row->body);
}

void alerts_tx_outbox_attempt(struct alerts_tx *tx, const char *id, int attempts,
                              wall_ms next_attempt_at, const char *error)
{
    struct outbox_row *row = &add(tx, CHANGE_ATTEMPT)->u.outbox;

    str_copy(row->id, sizeof(row->id), id);
    str_copy(row->last_error, sizeof(row->last_error), error != NULL ? error : "");
    row->attempts = attempts;
    row->next_attempt_at = next_attempt_at;
}

void alerts_tx_outbox_done(struct alerts_tx *tx, const char *id, wall_ms at)
{
    struct outbox_row *row = &add(tx, CHANGE_DONE)->u.outbox;

    str_copy(row->id, sizeof(row->id), id);
    row->created_at = at;
}

void alerts_tx_put_gate_node(struct alerts_tx *tx, const struct gate_node_state *state)
{
    add(tx, CHANGE_NODE)->u.node = *state;
}

void alerts_tx_put_gate_flip(struct alerts_tx *tx, const struct gate_flip *flip)
{
    add(tx, CHANGE_FLIP)->u.flip = *flip;
}

void alerts_tx_put_timeline(struct alerts_tx *tx, uint64_t system_id, uint32_t timeline,
                            const struct timeline_entry *entry, struct now now)
{
    struct change *c = add(tx, CHANGE_TIMELINE);

    c->u.timeline.system_id = system_id;
    c->u.timeline.timeline = timeline;
    c->u.timeline.entry = *entry;
    c->u.timeline.at = wall_add(now.wall, mono_diff(entry->t_after, now.mono));
}

void alerts_tx_put_evaluated(struct alerts_tx *tx, wall_ms at)
{
    add(tx, CHANGE_EVALUATED)->u.evaluated_at = at;
}
