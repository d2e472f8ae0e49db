/*
 * rule_report.c: the counted report and the board that shows it. The mutex is held for a pointer
 * swap only. Invariant: a report is never changed after rule_board_put.
 */
#include "pgvigil/model/rule_report.h"

#include <pthread.h>

#include "pgvigil/base/mem.h"

struct rule_report *rule_report_create(size_t groups)
{
    struct rule_report *r = mem_alloc(sizeof(*r));
    atomic_init(&r->refs, 1);
    r->arena = arena_create(0, ARENA_NO_LIMIT);
    r->groups = arena_alloc_array(r->arena, groups, sizeof(*r->groups));
    r->n = groups;
    return r;
}

void rule_report_unref(struct rule_report *r)
{
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_destroy(&r->arena);
    mem_free(r);
}

struct rule_board {
    pthread_mutex_t lock;
    struct rule_report *report; /* never NULL */
};

struct rule_board *rule_board_create(void)
{
    struct rule_board *b = mem_alloc(sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    b->report = rule_report_create(0);
    return b;
}

void rule_board_destroy(struct rule_board **b)
{
    if (*b == NULL)
        return;
    rule_report_unref((*b)->report);
    pthread_mutex_destroy(&(*b)->lock);
    MEM_FREE_NULL(b);
}

void rule_board_put(struct rule_board *b, struct rule_report *r)
{
    pthread_mutex_lock(&b->lock);
    struct rule_report *old = b->report;
    b->report = r;
    pthread_mutex_unlock(&b->lock);
    rule_report_unref(old);
}

struct rule_report *rule_board_get(struct rule_board *b)
{
    pthread_mutex_lock(&b->lock);
    struct rule_report *r = b->report;
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&b->lock);
    return r;
}
