/*
 * conn.h: one session to PostgreSQL (or PgBouncer's console) on a loop, that never blocks it.
 *
 * Every step of the connect (PQconnectStart with the host already resolved, each PQconnectPoll:
 * TLS, SCRAM and a KDC take their time there) runs in a worker; the loop waits for the socket in
 * between and watches it anew after each step. One node is one host: a DSN with several hosts is
 * refused. gssencmode is disabled unless set. Every step has a deadline; on any failure the session
 * is closed, told once through on_state, and tried again after a jittered backoff of
 * 1 to 30 s (at once 30 s for refused logins). `${file:}` in the DSN is expanded at each connect.
 *
 * pg_conn_run sends a list of statements in one flush (pipeline, a sync after each, prepared once a
 * session, prepared again on 26000 and 0A000) and calls back for each result, then once for the
 * run. One run at a time. With `console` set (PgBouncer) it sends plain queries one after the other
 * and no startup option. Loop thread only. Knows nothing of metrics. The DSN is never logged.
 */
#ifndef PGVIGIL_PG_CONN_H
#define PGVIGIL_PG_CONN_H

#include <libpq-fe.h>

#include "pgvigil/base/loop.h"
#include "pgvigil/base/workers.h"
#include "pgvigil/model/config.h"

enum pg_state {
    PG_IDLE, /* created, not started */
    PG_CONNECTING,
    PG_READY, /* may run */
    PG_RUNNING,
    PG_BACKOFF /* failed: waits to try again; see pg_conn_error */
};
const char *pg_state_name(enum pg_state state);

/* Why a session failed. */
enum pg_failure {
    PG_FAIL_NONE,
    PG_FAIL_RESOLVE,
    PG_FAIL_CONNECT,   /* refused, unreachable, reset */
    PG_FAIL_TIMEOUT,   /* no answer within the deadline */
    PG_FAIL_AUTH,      /* 28xxx */
    PG_FAIL_GRANT,     /* 42501: the role may not do what it must */
    PG_FAIL_STARTING,  /* 57P03: starting up, or shutting down */
    PG_FAIL_SATURATED, /* 53300: too many connections */
    PG_FAIL_CONFIG,    /* DSN unusable, a pooler where a server is meant */
    PG_FAIL_PROTOCOL,  /* unexpected answer, byte cap */
    PG_FAIL_CLOSED     /* server closed the session */
};
const char *pg_failure_name(enum pg_failure failure);

struct pg_conn;

struct pg_conn_opts {
    const char *name; /* for logs: node or pool */
    const char *role; /* for logs: "probe", "work", "console" */
    const char *dsn;  /* as in the configuration; copied */
    enum config_secret_modes secret_modes;
    bool console;        /* PgBouncer: simple protocol, no startup options */
    const char *options; /* value of libpq's `options` (-c ...), or NULL; not for console */
    int64_t connect_timeout_ms;
    size_t max_result_bytes; /* per run; over it PG_FAIL_PROTOCOL */
    /*
     * A session was made (READY; not told again after each run), or one failed (BACKOFF; after the
     * on_done of its run). May destroy the conn.
     */
    void (*on_state)(struct pg_conn *conn, enum pg_state state, void *arg);
    void *arg;
};

/* A statement: static data; name unique in a session. Values come back as text. */
struct pg_stmt {
    const char *name;
    const char *sql;
};

struct pg_run {
    const struct pg_stmt *const *stmts; /* copied; at least one */
    size_t count;
    int64_t deadline_ms; /* for the whole run, counted from now; on expiry the session is closed */
    /* result is PGRES_TUPLES_OK or an error result; borrowed, valid during the call. */
    void (*on_result)(size_t index, const PGresult *result, void *arg);
    /* Last call of the run. ok=false: the session was lost (failure told by pg_conn_failure). */
    void (*on_done)(bool ok, void *arg);
    void *arg;
};

struct pg_conn *pg_conn_create(struct loop *loop, struct workers *workers,
                               const struct pg_conn_opts *opts);
/* Closes at once; a run in flight gets no more calls. */
void pg_conn_destroy(struct pg_conn **conn);
void pg_conn_start(struct pg_conn *conn);
/* Forget the backoff and try now (reload, SIGCONT). */
void pg_conn_retry_now(struct pg_conn *conn);
/* false when not PG_READY; nothing is called then. */
bool pg_conn_run(struct pg_conn *conn, const struct pg_run *run) MUST_CHECK;
enum pg_state pg_conn_state(const struct pg_conn *conn);
enum pg_failure pg_conn_failure(const struct pg_conn *conn);
/* Text of the last failure without DSN or password; "" if none. Both stay after a recovery. */
const char *pg_conn_error(const struct pg_conn *conn);
int pg_conn_server_version(const struct pg_conn *conn); /* 150020; 0 before the first connect */
int pg_conn_backend_pid(const struct pg_conn *conn);
/* Statement i of a run failed with this SQLSTATE class of "missing": 42501, 42P01, 42883, 42703. */
bool pg_result_is_missing(const PGresult *result);

#endif
