/*
 * head_parts.h: the insides of the head: chunks of encoded points, and the index over series.
 */
#ifndef STORE_HEAD_PARTS_H
#define STORE_HEAD_PARTS_H

#include <pthread.h>

#include "pgvigil/store/head.h"

/* ---- chunks (head_chunk.c) ---- */
#define CHUNK_POINTS 120

struct chunk {
    int64_t t_first, t_last;
    double v_first;
    uint16_t n, used, cap;
    uint8_t data[];
};

/* What the encoder must know of the newest point; one per series. */
struct chunk_tail {
    int64_t t, dt;
    double v;
};

struct chunk *chunk_create(int64_t t, double v, struct chunk_tail *tail);
bool chunk_is_full(const struct chunk *c);
/* t must be greater than tail->t. Returns the chunk, which may have moved. */
struct chunk *chunk_append(struct chunk *c, struct chunk_tail *tail, int64_t t, double v);
/* Gives unused memory back. Returns the chunk, which may have moved. */
struct chunk *chunk_shrink(struct chunk *c);
size_t chunk_bytes(const struct chunk *c);
/* Decodes all c->n points. */
void chunk_decode(const struct chunk *c, struct point out[CHUNK_POINTS]);
/* Two at once: where a point begins is known only when the one before is read, so a processor has
 * time for another chunk. Queries over a day spend most of their time here. */
void chunk_decode_two(const struct chunk *a, const struct chunk *b,
                      struct point out_a[CHUNK_POINTS], struct point out_b[CHUNK_POINTS]);

/* ---- index (head.c) ---- */
struct head_series {
    struct series *series;
    struct head_source *source;
    struct head_series *next_by_id, *next_by_name, *next_by_source;
    struct head_series **link_by_name, **link_by_source; /* what points to this one */
    struct chunk **chunks;                               /* by time; the last one is open */
    uint32_t count, cap;
    uint32_t seen; /* the source's round that had it last */
    struct chunk_tail tail;
};

struct head_name {
    struct head_name *next;
    struct head_series *first;
    char name[];
};

struct head_source {
    struct head_source *next;
    struct head_series *first;
    uint32_t round;
    char name[];
};

#define HEAD_SLOTS 256 /* names and sources are hundreds, not thousands */

struct head {
    pthread_mutex_t lock;
    struct reader reader;
    int64_t keep_ms;
    size_t max_bytes;
    int64_t complete_since;
    struct head_series **by_id;
    size_t slots; /* of by_id; a power of two */
    struct head_name *names[HEAD_SLOTS];
    struct head_source *sources[HEAD_SLOTS];
    struct head_stats stats;
};

/* With the lock held. */
struct head_series *head_find(const struct head *head, uint32_t id);
const struct head_name *head_find_name(const struct head *head, const char *name);

/* head_read.c */
bool head_select(struct reader *reader, const struct read_request *req, struct arena *arena,
                 struct read_result *out, struct err *err);

#endif
