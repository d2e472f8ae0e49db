/*
 * fake_pg.h: a scripted PostgreSQL server in threads, for tests of sessions.
 *
 * Speaks as much of protocol 3 as libpq needs: start-up, extended and simple queries. How it greets
 * is the mode; what a statement does is its text (see answer_statement).
 */
#ifndef PGVIGIL_TESTS_UNIT_PG_FAKE_PG_H
#define PGVIGIL_TESTS_UNIT_PG_FAKE_PG_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/str.h"

enum fake_mode {
    FAKE_GOOD,
    FAKE_HANG,            /* accepts and says nothing */
    FAKE_HANG_AFTER_AUTH, /* lets in, never gets ready */
    FAKE_DRIP,            /* one byte of an endless greeting every 20 ms */
    FAKE_GARBAGE_TYPE,    /* a message that has no place here */
    FAKE_GARBAGE_LENGTH,  /* a length of 2 GiB */
    FAKE_CLOSES,          /* hangs up at once */
    FAKE_REFUSES,         /* fake.sqlstate and fake.text */
    FAKE_ASKS_PASSWORD,   /* clear text; then refuses */
    FAKE_SCRAM_FOR_EVER,  /* seconds of SCRAM rounds */
    FAKE_POOLER           /* another process number than the server's */
};

static struct {
    int listener, port;
    pthread_t thread;
    atomic_bool stopping;
    atomic_int mode, open, accepted, parses, deallocates, startups;
    const char *_Atomic sqlstate, *_Atomic text;
    char startup[1024]; /* parameters of the last start-up, NULs as blanks */
} fake;

struct fake_stmt {
    char name[64], sql[256];
};

struct fake_session {
    int fd;
    struct buf out;
    struct fake_stmt stmts[32];
    size_t count;
    bool is_skipping; /* an error happened: nothing until Sync */
    bool lost_once, changed_once;
    bool is_over;
};

enum { FAKE_PID = 4242 };

/* ---- bytes ---- */

static bool fake_read(int fd, void *data, size_t n)
{
    char *p = data;
    while (n > 0) {
        struct pollfd pfd = {fd, POLLIN, 0};
        if (fake.stopping)
            return false;
        if (poll(&pfd, 1, 20) <= 0)
            continue;
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool fake_write(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void fake_flush(struct fake_session *s)
{
    if (!fake_write(s->fd, s->out.data, s->out.len))
        s->is_over = true;
    buf_clear(&s->out);
}

static void put32(struct buf *b, uint32_t v)
{
    uint32_t n = htonl(v);
    buf_add(b, &n, 4);
}

static void put16(struct buf *b, uint16_t v)
{
    uint16_t n = htons(v);
    buf_add(b, &n, 2);
}

static void put_text(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s) + 1);
}

static void put_message(struct fake_session *s, char type, const struct buf *body)
{
    buf_add_char(&s->out, type);
    put32(&s->out, (uint32_t)body->len + 4);
    buf_add(&s->out, body->data, body->len);
}

static void put_plain(struct fake_session *s, char type, const void *data, size_t n)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_add(&body, data, n);
    put_message(s, type, &body);
    buf_deinit(&body);
}

static void put_error(struct fake_session *s, const char *severity, const char *sqlstate,
                      const char *text)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "S%s", severity);
    buf_add_char(&body, '\0');
    buf_printf(&body, "V%s", severity);
    buf_add_char(&body, '\0');
    buf_printf(&body, "C%s", sqlstate);
    buf_add_char(&body, '\0');
    buf_printf(&body, "M%s", text);
    buf_add_char(&body, '\0');
    buf_add_char(&body, '\0');
    put_message(s, 'E', &body);
    buf_deinit(&body);
    s->is_skipping = true;
}

static void put_row(struct fake_session *s, const char *value)
{
    struct buf body;
    buf_init(&body, 65536);
    put16(&body, 1);
    put32(&body, (uint32_t)strlen(value));
    buf_add_str(&body, value);
    put_message(s, 'D', &body);
    buf_deinit(&body);
}

static void put_columns(struct fake_session *s)
{
    struct buf body;
    buf_init(&body, 256);
    put16(&body, 1);
    put_text(&body, "v");
    put32(&body, 0);
    put16(&body, 0);
    put32(&body, 25);
    put16(&body, 0xffff);
    put32(&body, 0xffffffff);
    put16(&body, 0);
    put_message(s, 'T', &body);
    buf_deinit(&body);
}

static void put_one_value(struct fake_session *s, const char *value)
{
    put_columns(s);
    put_row(s, value);
    put_plain(s, 'C', "SELECT 1", 9);
}

static void put_ready(struct fake_session *s)
{
    put_plain(s, 'Z', "I", 1);
    fake_flush(s);
}

/* ---- statements ---- */

static void fake_hang(struct fake_session *s)
{
    char byte;
    fake_flush(s);
    while (fake_read(s->fd, &byte, 1))
        ;
    s->is_over = true;
}

static void fake_endless(struct fake_session *s)
{
    put_columns(s);
    while (!fake.stopping && !s->is_over) {
        for (int i = 0; i < 100; i++)
            put_row(s, "0123456789012345678901234567890123456789");
        fake_flush(s);
    }
}

/* A DataRow of 1 GiB that never ends. */
static void fake_giant(struct fake_session *s)
{
    char chunk[8192] = {0};
    put_columns(s);
    buf_add_char(&s->out, 'D');
    put32(&s->out, 1u << 30);
    put16(&s->out, 1);
    put32(&s->out, (1u << 30) - 16);
    while (!fake.stopping && !s->is_over) {
        buf_add(&s->out, chunk, sizeof(chunk));
        fake_flush(s);
    }
}

static bool once(bool *flag)
{
    bool is_first = !*flag;
    *flag = true;
    return is_first;
}

static void fake_forget(struct fake_session *s, const char *sql)
{
    for (size_t i = 0; i < s->count; i++) {
        if (str_eq(s->stmts[i].sql, sql))
            s->stmts[i] = s->stmts[--s->count];
    }
}

/* DEALLOCATE "name" */
static void fake_deallocate(struct fake_session *s, const char *sql)
{
    char name[64];
    str_copy(name, sizeof(name), strchr(sql, '"') + 1);
    *strchr(name, '"') = '\0';
    for (size_t i = 0; i < s->count; i++) {
        if (str_eq(s->stmts[i].name, name))
            s->stmts[i] = s->stmts[--s->count];
    }
}

static void answer_statement(struct fake_session *s, const char *sql)
{
    if (strstr(sql, "pg_backend_pid")) {
        put_one_value(s, fake.mode == FAKE_POOLER ? "777" : "4242");
    } else if (str_eq(sql, "fail")) {
        put_error(s, "ERROR", "42P01", "relation \"x\" does not exist");
    } else if (str_eq(sql, "hang")) {
        fake_hang(s);
    } else if (str_eq(sql, "die")) {
        put_error(s, "FATAL", "57P01", "terminating connection due to administrator command");
        fake_flush(s);
        s->is_over = true;
    } else if (str_eq(sql, "endless")) {
        fake_endless(s);
    } else if (str_eq(sql, "giant")) {
        fake_giant(s);
    } else if (str_eq(sql, "copy")) {
        put_plain(s, 'H', "\0\0\0", 3);
    } else if (str_eq(sql, "lost") && once(&s->lost_once)) {
        fake_forget(s, sql);
        put_error(s, "ERROR", "26000", "prepared statement does not exist");
    } else if (str_eq(sql, "changed") && once(&s->changed_once)) {
        put_error(s, "ERROR", "0A000", "cached plan must not change result type");
    } else if (str_eq(sql, "changes")) {
        put_error(s, "ERROR", "0A000", "cached plan must not change result type");
    } else if (str_starts(sql, "DEALLOCATE ")) {
        fake.deallocates++;
        fake_deallocate(s, sql);
        put_plain(s, 'C', "DEALLOCATE", 11);
    } else {
        put_one_value(s, sql);
    }
}

static const char *find_stmt(const struct fake_session *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (str_eq(s->stmts[i].name, name))
            return s->stmts[i].sql;
    }
    return NULL;
}

static void on_parse(struct fake_session *s, const char *body)
{
    const char *sql = body + strlen(body) + 1;
    if (str_eq(sql, "badparse")) {
        put_error(s, "ERROR", "42601", "syntax error");
        return;
    }
    if (*body && find_stmt(s, body)) {
        put_error(s, "ERROR", "42P05", "prepared statement already exists");
        return;
    }
    if (!*body)
        fake_forget(s, find_stmt(s, "") ? find_stmt(s, "") : "-");
    fake.parses += *body != '\0';
    struct fake_stmt *stmt = &s->stmts[s->count++ % ARRAY_LEN(s->stmts)];
    str_copy(stmt->name, sizeof(stmt->name), body);
    str_copy(stmt->sql, sizeof(stmt->sql), sql);
    put_plain(s, '1', "", 0);
}

static void on_message(struct fake_session *s, char type, const char *body, char *bound)
{
    if (type == 'S') {
        s->is_skipping = false;
        put_ready(s);
    } else if (type == 'Q') {
        answer_statement(s, body);
        s->is_skipping = false;
        put_ready(s);
    } else if (type == 'X') {
        s->is_over = true;
    } else if (s->is_skipping) {
        return;
    } else if (type == 'P') {
        on_parse(s, body);
    } else if (type == 'B') {
        const char *sql = find_stmt(s, body + strlen(body) + 1);
        str_copy(bound, 256, sql ? sql : "");
        if (sql)
            put_plain(s, '2', "", 0);
        else
            put_error(s, "ERROR", "26000", "prepared statement does not exist");
    } else if (type == 'E') {
        answer_statement(s, bound); /* Describe is answered together with this */
    }
}

/* ---- sessions ---- */

static void read_startup(struct fake_session *s)
{
    uint32_t head[2];
    for (;;) {
        if (!fake_read(s->fd, head, 8)) {
            s->is_over = true;
            return;
        }
        if (ntohl(head[1]) != 80877103) /* SSLRequest */
            break;
        fake_write(s->fd, "N", 1);
    }
    char body[1024] = "";
    size_t n = size_min(ntohl(head[0]) - 8, sizeof(body) - 1);
    if (!fake_read(s->fd, body, n))
        s->is_over = true;
    for (size_t i = 0; i < n; i++)
        body[i] = body[i] ? body[i] : ' ';
    memcpy(fake.startup, body, sizeof(body));
    fake.startups++;
}

static void let_in(struct fake_session *s)
{
    put_plain(s, 'R', "\0\0\0\0", 4);
    put_plain(s, 'S', "server_version\00015.4", 20);
    put_plain(s, 'S', "client_encoding\0UTF8", 21);
    struct buf key;
    buf_init(&key, 16);
    put32(&key, FAKE_PID);
    put32(&key, 1);
    put_message(s, 'K', &key);
    buf_deinit(&key);
    if (fake.mode == FAKE_HANG_AFTER_AUTH)
        fake_hang(s);
    else
        put_ready(s);
}

static size_t read_password_message(struct fake_session *s, char *body, size_t n)
{
    char head[5];
    uint32_t len;
    memset(body, 0, n);
    if (!fake_read(s->fd, head, 5))
        return 0;
    memcpy(&len, head + 1, 4);
    len = ntohl(len) - 4;
    return len < n && fake_read(s->fd, body, len) ? len : 0;
}

static void ask_password(struct fake_session *s)
{
    char body[256], text[512];
    put_plain(s, 'R', "\0\0\0\3", 4);
    fake_flush(s);
    read_password_message(s, body, sizeof(body) - 1);
    snprintf(text, sizeof(text), "password \"%s\" is wrong", body);
    put_error(s, "FATAL", "28P01", text);
    fake_flush(s);
}

static void ask_scram(struct fake_session *s)
{
    static const char sasl[] = "\0\0\0\x0aSCRAM-SHA-256\0";
    char body[1024];
    struct buf reply;
    put_plain(s, 'R', sasl, sizeof(sasl));
    fake_flush(s);
    size_t n = read_password_message(s, body, sizeof(body) - 1);
    const char *nonce = n > 18 ? strstr(body + 18, "r=") : NULL;
    if (!nonce)
        return;
    buf_init(&reply, 1024);
    put32(&reply, 11);
    buf_printf(&reply, "%sserver,s=c2FsdHNhbHRzYWx0,i=800000", nonce);
    put_message(s, 'R', &reply);
    buf_deinit(&reply);
    fake_hang(s);
}

static void greet(struct fake_session *s)
{
    s->is_over = s->is_over || (fake.mode != FAKE_GOOD && fake.mode != FAKE_POOLER &&
                                fake.mode != FAKE_HANG_AFTER_AUTH);
    switch ((enum fake_mode)fake.mode) {
    case FAKE_HANG:
        fake_hang(s);
        break;
    case FAKE_DRIP:
        fake_write(s->fd, "R\0\0\0\x8\0\0\0\0S\0\0\x4e\x20", 14);
        while (!fake.stopping && fake_write(s->fd, "x", 1))
            usleep(20000);
        break;
    case FAKE_GARBAGE_TYPE:
        fake_write(s->fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
        break;
    case FAKE_GARBAGE_LENGTH:
        fake_write(s->fd, "R\x7f\xff\xff\xff\0\0\0\0", 9);
        fake_hang(s);
        break;
    case FAKE_REFUSES:
        put_error(s, "FATAL", fake.sqlstate, fake.text);
        fake_flush(s);
        break;
    case FAKE_ASKS_PASSWORD:
        ask_password(s);
        break;
    case FAKE_SCRAM_FOR_EVER:
        ask_scram(s);
        break;
    case FAKE_CLOSES:
        break;
    case FAKE_GOOD:
    case FAKE_POOLER:
    case FAKE_HANG_AFTER_AUTH:
        if (!s->is_over)
            let_in(s);
        break;
    }
}

static void *fake_serve_one(void *arg)
{
    struct fake_session *s = arg;
    char head[5], body[65536], bound[256] = "";
    uint32_t n;
    buf_init(&s->out, 1 << 20);
    if (fake.mode != FAKE_HANG)
        read_startup(s);
    greet(s);
    while (!s->is_over && fake_read(s->fd, head, 5)) {
        memcpy(&n, head + 1, 4);
        n = ntohl(n) - 4;
        if (n >= sizeof(body) || !fake_read(s->fd, body, n))
            break;
        body[n] = '\0';
        on_message(s, head[0], body, bound);
    }
    /* Unread input would turn the close into a reset, and the last words would be lost. */
    shutdown(s->fd, SHUT_WR);
    while (fake_read(s->fd, head, 1))
        ;
    close(s->fd);
    buf_deinit(&s->out);
    free(s);
    fake.open--;
    return NULL;
}

static void *fake_serve(void *arg)
{
    struct pollfd p = {fake.listener, POLLIN, 0};
    (void)arg;
    while (!fake.stopping) {
        if (poll(&p, 1, 20) <= 0)
            continue;
        pthread_t thread;
        struct fake_session *s = calloc(1, sizeof(*s));
        s->fd = accept(fake.listener, NULL, NULL);
        fake.open++;
        fake.accepted++;
        pthread_create(&thread, NULL, fake_serve_one, s);
        pthread_detach(thread);
    }
    return NULL;
}

static void fake_start(enum fake_mode mode)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    fake.stopping = false;
    fake.mode = mode;
    fake.accepted = fake.parses = fake.deallocates = fake.startups = 0;
    fake.listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fake.listener, (struct sockaddr *)&addr, len) || listen(fake.listener, 64))
        abort();
    getsockname(fake.listener, (struct sockaddr *)&addr, &len);
    fake.port = ntohs(addr.sin_port);
    pthread_create(&fake.thread, NULL, fake_serve, NULL);
}

static void fake_stop(void)
{
    fake.stopping = true;
    pthread_join(fake.thread, NULL);
    for (int i = 0; i < 3000 && fake.open > 0; i++)
        usleep(1000);
    close(fake.listener);
}

#endif
