/*
 * template.h: the Go template subset of labels and annotations. Pure.
 *
 * Now: text, {{ $labels.name }}, {{ $value }}, {{ $externalLabels.name }}, pipelines of humanize,
 * humanize1024, humanizeDuration, humanizePercentage, printf, title, toUpper, toLower. What is not
 * supported is an error when the rule file is loaded. A failing expansion yields
 * `<error expanding template: ...>`, never a lost alert.
 */
#ifndef PGVIGIL_RULES_TEMPLATE_H
#define PGVIGIL_RULES_TEMPLATE_H

#include "pgvigil/base/arena.h"
#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"

#define TEMPLATE_MAX 16384

struct template_data {
    const struct labels *labels;
    const struct labels *external_labels;
    double value;
};

/* Is the text a valid template of the subset? */
bool template_check(const char *text, struct err *err) MUST_CHECK;
/* Result lives in the arena. */
const char *template_expand(const char *text, const struct template_data *data,
                            struct arena *arena);

#endif
