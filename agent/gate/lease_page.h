/*
 * lease_page.h: the layout of the page that agent and guardian share. Private to the gate.
 *
 * Functions here are async-signal-safe: the guardian runs in a forked child.
 */
#ifndef PGVIGIL_GATE_LEASE_PAGE_H
#define PGVIGIL_GATE_LEASE_PAGE_H

#include <stdatomic.h>

#include "pgvigil/model/verdict.h"

/* As FILES_NAME_MAX, in whole words. */
#define LEASE_NAME_MAX   (NODE_NAME_MAX + 8)
#define LEASE_NAME_WORDS (LEASE_NAME_MAX / sizeof(uint64_t))
/* `.read` and `.write` of every node. */
#define LEASE_ENTRIES_MAX (2 * NODES_MAX)
#define LEASE_MAGIC       UINT64_C(0x7067766967696c31)
#define LEASE_OWNER       ".owner"
/* 32 digits and a newline: fixed, so that a new owner can be written in place. */
#define LEASE_OWNER_BYTES 33

struct lease_entry {
    _Atomic int64_t until; /* CLOCK_BOOTTIME ms; 0 = free. Written last, cleared first */
    _Atomic uint64_t name[LEASE_NAME_WORDS];
};

struct lease_shared {
    uint64_t magic;
    char generation[LEASE_OWNER_BYTES]; /* written before the guardian starts, with NUL */
    _Atomic uint32_t used;              /* entries from here on were never touched */
    struct lease_entry entries[LEASE_ENTRIES_MAX];
};

_Static_assert(LEASE_NAME_MAX % sizeof(uint64_t) == 0, "names are whole words");

/* NULL when fd does not hold such a page. */
struct lease_shared *lease_shared_map(int fd);
void lease_entry_name(const struct lease_entry *entry, char out[LEASE_NAME_MAX]);
/* The guardian's life, in the child; returns its exit code. */
int lease_guardian_run(struct lease_shared *shared, int pipe_fd, const char *dir);

#endif
