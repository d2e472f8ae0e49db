/* Tests of log.c: lines, levels, quoting, and a reader that does not read (PR6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/log.h"

struct captured {
    int count;
    enum log_level level;
    char line[LOG_LINE_MAX];
};

static void capture(enum log_level level, const char *line, void *arg)
{
    struct captured *c = arg;

    c->count++;
    c->level = level;
    snprintf(c->line, sizeof(c->line), "%s", line);
}

static int count_calls(int *calls)
{
    return ++*calls;
}

static void test_levels(void **state)
{
    struct captured c = {0};
    int calls = 0;

    (void)state;
    log_set_sink(capture, &c);
    log_init(LOG_LEVEL_WARN);
    log_info("not asked for %d", count_calls(&calls));
    assert_int_equal(c.count, 0);
    assert_int_equal(calls, 0); /* nothing is formatted, not even its arguments */
    log_warn("slow turn ms=%d", 77);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.level, LOG_LEVEL_WARN);
    assert_string_equal(c.line, "slow turn ms=77");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("now");
    assert_int_equal(c.count, 2);
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("no");
    log_error("yes");
    assert_int_equal(c.count, 3);
    log_set_sink(NULL, NULL);
}

static void test_one_line(void **state)
{
    struct captured c = {0};
    char long_text[5000];

    (void)state;
    log_set_sink(capture, &c);
    log_init(LOG_LEVEL_INFO);
    log_info("ERROR:  broken\nDETAIL:\tx\x1b[31m\x7f");
    assert_string_equal(c.line, "ERROR:  broken DETAIL: x?[31m?");
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    log_info("%s", long_text);
    assert_true(strlen(c.line) < LOG_LINE_MAX);
    assert_true(strlen(c.line) > LOG_LINE_MAX - 100);
    assert_string_equal(c.line + strlen(c.line) - 4, "x...");
    log_set_sink(NULL, NULL);
}

static const struct {
    const char *in;
    size_t n;
    const char *out;
} quote_cases[] = {
    {"plain", 24, "plain"},
    {"10.0.0.1:5432", 24, "10.0.0.1:5432"},
    {"", 24, "\"\""},
    {"two words", 24, "\"two words\""},
    {"a=b", 24, "\"a=b\""},
    {"say \"x\"", 24, "\"say \\\"x\\\"\""},
    {"back\\slash", 24, "\"back\\\\slash\""},
    {"line\nbreak", 24, "\"line\\nbreak\""},
    {"\x01\x7f", 24, "\"\\x01\\x7f\""},
    {"gr\xC3\xBC", 24, "gr\xC3\xBC"},
    {"bad\xFF", 24, "\"bad\\xff\""},
    {"cut here: 012345678901234", 22, "\"cut here: 012345678\""},
    {"01234567890123456789012", 23, "\"01234567890123456789\""},
    {"never half: \xC3\xBC", 15, "\"never half: \""},
    {"abc", 3, "\"\""},
    {"abc", 2, ""},
};

static void test_quote(void **state)
{
    char out[24];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(quote_cases); i++)
        assert_string_equal(log_quote(out, quote_cases[i].n, quote_cases[i].in),
                            quote_cases[i].out);
}

/* stderr becomes one end of something while fn runs. */
static void with_stderr(int fd, void (*fn)(void))
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);

    assert_true(saved >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    fn();
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void log_hello(void)
{
    log_init(LOG_LEVEL_INFO);
    log_error("hello node=%s", "pg1");
}

static ssize_t read_text(int fd, char *text, size_t n)
{
    ssize_t got = read(fd, text, n - 1);

    text[got > 0 ? got : 0] = '\0';
    return got;
}

static struct now fixed_time(void *arg)
{
    (void)arg;
    return (struct now){.wall = {INT64_C(1770091506789)}};
}

static void test_format(void **state)
{
    char text[200], stream[64];
    struct stat st;
    int pipes[2];

    (void)state;
    clock_set_source(fixed_time, NULL);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(fstat(pipes[1], &st), 0);
    unsetenv("JOURNAL_STREAM");
    with_stderr(pipes[1], log_hello);
    read_text(pipes[0], text, sizeof(text));
    assert_string_equal(text, "2026-02-03T04:05:06.789Z error hello node=pg1\n");
    /* Inherited from a service whose stderr was elsewhere. */
    setenv("JOURNAL_STREAM", "1:2", 1);
    with_stderr(pipes[1], log_hello);
    read_text(pipes[0], text, sizeof(text));
    assert_string_equal(text, "2026-02-03T04:05:06.789Z error hello node=pg1\n");
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    with_stderr(pipes[1], log_hello);
    read_text(pipes[0], text, sizeof(text));
    assert_string_equal(text, "<3>error hello node=pg1\n");
    unsetenv("JOURNAL_STREAM");
    clock_set_source(NULL, NULL);
    close(pipes[0]);
    close(pipes[1]);
}

#define FLOOD 3000

/* More than any pipe or socket holds: must return, and count what it lost. */
static void flood(void)
{
    log_init(LOG_LEVEL_INFO);
    for (int i = 0; i < FLOOD; i++)
        log_info("flood number=%d %0200d", i, 0);
}

static void check_full(int read_fd, int write_fd)
{
    uint64_t dropped = log_dropped(), lines = 0;
    char text[65536];
    ssize_t n;

    alarm(20); /* a call that waits ends the test */
    with_stderr(write_fd, flood);
    alarm(0);
    assert_true(log_dropped() > dropped);
    assert_true(log_dropped() < dropped + FLOOD);
    /* With a reader again the next line comes. */
    fcntl(read_fd, F_SETFL, O_NONBLOCK);
    while ((n = read(read_fd, text, sizeof(text))) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    assert_int_equal(lines + (log_dropped() - dropped), FLOOD);
    with_stderr(write_fd, log_hello);
    read_text(read_fd, text, sizeof(text));
    assert_non_null(strstr(text, "hello node=pg1\n"));
    close(read_fd);
    close(write_fd);
}

static void test_full_pipe(void **state)
{
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    check_full(pipes[0], pipes[1]);
}

static void test_full_socket(void **state)
{
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    check_full(pair[0], pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),    cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_quote),     cmocka_unit_test(test_format),
        cmocka_unit_test(test_full_pipe), cmocka_unit_test(test_full_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
