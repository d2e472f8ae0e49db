/*
 * series_notation.h: series written as text, as Prometheus' tests write them:
 * `metric{l="v"} 1 _ 3+1x10 stale`.
 *
 * Items: a number, `_` (gap), `_xN` (N gaps), `stale`, `axN` (N + 1 points), `a+bxN`, `a-bxN`, and
 * native histograms `{{...}}` with the same suffixes, which are only walked over. Pure; results
 * live in the caller's arena.
 */
#ifndef PGVIGIL_PROMQL_SERIES_NOTATION_H
#define PGVIGIL_PROMQL_SERIES_NOTATION_H

#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"

#define SERIES_ITEMS_MAX 600000 /* a year of minutes */

struct series_item {
    bool is_gap, is_native;
    double v;
};

struct series_line {
    struct labels labels;
    struct series_item *items;
    size_t n;
    bool has_native;
    bool is_start_times; /* `metric@st ...`: nothing that floats need */
};

bool series_line_parse(struct arena *arena, const char *text, struct series_line *out,
                       struct err *err) MUST_CHECK;
/* Labels alone, with nothing behind them: `metric{l="v"}`, `{}`. */
bool series_labels_parse(struct arena *arena, const char *text, struct labels *out,
                         struct err *err) MUST_CHECK;

#endif
