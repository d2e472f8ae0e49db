/*
 * template.h: Go's text/template as rule files use it, with Prometheus' functions.
 *
 * A template is parsed once, when its file is loaded, and is immutable from then on. A failing
 * expansion yields `<error expanding template: ...>`, never a lost alert. Pure but for `query`.
 */
#ifndef PGVIGIL_RULES_TEMPLATE_H
#define PGVIGIL_RULES_TEMPLATE_H

#include "pgvigil/base/arena.h"
#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"
#include "pgvigil/promql/promql.h"

/* Bytes of a text; the limits of an expansion are in template_engine.h. */
#define TEMPLATE_MAX 16384

struct template;

/* What .Labels, .ExternalLabels, .ExternalURL, .Value and their variables stand for. */
struct template_data {
    const struct labels *labels;
    const struct labels *external_labels;
    const char *external_url; /* "" if there is none */
    double value;
    int64_t t; /* evaluation time in milliseconds, for `now` */
    /* An instant query at that time, for `query`; its result lives in the arena. NULL: `query` is
     * an error. */
    bool (*query)(const char *expr, struct arena *arena, struct promql_value *out, struct err *err,
                  void *arg);
    void *arg;
};

/* name is what errors show (Prometheus: "__alert_" and the alert's). NULL with the reason, as Go
 * words it, when the text is no valid template. */
struct template *template_parse(const char *name, const char *text, struct err *err) MUST_CHECK;
void template_destroy(struct template **t);
/* Result lives in the arena. */
const char *template_expand(const struct template *t, const struct template_data *data,
                            struct arena *arena);

#endif
