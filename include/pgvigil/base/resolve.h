/*
 * resolve.h: host name to numeric addresses. Blocks: call it in a worker only.
 *
 * This is the connect/resolve seam: tests put a resolver that hangs, fails or changes its answer
 * in its place. The last good answer of each name is kept (RESOLVE_CACHE_MAX names) and given when
 * a look-up fails, with *stale set.
 */
#ifndef PGVIGIL_BASE_RESOLVE_H
#define PGVIGIL_BASE_RESOLVE_H

#include "pgvigil/base/err.h"

#define RESOLVE_ADDRS_MAX 8
#define RESOLVE_TEXT_MAX  64
#define RESOLVE_CACHE_MAX 1024

struct resolve_answer {
    size_t count;
    char addrs[RESOLVE_ADDRS_MAX][RESOLVE_TEXT_MAX]; /* numeric, IPv4 or IPv6 */
};

/* Numeric hosts and paths of sockets are not looked up: resolve_needed() is false for them. */
bool resolve_needed(const char *host);
bool resolve_host(const char *host, struct resolve_answer *out, bool *stale,
                  struct err *err) MUST_CHECK;
/* The last good answer without asking (for when a look-up hangs); false if none. */
bool resolve_last_good(const char *host, struct resolve_answer *out);
/* Replaces getaddrinfo for the process (tests); NULL restores. */
void resolve_set_source(bool (*source)(const char *host, struct resolve_answer *out,
                                       struct err *err, void *arg),
                        void *arg);

#endif
