/*
 * files.c: health files in a directory that is ours.
 *
 * A reader must never see half a line, and a full disk must not stop a flip. Both follow from
 * three inodes per name that exist beforehand (`.pg1.read.a`, `.b`, `.c`): a new line is written
 * over the one that was out of use longest, which needs no block, then linked to a temporary name
 * and renamed over the public one, which needs none either. There is no fsync: the gate never
 * waits for a disk, and after a power loss the files of the last run are removed at start anyway.
 *
 * Invariants: the inode under the public name is not written to (so the next inode is chosen by
 * its number, not only by turn); the lease page knows a name before the file is there.
 */
#include "pgvigil/gate/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define SPARES          3
#define FILES_MAX       (2 * NODES_MAX)
#define HIDDEN_NAME_MAX (FILES_NAME_MAX + 8) /* ".pg1.read.tmp" */
/* A lease read back from a file is not believed to be longer than the longest that is given out. */
#define KEPT_LEASE_MAX_MS 30000
#define DIR_MODE          0755
#define FILE_MODE         0644

struct file {
    char name[FILES_NAME_MAX];
    bool present;
    unsigned next; /* spare to write next */
    ino_t shown;   /* inode under the public name, 0 if unknown */
    mono_ms until;
};

struct files {
    int dir_fd;
    struct lease_page *page;
    struct file *items;
    size_t count, cap;
    size_t cursor; /* names come in the same order each tick */
};

static bool fail(struct err *err, const char *what, const char *name)
{
    enum err_kind kind = errno == EACCES || errno == EPERM ? ERR_PERMISSION : ERR_IO;
    return err_set(err, kind, "cannot %s '%s': %s", what, name, strerror(errno));
}

/* ---- the directory ---- */

static bool dir_make(const char *path, struct err *err)
{
    if (mkdir(path, DIR_MODE) != 0)
        return fail(err, "make directory", path);
    /* Balancers of other users read it, whatever our umask is. */
    if (chmod(path, DIR_MODE) != 0)
        return fail(err, "set mode of", path);
    return true;
}

static bool dir_trusted(int fd, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(err, "stat", path);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_PERMISSION, "health directory '%s' belongs to uid %u, not to us",
                       path, (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        return err_set(err, ERR_PERMISSION,
                       "health directory '%s' is writable by others (mode %04o)", path,
                       (unsigned)(st.st_mode & 07777));
    }
    return true;
}

static int dir_open(const char *dir, struct err *err)
{
    char path[4096];
    /* A trailing slash would make O_NOFOLLOW follow. */
    if (!str_copy(path, sizeof path, dir)) {
        err_set(err, ERR_LIMIT, "health directory '%.40s...' has too long a name", dir);
        return -1;
    }
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT) {
        if (!dir_make(path, err))
            return -1;
        fd = open(path, flags);
    }
    if (fd < 0) {
        if (errno == ELOOP || errno == ENOTDIR)
            err_set(err, ERR_PERMISSION, "health directory '%s' is not a real directory", path);
        else
            fail(err, "open directory", path);
        return -1;
    }
    if (!dir_trusted(fd, path, err)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- entries ---- */

static struct file *file_find(struct files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        size_t at = (files->cursor + i) % files->count;
        if (strcmp(files->items[at].name, name) == 0) {
            files->cursor = at + 1;
            return &files->items[at];
        }
    }
    return NULL;
}

static struct file *file_add(struct files *files, const char *name)
{
    if (files->count == files->cap) {
        files->cap = files->cap ? files->cap * 2 : 8;
        files->items = mem_realloc_array(files->items, files->cap, sizeof *files->items);
    }
    struct file *file = &files->items[files->count++];
    *file = (struct file){.until = MONO_UNSET};
    str_copy(file->name, sizeof file->name, name);
    return file;
}

static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n < FILES_NAME_MAX && name[0] != '.' && !strchr(name, '/');
}

/* ---- inodes ---- */

static void spare_name(char out[HIDDEN_NAME_MAX], const char *name, unsigned i)
{
    snprintf(out, HIDDEN_NAME_MAX, ".%s.%c", name, (char)('a' + i));
}

/* Opens a spare, making it with its block if it is not there; its inode comes back too. */
static int spare_open(const struct files *files, const char *hidden, ino_t *inode, struct err *err)
{
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(files->dir_fd, hidden, flags, FILE_MODE);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail(err, "open", hidden);
    } else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
        err_set(err, ERR_PERMISSION, "'%s' is not a file of ours", hidden);
    } else if (st.st_size == FILES_LINE && (st.st_mode & 07777) == FILE_MODE) {
        *inode = st.st_ino;
        return fd;
    } else {
        char blank[FILES_LINE];
        memset(blank, ' ', sizeof blank);
        if (pwrite(fd, blank, sizeof blank, 0) == FILES_LINE && ftruncate(fd, FILES_LINE) == 0 &&
            fchmod(fd, FILE_MODE) == 0) {
            *inode = st.st_ino;
            return fd;
        }
        fail(err, "prepare", hidden);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* All three at once, at the first put of a name: later there may be no space for them. */
static bool spares_make(const struct files *files, const char *name, struct err *err)
{
    for (unsigned i = 0; i < SPARES; i++) {
        char hidden[HIDDEN_NAME_MAX];
        ino_t inode;
        spare_name(hidden, name, i);
        int fd = spare_open(files, hidden, &inode, err);
        if (fd < 0)
            return false;
        close(fd);
    }
    return true;
}

/* ---- opening ---- */

struct keep {
    const char *const *names;
    size_t count;
};

static bool is_kept(const char *name, const struct keep *keep)
{
    for (size_t i = 0; i < keep->count; i++) {
        if (strcmp(keep->names[i], name) == 0)
            return true;
    }
    return false;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);
    return n > t && strcmp(s + n - t, tail) == 0;
}

/* What is left of the lease that stands in a file of the last run; 0 if none can be read. */
static int64_t lease_left_ms(const struct files *files, const char *name, wall_ms now, ino_t *inode)
{
    char line[FILES_LINE + 1] = "";
    struct stat st;
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(files->dir_fd, name, flags);
    if (fd < 0)
        return 0;
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && read(fd, line, FILES_LINE) > 0;
    close(fd);
    char *until = ok ? strstr(line, " until=") : NULL;
    int64_t seconds;
    if (!until)
        return 0;
    until += strlen(" until=");
    until[strcspn(until, " \n")] = '\0';
    if (!str_parse_i64(until, 0, INT64_MAX / 1000, &seconds))
        return 0;
    *inode = st.st_ino;
    return i64_min(wall_diff((wall_ms){seconds * 1000}, now), KEPT_LEASE_MAX_MS);
}

/* Takes over a file of the last run, with what is left of its lease; false: it must go. */
static bool file_adopt(struct files *files, const char *name, struct now now)
{
    ino_t inode = 0;
    int64_t left = lease_left_ms(files, name, now.wall, &inode);
    if (left <= 0 || !name_valid(name) || !lease_set(files->page, name, mono_add(now.mono, left)))
        return false;
    struct file *file = file_add(files, name);
    file->present = true;
    file->shown = inode;
    file->until = mono_add(now.mono, left);
    return true;
}

static bool adopt_kept(struct files *files, const char *name, const struct keep *keep,
                       struct err *err)
{
    (void)err;
    if (files->count < FILES_MAX && is_kept(name, keep))
        file_adopt(files, name, clock_read());
    return true;
}

static bool remove_unkept(struct files *files, const char *name, const struct keep *keep,
                          struct err *err)
{
    (void)keep;
    if (file_find(files, name) || unlinkat(files->dir_fd, name, 0) == 0 || errno == ENOENT)
        return true;
    return fail(err, "remove", name);
}

/* Health files in the directory; others and hidden ones are not looked at. */
static bool dir_walk(struct files *files, const struct keep *keep, struct err *err,
                     bool (*visit)(struct files *files, const char *name, const struct keep *keep,
                                   struct err *err))
{
    int fd = openat(files->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fail(err, "read", "health directory");
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        if (e->d_name[0] != '.' &&
            (ends_with(e->d_name, ".read") || ends_with(e->d_name, ".write")))
            ok = visit(files, e->d_name, keep, err);
    }
    closedir(dir);
    return ok;
}

struct files *files_open(const char *dir, struct lease_page *page, const char *const *keep,
                         size_t keep_count, struct err *err)
{
    struct files *files = mem_alloc(sizeof(*files));
    const struct keep kept = {keep, keep_count};
    files->page = page;
    files->dir_fd = dir_open(dir, err);
    /* Our guardian knows what is adopted before the directory is ours. */
    if (files->dir_fd < 0 || !dir_walk(files, &kept, err, adopt_kept) ||
        !lease_take_over(page, files->dir_fd, err) || !dir_walk(files, &kept, err, remove_unkept))
        files_close(&files);
    return files;
}

void files_close(struct files **files)
{
    if (!*files)
        return;
    if ((*files)->dir_fd >= 0)
        close((*files)->dir_fd);
    mem_free((*files)->items);
    MEM_FREE_NULL(files);
}

/* ---- publishing ---- */

static void format_lag(char *out, size_t n, int64_t lag_ms)
{
    if (lag_ms == LAG_INFINITE)
        snprintf(out, n, "inf");
    else if (lag_ms < 0)
        snprintf(out, n, "?");
    else
        snprintf(out, n, "%lld.%lld", (long long)(lag_ms / 1000), (long long)(lag_ms % 1000 / 100));
}

static void format_line(char out[FILES_LINE], const struct files_line *line)
{
    char lag[32], text[FILES_LINE];
    format_lag(lag, sizeof lag, line->lag_ms);
    int n = snprintf(text, sizeof text, "up %d%% lag=%s until=%lld reason=%.*s", line->weight, lag,
                     (long long)(line->until.ms / 1000), REASON_MAX, line->reason);
    memset(out, ' ', FILES_LINE);
    memcpy(out, text, size_min((size_t)n, FILES_LINE - 1));
    out[FILES_LINE - 1] = '\n';
}

/* Writes the line into the spare that is next in turn and not the one on show. */
static bool spare_write(struct files *files, struct file *file, const char *line,
                        char hidden[HIDDEN_NAME_MAX], ino_t *inode, struct err *err)
{
    for (unsigned i = 0; i < SPARES; i++) {
        spare_name(hidden, file->name, file->next);
        file->next = (file->next + 1) % SPARES;
        int fd = spare_open(files, hidden, inode, err);
        if (fd < 0)
            return false;
        bool shown = *inode == file->shown;
        bool ok = shown || pwrite(fd, line, FILES_LINE, 0) == FILES_LINE;
        if (!ok)
            fail(err, "write", hidden);
        close(fd);
        if (!shown)
            return ok;
    }
    return err_set(err, ERR_IO, "cannot write '%s': all its inodes are in use", file->name);
}

static bool show(struct files *files, struct file *file, const char *hidden, struct err *err)
{
    char tmp[HIDDEN_NAME_MAX];
    int fd = files->dir_fd;
    snprintf(tmp, sizeof tmp, ".%s.tmp", file->name);
    int rc = linkat(fd, hidden, fd, tmp, 0);
    if (rc != 0 && errno == EEXIST) {
        /* Left by an agent that was killed between the two steps. */
        unlinkat(fd, tmp, 0);
        rc = linkat(fd, hidden, fd, tmp, 0);
    }
    if (rc != 0)
        return fail(err, "link", tmp);
    if (renameat(fd, tmp, fd, file->name) != 0) {
        fail(err, "replace", file->name);
        unlinkat(fd, tmp, 0);
        return false;
    }
    return true;
}

static bool replace(struct files *files, struct file *file, const struct files_line *line,
                    struct err *err)
{
    char text[FILES_LINE], hidden[HIDDEN_NAME_MAX];
    ino_t inode;
    format_line(text, line);
    if (!spare_write(files, file, text, hidden, &inode, err) || !show(files, file, hidden, err))
        return false;
    file->shown = inode;
    return true;
}

/* The lease as it was before a put that failed. */
static void lease_restore(struct files *files, const struct file *file)
{
    if (!file->present || !lease_set(files->page, file->name, file->until))
        lease_clear(files->page, file->name);
}

bool files_put(struct files *files, const char *name, const struct files_line *line,
               mono_ms lease_until, struct err *err)
{
    if (!name_valid(name))
        return err_set(err, ERR_INVALID, "'%s' cannot be the name of a health file", name);
    struct file *file = file_find(files, name);
    if (!file) {
        if (files->count == FILES_MAX)
            return err_set(err, ERR_LIMIT, "more than %d health files", FILES_MAX);
        if (!spares_make(files, name, err))
            return false;
        file = file_add(files, name);
    }
    if (!lease_set(files->page, name, lease_until))
        return err_set(err, ERR_LIMIT, "no room for the lease of '%s'", name);
    if (!replace(files, file, line, err)) {
        lease_restore(files, file);
        return false;
    }
    file->present = true;
    file->until = lease_until;
    return true;
}

bool files_remove(struct files *files, const char *name, struct err *err)
{
    struct file *file = file_find(files, name);
    /* Also when it was not ours: whatever stands under this name calls the node healthy. */
    if (unlinkat(files->dir_fd, name, 0) != 0 && errno != ENOENT)
        return fail(err, "remove", name);
    if (file && file->present) {
        lease_clear(files->page, name);
        file->present = false;
        file->shown = 0;
    }
    return true;
}

bool files_present(const struct files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->items[i].name, name) == 0)
            return files->items[i].present;
    }
    return false;
}

int files_dir_fd(const struct files *files)
{
    return files->dir_fd;
}
