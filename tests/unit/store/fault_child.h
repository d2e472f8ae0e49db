/*
 * fault_child.h: a part of a test in a child, on a new file, whose operation number `at` meets the
 * fault. The program includes fault_vfs.c too.
 */
#ifndef TESTS_FAULT_CHILD_H
#define TESTS_FAULT_CHILD_H

#include "fault_vfs.h"
#include "store_test.h"

/* Returns what run_child does; the disk has no faults then. */
static inline int run_faulted(void (*body)(int ack_fd), const char *path, enum fault_kind kind,
                              long at, bool *killed)
{
    char shm[256];

    remove_db(path);
    fault_reset();
    fault_plan.kind = kind;
    fault_plan.seed = (unsigned)at;
    fault_plan.at = at;
    int acks = run_child(body, killed);
    fault_reset();
    snprintf(shm, sizeof(shm), "%s-shm", path);
    if (kind == FAULT_POWER)
        unlink(shm); /* shared memory does not outlive the power */
    return acks;
}

#endif
