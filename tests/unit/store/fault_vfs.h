/*
 * fault_vfs.h: a disk that fails when told to: the seam behind every fault test of the stores.
 *
 * Wraps SQLite's default VFS. Writes, syncs and truncates are counted over all files; the operation
 * number `at` (from 1) meets the fault. FAULT_KILL ends the process there, FAULT_POWER first takes
 * back what was not synced (and leaves a random part of it, as a disk would). Include the .c.
 */
#ifndef TESTS_FAULT_VFS_H
#define TESTS_FAULT_VFS_H

#include <stdatomic.h>
#include <stdbool.h>

#define FAULT_VFS  "fault"
#define FAULT_EXIT 9

enum fault_kind { FAULT_NONE, FAULT_EIO, FAULT_ENOSPC, FAULT_KILL, FAULT_POWER };

struct fault_plan {
    _Atomic enum fault_kind kind;
    _Atomic long at;
    _Atomic bool for_ever;      /* all operations from `at` on, and opening */
    _Atomic long sync_delay_ms; /* in short sleeps: ends when set to 0 */
    unsigned seed;              /* FAULT_POWER */
    _Atomic long operations;    /* so far */
};

extern struct fault_plan fault_plan;

void fault_vfs_register(void);
/* Back to a disk without faults; counts from 0. */
void fault_reset(void);

#endif
