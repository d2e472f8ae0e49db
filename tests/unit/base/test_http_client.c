/*
 * test_http_client.c: the outgoing HTTP client against a small server in a thread.
 *
 * The server answers by path: each path is one kind of receiver, good or bad.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/http_client.h"
#include "pgvigil/base/str.h"

#define WAIT_MS 4000

/* ---- the server ---- */

static int listener = -1, port;
static pthread_t server;
static atomic_bool stopping;
static atomic_int connections;
static char last_request[8192];
static pthread_mutex_t request_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void send_text(int fd, const char *s)
{
    send_all(fd, s, strlen(s));
}

/* Until the client leaves or the test ends. */
static void hold(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    char byte;
    while (!stopping) {
        if (poll(&p, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0)
            return;
    }
}

static void drip(int fd)
{
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (!stopping && send_all(fd, "x", 1))
        usleep(20000);
}

static void flood(int fd, const char *head, const char *chunk)
{
    send_text(fd, head);
    while (!stopping && send_all(fd, chunk, strlen(chunk)))
        ;
}

static const struct {
    const char *path, *answer;
} answers[] = {
    {"/ok", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
    {"/429", "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"},
    {"/503", "HTTP/1.1 503 No\r\nRETRY-AFTER:  99999999999999999999 \r\nContent-Length: 0\r\n\r\n"},
    {"/past", "HTTP/1.1 503 No\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
              "Content-Length: 0\r\n\r\n"},
    {"/soon", "HTTP/1.1 503 No\r\nRetry-After: Tue, 14 Nov 2023 22:14:50 GMT\r\n"
              "Content-Length: 0\r\n\r\n"},
    {"/negative", "HTTP/1.1 503 No\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n"},
    {"/words", "HTTP/1.1 503 No\r\nRetry-After: when I feel like it\r\nContent-Length: 0\r\n\r\n"},
    {"/interim", "HTTP/1.1 103 Hm\r\nRetry-After: 9\r\n\r\n"
                 "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
    {"/redirect", "HTTP/1.1 302 Found\r\nLocation: /canary\r\nContent-Length: 2\r\n\r\nno"},
    {"/gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"},
    {"/garbage", "ERR what is this\r\n\r\n"},
    {"/short", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"},
};

static void answer(int fd, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        if (str_eq(path, answers[i].path))
            send_text(fd, answers[i].answer);
    }
    if (str_eq(path, "/drip"))
        drip(fd);
    else if (str_eq(path, "/hang"))
        hold(fd);
    else if (str_eq(path, "/endless"))
        flood(fd, "HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef0123456789abcdef");
    else if (str_eq(path, "/headers"))
        flood(fd, "HTTP/1.1 200 OK\r\n", "X-Much: 0123456789abcdef\r\n");
}

static void read_request(int fd, char *out, size_t n)
{
    size_t len = 0;
    long body = 0;
    char *end;
    out[0] = '\0';
    while (len < n - 1) {
        ssize_t got = recv(fd, out + len, n - 1 - len, 0);
        if (got <= 0)
            return;
        len += (size_t)got;
        out[len] = '\0';
        char *length = strcasestr(out, "content-length:");
        if (length)
            body = strtol(length + 15, NULL, 10);
        end = strstr(out, "\r\n\r\n");
        if (end && out + len >= end + 4 + body)
            return;
    }
}

static void *serve_one(void *arg)
{
    int fd = *(int *)arg;
    char request[8192], path[64] = "";
    free(arg);
    read_request(fd, request, sizeof(request));
    pthread_mutex_lock(&request_mutex);
    memcpy(last_request, request, sizeof(request));
    pthread_mutex_unlock(&request_mutex);
    (void)!sscanf(request, "%*s %63s", path);
    answer(fd, path);
    shutdown(fd, SHUT_WR);
    close(fd);
    connections--;
    return NULL;
}

static void *serve(void *arg)
{
    struct pollfd p = {listener, POLLIN, 0};
    (void)arg;
    while (!stopping) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        pthread_t thread;
        int *fd = malloc(sizeof(*fd));
        *fd = accept(listener, NULL, NULL);
        connections++;
        pthread_create(&thread, NULL, serve_one, fd);
        pthread_detach(thread);
    }
    return NULL;
}

static int start_server(void **state)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 64), 0);
    getsockname(listener, (struct sockaddr *)&addr, &len);
    port = ntohs(addr.sin_port);
    return pthread_create(&server, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    stopping = true;
    pthread_join(server, NULL);
    for (int i = 0; i < 2000 && connections > 0; i++)
        usleep(1000);
    close(listener);
    return 0;
}

/* ---- the client ---- */

static struct loop *loop;
static struct http_client *client;

struct outcome {
    int calls;
    long status;
    char body[128];
    size_t body_len;
    int64_t retry_after_ms;
    struct err err;
};

static void on_answer(const struct http_answer *answer, void *arg)
{
    struct outcome *out = arg;
    out->calls++;
    out->status = answer->status;
    out->body_len = answer->body_len;
    assert_int_equal(strlen(answer->body), answer->body_len);
    str_copy(out->body, sizeof(out->body), answer->body);
    out->retry_after_ms = answer->retry_after_ms;
    out->err = answer->err;
}

static void open_client(bool allow_loopback, const char *deny)
{
    struct err err = {0};
    const char *list[] = {deny};
    struct http_client_opts opts = {.allow_loopback = allow_loopback,
                                    .deny = list,
                                    .deny_count = deny ? 1 : 0,
                                    .user_agent = "pgvigil/test"};
    loop = loop_create("test", &err);
    client = http_client_create(loop, &opts, &err);
    assert_non_null(client);
}

static int setup(void **state)
{
    (void)state;
    open_client(true, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_client_destroy(&client);
    loop_destroy(&loop);
    clock_set_source(NULL, NULL);
    return 0;
}

static struct http_call *start(const char *method, const char *path, int64_t deadline_ms,
                               struct outcome *out)
{
    char url[128];
    struct err err = {0};
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
    struct http_request req = {.method = method,
                               .url = url,
                               .headers = {"Content-Type: application/json", "webhook-id: 42"},
                               .body = "{\"a\":1}",
                               .body_len = str_eq(method, "POST") ? 7 : 0,
                               .deadline_ms = deadline_ms};
    *out = (struct outcome){0};
    struct http_call *call = http_client_start(client, &req, on_answer, out, &err);
    assert_non_null(call);
    assert_int_equal(out->calls, 0);
    return call;
}

static void run_until_idle(void)
{
    mono_ms end = mono_add(clock_read().mono, WAIT_MS);
    while (http_client_running(client) > 0 && mono_before(clock_read().mono, end))
        loop_run_once(loop, true);
    assert_int_equal(http_client_running(client), 0);
}

static struct outcome fetch(const char *method, const char *path, int64_t deadline_ms)
{
    struct outcome out;
    start(method, path, deadline_ms, &out);
    run_until_idle();
    assert_int_equal(out.calls, 1);
    return out;
}

static void a_good_receiver_gets_what_was_given(void **state)
{
    static const char *const expect[] = {"POST /ok HTTP/1.1\r\n", "\r\nwebhook-id: 42\r\n",
                                         "\r\nContent-Type: application/json\r\n",
                                         "\r\nUser-Agent: pgvigil/test\r\n", "\r\n\r\n{\"a\":1}"};
    static const char *const unwanted[] = {"Accept-Encoding", "Expect", "Proxy"};
    (void)state;
    struct outcome out = fetch("POST", "/ok", 0);
    assert_int_equal(out.status, 200);
    assert_string_equal(out.body, "hello");
    assert_int_equal(out.retry_after_ms, -1);
    for (size_t i = 0; i < ARRAY_LEN(expect); i++)
        assert_non_null(strstr(last_request, expect[i]));
    for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
        assert_null(strcasestr(last_request, unwanted[i]));
    out = fetch("GET", "/ok", 0);
    assert_int_equal(out.status, 200);
    assert_true(str_starts(last_request, "GET /ok"));
}

/* Between two answers of the same test the wall clock is fixed, so that dates mean something. */
static struct now fixed_wall(void *arg)
{
    struct timespec ts;
    (void)arg;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (struct now){{(int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000}, {1700000000000}};
}

static void answers_are_told_as_they_are(void **state)
{
    static const struct {
        const char *path;
        long status;
        const char *body;
        int64_t retry_after_ms;
    } cases[] = {
        {"/429", 429, "", 7000},   {"/503", 503, "", 900000},    {"/past", 503, "", 0},
        {"/soon", 503, "", 90000}, {"/negative", 503, "", 0},    {"/words", 503, "", -1},
        {"/interim", 204, "", -1}, {"/redirect", 302, "no", -1}, {"/gzip", 200, "abcd", -1},
    };
    (void)state;
    clock_set_source(fixed_wall, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct outcome out = fetch("POST", cases[i].path, 0);
        assert_int_equal(out.status, cases[i].status);
        assert_string_equal(out.body, cases[i].body);
        assert_int_equal(out.retry_after_ms, cases[i].retry_after_ms);
        assert_null(strstr(last_request, "/canary"));
    }
}

static void the_body_is_cut_at_its_limit(void **state)
{
    (void)state;
    mono_ms begin = clock_read().mono;
    struct outcome out = fetch("GET", "/endless", 0);
    assert_int_equal(out.status, 200);
    assert_int_equal(out.body_len, HTTP_ANSWER_MAX);
    assert_in_range(mono_diff(clock_read().mono, begin), 0, 2000);
}

static void failures_are_told_apart(void **state)
{
    static const struct {
        const char *path;
        enum err_kind kind;
    } cases[] = {
        {"/hang", ERR_TIMEOUT}, {"/drip", ERR_TIMEOUT}, {"/headers", ERR_LIMIT},
        {"/garbage", ERR_NET},  {"/short", ERR_NET},    {"/nothing", ERR_NET},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        mono_ms begin = clock_read().mono;
        struct outcome out = fetch("POST", cases[i].path, 300);
        assert_int_equal(out.status, 0);
        assert_int_equal(out.body_len, 0);
        assert_int_equal(out.err.kind, cases[i].kind);
        assert_null(strstr(out.err.text, cases[i].path));
        assert_in_range(mono_diff(clock_read().mono, begin), 0, 1500);
    }
}

static void a_slow_receiver_does_not_delay_another(void **state)
{
    struct outcome slow, fast;
    (void)state;
    start("POST", "/hang", 3000, &slow);
    mono_ms begin = clock_read().mono;
    start("POST", "/ok", 3000, &fast);
    while (!fast.calls && mono_diff(clock_read().mono, begin) < WAIT_MS)
        loop_run_once(loop, true);
    assert_int_equal(fast.status, 200);
    assert_in_range(mono_diff(clock_read().mono, begin), 0, 500);
    assert_int_equal(http_client_running(client), 1);
    assert_true(hist_quantile_s(loop_turn_time(loop), 1.0) <= 0.25);
}

static void a_cancelled_call_ends_without_callback(void **state)
{
    struct outcome out;
    (void)state;
    struct http_call *call = start("POST", "/hang", 3000, &out);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, false);
    http_call_cancel(client, &call);
    assert_null(call);
    assert_int_equal(http_client_running(client), 0);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, false);
    assert_int_equal(out.calls, 0);
}

static void destroy_client(const struct http_answer *answer, void *arg)
{
    on_answer(answer, arg);
    http_client_destroy(&client);
}

static void the_client_may_be_destroyed_by_a_callback(void **state)
{
    struct outcome first, second;
    struct err err;
    char url[64];
    (void)state;
    start("POST", "/hang", 3000, &first);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", port);
    struct http_request req = {.method = "GET", .url = url};
    second = (struct outcome){0};
    assert_non_null(http_client_start(client, &req, destroy_client, &second, &err));
    mono_ms begin = clock_read().mono;
    while (client && mono_diff(clock_read().mono, begin) < WAIT_MS)
        loop_run_once(loop, true);
    assert_null(client);
    assert_int_equal(second.status, 200);
    assert_int_equal(first.calls, 0);
}

static void denied_addresses_are_not_connected_to(void **state)
{
    static const struct {
        bool allow_loopback;
        const char *deny, *url_host;
        bool is_denied;
    } cases[] = {
        {true, NULL, "127.0.0.1", false},
        {false, NULL, "127.0.0.1", true},
        {false, NULL, "localhost", true},
        {false, NULL, "0.0.0.0", true},
        {false, NULL, "[::1]", true},
        {false, NULL, "[::ffff:127.0.0.1]", true},
        {true, "127.0.0.0/8", "127.0.0.1", true},
        {true, "127.0.0.1", "127.0.0.1", true},
        {true, "127.0.0.2", "127.0.0.1", false},
        {true, "126.0.0.0/7", "127.0.0.1", true},
        {true, "128.0.0.0/1", "127.0.0.1", false},
        {true, "0.0.0.0/0", "127.0.0.1", true},
        {true, "127.0.0.0/8", "[::ffff:127.0.0.1]", true},
        {true, "169.254.0.0/16", "169.254.169.254", true},
        {true, "169.254.0.0/16", "[64:ff9b::169.254.169.254]", true},
        {true, "169.254.0.0/16", "[::169.254.169.254]", true},
        {true, "fd00::/8", "[fd12::1]", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct outcome out = {0};
        char url[128];
        open_client(cases[i].allow_loopback, cases[i].deny);
        snprintf(url, sizeof(url), "http://%s:%d/ok", cases[i].url_host, port);
        struct http_request req = {.method = "GET", .url = url, .deadline_ms = 2000};
        assert_non_null(http_client_start(client, &req, on_answer, &out, &err));
        run_until_idle();
        if (cases[i].is_denied) {
            assert_int_equal(out.status, 0);
            assert_int_equal(out.err.kind, ERR_PERMISSION);
        } else {
            assert_int_equal(out.status, 200);
        }
        teardown(NULL);
    }
}

static void bad_requests_are_refused(void **state)
{
    static const struct {
        const char *method, *url, *header;
    } cases[] = {
        {"POST", "file:///etc/passwd", NULL},
        {"POST", "ftp://127.0.0.1/", NULL},
        {"POST", "no url", NULL},
        {"POST", "", NULL},
        {"POST", "http://127.0.0.1/\r\nX: y", NULL},
        {"PO ST", "http://127.0.0.1/", NULL},
        {"POST /x HTTP/1.1\r\nA: b", "http://127.0.0.1/", NULL},
        {"", "http://127.0.0.1/", NULL},
        {"POST", "http://127.0.0.1/", "X: y\r\nZ: 1"},
        {"POST", "http://127.0.0.1/", "no colon"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct http_request req = {
            .method = cases[i].method, .url = cases[i].url, .headers = {cases[i].header}};
        assert_null(http_client_start(client, &req, on_answer, NULL, &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
    struct err err = {0};
    struct http_request req = {.method = "GET", .url = "http://127.0.0.1/"};
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        req.headers[i] = "a: b";
    assert_null(http_client_start(client, &req, on_answer, NULL, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void a_bad_deny_list_is_refused(void **state)
{
    static const char *const cases[] = {"10.0.0.0/33", "10.0.0/8",    "::/129",
                                        "x",           "10.0.0.0/-1", ""};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct http_client_opts opts = {.deny = &cases[i], .deny_count = 1};
        assert_null(http_client_create(loop, &opts, &err));
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

int main(void)
{
    alarm(120); /* a hang is a failure too */
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_good_receiver_gets_what_was_given),
        TEST(answers_are_told_as_they_are),
        TEST(the_body_is_cut_at_its_limit),
        TEST(failures_are_told_apart),
        TEST(a_slow_receiver_does_not_delay_another),
        TEST(a_cancelled_call_ends_without_callback),
        TEST(the_client_may_be_destroyed_by_a_callback),
        cmocka_unit_test(denied_addresses_are_not_connected_to),
        TEST(bad_requests_are_refused),
        TEST(a_bad_deny_list_is_refused),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
