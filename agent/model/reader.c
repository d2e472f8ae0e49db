/*
 * reader.c: matchers and the stale marker, shared by everything that reads samples.
 */
#include "pgvigil/model/reader.h"

bool point_is_stale(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits == STALE_NAN_BITS;
}

double point_stale_value(void)
{
    uint64_t bits = STALE_NAN_BITS;
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static bool matcher_holds(const struct matcher *m, matcher_regex_fn regex_match, const char *value)
{
    switch (m->op) {
    case MATCH_EQ:
        return strcmp(value, m->value) == 0;
    case MATCH_NE:
        return strcmp(value, m->value) != 0;
    case MATCH_RE:
        return regex_match(m->regex, value);
    case MATCH_NRE:
        return !regex_match(m->regex, value);
    }
    return false;
}

bool matchers_match(const struct matcher *m, size_t n, matcher_regex_fn regex_match,
                    const struct labels *labels)
{
    for (size_t i = 0; i < n; i++) {
        if (!matcher_holds(&m[i], regex_match, labels_get_or_empty(labels, m[i].name)))
            return false;
    }
    return true;
}

const char *matchers_metric(const struct matcher *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m[i].op == MATCH_EQ && strcmp(m[i].name, LABEL_METRIC) == 0 && m[i].value[0] != '\0')
            return m[i].value;
    return NULL;
}
