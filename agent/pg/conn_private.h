/*
 * conn_private.h: what the files of pg_conn share.
 *
 * conn.c: life, state table, failures, backoff. connect.c: from DSN to a session. run.c:
 * statements. dsn.c: the plan of a connect (worker side). classify.c: what a failure means.
 */
#ifndef PGVIGIL_AGENT_PG_CONN_PRIVATE_H
#define PGVIGIL_AGENT_PG_CONN_PRIVATE_H

#include "pgvigil/base/resolve.h"
#include "pgvigil/pg/conn.h"

/* ---- classify.c ---- */

#define SQLSTATE_LEN 5

/* A failed connect: libpq 15 tells no SQLSTATE, so the text (verbose) is read. */
enum pg_failure pg_classify_connect(PGconn *pg, const char *text);
/* The failure behind a SQLSTATE at log-in; PG_FAIL_CONNECT if none is special. */
enum pg_failure pg_failure_of_sqlstate(const char *sqlstate);
/* One line without control bytes, LOCATION lines and the session's password; at most n bytes. */
void pg_clean_text(char *out, size_t n, const char *text, const char *password);
extern const char pg_pooler_text[];

/* ---- dsn.c: all of it may block on files, so it runs in workers only ---- */

struct pg_plan {
    char *dsn;      /* expanded; holds secrets */
    char *host;     /* what libpq would take, after services and environment; "" = socket */
    char *hostaddr; /* given by the user, or "" */
    char *options;  /* the user's, with ours behind them; NULL for the console */
    bool console;
    bool disable_gss;
    bool needs_resolve;
};

struct pg_plan *pg_plan_create(const char *dsn, enum config_secret_modes modes, bool console,
                               const char *options, struct err *err) MUST_CHECK;
void pg_plan_destroy(struct pg_plan **plan);
/* First step of the connect. first = which address is tried first. Never NULL. */
PGconn *pg_plan_connect(const struct pg_plan *plan, const struct resolve_answer *addrs,
                        unsigned first);

/* ---- the session ---- */

enum pg_step {
    STEP_NONE,
    STEP_PLAN,    /* worker: expand, parse */
    STEP_RESOLVE, /* worker: name look-up */
    STEP_START,   /* worker: PQconnectStart */
    STEP_POLL,    /* loop waits for the socket, worker: PQconnectPoll */
    STEP_CHECK    /* loop: is it a pooler? */
};

struct run_slot {
    int steps_left;   /* replies before that of the statement itself: deallocate, prepare */
    bool is_answered; /* its result or error was delivered, or is not wanted */
    bool again;       /* its plan was lost: prepare and run it a second time */
    bool deallocate;  /* the old plan is still there */
};

/*
 * A round is what was sent together: first all statements, then once more those whose plan was
 * lost. The replies come in the order of `queue`.
 */
struct conn_run {
    struct pg_run spec; /* stmts is a copy of our own */
    struct run_slot *slots;
    size_t *queue;
    size_t queued, answered;
    bool is_second_round;
    bool send_failed;
    int idle_nulls; /* libpq had nothing to say this often in a row */
    size_t result_bytes;
};

struct pg_conn {
    struct loop *loop;
    struct workers *workers;
    char *name, *role, *dsn, *options;
    enum config_secret_modes secret_modes;
    bool console;
    int64_t connect_timeout_ms;
    size_t max_result_bytes;
    void (*on_state)(struct pg_conn *conn, enum pg_state state, void *arg);
    void *arg;

    enum pg_state state;
    enum pg_step step;
    enum pg_failure failure;
    char error[ERR_TEXT_MAX];
    unsigned attempts;    /* failures since the last good run: sets the backoff */
    unsigned addr_first;  /* rotates, so that one dead address of a name does not win for ever */
    enum pg_failure told; /* logged last; PG_FAIL_NONE = up */
    unsigned untold;      /* failures of the same kind since then */
    bool is_destroyed;
    bool reads_again; /* a read is deferred to the next turn */

    PGconn *pg;
    struct loop_poll *poll;
    struct loop_timer *deadline, *pause; /* pause: backoff, or patience with the resolver */
    struct workers_job *job;
    struct pg_plan *plan;
    int server_version, backend_pid;
    size_t bytes_in;                /* since the run began */
    char last_notice[ERR_TEXT_MAX]; /* the server's last words, when it closes the session */

    const struct pg_stmt **prepared;
    size_t prepared_count, prepared_cap;
    struct conn_run run;
};

/* conn.c */
enum conn_event { EV_START, EV_CONNECTED, EV_RUN, EV_RUN_DONE, EV_FAIL, EV_RETRY };
void conn_apply(struct pg_conn *conn, enum conn_event event);
/* Closes the session, tells it and arms the backoff. conn may be destroyed after it. */
void conn_fail(struct pg_conn *conn, enum pg_failure failure, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same with libpq's message. */
void conn_fail_libpq(struct pg_conn *conn, enum pg_failure failure);
/* Notice receiver of an established session. */
void conn_on_notice(void *arg, const PGresult *result);
/* (Re)creates the watch on libpq's present socket. */
bool conn_watch(struct pg_conn *conn, int events);
/* Takes all input that is there; false after a failure (conn may be destroyed). */
bool conn_read_input(struct pg_conn *conn);
/* Sends what libpq holds; watches for room if it does not fit. false if the session is lost. */
bool conn_flush(struct pg_conn *conn);
/* The session may be used. conn may be destroyed after it. */
void conn_established(struct pg_conn *conn);

/* connect.c */
void connect_begin(struct pg_conn *conn);
void connect_on_event(struct pg_conn *conn, int events);
void connect_on_patience(struct pg_conn *conn);
void connect_on_deadline(struct pg_conn *conn);
void connect_abort(struct pg_conn *conn);

/* run.c */
void run_on_event(struct pg_conn *conn);
void run_on_deadline(struct pg_conn *conn);
void run_release(struct pg_conn *conn);
void run_forget_prepared(struct pg_conn *conn);

#endif
