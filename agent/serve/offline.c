/*
 * offline.c: a query as a worker runs it, with a source that has a file only. Invariant: what is
 * printed here and what the daemon prints differ by nothing but the samples of the head.
 */
#include "pgvigil/serve/offline.h"

#include "pgvigil/base/mem.h"

#include "query.h"
#include "query_source.h"

char *offline_instance(const char *host, int port)
{
    return mem_printf(strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
}

/* The API would only warn, and answer from its head. */
static bool file_is_readable(const char *path, struct err *err)
{
    struct reader *reader = history_reader_open(path, err);
    bool ok = reader != NULL;
    history_reader_close(&reader);
    return ok;
}

/* lint-ok parameters: where from, what, and three places for what comes out */
bool offline_query(const char *history_path, const char *instance, bool is_range, const char *form,
                   int *status, struct buf *body, struct err *err)
{
    struct now now = clock_read();
    if (!file_is_readable(history_path, err))
        return false;
    struct query *q = query_create(is_range ? QUERY_RANGE : QUERY_INSTANT);
    bool ok = params_add(&q->params, form, strlen(form), err);
    if (ok) {
        struct query_source *source = query_source_create(NULL, history_path, instance);
        struct query_reader *reader = query_source_take(source, query_cancelled, q);
        q->budget =
            (struct query_budget){OFFLINE_TIMEOUT_MS, OFFLINE_BYTES_MAX, OFFLINE_SAMPLES_MAX};
        q->reply.body.max = OFFLINE_ANSWER_MAX;
        q->now = now.wall;
        q->began = now.mono;
        query_run(q, query_reader(reader), query_reader_warning(reader));
        query_source_give_back(source, &reader);
        query_source_unref(source);
        *status = q->reply.status;
        buf_add(body, q->reply.body.data, q->reply.body.len);
    }
    query_destroy(&q);
    return ok;
}
