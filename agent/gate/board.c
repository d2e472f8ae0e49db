/*
 * board.c: the published verdicts.
 *
 * Every slot keeps its data twice. The writer bumps the sequence, writes the first copy, bumps it
 * again and writes the second; a reader takes the copy that the sequence names as quiet and tries
 * again if the sequence moved meanwhile. So a writer that was stopped or preempted in the middle
 * of a write hides nothing: the other copy is whole. (A plain seqlock would make such a node
 * vanish for as long as the gate stands still.)
 *
 * Invariant: copy[seq & 1] is never being written while the sequence has that value. Order is
 * kept by release stores and acquire loads of each word, not by fences, because the thread
 * sanitizer understands only the former; on x86-64 both are plain moves.
 */
#include "pgvigil/gate/board.h"

#include <stdatomic.h>

#include "pgvigil/base/mem.h"

#define WORDS_OF(type) ((sizeof(type) + sizeof(uint64_t) - 1) / sizeof(uint64_t))

struct node_slot {
    _Atomic uint32_t seq;
    _Atomic uint64_t words[2][WORDS_OF(struct verdict)];
};

struct cluster_slot {
    _Atomic uint32_t seq;
    _Atomic uint64_t words[2][WORDS_OF(struct cluster_verdict)];
};

struct tick_slot {
    _Atomic uint32_t seq;
    _Atomic uint64_t words[2][WORDS_OF(struct now)];
};

/* Slots for all nodes are reserved; pages that no slot touches cost no memory. */
struct board {
    _Atomic size_t node_count, cluster_count;
    struct tick_slot tick;
    struct node_slot nodes[NODES_MAX];
    struct cluster_slot clusters[NODES_MAX];
};

static void copy_in(_Atomic uint64_t *words, const void *data, size_t size)
{
    const char *from = data;
    for (size_t i = 0; i * sizeof(uint64_t) < size; i++) {
        uint64_t word = 0;
        memcpy(&word, from + i * sizeof word, size_min(sizeof word, size - i * sizeof word));
        atomic_store_explicit(&words[i], word, memory_order_release);
    }
}

static void copy_out(const _Atomic uint64_t *words, void *data, size_t size)
{
    char *to = data;
    for (size_t i = 0; i * sizeof(uint64_t) < size; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_acquire);
        memcpy(to + i * sizeof word, &word, size_min(sizeof word, size - i * sizeof word));
    }
}

/* words: two copies, one after the other, of `count` words each. */
static void slot_write(_Atomic uint32_t *seq, _Atomic uint64_t *words, size_t count,
                       const void *data, size_t size)
{
    uint32_t s = atomic_load_explicit(seq, memory_order_relaxed);
    atomic_store_explicit(seq, s + 1, memory_order_release);
    copy_in(words, data, size);
    atomic_store_explicit(seq, s + 2, memory_order_release);
    copy_in(words + count, data, size);
}

static bool slot_read(const _Atomic uint32_t *seq, const _Atomic uint64_t *words, size_t count,
                      void *data, size_t size)
{
    for (int i = 0; i < BOARD_RETRIES; i++) {
        uint32_t s = atomic_load_explicit(seq, memory_order_acquire);
        copy_out(words + (s & 1) * count, data, size);
        if (atomic_load_explicit(seq, memory_order_acquire) == s)
            return true;
    }
    return false;
}

#define SLOT_WRITE(slot, data) \
    slot_write(&(slot)->seq, (slot)->words[0], ARRAY_LEN((slot)->words[0]), (data), sizeof *(data))
#define SLOT_READ(slot, data) \
    slot_read(&(slot)->seq, (slot)->words[0], ARRAY_LEN((slot)->words[0]), (data), sizeof *(data))

struct board *board_create(void)
{
    struct board *board = mem_alloc(sizeof *board);
    struct now never = {MONO_UNSET, WALL_UNSET};
    SLOT_WRITE(&board->tick, &never);
    return board;
}

void board_destroy(struct board **board)
{
    MEM_FREE_NULL(board);
}

void board_publish(struct board *board, const struct verdict *const *nodes, size_t n,
                   const struct cluster_verdict *const *clusters, size_t m, struct now now)
{
    n = size_min(n, NODES_MAX);
    m = size_min(m, NODES_MAX);
    for (size_t i = 0; i < n; i++)
        SLOT_WRITE(&board->nodes[i], nodes[i]);
    for (size_t i = 0; i < m; i++)
        SLOT_WRITE(&board->clusters[i], clusters[i]);
    /* Counts last: a slot is counted only once it holds something. */
    atomic_store_explicit(&board->node_count, n, memory_order_release);
    atomic_store_explicit(&board->cluster_count, m, memory_order_release);
    SLOT_WRITE(&board->tick, &now);
}

size_t board_nodes(struct board *board, struct verdict **out)
{
    size_t n = atomic_load_explicit(&board->node_count, memory_order_acquire);
    size_t got = 0;
    *out = mem_alloc_array(n, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        if (SLOT_READ(&board->nodes[i], *out + got))
            got++;
    }
    return got;
}

size_t board_clusters(struct board *board, struct cluster_verdict **out)
{
    size_t n = atomic_load_explicit(&board->cluster_count, memory_order_acquire);
    size_t got = 0;
    *out = mem_alloc_array(n, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        if (SLOT_READ(&board->clusters[i], *out + got))
            got++;
    }
    return got;
}

struct now board_ticked_at(struct board *board)
{
    struct now at;
    if (!SLOT_READ(&board->tick, &at))
        at = (struct now){MONO_UNSET, WALL_UNSET};
    return at;
}
