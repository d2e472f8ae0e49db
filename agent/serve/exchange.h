/*
 * exchange.h: one request below /api/v1/ from its first line to its answer. It knows nothing of
 * sockets: the HTTP loop feeds it, waits for it, and sends its reply. HTTP loop only.
 */
#ifndef AGENT_SERVE_EXCHANGE_H
#define AGENT_SERVE_EXCHANGE_H

#include "query_pool.h"

struct exchange;

/* What of the request's headers matters. */
struct exchange_head {
    const char *method, *path; /* decoded */
    bool is_form;         /* the body is application/x-www-form-urlencoded; of POST it counts */
    const char *encoding; /* of the body; "" = none */
    bool gzip;            /* the client takes gzip */
};

/* uri: the raw request target, copied; began: when its first line came. */
struct exchange *exchange_create(const char *uri, mono_ms began);
/* Also while a query runs: it is given up. */
void exchange_destroy(struct exchange **x);
/* True once: libmicrohttpd calls a first time before the body. */
bool exchange_is_new(struct exchange *x);
/* A piece of the body; what is over the limit is dropped and refused later. */
void exchange_body(struct exchange *x, const char *data, size_t n);
/*
 * The request is whole. True: exchange_reply is there. False: a query runs; on_answer is called on
 * the loop when it is there.
 */
bool exchange_start(struct exchange *x, const struct exchange_head *head,
                    const struct serve_sources *from, struct query_pool *pool,
                    void (*on_answer)(void *arg), void *arg);
bool exchange_is_answered(const struct exchange *x);
struct reply *exchange_reply(struct exchange *x);

#endif
