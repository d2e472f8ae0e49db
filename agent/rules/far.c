/*
 * far.c: rules that look further back than the head holds everything. The engine must not wait for
 * a disk, so such a rule leaves as a job with an expression of its own: a reload may take the
 * rule away while a worker still evaluates. A job is told apart by its ticket, which is never used
 * again; whose ticket no group has any more is of no interest. Invariant: between rule_send_far and
 * its end a job belongs to whoever took it, and the rules touch nothing of it but the ticket.
 */
#include "rules_private.h"

#include "pgvigil/base/str.h"
#include "pgvigil/promql/selector.h"

struct rule_job {
    uint64_t ticket; /* never changes: may be read while a worker is at the rest */
    struct promql_expr *expr;
    int64_t t, subquery_step_ms;
    struct arena *arena; /* NULL until it has run */
    struct promql_value value;
    bool ok;
    struct err err;
};

/*
 * What fits into the lookback is never far: a start does not make every rule a far one, and a value
 * of before the start is no news of now. What reaches further sees the samples of before the start,
 * as in Prometheus.
 */
bool rule_is_far(const struct rules *r, const struct rule_run *run, int64_t t)
{
    return r->opts.run_far != NULL && run->reach_ms > PROMQL_LOOKBACK_MS &&
           t - run->reach_ms < r->opts.complete_since(r->opts.arg);
}

/*
 * What fits into the head is far for a while after each start only. It must not depend on a disk:
 * if the history does not answer, it counts what is at hand, as it would after a first start.
 */
bool rule_needs_history(const struct rules *r, const struct rule_run *run)
{
    return run->reach_ms > r->opts.reader_keep_ms;
}

bool rule_send_far(struct rules *r, struct group_run *group, int64_t t, struct err *err)
{
    struct promql_error parse_err;
    struct promql_expr *expr = promql_parse(group->runs[group->at].rule->expr_text, &parse_err);
    if (expr == NULL)
        return err_set(err, ERR_INTERNAL, "%s", parse_err.text);
    struct rule_job *job = mem_alloc(sizeof(*job));
    job->ticket = ++r->last_ticket;
    job->expr = expr;
    job->t = t;
    job->subquery_step_ms = r->opts.subquery_step_ms;
    group->ticket = job->ticket;
    if (r->opts.run_far(job, r->opts.arg))
        return true;
    group->ticket = 0;
    rule_job_destroy(&job);
    return err_set(err, ERR_LIMIT, "the history does not answer: too many rules wait for it");
}

void rule_job_run(struct rule_job *job, struct reader *reader, bool (*cancelled)(void *arg),
                  void *arg)
{
    const struct promql_limits limits = {.max_samples = RULE_FAR_SAMPLES_MAX,
                                         .subquery_step_ms = job->subquery_step_ms,
                                         .cancelled = cancelled,
                                         .arg = arg};
    job->arena = arena_create(0, RULE_FAR_BYTES_MAX);
    job->ok =
        promql_instant(job->expr, reader, job->t, &limits, job->arena, &job->value, &job->err);
}

void rule_job_fail(struct rule_job *job, const char *why)
{
    if (job->ok)
        (void)err_set(&job->err, ERR_IO, "%s", why);
    job->ok = false;
}

void rule_job_destroy(struct rule_job **job)
{
    if (*job == NULL)
        return;
    promql_destroy(&(*job)->expr);
    arena_destroy(&(*job)->arena);
    MEM_FREE_NULL(job);
}

uint64_t rule_job_ticket(const struct rule_job *job)
{
    return job->ticket;
}

const struct promql_value *rule_job_result(const struct rule_job *job, struct err *err)
{
    *err = job->err;
    return job->ok ? &job->value : NULL;
}
