/*
 * log.h: one line per event on stderr, key=value tail, never blocking.
 *
 * A line is formatted on the stack and written with one write(2) after a poll with timeout 0; a
 * pipe that is full loses the line and counts it (log_dropped), because the gate's thread must not
 * wait for a log reader. No lock, no stdio, no allocation: safe for every thread.
 * Log changes, not repetition. Secrets never; SQL text only at debug.
 * Values with blanks, quotes or control characters are for log_quote().
 */
#ifndef PGVIGIL_BASE_LOG_H
#define PGVIGIL_BASE_LOG_H

#include "pgvigil/base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_LINE_MAX 2048

/*
 * Call once before threads start. Journal prefixes (<3>..<7>) instead of the time when
 * JOURNAL_STREAM names the socket that stderr is.
 */
void log_init(enum log_level level);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes s into out, quoted if needed, control bytes escaped, cut at n. Returns out. */
const char *log_quote(char *out, size_t n, const char *s);
uint64_t log_dropped(void);
/* Tests: gets every line instead of stderr; NULL restores. Not thread safe against writers. */
void log_set_sink(void (*sink)(enum log_level level, const char *line, void *arg), void *arg);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_at(level, ...)                 \
    do {                                   \
        if (log_enabled(level))            \
            log_write(level, __VA_ARGS__); \
    } while (0)

#endif
