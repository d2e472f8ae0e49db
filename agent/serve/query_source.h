/*
 * query_source.h: where queries of the API read: the head for what it holds whole, history.db for
 * what is older, and on every series the labels `job` and `instance` that a Prometheus which
 * scrapes this agent would give it.
 *
 * A source is counted and outlives the HTTP side, because a worker may still hang in a disk when
 * that ends; after query_source_close nobody touches the head.
 */
#ifndef AGENT_SERVE_QUERY_SOURCE_H
#define AGENT_SERVE_QUERY_SOURCE_H

#include "pgvigil/store/joined.h"

#define QUERY_JOB "pgvigil"

struct query_source;

/* Either of head and history_path may be NULL. */
struct query_source *query_source_create(struct head *head, const char *history_path,
                                         const char *instance);
void query_source_close(struct query_source *source);
struct query_source *query_source_ref(struct query_source *source);
void query_source_unref(struct query_source *source);

/* A reader for one query, with a connection of its own to the file; any thread. */
struct query_reader;
struct query_reader *query_source_take(struct query_source *source, bool (*cancelled)(void *arg),
                                       void *arg);
void query_source_give_back(struct query_source *source, struct query_reader **reader);
struct reader *query_reader(struct query_reader *r);
/* Why a part of the history could not be read, or "". */
const char *query_reader_warning(const struct query_reader *r);

#endif
