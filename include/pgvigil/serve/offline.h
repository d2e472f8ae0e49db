/*
 * offline.h: Prometheus' API without a daemon: one query over the history file alone, with the same
 * answers, for the command line. Blocks; any thread. It has more room than the daemon grants, since
 * nobody else waits for it.
 */
#ifndef PGVIGIL_SERVE_OFFLINE_H
#define PGVIGIL_SERVE_OFFLINE_H

#include "pgvigil/base/buf.h"
#include "pgvigil/base/err.h"

#define OFFLINE_BYTES_MAX   (256 * 1024 * 1024)
#define OFFLINE_SAMPLES_MAX 50000000
#define OFFLINE_ANSWER_MAX  (512 * 1024 * 1024)
#define OFFLINE_TIMEOUT_MS  (60 * 60 * 1000)

/* What the label `instance` says of an agent that listens there. mem_free. */
char *offline_instance(const char *host, int port);

/*
 * The answer to /api/v1/query, or /api/v1/query_range, for a form: status as of HTTP and the body,
 * appended. False: there is no file that can be read.
 */
bool offline_query(const char *history_path, const char *instance, bool is_range, const char *form,
                   int *status, struct buf *body, struct err *err) MUST_CHECK;

#endif
