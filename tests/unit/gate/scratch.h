/*
 * scratch.h: a scratch directory for the tests of the gate, and waiting with a deadline.
 */
#ifndef PGVIGIL_TEST_GATE_SCRATCH_H
#define PGVIGIL_TEST_GATE_SCRATCH_H

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"

static inline char *scratch_make(void)
{
    char path[] = "/tmp/pgvigil-test-XXXXXX";
    return mkdtemp(path) ? mem_strdup(path) : NULL;
}

/* What is in the directory. */
static inline void scratch_empty(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *below = mem_printf("%s/%s", path, e->d_name);
        if (unlink(below) != 0) {
            scratch_empty(below);
            rmdir(below);
        }
        mem_free(below);
    }
    if (dir)
        closedir(dir);
}

static inline void scratch_remove(char **path)
{
    if (!*path)
        return;
    scratch_empty(*path);
    rmdir(*path);
    MEM_FREE_NULL(path);
}

static inline bool scratch_has(const char *dir, const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return lstat(path, &st) == 0;
}

static inline size_t scratch_read(const char *dir, const char *name, char *out, size_t n)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    size_t got = f ? fread(out, 1, n - 1, f) : 0;
    if (f)
        fclose(f);
    out[got] = '\0';
    return got;
}

static inline void nap_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* Waits until cond holds, at most ms; its value then. */
#define WAIT_FOR(cond, ms)                                                        \
    ({                                                                            \
        mono_ms wait_end_ = mono_add(clock_read().mono, (ms));                    \
        bool wait_ok_;                                                            \
        while (!(wait_ok_ = (cond)) && mono_before(clock_read().mono, wait_end_)) \
            nap_ms(5);                                                            \
        wait_ok_;                                                                 \
    })

#endif
