/*
 * lease.h: the page that the agent and its guardian share, and the guardian itself.
 *
 * The page (a memfd, mapped by both) lists name and lease end (CLOCK_BOOTTIME ms) of every
 * published file and the generation of the agent. The guardian is forked before any thread, closes
 * every descriptor but the directory and the pipe, and uses async-signal-safe calls only: it sleeps
 * until the next lease ends and removes files whose lease has run out, whatever became of the
 * agent. When the pipe says that the agent is dead it stays until the last lease has ended, and
 * leaves at once when `.owner` in the directory names another generation: a new agent has taken
 * over. A guardian that died is started again by exec of the same binary (`pgvigil guardian`,
 * hidden).
 */
#ifndef PGVIGIL_GATE_LEASE_H
#define PGVIGIL_GATE_LEASE_H

#include <sys/types.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/err.h"

struct lease_page;

/* Before any thread: makes the page and forks the guardian for the directory (which need not
 * exist). */
struct lease_page *lease_start(const char *dir, struct err *err) MUST_CHECK;
/* Orderly end: tells the guardian to stay until the leases have run out (a stop is a death with
 * longer leases); closes our side. */
void lease_close(struct lease_page **page);
/* Gate thread; entries are fixed slots, atomics. false when the page is full. */
bool lease_set(struct lease_page *page, const char *name, mono_ms until) MUST_CHECK;
void lease_clear(struct lease_page *page, const char *name);
/* Extends every entry to at least until (SIGTERM: an upgrade is not a stop). */
void lease_extend_all(struct lease_page *page, mono_ms until);
/* Writes `.owner` (our generation) into the directory: the guardian of an older agent leaves. */
bool lease_take_over(struct lease_page *page, int dir_fd, struct err *err) MUST_CHECK;
/* Is the guardian alive? Starts a new one by exec if not (at most one a second). Gate thread. */
void lease_check_guardian(struct lease_page *page, mono_ms now);
pid_t lease_guardian_pid(const struct lease_page *page);
/* main() of `pgvigil guardian PAGE_FD PIPE_FD DIR`; returns the exit code. */
int lease_guardian_main(int argc, char **argv);

#endif
