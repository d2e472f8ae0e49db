/*
 * config_dsn.c: connection strings: shown without passwords, expanded without changing their shape.
 *
 * Both work on the text, not on libpq's parse: a string that libpq would refuse must be masked all
 * the same, since exactly that one gets into an error message. In doubt more is masked, not less.
 * Invariant: nothing that stands in the place of a password leaves config_mask_dsn.
 */
#include "pgvigil/model/config.h"

#include <ctype.h>
#include <libpq-fe.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#include "config_internal.h"

#define MASK "***"

static bool is_blank(char c)
{
    return isspace((unsigned char)c) != 0;
}

static bool is_secret_option(const char *name, size_t n)
{
    static const char *const secret[] = {"password", "sslpassword", "oauth_client_secret",
                                         "scram_client_key", "scram_server_key"};
    for (size_t i = 0; i < ARRAY_LEN(secret); i++) {
        if (strlen(secret[i]) == n && strncasecmp(secret[i], name, n) == 0)
            return true;
    }
    return false;
}

bool config_dsn_is_uri(const char *dsn)
{
    return str_starts(dsn, "postgresql://") || str_starts(dsn, "postgres://");
}

/* ---- masking ---- */

/* Behind the `}` of a `${...}` at s, or behind its first byte if there is no end. */
static const char *skip_placeholder(const char *s)
{
    const char *end = strchr(s, '}');
    return end != NULL ? end + 1 : s + 1;
}

/* s is at the first byte of a value of a conninfo string; returns where it ends. */
static const char *skip_value(const char *s)
{
    bool quoted = *s == '\'';
    if (quoted)
        s++;
    while (*s != '\0') {
        if (str_starts(s, "${")) {
            s = skip_placeholder(s);
            continue;
        }
        if (quoted && *s == '\'')
            return s + 1;
        if (!quoted && is_blank(*s))
            return s;
        s += s[0] == '\\' && s[1] != '\0' ? 2 : 1;
    }
    return s;
}

/* A word without `=`: a placeholder is shown, anything else may be the rest of a password. */
static bool mask_bare_word(struct buf *out, const char *word, size_t n)
{
    bool placeholder = n > 3 && str_starts(word, "${") && memchr(word, '}', n) == word + n - 1;
    if (!placeholder || memmem(word, n, ":-", 2) != NULL) {
        buf_add_str(out, MASK);
        return false;
    }
    buf_add(out, word, n);
    return true;
}

static void mask_conninfo(struct buf *out, const char *s)
{
    for (;;) {
        while (is_blank(*s))
            s++;
        if (*s == '\0')
            return;
        if (out->len > 0)
            buf_add_char(out, ' ');
        const char *name = s;
        while (*s != '\0' && *s != '=' && !is_blank(*s))
            s = str_starts(s, "${") ? skip_placeholder(s) : s + 1;
        size_t name_len = (size_t)(s - name);
        const char *rest = s;
        while (is_blank(*rest))
            rest++;
        if (*rest != '=') {
            if (!mask_bare_word(out, name, name_len))
                return;
            continue;
        }
        rest++;
        while (is_blank(*rest))
            rest++;
        s = skip_value(rest);
        buf_add(out, name, name_len);
        buf_add_char(out, '=');
        if (is_secret_option(name, name_len))
            buf_add_str(out, MASK);
        else
            buf_add(out, rest, (size_t)(s - rest));
    }
}

static void mask_uri_query(struct buf *out, const char *s)
{
    while (*s != '\0') {
        size_t n = strcspn(s, "&");
        const char *eq = memchr(s, '=', n);
        if (eq != NULL && is_secret_option(s, (size_t)(eq - s)))
            buf_printf(out, "%.*s=" MASK, (int)(eq - s), s);
        else
            buf_add(out, s, n);
        s += n;
        if (*s == '&')
            buf_add_char(out, *s++);
    }
}

/*
 * The last @ ends the user part: a password with a raw `/` or `?` in it is wrong for libpq, and
 * still must not be shown.
 */
static void mask_uri(struct buf *out, const char *s)
{
    const char *authority = strstr(s, "://") + 3;
    const char *at = strrchr(authority, '@');
    const char *rest = authority;
    buf_add(out, s, (size_t)(authority - s));
    if (at != NULL) {
        size_t user = strcspn(authority, ":");
        if (user < (size_t)(at - authority)) {
            buf_add(out, authority, user);
            buf_add_str(out, ":" MASK);
            rest = at;
        }
    }
    size_t n = strcspn(rest, "?");
    buf_add(out, rest, n);
    if (rest[n] == '?') {
        buf_add_char(out, '?');
        mask_uri_query(out, rest + n + 1);
    }
}

char *config_mask_dsn(const char *dsn)
{
    struct buf out;
    size_t len;
    buf_init(&out, CONFIG_TEXT_MAX);
    if (config_dsn_is_uri(dsn))
        mask_uri(&out, dsn);
    else
        mask_conninfo(&out, dsn);
    char *text = buf_ok(&out) ? buf_take(&out, &len) : mem_strdup(MASK);
    buf_deinit(&out);
    return text;
}

/* ---- expansion ---- */

enum place { PLACE_WHOLE, PLACE_OPTION, PLACE_BARE, PLACE_QUOTED, PLACE_URI };

static void add_escaped(struct buf *out, const char *value, enum place place)
{
    if (place == PLACE_BARE && value[0] == '\0')
        buf_add_str(out, "''");
    for (const char *s = value; *s != '\0'; s++) {
        bool plain = isalnum((unsigned char)*s) || strchr("-._~", *s) != NULL;
        if (place == PLACE_URI && !plain)
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
        else if ((place == PLACE_BARE || place == PLACE_QUOTED) &&
                 (*s == '\'' || *s == '\\' || is_blank(*s)))
            buf_printf(out, "\\%c", *s);
        else
            buf_add_char(out, *s);
    }
}

/* Follows a conninfo string byte by byte: where would a value that stands here be? */
static enum place next_place(enum place place, char c, char previous)
{
    if (place == PLACE_OPTION)
        return c == '=' ? PLACE_BARE : PLACE_OPTION;
    if (place == PLACE_BARE && c == '\'' && (previous == '=' || is_blank(previous)))
        return PLACE_QUOTED;
    /* Blanks between `=` and the value do not end it. */
    if (place == PLACE_BARE && is_blank(c) && previous != '=' && !is_blank(previous))
        return PLACE_OPTION;
    if (place == PLACE_QUOTED && c == '\'')
        return PLACE_OPTION;
    return place;
}

static enum place first_place(const char *dsn)
{
    const char *end = strchr(dsn, '}');
    if (str_starts(dsn, "${") && end != NULL && end[1] == '\0')
        return PLACE_WHOLE;
    return config_dsn_is_uri(dsn) ? PLACE_URI : PLACE_OPTION;
}

static bool expand_here(const char **at, enum place place, enum config_secret_modes modes,
                        struct buf *out, struct err *err)
{
    struct buf value;
    buf_init(&value, CONFIG_TEXT_MAX);
    bool ok = config_expand_one(at, modes, &value, err);
    if (ok)
        add_escaped(out, value.data, place);
    explicit_bzero(value.data, value.len);
    buf_deinit(&value);
    return ok;
}

char *config_expand_dsn(const char *dsn, enum config_secret_modes modes, struct err *err)
{
    struct buf out;
    bool ok = true;
    enum place place = first_place(dsn);
    char previous = '\0';
    size_t len;
    buf_init(&out, CONFIG_TEXT_MAX);
    while (ok && *dsn != '\0') {
        if (str_starts(dsn, "${")) {
            ok = expand_here(&dsn, place, modes, &out, err);
            previous = '}';
            continue;
        }
        if (str_starts(dsn, "$${"))
            dsn++;
        if (dsn[0] == '\\' && dsn[1] != '\0' && place != PLACE_URI) {
            buf_add(&out, dsn, 2);
            previous = '\\';
            dsn += 2;
            continue;
        }
        if (place != PLACE_URI)
            place = next_place(place, *dsn, previous);
        previous = *dsn;
        buf_add_char(&out, *dsn++);
    }
    if (ok && !buf_ok(&out))
        ok = err_set(err, ERR_LIMIT, "the connection string is longer than %d bytes",
                     CONFIG_TEXT_MAX);
    char *value = ok ? buf_take(&out, &len) : NULL;
    buf_deinit(&out);
    return value;
}

/* ---- checks ---- */

static bool is_empty(const char *s)
{
    return s == NULL || s[0] == '\0';
}

static void collect_facts(const PQconninfoOption *options, struct dsn_facts *facts)
{
    const char *host = NULL, *hostaddr = NULL, *service = NULL;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (str_eq(o->keyword, "host"))
            host = o->val;
        else if (str_eq(o->keyword, "hostaddr"))
            hostaddr = o->val;
        else if (str_eq(o->keyword, "service"))
            service = o->val;
    }
    facts->several_hosts = (host != NULL && strchr(host, ',') != NULL) ||
                           (hostaddr != NULL && strchr(hostaddr, ',') != NULL);
    if (!is_empty(hostaddr))
        facts->unix_socket = false;
    else if (!is_empty(host))
        facts->unix_socket = host[0] == '/' || host[0] == '@';
    else
        facts->unix_socket =
            is_empty(service) && is_empty(getenv("PGHOST")) && is_empty(getenv("PGHOSTADDR"));
}

/* libpq's text repeats pieces of the string: fine as long as there is no password in it. */
static bool refuse(const char *dsn, const char *message, struct err *err)
{
    bool may_be_secret =
        strcasestr(dsn, "pass") != NULL || strchr(dsn, '@') != NULL || strstr(dsn, "${") != NULL;
    if (may_be_secret || message == NULL)
        return err_set(err, ERR_INVALID, "not a connection string");
    return err_set(err, ERR_INVALID, "not a connection string: %.*s", (int)strcspn(message, "\n"),
                   message);
}

bool config_dsn_check(const char *dsn, enum config_secret_modes modes, struct dsn_facts *facts,
                      struct err *err)
{
    char *message = NULL;
    char *expanded = config_expand_dsn(dsn, modes, err);
    if (expanded == NULL)
        return false;
    PQconninfoOption *options = PQconninfoParse(expanded, &message);
    bool ok = options != NULL;
    if (ok)
        collect_facts(options, facts);
    else
        refuse(dsn, message, err);
    PQconninfoFree(options);
    if (message != NULL)
        PQfreemem(message);
    explicit_bzero(expanded, strlen(expanded));
    mem_free(expanded);
    return ok;
}
