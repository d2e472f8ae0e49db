/*
 * From a change of an alert to a message at a receiver: a real alerts.db, a receiver in a thread
 * that answers as it is told, and a clock that can be moved on.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>

#include "store/store_test.h"

#include "moved_clock.h"
#include "pgvigil/notify/notify.h"
#include "store/fault_vfs.c"

#define WAIT_MS      8000
#define REQUESTS_MAX 256

/* ---- the receiver ---- */

struct request {
    char id[64], stamp[64];
    char *body;
};

static struct {
    int fd, port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct request requests[REQUESTS_MAX];
    _Atomic size_t count;
    atomic_int status; /* of the next answers */
    atomic_int retry_after;
    atomic_bool holds, stopping;
    atomic_int open, most_open;
} receiver = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void header_value(const char *text, const char *name, char *out, size_t n)
{
    const char *at = strcasestr(text, name);
    out[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(name);
    at += strspn(at, ": ");
    snprintf(out, n, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static char *read_all(int fd)
{
    size_t len = 0, room = 8 * 1024 * 1024;
    char *text = mem_alloc(room), *end;
    ssize_t got;
    while (len < room - 1 && (got = recv(fd, text + len, room - 1 - len, 0)) > 0) {
        len += (size_t)got;
        text[len] = '\0';
        end = strstr(text, "\r\n\r\n");
        char length[32];
        header_value(text, "\r\ncontent-length", length, sizeof(length));
        if (end != NULL && len >= (size_t)(end + 4 - text) + (size_t)strtol(length, NULL, 10))
            break;
    }
    return text;
}

static void *answer_one(void *arg)
{
    int fd = (int)(intptr_t)arg, open = atomic_fetch_add(&receiver.open, 1) + 1;
    char head[160];
    if (open > receiver.most_open)
        receiver.most_open = open;
    char *text = read_all(fd);
    struct request req = {.body = NULL};
    const char *body = strstr(text, "\r\n\r\n");
    header_value(text, "\r\nwebhook-id", req.id, sizeof(req.id));
    header_value(text, "\r\nwebhook-timestamp", req.stamp, sizeof(req.stamp));
    req.body = mem_strdup(body != NULL ? body + 4 : "");
    mem_free(text);
    pthread_mutex_lock(&receiver.lock);
    if (receiver.count < REQUESTS_MAX) {
        /* Counted last: who sees the count may read the request. */
        receiver.requests[receiver.count] = req;
        receiver.count++;
    }
    pthread_mutex_unlock(&receiver.lock);
    while (receiver.holds && !receiver.stopping)
        usleep(2000);
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d X\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
             (int)receiver.status, (int)receiver.retry_after);
    send(fd, head, strlen(head), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
    receiver.open--;
    return NULL;
}

static void *serve(void *arg)
{
    struct pollfd p = {receiver.fd, POLLIN, 0};
    (void)arg;
    while (!receiver.stopping) {
        pthread_t thread;
        if (poll(&p, 1, 20) <= 0)
            continue;
        int fd = accept(receiver.fd, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, NULL, answer_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

static void start_receiver(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    receiver.fd = socket(AF_INET, SOCK_STREAM, 0);
    receiver.stopping = receiver.holds = false;
    receiver.status = 200;
    receiver.retry_after = 0;
    receiver.count = 0;
    receiver.open = receiver.most_open = 0;
    assert_int_equal(bind(receiver.fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(receiver.fd, 64), 0);
    getsockname(receiver.fd, (struct sockaddr *)&addr, &len);
    receiver.port = ntohs(addr.sin_port);
    assert_int_equal(pthread_create(&receiver.thread, NULL, serve, NULL), 0);
}

static void stop_receiver(void)
{
    receiver.stopping = true;
    pthread_join(receiver.thread, NULL);
    for (int i = 0; i < 2000 && receiver.open > 0; i++)
        usleep(1000);
    close(receiver.fd);
    for (size_t i = 0; i < receiver.count; i++)
        mem_free(receiver.requests[i].body);
}

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

/* ---- the agent's side ---- */

static struct {
    struct loop *loop;
    struct alerts_db *db;
    struct notify *notify;
    struct alerts_image image;
    struct config config;
    char url[64];
    int committed;
} agent;

static void on_committed(void *arg)
{
    (void)arg;
    agent.committed++;
}

static void open_agent(const char *vfs)
{
    struct err err = {0};
    agent.loop = loop_create("test", &err);
    agent.db = alerts_db_create(agent.loop, scratch("alerts.db"), vfs, &agent.image);
    agent.notify = notify_create(&(struct notify_opts){.loop = agent.loop,
                                                       .db = agent.db,
                                                       .config = &agent.config,
                                                       .external_url = "http://agent",
                                                       .on_committed = on_committed},
                                 &err);
    assert_non_null(agent.notify);
    notify_restore(agent.notify, &agent.image, loop_now(agent.loop));
}

static void close_agent(void)
{
    notify_destroy(&agent.notify);
    alerts_db_destroy(&agent.db);
    alerts_image_free(&agent.image);
    loop_destroy(&agent.loop);
}

static int setup(void **state)
{
    scratch_make(state);
    fault_vfs_register();
    fault_reset();
    clock_moved_ms = 0;
    clock_set_source(moved_clock, NULL);
    start_receiver();
    memset(&agent, 0, sizeof(agent));
    snprintf(agent.url, sizeof(agent.url), "http://127.0.0.1:%d/hook", receiver.port);
    static char none[] = "";
    agent.config.notify.webhook = agent.url;
    agent.config.outgoing.allow_loopback = true;
    agent.config.outgoing.ca = agent.config.outgoing.cert = agent.config.outgoing.key = none;
    return 0;
}

static int teardown(void **state)
{
    if (agent.loop != NULL)
        close_agent();
    stop_receiver();
    clock_set_source(NULL, NULL);
    return scratch_remove(state);
}

static void turn(void)
{
    loop_run_once(agent.loop, false);
    usleep(500);
}

#define wait_for(condition)                                      \
    do {                                                         \
        for (int i_ = 0; !(condition) && i_ < 2 * WAIT_MS; i_++) \
            turn();                                              \
        if (!(condition))                                        \
            fail_msg("waited in vain for %s", #condition);       \
    } while (0)

/* The moved clock lets timers of the agent run at once. */
static void move_clock(int64_t ms)
{
    clock_moved_ms += ms;
    turn();
}

static void change_severe(const char *name, const char *replica, const char *severity,
                          enum alert_state from, enum alert_state to, const char *summary)
{
    const struct label labels[] = {
        {"alertname", name}, {"cluster", "main"}, {"replica", replica}, {"severity", severity}};
    const struct label annotations[] = {{"summary", summary}};
    struct now now = clock_read();
    struct alert a = {.state = to,
                      .labels = {ARRAY_LEN(labels), labels},
                      .annotations = {1, annotations},
                      .active_at = now.wall,
                      .fired_at = now.wall,
                      .resolved_at = to == ALERT_RESOLVED ? now.wall : WALL_UNSET,
                      .keep_until = WALL_UNSET,
                      .group = "g",
                      .rule = name,
                      .expr = "up",
                      .reason = ""};
    a.fingerprint = labels_fingerprint(&a.labels);
    notify_change(agent.notify, &a, from);
}

static void change(const char *name, const char *replica, enum alert_state from,
                   enum alert_state to, const char *summary)
{
    change_severe(name, replica, "warning", from, to, summary);
}

static void fire(const char *name, const char *replica)
{
    change(name, replica, ALERT_INACTIVE, ALERT_FIRING, "it fires");
}

static void flush(void)
{
    assert_true(notify_flush(agent.notify, loop_now(agent.loop)));
}

static struct notify_stats stats(void)
{
    struct notify_stats st;
    notify_stats(agent.notify, loop_now(agent.loop), &st);
    return st;
}

static const char *outbox(const char *sql)
{
    return look(scratch("alerts.db"), sql);
}

static size_t occurrences(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
        n++;
    return n;
}

/* ---- groups and order ---- */

static void tells_each_group_once(void **state)
{
    (void)state;
    open_agent(NULL);
    assert_false(notify_flush(agent.notify, loop_now(agent.loop)));
    fire("Lag", "pg2");
    fire("Down", "pg2");
    fire("Lag", "pg3");
    flush();
    assert_int_equal(agent.committed, 0);
    assert_int_equal(stats().outbox_depth, 2);
    wait_for(stats().delivered_total == 2);
    assert_int_equal(agent.committed, 1);
    assert_int_equal(receiver.count, 2);
    assert_int_equal(occurrences(receiver.requests[0].body, "\"status\":\"firing\",\"labels\"") +
                         occurrences(receiver.requests[1].body, "\"status\":\"firing\",\"labels\""),
                     3);
    assert_true(str_starts(receiver.requests[0].id, "msg_"));
    assert_string_not_equal(receiver.requests[0].id, receiver.requests[1].id);
    assert_true(llabs(number(receiver.requests[0].stamp) - clock_read().wall.ms / 1000) < 10);
    assert_int_equal(stats().outbox_depth, 0);
    /* the resolved message has what still fires beside it, and each alert resolves once */
    change("Lag", "pg2", ALERT_FIRING, ALERT_RESOLVED, "");
    flush();
    wait_for(receiver.count == 3);
    assert_int_equal(occurrences(receiver.requests[2].body, "\"status\":\"resolved\",\"labels\""),
                     1);
    assert_int_equal(occurrences(receiver.requests[2].body, "\"status\":\"firing\",\"labels\""), 1);
    fire("Other", "pg2");
    flush();
    wait_for(receiver.count == 4);
    assert_null(strstr(receiver.requests[3].body, "resolved"));
}

static void pending_is_not_told(void **state)
{
    (void)state;
    open_agent(NULL);
    change("Lag", "pg2", ALERT_INACTIVE, ALERT_PENDING, "");
    flush();
    wait_for(agent.committed == 1);
    assert_string_equal(outbox("SELECT state FROM alerts"), "pending");
    change("Lag", "pg2", ALERT_PENDING, ALERT_INACTIVE, "");
    flush();
    wait_for(agent.committed == 2);
    assert_string_equal(outbox("SELECT count(*) FROM alerts"), "0");
    assert_string_equal(outbox("SELECT count(*) FROM outbox"), "0");
    assert_int_equal(receiver.count, 0);
}

/* `for` was made longer: the alert waits anew, and must not fire for ever at the receiver. */
static void back_to_pending_is_told_as_resolved(void **state)
{
    (void)state;
    open_agent(NULL);
    fire("Lag", "pg2");
    flush();
    change("Lag", "pg2", ALERT_FIRING, ALERT_PENDING, "");
    flush();
    change("Lag", "pg2", ALERT_PENDING, ALERT_INACTIVE, "");
    flush();
    wait_for(agent.committed == 3 && stats().outbox_depth == 0);
    assert_int_equal(receiver.count, 2);
    assert_non_null(strstr(receiver.requests[1].body, "\"status\":\"resolved\",\"labels\""));
    assert_null(strstr(receiver.requests[1].body, "0001-01-01"));
}

static void sends_two_at_once_and_in_order(void **state)
{
    (void)state;
    open_agent(NULL);
    receiver.holds = true;
    for (int i = 0; i < 5; i++) {
        char replica[32];
        snprintf(replica, sizeof(replica), "pg%d", i);
        fire("Lag", replica);
    }
    flush();
    wait_for(receiver.count == 2);
    change("Lag", "pg0", ALERT_FIRING, ALERT_RESOLVED, "");
    flush();
    wait_for(agent.committed == 2);
    assert_int_equal(stats().outbox_depth, 6);
    receiver.holds = false;
    wait_for(stats().delivered_total == 6);
    assert_int_equal(receiver.most_open, 2);
    int firing_at = -1, resolved_at = -1;
    for (int i = 0; i < 6; i++) {
        if (strstr(receiver.requests[i].body, "pg0") == NULL)
            continue;
        *(strstr(receiver.requests[i].body, "resolved") != NULL ? &resolved_at : &firing_at) = i;
    }
    assert_true(firing_at >= 0 && resolved_at > firing_at);
}

/* ---- retries ---- */

static void waits_before_the_next_attempt(void **state)
{
    static const struct {
        int status, retry_after;
        int64_t min_ms, max_ms; /* until the second attempt */
    } cases[] = {
        {500, 0, 800, 1200},           {302, 0, 800, 1200},        {404, 0, 48000, 72000},
        {429, 0, 800, 1200},           {429, 120, 120000, 120000}, {503, 7, 7000, 7000},
        {503, 100000, 900000, 900000},
    };
    (void)state;
    open_agent(NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char replica[32];
        snprintf(replica, sizeof(replica), "c%zu", i);
        receiver.status = cases[i].status;
        receiver.retry_after = cases[i].retry_after;
        fire("Lag", replica);
        flush();
        wait_for(
            str_eq(outbox("SELECT max(attempts) FROM outbox WHERE delivered_at IS NULL"), "1"));
        int64_t wait =
            number(outbox("SELECT next_attempt_at FROM outbox WHERE delivered_at IS NULL")) -
            clock_read().wall.ms;
        assert_in_range(wait + WAIT_MS, cases[i].min_ms, cases[i].max_ms + WAIT_MS);
        if (wait > cases[i].max_ms)
            fail_msg("%d: waits %lld ms", cases[i].status, (long long)wait);
        receiver.status = 200;
        size_t before = receiver.count;
        move_clock(cases[i].max_ms);
        wait_for(receiver.count == before + 1);
        assert_string_equal(receiver.requests[before].id, receiver.requests[before - 1].id);
        wait_for(stats().outbox_depth == 0);
    }
}

static void backs_off_to_five_minutes(void **state)
{
    (void)state;
    open_agent(NULL);
    receiver.status = 500;
    fire("Lag", "pg2");
    flush();
    for (int attempt = 1; attempt <= 11; attempt++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", attempt);
        wait_for(str_eq(outbox("SELECT attempts FROM outbox"), text));
        int64_t wait = number(outbox("SELECT next_attempt_at FROM outbox")) - clock_read().wall.ms;
        int64_t doubled = INT64_C(1000) << (attempt - 1);
        int64_t most = i64_min(doubled, 300000) * 12 / 10;
        assert_true(wait <= most && wait > most / 2 - WAIT_MS);
        move_clock(most);
    }
    wait_for(receiver.count == 12);
    assert_int_equal(stats().outbox_depth, 1);
    assert_true(stats().oldest_ms > 600000);
}

/* A clock that is set right after the message was made makes it look old; 72 h of tries do. */
static void gives_up_after_72_hours_of_tries(void **state)
{
    (void)state;
    open_agent(NULL);
    receiver.status = 500;
    fire("Lag", "pg2");
    flush();
    wait_for(str_eq(outbox("SELECT attempts FROM outbox"), "1"));
    move_clock(100 * 3600 * INT64_C(1000));
    wait_for(str_eq(outbox("SELECT attempts FROM outbox"), "2"));
    assert_int_equal(stats().outbox_depth, 1);
    close_agent();
    write_sql(scratch("alerts.db"), "UPDATE outbox SET attempts = 800, next_attempt_at = 0");
    open_agent(NULL);
    wait_for(stats().outbox_depth == 0);
    assert_int_equal(stats().delivered_total, 0);
    wait_for(str_eq(outbox("SELECT count(*) FROM outbox WHERE delivered_at IS NULL"), "0"));
}

/* ---- the store fails or is slow ---- */

static void sends_from_memory_when_the_store_fails(void **state)
{
    (void)state;
    open_agent(FAULT_VFS);
    fault_plan.kind = FAULT_EIO;
    fault_plan.for_ever = true;
    fault_plan.at = 1;
    fire("Lag", "pg2");
    flush();
    wait_for(stats().delivered_total == 1);
    assert_int_equal(agent.committed, 1);
    assert_int_equal(stats().not_durable_total, 1);
    assert_non_null(strstr(receiver.requests[0].body, ",\"durable\":false}"));
    fault_reset();
    move_clock(60000);
    wait_for(str_eq(outbox("SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL"), "1"));
    assert_string_equal(outbox("SELECT id FROM outbox"), receiver.requests[0].id);
    assert_string_equal(outbox("SELECT state FROM alerts"), "firing");
    assert_int_equal(agent.committed, 1);
    assert_int_equal(receiver.count, 1);
}

static void sends_from_memory_when_the_store_is_slow(void **state)
{
    (void)state;
    open_agent(FAULT_VFS);
    fault_plan.sync_delay_ms = 60000;
    fire("Lag", "pg2");
    flush();
    fire("Lag", "pg3");
    flush();
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(agent.committed, 0);
    assert_int_equal(receiver.count, 0);
    move_clock(NOTIFY_COMMIT_WAIT_MS + 1);
    wait_for(stats().delivered_total == 2);
    assert_int_equal(agent.committed, 2);
    assert_int_equal(stats().not_durable_total, 2);
    fault_reset();
    wait_for(str_eq(outbox("SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL"), "2"));
    assert_int_equal(agent.committed, 2);
    assert_int_equal(receiver.count, 2);
}

/* ---- what the webhook does not get ---- */

/* Stored, so that it goes on after a restart; never told, not even to a receiver that is new or
 * when the group has a message. */
static void info_and_watchdog_are_not_sent(void **state)
{
    (void)state;
    open_agent(NULL);
    change_severe("SlowQueries", "pg2", "info", ALERT_INACTIVE, ALERT_FIRING, "x");
    change_severe("Watchdog", "pg2", "none", ALERT_INACTIVE, ALERT_FIRING, "x");
    flush();
    wait_for(agent.committed == 1);
    assert_int_equal(stats().outbox_depth, 0);
    assert_string_equal(outbox("SELECT count(*) FROM alerts"), "2");
    fire("Lag", "pg2");
    flush();
    wait_for(receiver.count == 1);
    assert_int_equal(occurrences(receiver.requests[0].body, "\"fingerprint\""), 1);
    wait_for(str_eq(outbox("SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL"), "1"));
    close_agent();
    open_agent(NULL);
    fire("Down", "pg2");
    change_severe("SlowQueries", "pg2", "info", ALERT_FIRING, ALERT_RESOLVED, "x");
    flush();
    wait_for(receiver.count == 2);
    assert_int_equal(occurrences(receiver.requests[1].body, "\"fingerprint\""), 2);
    assert_null(strstr(receiver.requests[1].body, "SlowQueries"));
    assert_null(strstr(receiver.requests[1].body, "Watchdog"));
    assert_string_equal(outbox("SELECT count(*) FROM outbox"), "2");
}

/* ---- restart and reload ---- */

static void sends_what_the_last_run_left(void **state)
{
    char id[64];
    (void)state;
    open_agent(NULL);
    receiver.holds = true;
    fire("Lag", "pg2");
    flush();
    wait_for(receiver.count == 1);
    change("Lag", "pg2", ALERT_FIRING, ALERT_RESOLVED, "");
    fire("Down", "pg2");
    flush();
    wait_for(agent.committed == 2);
    struct now begin = clock_read();
    close_agent(); /* with a request in flight */
    assert_true(mono_diff(clock_read().mono, begin.mono) < 2000);
    receiver.holds = false;
    str_copy(id, sizeof(id), receiver.requests[0].id);
    open_agent(NULL);
    wait_for(stats().delivered_total == 2);
    assert_int_equal(receiver.count, 3);
    assert_string_equal(receiver.requests[1].id, id);
    assert_non_null(strstr(receiver.requests[2].body, "\"status\":\"resolved\",\"labels\""));
    /* Down fired in the last run: its group still knows it */
    fire("Other", "pg2");
    flush();
    wait_for(receiver.count == 4);
    assert_non_null(strstr(receiver.requests[3].body, "\"Down\""));
}

static void keeps_rows_without_a_receiver_and_tells_a_new_one(void **state)
{
    struct err err;
    static char none[] = "";
    char other[80];
    (void)state;
    open_agent(NULL);
    receiver.status = 500;
    fire("Lag", "pg2");
    flush();
    wait_for(str_eq(outbox("SELECT attempts FROM outbox"), "1"));
    agent.config.notify.webhook = none;
    assert_true(notify_reconfigure(agent.notify, &agent.config, &err));
    assert_false(notify_flush(agent.notify, loop_now(agent.loop)));
    move_clock(600000);
    fire("Lag", "pg3"); /* nobody to tell */
    flush();
    wait_for(agent.committed == 2);
    assert_int_equal(stats().outbox_depth, 1);
    assert_int_equal(receiver.count, 1);
    snprintf(other, sizeof(other), "%s/other", agent.url);
    agent.config.notify.webhook = other;
    receiver.status = 200;
    assert_true(notify_reconfigure(agent.notify, &agent.config, &err));
    flush();
    wait_for(stats().delivered_total == 3); /* the kept one, and each group anew */
    assert_int_equal(stats().outbox_depth, 0);
    assert_true(notify_reconfigure(agent.notify, &agent.config, &err));
    assert_false(notify_flush(agent.notify, loop_now(agent.loop)));
}

/* ---- many at once ---- */

static void tells_a_large_group_in_parts(void **state)
{
    static char summary[7000];
    size_t told = 0;
    (void)state;
    memset(summary, 'x', sizeof(summary) - 1);
    open_agent(NULL);
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "Alert%d", i);
        change(name, "pg2", ALERT_INACTIVE, ALERT_FIRING, summary);
    }
    flush();
    wait_for(stats().outbox_depth == 0);
    for (size_t i = 0; i < receiver.count; i++) {
        assert_true(strlen(receiver.requests[i].body) <= NOTIFY_BODY_MAX);
        told += occurrences(receiver.requests[i].body, "\"status\":\"firing\",\"labels\"");
    }
    assert_int_equal(told, 3000);
    size_t before = receiver.count;
    change("Alert7", "pg2", ALERT_FIRING, ALERT_RESOLVED, "");
    flush();
    wait_for(receiver.count == before + 1);
    assert_int_equal(occurrences(receiver.requests[before].body, "\"fingerprint\""), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(tells_each_group_once),
        CASE(pending_is_not_told),
        CASE(back_to_pending_is_told_as_resolved),
        CASE(sends_two_at_once_and_in_order),
        CASE(waits_before_the_next_attempt),
        CASE(backs_off_to_five_minutes),
        CASE(gives_up_after_72_hours_of_tries),
        CASE(sends_from_memory_when_the_store_fails),
        CASE(sends_from_memory_when_the_store_is_slow),
        CASE(info_and_watchdog_are_not_sent),
        CASE(sends_what_the_last_run_left),
        CASE(keeps_rows_without_a_receiver_and_tells_a_new_one),
        CASE(tells_a_large_group_in_parts),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
