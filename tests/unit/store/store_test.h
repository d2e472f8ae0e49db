/*
 * store_test.h: what the store tests share: scratch directories, looking into files with a
 * connection of their own, and running a part in a child that a fault may kill.
 */
#ifndef TESTS_STORE_TEST_H
#define TESTS_STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

static char scratch_dir[64];

static inline const char *scratch(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *out = paths[turn++ % 4];

    snprintf(out, sizeof(paths[0]), "%s/%s", scratch_dir, name);
    return out;
}

static inline int scratch_make(void **state)
{
    (void)state;
    /* In memory where possible: thousands of syncs, and power losses are played by fault_vfs. */
    snprintf(scratch_dir, sizeof(scratch_dir), "%s/pgvigil-store-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(scratch_dir) != NULL ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", scratch_dir);
    return system(command);
}

/* One text value of a query, with the shell's eyes: a connection of its own. */
static inline const char *look(const char *path, const char *sql)
{
    static char out[4096];
    sqlite3 *db;
    sqlite3_stmt *stmt;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    snprintf(out, sizeof(out), "<none>");
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(stmt, 0);
        snprintf(out, sizeof(out), "%s", text == NULL ? "NULL" : (const char *)text);
    } else if (rc != SQLITE_DONE) {
        snprintf(out, sizeof(out), "error: %s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return out;
}

static inline void assert_intact(const char *path)
{
    assert_string_equal(look(path, "PRAGMA integrity_check"), "ok");
}

static inline void write_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *text = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000); /* the writer thread may be at work */
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    sqlite3_close(db);
}

static inline uint64_t file_hash(const char *path)
{
    FILE *f = fopen(path, "rb");
    char bytes[65536];
    size_t n;
    uint64_t hash = STR_HASH_SEED;

    assert_non_null(f);
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        hash = str_hash(bytes, n, hash);
    fclose(f);
    return hash;
}

static inline void remove_db(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[256];

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* How many files *.corrupt-* there are, without -wal and -shm. */
static inline int set_aside_count(void)
{
    char command[160], out[16] = "";

    snprintf(command, sizeof(command),
             "ls '%s' | grep corrupt- | grep -v -e '-wal$' -e '-shm$' | wc -l", scratch_dir);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(out, sizeof(out), p));
    pclose(p);
    return (int)strtol(out, NULL, 10);
}

/*
 * Runs body(ack_fd) in a child; it reports each acknowledged step by writing one byte. Returns the
 * number of bytes; *killed: a fault ended it.
 */
static inline int run_child(void (*body)(int ack_fd), bool *killed)
{
    int fds[2], status, acks = 0;
    char byte;

    assert_int_equal(pipe(fds), 0);
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        body(fds[1]);
        _exit(0);
    }
    close(fds[1]);
    while (read(fds[0], &byte, 1) == 1)
        acks++;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 9))
        fail_msg("the child ended with status %d", status);
    *killed = WEXITSTATUS(status) == 9;
    return acks;
}

static inline void acknowledge(int fd)
{
    if (write(fd, "+", 1) != 1)
        _exit(1);
}

static inline void drop_line(enum log_level level, const char *line, void *arg)
{
    (void)level;
    (void)line;
    (*(int *)arg)++;
}

#endif
