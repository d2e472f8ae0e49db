/*
 * joined.h: head and history as one reader: the head for what it holds whole, history.db for what
 * is older, joined by labels, so that nobody who reaches back sees a seam.
 *
 * The head is shared through a counted gate, because whoever reads in a worker may still hang in a
 * disk when the head's owner ends; after joined_head_close nobody touches the head. A joined reader
 * has a connection of its own to the file and serves one thread at a time. A file that cannot be
 * read takes its part away, with a warning, and never the rest; a deadline or a limit that is
 * passed while it is read is an error.
 */
#ifndef PGVIGIL_STORE_JOINED_H
#define PGVIGIL_STORE_JOINED_H

#include "pgvigil/store/head.h"
#include "pgvigil/store/history.h"

struct joined_head;

/* head may be NULL: nothing is newer than the file. */
struct joined_head *joined_head_create(struct head *head);
/* Waits for reads of the head that are under way: they take a moment only. */
void joined_head_close(struct joined_head *head);
struct joined_head *joined_head_ref(struct joined_head *head);
void joined_head_unref(struct joined_head *head);

struct joined;

/* Takes a reference of its own; history_path is copied, NULL = no file. The file is opened when it
 * is needed. */
struct joined *joined_create(struct joined_head *head, const char *history_path);
void joined_destroy(struct joined **joined);
/* Before each use: whom to ask whether to give up (NULL = nobody); forgets the last warning. */
void joined_begin(struct joined *joined, bool (*cancelled)(void *arg), void *arg);
/* Borrowed. max_points of a request counts for each part by itself. */
struct reader *joined_reader(struct joined *joined);
/* Why a part of the history could not be read, or "". */
const char *joined_warning(const struct joined *joined);

#endif
