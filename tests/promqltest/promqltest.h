/*
 * promqltest.h: runs files of Prometheus' PromQL acceptance test language against this engine.
 *
 * A file is read line by line: load and clear change the storage, each eval is one case. Cases
 * that need native histograms or experimental parts are skipped, by the rule that is told in
 * storage.c; everything else passes or fails. Everything of a file lives in its arena.
 */
#ifndef PGVIGIL_TESTS_PROMQLTEST_H
#define PGVIGIL_TESTS_PROMQLTEST_H

#include "../../agent/promql/promql_private.h"
#include "../unit/promql/mem_reader.h"
#include "pgvigil/promql/series_notation.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define FAULT_TEXT_MAX 2048

/* ---- storage.c ---- */
struct storage {
    struct mem_reader floats;
    struct labels *natives; /* series that hold or would hold native histograms */
    size_t native_count;
    bool is_changed; /* since it was printed */
};

void storage_init(struct storage *storage);
void storage_deinit(struct storage *storage);
void storage_clear(struct storage *storage);
/* One line of a load command. */
bool storage_load(struct storage *storage, int64_t step_ms, bool with_nhcb, const char *line,
                  struct err *err);
bool storage_touches_native(const struct storage *storage, const struct promql_expr *expr);

/* ---- cases ---- */
enum expect_kind { EXPECT_FAIL, EXPECT_WARN, EXPECT_NO_WARN, EXPECT_INFO, EXPECT_NO_INFO };

struct expect {
    enum expect_kind kind;
    const char *text;    /* NULL = anything */
    struct regex *regex; /* NULL = text is the whole message */
    struct expect *next;
};

struct test_case {
    int line;
    const char *expr;
    bool is_range;
    int64_t start, end, step; /* what the result is compared at too, for range vectors */
    struct expect *expects;
    bool ordered, fails, wants_scalar, wants_string, wants_range_vector, wants_native;
    int64_t at; /* instant */
    double scalar;
    const char *string;
    struct series_line *series;
    size_t series_count;
};

/* ---- script.c ---- */
struct script {
    const char *path;
    struct arena *arena;
    char **lines;
    size_t line_count, at;
    struct storage storage;
};

enum step_outcome { STEP_DONE, STEP_CASE, STEP_FAULT, STEP_END };

bool script_open(struct script *script, const char *path, struct err *err);
void script_close(struct script *script);
/* Works off commands up to and with the next eval; the case's line is set for a fault too. */
enum step_outcome script_next(struct script *script, struct test_case *out, struct err *err);
void case_release(struct test_case *c);

/* ---- compare.c: true, or an error that says what is different ---- */
bool compare_value(const struct test_case *c, const struct promql_value *got, struct err *err);
bool compare_notes(const struct test_case *c, const struct promql_value *got, struct err *err);
bool compare_failure(const struct test_case *c, const char *got, struct err *err);

/* ---- run.c ---- */
enum outcome { PASSED, FAILED, SKIPPED_NATIVE, SKIPPED_EXPERIMENTAL, OUTCOMES };

/* PASSED: the expression is to be evaluated. */
enum outcome parse_case(const struct storage *storage, const struct test_case *c,
                        struct promql_expr **expr, struct err *err);
enum outcome run_case(struct storage *storage, const struct test_case *c, struct err *err);

/* ---- print.c ---- */
void print_storage(const struct storage *storage);
/* PASSED: a line was printed. */
enum outcome print_case(struct storage *storage, const struct test_case *c, struct err *err);

#endif
