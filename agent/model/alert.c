/*
 * alert.c: copies of alerts for store, delivery and display, and the board that shows them.
 *
 * A copy is one block (struct, labels, strings), so that lists of some hundred alerts can be made
 * after each change and freed by whichever thread looked last. The board's mutex is held for a
 * pointer swap only. Invariant: a list is never changed after alert_board_put.
 */
#include "pgvigil/model/alert.h"

#include <pthread.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

const char *alert_state_name(enum alert_state state)
{
    switch (state) {
    case ALERT_INACTIVE:
        return "inactive";
    case ALERT_PENDING:
        return "pending";
    case ALERT_FIRING:
        return "firing";
    case ALERT_RESOLVED:
        return "resolved";
    }
    return "inactive";
}

bool alert_counts(const struct alert *a)
{
    const char *severity = labels_get(&a->labels, "severity");
    return severity == NULL || !str_eq(severity, SEVERITY_NONE);
}

/* ---- copies ---- */

static size_t text_bytes(const char *s)
{
    return (s != NULL ? strlen(s) : 0) + 1;
}

static size_t labels_bytes(const struct labels *ls)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ls->n; i++)
        bytes += text_bytes(ls->v[i].name) + text_bytes(ls->v[i].value);
    return bytes;
}

static const char *pack(char **at, const char *s)
{
    size_t n = text_bytes(s);
    char *copy = memcpy(*at, s != NULL ? s : "", n);
    *at += n;
    return copy;
}

static struct labels pack_labels(struct label *v, char **at, const struct labels *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        v[i].name = pack(at, ls->v[i].name);
        v[i].value = pack(at, ls->v[i].value);
    }
    return (struct labels){.n = ls->n, .v = v};
}

struct alert *alert_copy(const struct alert *a)
{
    size_t pairs = a->labels.n + a->annotations.n;
    size_t bytes = sizeof(*a) + pairs * sizeof(struct label) + labels_bytes(&a->labels) +
                   labels_bytes(&a->annotations) + text_bytes(a->group) + text_bytes(a->rule) +
                   text_bytes(a->expr) + text_bytes(a->reason);
    struct alert *copy = mem_alloc(bytes);
    struct label *v = (struct label *)(copy + 1);
    char *at = (char *)(v + pairs);
    *copy = *a;
    copy->labels = pack_labels(v, &at, &a->labels);
    copy->annotations = pack_labels(v + a->labels.n, &at, &a->annotations);
    copy->group = pack(&at, a->group);
    copy->rule = pack(&at, a->rule);
    copy->expr = pack(&at, a->expr);
    copy->reason = pack(&at, a->reason);
    return copy;
}

void alert_destroy(struct alert **a)
{
    MEM_FREE_NULL(a);
}

/* ---- lists ---- */

struct alert_list *alert_list_create(wall_ms at, size_t n)
{
    struct alert_list *l = mem_alloc(sizeof(*l));
    atomic_init(&l->refs, 1);
    l->at = at;
    l->n = n;
    l->alerts = mem_alloc_array(n, sizeof(struct alert *));
    return l;
}

struct alert_list *alert_list_ref(struct alert_list *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void alert_list_unref(struct alert_list *l)
{
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < l->n; i++)
        alert_destroy(&l->alerts[i]);
    mem_free(l->alerts);
    mem_free(l);
}

/* ---- the board ---- */

struct alert_board {
    pthread_mutex_t lock;
    struct alert_list *list; /* never NULL */
};

struct alert_board *alert_board_create(void)
{
    struct alert_board *b = mem_alloc(sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    b->list = alert_list_create(WALL_UNSET, 0);
    return b;
}

void alert_board_destroy(struct alert_board **b)
{
    if (*b == NULL)
        return;
    alert_list_unref((*b)->list);
    pthread_mutex_destroy(&(*b)->lock);
    MEM_FREE_NULL(b);
}

void alert_board_put(struct alert_board *b, struct alert_list *l)
{
    pthread_mutex_lock(&b->lock);
    struct alert_list *old = b->list;
    b->list = l;
    pthread_mutex_unlock(&b->lock);
    alert_list_unref(old);
}

struct alert_list *alert_board_get(struct alert_board *b)
{
    pthread_mutex_lock(&b->lock);
    struct alert_list *l = alert_list_ref(b->list);
    pthread_mutex_unlock(&b->lock);
    return l;
}
