/*
 * negotiate.c: headers of the form `a;x=y;q=0.5, b`, read in place. The clause with the greatest q
 * wins, of equal ones the first, and what we do not have is passed over, as Prometheus' own
 * exposition does; no clause is an error, because a scraper that asks oddly still wants the page.
 */
#include "negotiate.h"

#include "pgvigil/base/str.h"

#define CLAUSE_MAX 256

struct clause {
    char text[CLAUSE_MAX]; /* cut into name and parameters */
    char *name, *version;
    double q;
};

static char *trim(char *s)
{
    s += strspn(s, " \t");
    for (size_t n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--)
        s[n - 1] = '\0';
    return s;
}

static void read_parameter(struct clause *c, char *text)
{
    char *value = strchr(text, '=');
    if (value == NULL)
        return;
    *value++ = '\0';
    text = trim(text);
    value = trim(value);
    if (*value == '"') {
        value++;
        value[strcspn(value, "\"")] = '\0';
    }
    if (strcasecmp(text, "version") == 0)
        c->version = value;
    else if (strcasecmp(text, "q") == 0 && !str_parse_double(value, &c->q))
        c->q = 0;
}

/* The next clause of the list; false at its end. One that is too long is skipped. */
static bool next_clause(const char **list, struct clause *c)
{
    char *rest = NULL;
    size_t n = 0;
    do {
        *list += n + strspn(*list + n, ", \t");
        n = strcspn(*list, ",");
        if (n == 0)
            return false;
    } while (n >= CLAUSE_MAX);
    memcpy(c->text, *list, n);
    c->text[n] = '\0';
    *list += n;
    c->q = 1;
    c->version = c->text + n; /* "" */
    char *name = strtok_r(c->text, ";", &rest);
    c->name = name != NULL ? trim(name) : c->version;
    for (char *p = strtok_r(NULL, ";", &rest); p != NULL; p = strtok_r(NULL, ";", &rest))
        read_parameter(c, p);
    return true;
}

static bool exposition_of(const struct clause *c, enum expose_format *format)
{
    static const struct {
        const char *name, *version;
        enum expose_format format;
    } known[] = {
        {"application/openmetrics-text", "1.0.0", EXPOSE_OPENMETRICS},
        {"application/openmetrics-text", "", EXPOSE_OPENMETRICS},
        {"application/openmetrics-text", "0.0.1", EXPOSE_OPENMETRICS_0_0_1},
        {"text/plain", "0.0.4", EXPOSE_TEXT},
        {"text/plain", "", EXPOSE_TEXT},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcasecmp(known[i].name, c->name) == 0 && str_eq(known[i].version, c->version)) {
            *format = known[i].format;
            return true;
        }
    }
    return false;
}

enum expose_format negotiate_exposition(const char *accept)
{
    enum expose_format best = EXPOSE_TEXT, format;
    double best_q = 0;
    struct clause c;
    while (next_clause(&accept, &c)) {
        if (exposition_of(&c, &format) && c.q > best_q) {
            best = format;
            best_q = c.q;
        }
    }
    return best;
}

bool negotiate_gzip(const char *accept_encoding)
{
    struct clause c;
    double any = 0;
    while (next_clause(&accept_encoding, &c)) {
        if (strcasecmp(c.name, "gzip") == 0)
            return c.q > 0;
        if (str_eq(c.name, "*"))
            any = c.q;
    }
    return any > 0;
}
