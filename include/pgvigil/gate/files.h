/*
 * files.h: health files: present exactly while healthy, atomically replaced, valid for a lease.
 *
 * For each name three inodes are made beforehand (hidden names in the directory); a line of fixed
 * width is written to the one that was out of use longest, linked to a temporary name and renamed,
 * so a reader never sees half a line and a full disk changes nothing. The directory must be ours, a
 * real directory and not writable by others. The same names and leases stand in the guardian's
 * shared page. Gate thread.
 *
 * Line: `up <weight>% lag=<s> until=<unix seconds> reason=<word>`, padded with blanks to
 * FILES_LINE bytes with the newline.
 */
#ifndef PGVIGIL_GATE_FILES_H
#define PGVIGIL_GATE_FILES_H

#include "pgvigil/base/clock.h"
#include "pgvigil/base/err.h"
#include "pgvigil/gate/lease.h"
#include "pgvigil/model/verdict.h"

#define FILES_LINE     128
#define FILES_NAME_MAX (NODE_NAME_MAX + 8)

struct files;

struct files_line {
    int weight;
    int64_t lag_ms; /* LAG_UNKNOWN prints "?" */
    wall_ms until;
    const char *reason;
};

/*
 * Opens dir (makes it 0755 if it is missing and its parent is there), takes it over (lease.h) and
 * removes files that no entry of keep covers. NULL with err when it cannot be used; the caller
 * tries again later and treats it as a fault.
 */
struct files *files_open(const char *dir, struct lease_page *page, const char *const *keep,
                         size_t keep_count, struct err *err) MUST_CHECK;
void files_close(struct files **files); /* leaves the files: the lease decides */
/* Publishes `name` ("pg1.read") with a lease until lease_until; false with err on a fault. */
bool files_put(struct files *files, const char *name, const struct files_line *line,
               mono_ms lease_until, struct err *err) MUST_CHECK;
/* Removes it, if it is there. unlink needs no space. */
bool files_remove(struct files *files, const char *name, struct err *err) MUST_CHECK;
bool files_present(const struct files *files, const char *name);
int files_dir_fd(const struct files *files);

#endif
