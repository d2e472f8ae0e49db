/*
 * libmicrohttpd is driven by our own loop on one thread (its epoll descriptor is just another
 * descriptor there): its own timeout only counts silence, so a peer that sends a byte now and then
 * would stay for ever; here a sweep ends every connection whose request has taken longer than the
 * deadline. Handlers read snapshots and never wait, so one thread serves all of them; a query of
 * the API is computed by a worker (query_pool.h) while its connection is suspended. Two daemons
 * share the loop: config.listen and the socket api.sock. Invariant: peer->suspended is set exactly
 * while a query of this peer runs.
 */
#include "pgvigil/serve/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/loop.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "api_v1.h"
#include "exchange.h"
#include "negotiate.h"
#include "pgvigil/serve/offline.h"

#include <utlist.h>

#define CONNECTION_MEMORY (32 * 1024)
#define IDLE_S            30
#define SWEEP_MS          1000
#define BACKLOG           128

struct peer {
    struct serve *serve;
    int fd;
    mono_ms request_began;            /* MONO_UNSET between requests and while a query runs */
    struct MHD_Connection *suspended; /* waits for its query */
    struct peer *prev, *next;
};

struct listener {
    struct serve *serve;
    struct MHD_Daemon *daemon;
    struct loop_poll *poll;
    int fd;
};

struct serve {
    pthread_t thread;
    bool thread_started;
    struct loop *loop;
    struct loop_timer *turn, *sweep;
    struct listener tcp, local;
    struct peer *peers;
    struct query_pool *queries;
    char *socket_path;
    int port;
    struct serve_opts opts;
    struct config *config;          /* the thread's */
    _Atomic(struct config *) fresh; /* handed over by serve_reconfigure */
    atomic_bool ready;
    struct hist request_time;
    _Atomic uint64_t requests, refused;
};

/* ---- answering ---- */

static const char *param(const struct request *req, const char *name)
{
    return MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, name);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    return value != NULL ? value : "";
}

static bool takes_gzip(struct MHD_Connection *connection)
{
    return negotiate_gzip(header(connection, MHD_HTTP_HEADER_ACCEPT_ENCODING));
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply)
{
    static const char *const headers[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri "
                                    "'none'; form-action 'none'; "
                                    "frame-ancestors 'none'"},
    };
    if (!buf_ok(&reply->body)) {
        buf_clear(&reply->body);
        buf_add_str(&reply->body, "the answer is too long\n");
        reply->status = 500;
    }
    size_t len;
    char *data = buf_take(&reply->body, &len);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", reply->content_type);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    if (reply->gzip)
        MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (reply->status == 405)
        MHD_add_response_header(response, "Allow",
                                reply->allow != NULL ? reply->allow : "GET, HEAD, OPTIONS");
    enum MHD_Result rc = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    buf_deinit(&reply->body);
    return rc;
}

static bool is_method(const char *method, const char *const *list)
{
    for (; *list != NULL; list++)
        if (str_eq(method, *list))
            return true;
    return false;
}

static struct serve_sources sources(struct serve *s)
{
    return (struct serve_sources){.config = s->config,
                                  .board = s->opts.board,
                                  .snapshots = s->opts.snapshots,
                                  .alerts = s->opts.alerts,
                                  .rules = s->opts.rules,
                                  .version = s->opts.version,
                                  .ready = atomic_load(&s->ready),
                                  .now = loop_now(s->loop)};
}

static void count_request(struct serve *s, uint64_t begin)
{
    atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
    hist_observe_ns(&s->request_time, clock_stage_ns() - begin);
}

static enum MHD_Result answer_at_once(struct serve *s, struct MHD_Connection *connection,
                                      const char *url, const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", NULL};
    uint64_t begin = clock_stage_ns();
    struct reply reply = {.content_type = "text/plain; charset=utf-8"};
    buf_init(&reply.body, REPLY_MAX);
    struct serve_sources from = sources(s);
    struct request req = {.from = &from,
                          .path = url,
                          .param = param,
                          .connection = connection,
                          .accept = header(connection, MHD_HTTP_HEADER_ACCEPT)};
    if (is_method(method, methods)) {
        route(&req, &reply);
        if (str_eq(method, "OPTIONS")) /* asks for the status only, as Patroni answers */
            buf_clear(&reply.body);
        if (takes_gzip(connection))
            reply_gzip(&reply);
    } else {
        reply.status = 405;
        buf_add_str(&reply.body, "only GET, HEAD and OPTIONS\n");
    }
    enum MHD_Result rc = send_reply(connection, &reply);
    count_request(s, begin);
    return rc;
}

/* ---- the API: waits for workers ---- */

static struct peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void pump(struct serve *s);

static void on_answer(void *arg)
{
    struct peer *p = arg;
    struct MHD_Connection *connection = p->suspended;
    p->suspended = NULL;
    p->request_began = loop_now(p->serve->loop).mono; /* time to take the answer */
    MHD_resume_connection(connection);
    pump(p->serve);
}

static enum MHD_Result start_exchange(struct serve *s, struct exchange *x,
                                      struct MHD_Connection *connection, const char *url,
                                      const char *method)
{
    static const char form[] = "application/x-www-form-urlencoded";
    uint64_t begin = clock_stage_ns();
    struct serve_sources from = sources(s);
    struct peer *p = peer_of(connection);
    struct exchange_head head = {
        .method = method,
        .path = url,
        .is_form = strncasecmp(header(connection, MHD_HTTP_HEADER_CONTENT_TYPE), form,
                               sizeof(form) - 1) == 0,
        .encoding = header(connection, MHD_HTTP_HEADER_CONTENT_ENCODING),
        .gzip = takes_gzip(connection),
    };
    if (p == NULL)
        return MHD_NO;
    bool answered = exchange_start(x, &head, &from, s->queries, on_answer, p);
    count_request(s, begin);
    if (answered)
        return send_reply(connection, exchange_reply(x));
    p->suspended = connection;
    p->request_began = MONO_UNSET;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

/* lint-ok parameters: libmicrohttpd's signature */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct serve *s = cls;
    struct exchange *x = *state;
    (void)version;
    if (x == NULL)
        return answer_at_once(s, connection, url, method);
    if (exchange_is_answered(x))
        return send_reply(connection, exchange_reply(x));
    if (*upload_size > 0) {
        exchange_body(x, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (exchange_is_new(x)) /* the first call comes before the body */
        return MHD_YES;
    return start_exchange(s, x, connection, url, method);
}

/* ---- connections and their deadline ---- */

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct serve *s = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct peer *p = mem_alloc(sizeof(*p));
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        p->serve = s;
        p->fd = info != NULL ? info->connect_fd : -1;
        p->request_began = loop_now(s->loop).mono;
        DL_APPEND(s->peers, p);
        *socket_context = p;
    } else if (*socket_context != NULL) {
        struct peer *p = *socket_context;
        DL_DELETE(s->peers, p);
        mem_free(p);
        *socket_context = NULL;
    }
}

/* A connection that is kept open may be silent between requests; its next one starts anew. */
static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct peer *p = peer_of(connection);
    struct exchange *x = *state;
    (void)cls;
    (void)why;
    exchange_destroy(&x);
    *state = NULL;
    if (p != NULL)
        p->request_began = MONO_UNSET;
}

/* The first line of a request is read: from here its time counts. What it gives is its state. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct serve *s = cls;
    struct peer *p = peer_of(connection);
    if (p != NULL && !mono_is_set(p->request_began))
        p->request_began = loop_now(s->loop).mono;
    if (!str_starts(uri, API_PREFIX))
        return NULL;
    return exchange_create(uri, p != NULL ? p->request_began : loop_now(s->loop).mono);
}

static void sweep(void *arg)
{
    struct serve *s = arg;
    struct peer *p;
    mono_ms now = loop_now(s->loop).mono;
    struct config *fresh = atomic_exchange(&s->fresh, NULL);
    if (fresh != NULL) {
        config_unref(&s->config);
        s->config = fresh;
    }
    DL_FOREACH(s->peers, p)
    {
        if (!mono_is_set(p->request_began) || mono_diff(now, p->request_began) < SERVE_DEADLINE_MS)
            continue;
        atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
        shutdown(p->fd, SHUT_RDWR); /* MHD sees the end and cleans up */
        p->request_began = now;
    }
    pump(s);
}

/* ---- driving MHD ---- */

static void run_daemon(struct serve *s, struct MHD_Daemon *daemon, int64_t *next_ms)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    (void)s;
    if (daemon == NULL)
        return;
    MHD_run(daemon);
    if (MHD_get_timeout(daemon, &timeout) == MHD_YES)
        *next_ms = i64_min(*next_ms, (int64_t)timeout);
}

static void pump(struct serve *s)
{
    int64_t next_ms = SWEEP_MS;
    run_daemon(s, s->tcp.daemon, &next_ms);
    run_daemon(s, s->local.daemon, &next_ms);
    if (next_ms < SWEEP_MS)
        loop_timer_start(s->turn, next_ms);
}

static void on_turn(void *arg)
{
    pump(arg);
}

static void on_readable(int events, void *arg)
{
    (void)events;
    pump(((struct listener *)arg)->serve);
}

static void mhd_log(void *arg, const char *fmt, va_list args)
{
    char text[512];
    (void)arg;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    /* the format is libmicrohttpd's own */
    vsnprintf(text, sizeof(text), fmt, args);
#pragma GCC diagnostic pop
    text[strcspn(text, "\n")] = '\0';
    log_debug("http %s", text);
}

static bool start_daemon(struct serve *s, struct listener *l, struct err *err)
{
    l->serve = s;
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, l->fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_PER_IP,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
        MHD_OPTION_END);
    if (l->daemon == NULL)
        return err_set(err, ERR_NET, "cannot start the HTTP server");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    l->poll = loop_poll_create(s->loop, info->epoll_fd, on_readable, l, err);
    if (l->poll == NULL)
        return false;
    loop_poll_set(l->poll, LOOP_READ);
    return true;
}

/* ---- listening ---- */

static int bind_address(const struct addrinfo *a)
{
    int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool listen_tcp(struct serve *s, struct err *err)
{
    char port[16];
    struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST};
    snprintf(port, sizeof(port), "%d", s->config->listen_port);
    const char *host = s->config->listen_host;
    if (str_eq(host, "localhost"))
        host = "127.0.0.1";
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "cannot listen on '%s': %s", s->config->listen_host,
                       gai_strerror(rc));
    s->tcp.fd = bind_address(list);
    freeaddrinfo(list);
    if (s->tcp.fd < 0)
        return err_set(err, ERR_NET, "cannot listen on '%s:%s': %s", s->config->listen_host, port,
                       strerror(errno));
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {0};
    socklen_t len = sizeof(bound);
    getsockname(s->tcp.fd, &bound.any, &len);
    s->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return true;
}

/* A socket that nobody answers on is left over from a crash; another agent's is refused by the
 * lock on state_dir before. Without it the agent still runs: the CLI then needs --url. */
static void listen_local(struct serve *s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!str_copy(addr.sun_path, sizeof(addr.sun_path), s->socket_path)) {
        log_warn("api.sock is not served, its path is too long path=%s", s->socket_path);
        return;
    }
    unlink(s->socket_path);
    s->local.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old = umask(0117);
    bool ok = s->local.fd >= 0 && bind(s->local.fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
              listen(s->local.fd, BACKLOG) == 0;
    umask(old);
    if (ok)
        return;
    log_warn("api.sock cannot be opened path=%s error=\"%s\"", s->socket_path, strerror(errno));
    if (s->local.fd >= 0)
        close(s->local.fd);
    s->local.fd = -1;
}

/* ---- life ---- */

static void *thread_main(void *arg)
{
    struct serve *s = arg;
    pthread_setname_np(pthread_self(), "pgv-http");
    loop_run(s->loop);
    return NULL;
}

/* `instance` is what a Prometheus would scrape. */
static void start_queries(struct serve *s)
{
    char *instance = offline_instance(s->config->listen_host, s->port);
    s->queries = query_pool_create(
        s->loop, query_source_create(s->opts.head, s->opts.history_path, instance));
    mem_free(instance);
}

static bool start(struct serve *s, struct err *err)
{
    s->loop = loop_create("http", err);
    if (s->loop == NULL || !listen_tcp(s, err))
        return false;
    if (s->socket_path != NULL)
        listen_local(s);
    start_queries(s);
    s->turn = loop_timer_create(s->loop, on_turn, s);
    s->sweep = loop_timer_create(s->loop, sweep, s);
    loop_timer_start_period(s->sweep, SWEEP_MS, SWEEP_MS, NULL);
    if (!start_daemon(s, &s->tcp, err) || (s->local.fd >= 0 && !start_daemon(s, &s->local, err)))
        return false;
    if (pthread_create(&s->thread, NULL, thread_main, s) != 0)
        return err_set(err, ERR_INTERNAL, "cannot start the HTTP thread");
    s->thread_started = true;
    return true;
}

struct serve *serve_create(const struct serve_opts *opts, struct err *err)
{
    struct serve *s = mem_alloc(sizeof(*s));
    s->opts = *opts;
    s->config = config_ref(opts->config);
    s->tcp.fd = s->local.fd = -1;
    if (opts->api_socket != NULL)
        s->socket_path = mem_strdup(opts->api_socket);
    if (!start(s, err))
        serve_destroy(&s);
    return s;
}

static void stop_listener(struct listener *l)
{
    loop_poll_destroy(&l->poll);
    if (l->daemon != NULL)
        MHD_stop_daemon(l->daemon); /* closes the listening socket */
    else if (l->fd >= 0)
        close(l->fd);
}

void serve_destroy(struct serve **serve)
{
    struct serve *s = *serve;
    struct peer *p;
    if (s == NULL)
        return;
    if (s->thread_started) {
        loop_stop(s->loop);
        pthread_join(s->thread, NULL);
    }
    if (s->local.fd >= 0)
        unlink(s->socket_path);
    DL_FOREACH(s->peers, p)
    {
        if (p->suspended != NULL) /* libmicrohttpd wants none when it stops */
            MHD_resume_connection(p->suspended);
    }
    stop_listener(&s->tcp);
    stop_listener(&s->local);
    query_pool_destroy(&s->queries);
    loop_timer_destroy(&s->turn);
    loop_timer_destroy(&s->sweep);
    loop_destroy(&s->loop);
    struct config *fresh = atomic_exchange(&s->fresh, NULL);
    config_unref(&fresh);
    config_unref(&s->config);
    mem_free(s->socket_path);
    MEM_FREE_NULL(serve);
}

void serve_reconfigure(struct serve *s, struct config *config)
{
    struct config *unseen = atomic_exchange(&s->fresh, config_ref(config));
    config_unref(&unseen);
}

void serve_set_ready(struct serve *s)
{
    atomic_store(&s->ready, true);
}

int serve_port(const struct serve *s)
{
    return s->port;
}

void serve_stats(const struct serve *s, struct serve_stats *out)
{
    out->requests_total = atomic_load_explicit(&s->requests, memory_order_relaxed);
    out->refused_total = atomic_load_explicit(&s->refused, memory_order_relaxed);
    out->request_time = &s->request_time;
}
