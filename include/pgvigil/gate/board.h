/*
 * board.h: the published verdicts, written by the gate without ever waiting, read by any thread.
 *
 * A sequence latch per slot over atomic words: a reader copies and tries again when the writer was
 * in between, so the gate's thread never meets a lock. Each slot is kept twice, so that a writer
 * that was stopped in mid-write hides nothing: readers get the other copy. A slot that could not
 * be read in BOARD_RETRIES tries is left out.
 */
#ifndef PGVIGIL_GATE_BOARD_H
#define PGVIGIL_GATE_BOARD_H

#include "pgvigil/model/verdict.h"

#define BOARD_RETRIES 64

struct board;

struct board *board_create(void);
void board_destroy(struct board **board);
/* Gate thread: writes all verdicts of this tick; slots are by index and may change over reloads. */
void board_publish(struct board *board, const struct verdict *const *nodes, size_t n,
                   const struct cluster_verdict *const *clusters, size_t m, struct now now);
/* Any thread. Copies of all nodes and clusters; arrays are mem_free'd by the caller. */
size_t board_nodes(struct board *board, struct verdict **out);
size_t board_clusters(struct board *board, struct cluster_verdict **out);
/* The gate's last tick. */
struct now board_ticked_at(struct board *board);

#endif
