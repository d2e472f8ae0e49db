/* The HTTP side over real sockets: methods, headers, limits, the local socket. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "moved_clock.h"
#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/serve/serve.h"

static struct {
    char dir[64], socket[96];
    struct config *config;
    struct board *board;
    struct snapshots *snapshots;
    struct alert_board *alerts;
    struct rule_board *rules;
    struct serve *serve;
} t;

static struct serve *start(struct err *err)
{
    return serve_create(&(struct serve_opts){.config = t.config,
                                             .board = t.board,
                                             .snapshots = t.snapshots,
                                             .alerts = t.alerts,
                                             .rules = t.rules,
                                             .api_socket = t.socket},
                        err);
}

static void load(int port)
{
    char text[256];
    struct diag diag;
    diag_init(&diag);
    snprintf(text, sizeof(text),
             "listen: 127.0.0.1:%d\nnodes: [{name: p, dsn: 'host=127.0.0.1'}]\n", port);
    config_unref(&t.config);
    t.config = config_parse("t", text, strlen(text), &diag);
    assert_non_null(t.config);
    diag_deinit(&diag);
}

static int setup(void **state)
{
    struct err err = {0};
    (void)state;
    memset(&t, 0, sizeof(t));
    clock_moved_ms = 0;
    clock_set_source(moved_clock, NULL);
    snprintf(t.dir, sizeof(t.dir), "/tmp/pgvigil-serve-XXXXXX");
    assert_non_null(mkdtemp(t.dir));
    snprintf(t.socket, sizeof(t.socket), "%s/api.sock", t.dir);
    t.board = board_create();
    t.snapshots = snapshots_create();
    t.alerts = alert_board_create();
    t.rules = rule_board_create();
    load(0);
    t.serve = start(&err);
    if (t.serve == NULL)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    serve_destroy(&t.serve);
    board_destroy(&t.board);
    snapshots_destroy(&t.snapshots);
    alert_board_destroy(&t.alerts);
    rule_board_destroy(&t.rules);
    config_unref(&t.config);
    clock_set_source(NULL, NULL);
    return rmdir(t.dir); /* nothing is left in it */
}

static int dial(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)serve_port(t.serve)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = 8};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return fd;
}

static int dial_local(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    str_copy(addr.sun_path, sizeof(addr.sun_path), t.socket);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* All that comes until the other side closes; false if it does not. */
static bool hear(int fd, char *out, size_t n)
{
    size_t len = 0;
    ssize_t got = 1;
    while (len < n - 1 && (got = recv(fd, out + len, n - 1 - len, 0)) > 0)
        len += (size_t)got;
    out[len] = '\0';
    close(fd);
    return got == 0;
}

static void ask(int fd, const char *method, const char *path, const char *more, char *out, size_t n)
{
    char request[512];
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
             method, path, more);
    say(fd, request);
    assert_true(hear(fd, out, n));
}

static void answers_by_method_and_path(void **state)
{
    static const struct {
        const char *method, *path, *more;
        int status;
        const char *header, *body; /* NULL body: none at all */
    } cases[] = {
        {"GET", "/-/healthy", "", 200, "Content-Type: text/plain", "Healthy"},
        {"GET", "/-/ready", "", 503, "", "not polled yet"},
        {"GET", "/", "", 200, "Content-Type: text/html", "<!doctype html>"},
        {"HEAD", "/", "", 200, "Content-Type: text/html", NULL},
        {"HEAD", "/primary", "", 503, "Content-Type: application/json", NULL},
        {"OPTIONS", "/replica?node=p", "", 503, "application/json", NULL},
        {"OPTIONS", "/-/healthy", "", 200, "Content-Type: text/plain", NULL},
        {"GET", "/metrics", "", 200, "text/plain; version=0.0.4", ""},
        {"GET", "/api/v1/alerts", "", 200, "application/json", "{\"status\":\"success\""},
        {"GET", "/api/pgvigil/nodes", "", 200, "application/json", "\"nodes\":[]"},
        {"GET", "/nothing/here", "", 404, "text/plain", "404"},
        {"GET", "/../etc/passwd", "", 404, "text/plain", "404"},
        {"GET", "//metrics", "", 404, "text/plain", "404"},
        {"DELETE", "/metrics", "", 405, "Allow: ", "only"},
        {"PUT", "/", "Content-Length: 0\r\n", 405, "Allow: ", "only"},
        {"GET", "/-/healthy", "", 200, "X-Content-Type-Options: nosniff", "Healthy"},
        {"GET", "/", "", 200, "Content-Security-Policy: default-src 'none'", "pgvigil"},
        {"GET", "/", "", 200, "X-Frame-Options: DENY", "pgvigil"},
    };
    static char out[65536];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char status[32];
        ask(dial(), cases[i].method, cases[i].path, cases[i].more, out, sizeof(out));
        snprintf(status, sizeof(status), "HTTP/1.1 %d ", cases[i].status);
        if (!str_starts(out, status) || strstr(out, cases[i].header) == NULL)
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, out);
        const char *body = strstr(out, "\r\n\r\n");
        assert_non_null(body);
        body += 4;
        if (cases[i].body == NULL ? *body != '\0' : strstr(body, cases[i].body) == NULL)
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, out);
    }
    serve_set_ready(t.serve);
    ask(dial(), "GET", "/-/ready", "", out, sizeof(out));
    assert_true(str_starts(out, "HTTP/1.1 200 "));
    struct serve_stats stats;
    serve_stats(t.serve, &stats);
    assert_int_equal(stats.requests_total, ARRAY_LEN(cases) + 1);
}

static void the_local_socket_is_for_its_group(void **state)
{
    static char out[8192];
    struct stat st;
    struct err err;
    (void)state;
    assert_int_equal(stat(t.socket, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    ask(dial_local(), "GET", "/-/healthy", "", out, sizeof(out));
    assert_true(str_starts(out, "HTTP/1.1 200 "));
    serve_destroy(&t.serve);
    assert_int_not_equal(access(t.socket, F_OK), 0);
    /* one that a crash has left behind is replaced */
    FILE *f = fopen(t.socket, "w");
    fclose(f);
    t.serve = start(&err);
    assert_non_null(t.serve);
    ask(dial_local(), "GET", "/-/healthy", "", out, sizeof(out));
    assert_true(str_starts(out, "HTTP/1.1 200 "));
}

static void a_taken_port_is_told(void **state)
{
    struct err err = {0};
    char taken[32];
    struct serve *first = t.serve;
    (void)state;
    snprintf(taken, sizeof(taken), "'127.0.0.1:%d'", serve_port(first));
    load(serve_port(first));
    assert_null(start(&err));
    assert_non_null(strstr(err.text, "cannot listen on"));
    assert_non_null(strstr(err.text, taken));
    assert_int_equal(access(t.socket, F_OK), 0); /* the first one's stays */
}

/* Who sends a byte now and then is cut off when the time of the request is over. */
static void a_slow_request_is_cut_off(void **state)
{
    char out[1024];
    struct serve_stats stats;
    (void)state;
    int fd = dial();
    say(fd, "GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-");
    usleep(50000);
    clock_moved_ms += SERVE_DEADLINE_MS + 1000;
    assert_true(hear(fd, out, sizeof(out)));
    assert_null(strstr(out, "200 OK"));
    serve_stats(t.serve, &stats);
    assert_int_equal(stats.refused_total, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(answers_by_method_and_path),
        CASE(the_local_socket_is_for_its_group),
        CASE(a_taken_port_is_told),
        CASE(a_slow_request_is_cut_off),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
