/*
 * fault_vfs.c: see fault_vfs.h. Each file keeps what was written since its last sync, old and new
 * bytes, so that a power loss can be played. Invariant: with FAULT_NONE it is the VFS it wraps.
 */
#include "fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct fault_write {
    struct fault_write *older;
    sqlite3_int64 offset;
    int old_len, new_len; /* new_len < 0: a truncate to offset */
    char *old_bytes, *new_bytes;
};

struct fault_file {
    sqlite3_file base;
    struct fault_file *next;
    struct fault_write *unsynced; /* newest first */
    sqlite3_file *real;
};

struct fault_plan fault_plan;
static sqlite3_vfs fault_vfs, *fault_real;
static struct fault_file *fault_files;
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)f)->real;
}

static void forget_writes(struct fault_file *f)
{
    while (f->unsynced != NULL) {
        struct fault_write *older = f->unsynced->older;
        free(f->unsynced->old_bytes);
        free(f->unsynced->new_bytes);
        free(f->unsynced);
        f->unsynced = older;
    }
}

static void remember(struct fault_file *f, const void *bytes, int len, sqlite3_int64 offset)
{
    struct fault_write *w = calloc(1, sizeof(*w));
    sqlite3_int64 size = 0;

    f->real->pMethods->xFileSize(f->real, &size);
    w->offset = offset;
    w->new_len = len;
    w->old_len = size > offset ? (int)(size - offset) : 0;
    if (len >= 0 && w->old_len > len)
        w->old_len = len;
    w->old_bytes = malloc((size_t)w->old_len + 1);
    f->real->pMethods->xRead(f->real, w->old_bytes, w->old_len, offset);
    if (len > 0) {
        w->new_bytes = malloc((size_t)len);
        memcpy(w->new_bytes, bytes, (size_t)len);
    }
    w->older = f->unsynced;
    f->unsynced = w;
}

/* Takes all unsynced writes of the file back, then does some of them again, in order. */
static void lose_writes(struct fault_file *f, unsigned *seed)
{
    struct fault_write *order = NULL;
    const sqlite3_io_methods *io = f->real->pMethods;

    while (f->unsynced != NULL) {
        struct fault_write *w = f->unsynced;
        f->unsynced = w->older;
        w->older = order;
        order = w;
        if (w->old_len < w->new_len)
            io->xTruncate(f->real, w->offset + w->old_len);
        if (w->old_len > 0)
            io->xWrite(f->real, w->old_bytes, w->old_len, w->offset);
    }
    for (; order != NULL; order = order->older) {
        if (rand_r(seed) % 2 == 0)
            continue;
        if (order->new_len < 0)
            io->xTruncate(f->real, order->offset);
        else
            io->xWrite(f->real, order->new_bytes, order->new_len, order->offset);
    }
}

static void die(void)
{
    unsigned seed = fault_plan.seed;

    if (fault_plan.kind == FAULT_POWER) {
        for (struct fault_file *f = fault_files; f != NULL; f = f->next)
            lose_writes(f, &seed);
    }
    _exit(FAULT_EXIT);
}

/* Counts one operation; the error it must end with, or SQLITE_OK. */
static int fault_here(int io_error)
{
    long n = ++fault_plan.operations;

    if (fault_plan.at == 0 || !(n == fault_plan.at || (fault_plan.for_ever && n > fault_plan.at)))
        return SQLITE_OK;
    enum fault_kind kind = fault_plan.kind;
    switch (kind) {
    case FAULT_NONE:
        break;
    case FAULT_EIO:
        return io_error;
    case FAULT_ENOSPC:
        return io_error == SQLITE_IOERR_WRITE ? SQLITE_FULL : io_error;
    case FAULT_KILL:
    case FAULT_POWER:
        die();
    }
    return SQLITE_OK;
}

static int fault_close(sqlite3_file *file)
{
    struct fault_file *f = (struct fault_file *)file;
    int rc = f->real->pMethods->xClose(f->real);

    pthread_mutex_lock(&fault_lock);
    for (struct fault_file **p = &fault_files; *p != NULL; p = &(*p)->next) {
        if (*p == f) {
            *p = f->next;
            break;
        }
    }
    forget_writes(f);
    pthread_mutex_unlock(&fault_lock);
    return rc;
}

static int fault_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
    pthread_mutex_lock(&fault_lock);
    int rc = fault_here(SQLITE_IOERR_WRITE);
    if (rc == SQLITE_OK && fault_plan.kind == FAULT_POWER)
        remember((struct fault_file *)file, bytes, n, offset);
    if (rc == SQLITE_OK)
        rc = real_of(file)->pMethods->xWrite(real_of(file), bytes, n, offset);
    pthread_mutex_unlock(&fault_lock);
    return rc;
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    pthread_mutex_lock(&fault_lock);
    int rc = fault_here(SQLITE_IOERR_TRUNCATE);
    if (rc == SQLITE_OK && fault_plan.kind == FAULT_POWER)
        remember((struct fault_file *)file, NULL, -1, size);
    if (rc == SQLITE_OK)
        rc = real_of(file)->pMethods->xTruncate(real_of(file), size);
    pthread_mutex_unlock(&fault_lock);
    return rc;
}

static int fault_sync(sqlite3_file *file, int flags)
{
    const struct timespec nap = {0, 5000000};

    pthread_mutex_lock(&fault_lock);
    int rc = fault_here(SQLITE_IOERR_FSYNC);
    pthread_mutex_unlock(&fault_lock);
    for (long slept = 0; slept < fault_plan.sync_delay_ms; slept += 5)
        nanosleep(&nap, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = real_of(file)->pMethods->xSync(real_of(file), flags);
    pthread_mutex_lock(&fault_lock);
    forget_writes((struct fault_file *)file);
    pthread_mutex_unlock(&fault_lock);
    return rc;
}

/* ---- handed through ---- */
static int fault_read(sqlite3_file *f, void *out, int n, sqlite3_int64 offset)
{
    return real_of(f)->pMethods->xRead(real_of(f), out, n, offset);
}
static int fault_file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}
static int fault_file_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int fault_file_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int fault_check_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static int fault_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int fault_sector_size(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int fault_characteristics(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int fault_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
static int fault_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
static void fault_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int fault_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_file_size,
    .xLock = fault_file_lock,
    .xUnlock = fault_file_unlock,
    .xCheckReservedLock = fault_check_reserved,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector_size,
    .xDeviceCharacteristics = fault_characteristics,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct fault_file *f = (struct fault_file *)file;

    (void)vfs;
    memset(f, 0, sizeof(*f));
    if (fault_plan.for_ever && fault_plan.at > 0 && fault_plan.operations >= fault_plan.at &&
        fault_plan.kind == FAULT_EIO)
        return SQLITE_CANTOPEN;
    f->real = (sqlite3_file *)(f + 1);
    int rc = fault_real->xOpen(fault_real, name, f->real, flags, out);
    if (rc != SQLITE_OK)
        return rc;
    f->base.pMethods = &fault_methods;
    pthread_mutex_lock(&fault_lock);
    f->next = fault_files;
    fault_files = f;
    pthread_mutex_unlock(&fault_lock);
    return SQLITE_OK;
}

void fault_reset(void)
{
    fault_plan.kind = FAULT_NONE;
    fault_plan.at = 0;
    fault_plan.for_ever = false;
    fault_plan.sync_delay_ms = 0;
    fault_plan.operations = 0;
}

void fault_vfs_register(void)
{
    fault_real = sqlite3_vfs_find(NULL);
    fault_vfs = *fault_real;
    fault_vfs.zName = FAULT_VFS;
    fault_vfs.pNext = NULL;
    fault_vfs.szOsFile = (int)sizeof(struct fault_file) + fault_real->szOsFile;
    fault_vfs.xOpen = fault_open;
    sqlite3_vfs_register(&fault_vfs, 0);
}
