/*
 * http_client.c: curl's multi interface driven by a loop.
 *
 * curl tells which descriptors and which single timeout it wants; they become loop_poll and
 * loop_timer handles, and every event goes back through curl_multi_socket_action(). What goes on
 * the wire is decided per call in call_setup(), whose options are the security rules of this
 * client. curl resolves names in threads of its own; QUICK_EXIT (7.87) keeps it from waiting for
 * a hung one when a call ends.
 * Invariants: a call is in `calls` from start until its callback or its cancelling; curl is never
 * entered from its own callbacks; `done` is called when curl is not on the stack.
 */
#include "pgvigil/base/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/queue.h>
#include <unistd.h>

#include "net_deny.h"

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define RETRY_AFTER_MAX_MS (15 * 60 * 1000)
#define HEADER_BYTES_MAX   HTTP_ANSWER_MAX
#define CONNECTIONS_KEPT   8
#define CONNECTIONS_MAX    64
#define METHOD_MAX         16
#define BUFFER_BYTES       (16 * 1024)

struct http_call {
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    void (*done)(const struct http_answer *answer, void *arg);
    void *arg;
    struct buf body;
    bool is_cut;     /* the body reached HTTP_ANSWER_MAX and the transfer was stopped */
    bool is_flooded; /* the headers reached HEADER_BYTES_MAX */
    size_t header_bytes;
    int64_t retry_after_ms;
    char denied[NET_TEXT_MAX]; /* the address that the deny list refused; "" = none */
    char error[CURL_ERROR_SIZE];
    TAILQ_ENTRY(http_call) link;
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer *timer;
    struct net_deny deny;
    char *ca, *cert, *key, *user_agent;
    TAILQ_HEAD(, http_call) calls;
    size_t running;
    bool is_destroyed; /* by a callback; released at the end of the turn */
};

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- the end of a call ---- */

static void call_free(struct http_call *call)
{
    struct http_client *client = call->client;
    curl_multi_remove_handle(client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_deinit(&call->body);
    TAILQ_REMOVE(&client->calls, call, link);
    client->running--;
    mem_free(call);
}

static enum err_kind kind_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return ERR_IO;
    default:
        return ERR_NET;
    }
}

/* curl's own texts name hosts at most, never the URL's path or query, which may hold secrets. */
static void describe_failure(const struct http_call *call, CURLcode code, struct err *err)
{
    if (call->denied[0])
        err_set(err, ERR_PERMISSION, "address '%s' is on the deny list", call->denied);
    else if (call->is_flooded)
        err_set(err, ERR_LIMIT, "answer has more than %d bytes of headers", HEADER_BYTES_MAX);
    else
        err_set(err, kind_of(code), "request failed: %s",
                call->error[0] ? call->error : curl_easy_strerror(code));
}

static void call_finish(struct http_call *call, CURLcode code)
{
    struct http_answer answer = {.retry_after_ms = -1};
    void (*done)(const struct http_answer *answer, void *arg) = call->done;
    void *arg = call->arg;
    if (code == CURLE_OK || call->is_cut)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &answer.status);
    if (answer.status == 0) {
        describe_failure(call, code, &answer.err);
        buf_clear(&call->body);
    } else {
        answer.retry_after_ms = call->retry_after_ms;
    }
    char *body = buf_take(&call->body, &answer.body_len);
    answer.body = body;
    call_free(call);
    done(&answer, arg);
    mem_free(body);
}

static void finish_ended(struct http_client *client)
{
    int left;
    CURLMsg *msg;
    while (!client->is_destroyed && (msg = curl_multi_info_read(client->multi, &left))) {
        struct http_call *call = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
        call_finish(call, code);
    }
}

/* ---- events between the loop and curl ---- */

static void drive(struct http_client *client, curl_socket_t fd, int flags)
{
    int running;
    curl_multi_socket_action(client->multi, fd, flags, &running);
    finish_ended(client);
}

static void on_timer(void *arg)
{
    drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *client = arg;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(client->timer);
    else
        loop_timer_start(client->timer, timeout_ms);
    return 0;
}

struct watch {
    struct http_client *client;
    curl_socket_t fd;
    struct loop_poll *poll;
};

static void on_socket(int events, void *arg)
{
    struct watch *watch = arg;
    int flags = 0;
    if (events & LOOP_READ)
        flags |= CURL_CSELECT_IN;
    if (events & LOOP_WRITE)
        flags |= CURL_CSELECT_OUT;
    drive(watch->client, watch->fd, flags);
}

static struct watch *watch_create(struct http_client *client, curl_socket_t fd)
{
    struct err err = {0};
    struct watch *watch = mem_alloc(sizeof(*watch));
    watch->client = client;
    watch->fd = fd;
    watch->poll = loop_poll_create(client->loop, fd, on_socket, watch, &err);
    if (!watch->poll)
        MEM_FREE_NULL(&watch);
    return watch;
}

static void watch_destroy(struct watch *watch)
{
    loop_poll_destroy(&watch->poll);
    mem_free(watch);
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *client = arg;
    struct watch *watch = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            watch_destroy(watch);
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    if (!watch) {
        watch = watch_create(client, fd);
        if (!watch)
            return -1;
        curl_multi_assign(client->multi, fd, watch);
    }
    int events = 0;
    if (what & CURL_POLL_IN)
        events |= LOOP_READ;
    if (what & CURL_POLL_OUT)
        events |= LOOP_WRITE;
    loop_poll_set(watch->poll, events);
    return 0;
}

/* The last moment at which the address that the name really has is known: here rules bite. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *call = arg;
    (void)purpose;
    if (net_deny_matches(&call->client->deny, &address->addr)) {
        net_format(&address->addr, call->denied);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- the answer ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t n = size * count;
    size_t room = HTTP_ANSWER_MAX - call->body.len;
    buf_add(&call->body, data, size_min(n, room));
    if (n <= room)
        return n;
    call->is_cut = true;
    return 0;
}

/* Seconds or an HTTP date; what is no such thing is ignored, what is absurd is clamped. */
static int64_t parse_retry_after(const char *value, wall_ms now)
{
    int64_t seconds;
    size_t digits = strspn(value, "0123456789");
    if (digits > 0 && value[digits] == '\0') {
        if (!str_parse_i64(value, 0, RETRY_AFTER_MAX_MS / 1000, &seconds))
            return RETRY_AFTER_MAX_MS;
        return seconds * 1000;
    }
    if (*value == '-')
        return 0;
    time_t at = curl_getdate(value, NULL);
    if (at == -1)
        return -1;
    int64_t ms = wall_diff((wall_ms){(int64_t)at * 1000}, now);
    return i64_max(0, i64_min(RETRY_AFTER_MAX_MS, ms));
}

static void read_header(struct http_call *call, const char *line, size_t n)
{
    static const char name[] = "retry-after:";
    char value[64];
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0)
        call->retry_after_ms = -1; /* what an interim answer said does not count */
    if (n < sizeof(name) - 1 || strncasecmp(line, name, sizeof(name) - 1) != 0)
        return;
    line += sizeof(name) - 1;
    n -= sizeof(name) - 1;
    while (n > 0 && strchr(" \t", *line)) {
        line++;
        n--;
    }
    while (n > 0 && strchr(" \t\r\n", line[n - 1]))
        n--;
    if (n == 0 || n >= sizeof(value))
        return;
    memcpy(value, line, n);
    value[n] = '\0';
    call->retry_after_ms = parse_retry_after(value, loop_now(call->client->loop).wall);
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t n = size * count;
    call->header_bytes += n;
    if (call->header_bytes > HEADER_BYTES_MAX) {
        call->is_flooded = true;
        return 0;
    }
    read_header(call, data, n);
    return n;
}

/* ---- the request ---- */

static bool method_is_valid(const char *method)
{
    size_t n = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n > 0 && n < METHOD_MAX && method[n] == '\0';
}

static bool url_is_valid(const char *url, struct err *err)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    bool is_valid = code == CURLUE_OK && (str_eq(scheme, "http") || str_eq(scheme, "https"));
    if (!is_valid)
        err_set(err, ERR_INVALID, "url is not acceptable: %s",
                code == CURLUE_OK ? "neither http nor https" : curl_url_strerror(code));
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return is_valid;
}

static bool headers_are_valid(const struct http_request *req, struct err *err)
{
    size_t i = 0;
    while (i < HTTP_HEADERS_MAX && req->headers[i]) {
        const char *header = req->headers[i++];
        if (strpbrk(header, "\r\n") || !strchr(header, ':'))
            return err_set(err, ERR_INVALID, "header %zu is malformed", i);
    }
    if (i == HTTP_HEADERS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d headers", HTTP_HEADERS_MAX - 1);
    return true;
}

static bool request_is_valid(const struct http_request *req, struct err *err)
{
    if (!method_is_valid(req->method))
        return err_set(err, ERR_INVALID, "method is not acceptable");
    return url_is_valid(req->url, err) && headers_are_valid(req, err);
}

static void set_security(CURL *easy, const struct http_client *client, int64_t deadline_ms)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)deadline_ms);
    if (client->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca);
    if (client->cert)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, client->cert);
    if (client->key)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, client->key);
}

static void set_callbacks(struct http_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
}

static void set_request(struct http_call *call, const struct http_request *req)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_URL, req->url);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER_BYTES);
    if (req->body_len > 0 || str_eq(req->method, "POST")) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, req->body ? req->body : "");
    }
    if (str_eq(req->method, "HEAD"))
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
    if (call->client->user_agent)
        curl_easy_setopt(easy, CURLOPT_USERAGENT, call->client->user_agent);
    /* Without this curl waits a second for a "100 Continue" before it sends a large body. */
    call->headers = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; req->headers[i]; i++)
        call->headers = curl_slist_append(call->headers, req->headers[i]);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
}

struct http_call *http_client_start(struct http_client *client, const struct http_request *req,
                                    void (*done)(const struct http_answer *answer, void *arg),
                                    void *arg, struct err *err)
{
    if (!request_is_valid(req, err))
        return NULL;
    struct http_call *call = mem_alloc(sizeof(*call));
    call->client = client;
    call->done = done;
    call->arg = arg;
    call->retry_after_ms = -1;
    buf_init(&call->body, HTTP_ANSWER_MAX);
    call->easy = curl_easy_init();
    if (!call->easy)
        abort(); /* out of memory */
    set_security(call->easy, client, req->deadline_ms > 0 ? req->deadline_ms : HTTP_DEADLINE_MS);
    set_callbacks(call);
    set_request(call, req);
    TAILQ_INSERT_TAIL(&client->calls, call, link);
    client->running++;
    CURLMcode code = curl_multi_add_handle(client->multi, call->easy);
    if (code != CURLM_OK) {
        err_set(err, ERR_INTERNAL, "request cannot be started: %s", curl_multi_strerror(code));
        call_free(call);
        return NULL;
    }
    return call;
}

void http_call_cancel(struct http_client *client, struct http_call **call)
{
    (void)client;
    if (*call)
        call_free(*call);
    *call = NULL;
}

size_t http_client_running(const struct http_client *client)
{
    return client->running;
}

/* ---- life ---- */

static char *strdup_or_null(const char *s)
{
    return s && *s ? mem_strdup(s) : NULL;
}

struct http_client *http_client_create(struct loop *loop, const struct http_client_opts *opts,
                                       struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct http_client *client = mem_alloc(sizeof(*client));
    client->loop = loop;
    TAILQ_INIT(&client->calls);
    client->ca = strdup_or_null(opts->ca);
    client->cert = strdup_or_null(opts->cert);
    client->key = strdup_or_null(opts->key);
    client->user_agent = strdup_or_null(opts->user_agent);
    client->timer = loop_timer_create(loop, on_timer, client);
    client->multi = curl_multi_init();
    if (!client->multi)
        abort(); /* out of memory */
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    if (!net_deny_init(&client->deny, opts->deny, opts->deny_count, opts->allow_loopback, err))
        http_client_destroy(&client);
    return client;
}

void http_client_destroy(struct http_client **client)
{
    struct http_client *c = *client;
    if (!c)
        return;
    while (!TAILQ_EMPTY(&c->calls))
        call_free(TAILQ_FIRST(&c->calls));
    curl_multi_cleanup(c->multi);
    loop_timer_destroy(&c->timer);
    mem_free(c->ca);
    mem_free(c->cert);
    mem_free(c->key);
    mem_free(c->user_agent);
    c->is_destroyed = true;
    *client = NULL;
    loop_defer(c->loop, mem_free, c);
}
