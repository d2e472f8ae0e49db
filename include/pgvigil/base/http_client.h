/*
 * http_client.h: outgoing HTTP on a loop (curl multi).
 *
 * http and https only, no redirects, TLS verified, a total deadline, answers read up to
 * HTTP_ANSWER_MAX, resolved addresses checked against a deny list before connecting, environment
 * proxies ignored, no automatic decompression. Loop thread only. URLs and headers are never logged.
 */
#ifndef PGVIGIL_BASE_HTTP_CLIENT_H
#define PGVIGIL_BASE_HTTP_CLIENT_H

#include "pgvigil/base/loop.h"

#define HTTP_ANSWER_MAX  (64 * 1024)
#define HTTP_DEADLINE_MS 15000
#define HTTP_HEADERS_MAX 16
#define HTTP_DENY_MAX    32

struct http_client;
struct http_call;

struct http_client_opts {
    bool allow_loopback;
    const char *const *deny; /* CIDR texts, validated before; up to HTTP_DENY_MAX */
    size_t deny_count;
    const char *ca, *cert, *key; /* NULL = system */
    const char *user_agent;
};

struct http_request {
    const char *method; /* "POST", "GET" */
    const char *url;
    const char *headers[HTTP_HEADERS_MAX]; /* "Name: value"; NULL-terminated; no CR/LF inside */
    const void *body;                      /* copied */
    size_t body_len;
    int64_t deadline_ms; /* total; 0 = HTTP_DEADLINE_MS */
};

struct http_answer {
    long status;      /* 0 if there was no answer: see err */
    const char *body; /* NUL-terminated, at most HTTP_ANSWER_MAX, valid during the callback */
    size_t body_len;
    int64_t retry_after_ms; /* -1 = none; seconds or HTTP date, clamped to 15 min */
    struct err err;
};

struct http_client *http_client_create(struct loop *loop, const struct http_client_opts *opts,
                                       struct err *err) MUST_CHECK;
/* Calls that run end without a callback. */
void http_client_destroy(struct http_client **client);
/*
 * done is called once, later, on the loop; it may destroy the client. NULL with err when the
 * request is not acceptable.
 */
struct http_call *http_client_start(struct http_client *client, const struct http_request *req,
                                    void (*done)(const struct http_answer *answer, void *arg),
                                    void *arg, struct err *err) MUST_CHECK;
void http_call_cancel(struct http_client *client, struct http_call **call);
size_t http_client_running(const struct http_client *client);

#endif
