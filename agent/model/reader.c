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

/* A match can take milliseconds up to its limit, and there are thousands of series. */
#define SERIES_UNASKED 16

bool read_goes_on(const struct read_request *req, size_t i, struct err *err)
{
    if (i % SERIES_UNASKED != 0 || req->cancelled == NULL || !req->cancelled(req->arg))
        return true;
    return err_set(err, ERR_TIMEOUT, "query timed out in expression evaluation");
}

static bool regex_holds(const struct matcher *m, matcher_regex_fn regex_match, const char *value,
                        bool *holds, struct err *err)
{
    enum regex_outcome outcome = regex_match(m->regex, value);
    if (outcome == REGEX_GAVE_UP)
        return err_set(err, ERR_LIMIT, "regular expression of a selector needs too many steps");
    *holds = (outcome == REGEX_MATCH) == (m->op == MATCH_RE);
    return true;
}

static bool matcher_holds(const struct matcher *m, matcher_regex_fn regex_match, const char *value,
                          bool *holds, struct err *err)
{
    switch (m->op) {
    case MATCH_EQ:
        *holds = strcmp(value, m->value) == 0;
        return true;
    case MATCH_NE:
        *holds = strcmp(value, m->value) != 0;
        return true;
    case MATCH_RE:
    case MATCH_NRE:
        break;
    }
    return regex_holds(m, regex_match, value, holds, err);
}

bool matchers_match(const struct matcher *m, size_t n, matcher_regex_fn regex_match,
                    const struct labels *labels, bool *match, struct err *err)
{
    *match = true;
    for (size_t i = 0; *match && i < n; i++)
        if (!matcher_holds(&m[i], regex_match, labels_get_or_empty(labels, m[i].name), match, err))
            return false;
    return true;
}

const char *matchers_metric(const struct matcher *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m[i].op == MATCH_EQ && strcmp(m[i].name, LABEL_METRIC) == 0 && m[i].value[0] != '\0')
            return m[i].value;
    return NULL;
}
