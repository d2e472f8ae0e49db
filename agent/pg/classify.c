/*
 * classify.c: what a failure of a session means.
 *
 * Before a session exists libpq 15 gives the SQLSTATE of a refusal in the text only, so the
 * connect runs with verbose errors, whose form "SEVERITY:  CODE: text" does not depend on the
 * server's language; libpq's own messages are in the C locale, because we never call setlocale.
 */
#include "conn_private.h"

#include <ctype.h>

#include "pgvigil/base/str.h"

const char pg_pooler_text[] = "this is a PgBouncer, not a server: use its host and port in pools, "
                              "and the server's in nodes";

const char *pg_state_name(enum pg_state state)
{
    switch (state) {
    case PG_IDLE:
        return "idle";
    case PG_CONNECTING:
        return "connecting";
    case PG_READY:
        return "ready";
    case PG_RUNNING:
        return "running";
    case PG_BACKOFF:
        return "backoff";
    }
    return "?";
}

const char *pg_failure_name(enum pg_failure failure)
{
    switch (failure) {
    case PG_FAIL_NONE:
        return "none";
    case PG_FAIL_RESOLVE:
        return "resolve";
    case PG_FAIL_CONNECT:
        return "connect";
    case PG_FAIL_TIMEOUT:
        return "timeout";
    case PG_FAIL_AUTH:
        return "auth";
    case PG_FAIL_GRANT:
        return "grant";
    case PG_FAIL_STARTING:
        return "starting";
    case PG_FAIL_SATURATED:
        return "saturated";
    case PG_FAIL_CONFIG:
        return "config";
    case PG_FAIL_PROTOCOL:
        return "protocol";
    case PG_FAIL_CLOSED:
        return "closed";
    }
    return "?";
}

enum pg_failure pg_failure_of_sqlstate(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum pg_failure failure;
    } map[] = {
        {"28", PG_FAIL_AUTH},        {"57P01", PG_FAIL_STARTING},  {"57P02", PG_FAIL_STARTING},
        {"57P03", PG_FAIL_STARTING}, {"53300", PG_FAIL_SATURATED}, {"3D000", PG_FAIL_CONFIG},
        {"42501", PG_FAIL_GRANT},
    };
    for (size_t i = 0; i < ARRAY_LEN(map); i++) {
        if (str_starts(sqlstate, map[i].prefix))
            return map[i].failure;
    }
    return PG_FAIL_CONNECT;
}

/* The last "SEVERITY:  CODE: " of the text: with several addresses the last answer counts. */
static bool find_sqlstate(const char *text, char out[SQLSTATE_LEN + 1])
{
    bool found = false;
    for (const char *p = text; (p = strstr(p, ":  ")); p++) {
        const char *code = p + 3;
        size_t n = 0;
        while (n < SQLSTATE_LEN &&
               (isdigit((unsigned char)code[n]) || isupper((unsigned char)code[n])))
            n++;
        if (n < SQLSTATE_LEN || code[n] != ':')
            continue;
        memcpy(out, code, SQLSTATE_LEN);
        out[SQLSTATE_LEN] = '\0';
        found = true;
    }
    return found;
}

/* libpq's own words for an answer that is no PostgreSQL. */
static bool is_garbled(const char *text)
{
    static const char *const signs[] = {
        "expected authentication request", "received invalid response", "lost synchronization",
        "message contents do not agree",   "unexpected message",        "insufficient data",
    };
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        if (strstr(text, signs[i]))
            return true;
    }
    return false;
}

enum pg_failure pg_classify_connect(PGconn *pg, const char *text)
{
    char sqlstate[SQLSTATE_LEN + 1];
    /* PgBouncer refuses what it does not know; `options` is the only such thing that we send. */
    if (strstr(text, "unsupported startup parameter"))
        return PG_FAIL_CONFIG;
    if (find_sqlstate(text, sqlstate))
        return pg_failure_of_sqlstate(sqlstate);
    if (str_starts(text, "invalid ")) /* a value of the DSN, told before any network */
        return PG_FAIL_CONFIG;
    if (PQconnectionNeedsPassword(pg) || strstr(text, "no password supplied"))
        return PG_FAIL_AUTH;
    return is_garbled(text) ? PG_FAIL_PROTOCOL : PG_FAIL_CONNECT;
}

/* Overwrites each occurrence: a text is shown to people, a password never. */
static void mask(char *text, const char *secret)
{
    size_t n = secret ? strlen(secret) : 0;
    if (n == 0)
        return;
    for (char *p = text; (p = strstr(p, secret)); p += n)
        memset(p, '*', n);
}

static bool is_location(const char *line)
{
    return str_starts(line, "LOCATION:");
}

void pg_clean_text(char *out, size_t n, const char *text, const char *password)
{
    size_t len = 0;
    while (*text && len + 3 < n) {
        text += strspn(text, " \t");
        size_t line = strcspn(text, "\n");
        bool is_kept = line > 0 && !is_location(text);
        if (is_kept && len > 0) {
            out[len++] = ';';
            out[len++] = ' ';
        }
        for (size_t i = 0; is_kept && i < line && len + 1 < n; i++)
            out[len++] = iscntrl((unsigned char)text[i]) ? ' ' : text[i];
        text += line + (text[line] == '\n');
    }
    out[len] = '\0';
    mask(out, password);
}

bool pg_result_is_missing(const PGresult *result)
{
    static const char *const codes[] = {"42501", "42P01", "42883", "42703"};
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    for (size_t i = 0; sqlstate && i < ARRAY_LEN(codes); i++) {
        if (str_eq(sqlstate, codes[i]))
            return true;
    }
    return false;
}
