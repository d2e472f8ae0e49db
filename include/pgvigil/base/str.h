/*
 * str.h: parsing and matching of small texts. Pure; any thread.
 */
#ifndef PGVIGIL_BASE_STR_H
#define PGVIGIL_BASE_STR_H

#include "pgvigil/base/base.h"

bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
/* Copies s into out of n bytes, cutting at n-1; returns false when cut. */
bool str_copy(char *out, size_t n, const char *s);
/* Shell-like match with `*` and `?` only; no exponential case. */
bool str_glob(const char *pattern, const char *s);
/* Whole text as an integer in [min, max]. */
bool str_parse_i64(const char *s, int64_t min, int64_t max, int64_t *out) MUST_CHECK;
/* Whole text as a finite or Inf/NaN double in C notation. */
bool str_parse_double(const char *s, double *out) MUST_CHECK;
/*
 * Prometheus duration: units y w d h m s ms, each once, in that order ("1h30m"), also "0".
 * A bare number, a sign, or more than 10^15 ms is refused. mo (30 d) is accepted only by
 * str_parse_period, for partitions.
 */
bool str_parse_duration(const char *s, int64_t *ms) MUST_CHECK;
bool str_parse_period(const char *s, int64_t *ms) MUST_CHECK;
/* "16MB", "2GiB", "512kB", "8192B": a unit is required; kB/MB/GB/TB = 10^3n, KiB.. = 2^10n. */
bool str_parse_size(const char *s, int64_t *bytes) MUST_CHECK;
/* "80%" to 0.8; 0 to 100. */
bool str_parse_percent(const char *s, double *fraction) MUST_CHECK;
/* Shortest Prometheus form: 5400000 to "1h30m", 0 to "0s". */
const char *str_format_duration(int64_t ms, char *out, size_t n);
/* The candidate nearest to s by edit distance (at most 2, or a third of the length), or NULL. */
const char *str_nearest(const char *s, const char *const *candidates, size_t n);
/* 64-bit hash, stable over runs and machines (FNV-1a, 64 bit). */
uint64_t str_hash(const void *data, size_t n, uint64_t seed);
#define STR_HASH_SEED UINT64_C(0xcbf29ce484222325)
/* 128 random bits from the kernel as 32 hex digits and NUL. */
void str_random_hex(char out[33]);
/* Length in bytes of the valid UTF-8 sequence at s (1-4), or 0 if invalid. */
size_t str_utf8_len(const char *s);

#endif
