/* Opening: what is ours is migrated in one transaction, what is not is left as it is. */
#include "store_test.h"

#include "fault_child.h"
#include "fault_vfs.c"
#include "pgvigil/store/db.h"

#define APP_ID 0x50475654

static const char *const migrations[] = {
    "CREATE TABLE a(x INTEGER) STRICT; INSERT INTO a VALUES(1);",
    "ALTER TABLE a ADD COLUMN y TEXT; UPDATE a SET y = 'two';",
};
static const char *const bad_migrations[] = {
    "CREATE TABLE a(x INTEGER) STRICT; INSERT INTO a VALUES(1);",
    "UPDATE a SET x = 99; SELECT no_such_function();",
};

static struct db_spec spec_of(const char *path, int version)
{
    return (struct db_spec){path, FAULT_VFS, APP_ID, version, migrations, DB_SYNC_FULL, 256};
}

static void make(const char *path, int version)
{
    struct db_spec spec = spec_of(path, version);
    struct err err = {0};
    sqlite3 *db = db_open_write(&spec, &err);

    if (db == NULL)
        fail_msg("%s", err.text);
    db_close(&db);
    assert_null(db);
    db_close(&db);
}

static void test_new_file(void **state)
{
    static const struct {
        const char *pragma, *value;
    } cases[] = {
        {"PRAGMA journal_mode", "wal"},  {"PRAGMA application_id", "1346852436"},
        {"PRAGMA user_version", "1"},    {"PRAGMA auto_vacuum", "2"},
        {"SELECT count(*) FROM a", "1"},
    };
    static const struct {
        const char *pragma, *value;
    } own[] = {
        {"PRAGMA synchronous", "2"},
        {"PRAGMA wal_autocheckpoint", "0"},
        {"PRAGMA cell_size_check", "1"},
        {"PRAGMA trusted_schema", "0"},
        {"PRAGMA foreign_keys", "0"},
        {"PRAGMA cache_size", "-256"},
        {"PRAGMA journal_size_limit", "4194304"},
    };
    const char *path = scratch("new.db");
    struct db_spec spec = spec_of(path, 1);
    struct stat st;
    struct err err = {0};
    (void)state;

    umask(022);
    sqlite3 *db = db_open_write(&spec, &err);
    assert_non_null(db);
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        sqlite3_stmt *stmt = db_prepare(db, own[i].pragma, &err);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_string_equal((const char *)sqlite3_column_text(stmt, 0), own[i].value);
        sqlite3_finalize(stmt);
    }
    db_close(&db);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(look(path, cases[i].pragma), cases[i].value);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_migrates(void **state)
{
    const char *path = scratch("old.db");
    (void)state;

    make(path, 1);
    make(path, 2);
    assert_string_equal(look(path, "SELECT y FROM a"), "two");
    assert_string_equal(look(path, "PRAGMA user_version"), "2");
    make(path, 2);
    assert_intact(path);
}

static void test_failed_migration_changes_nothing(void **state)
{
    const char *path = scratch("bad.db");
    struct db_spec spec = spec_of(path, 2);
    struct err err = {0};
    (void)state;

    make(path, 1);
    spec.migrations = bad_migrations;
    assert_null(db_open_write(&spec, &err));
    assert_non_null(strstr(err.text, "migration from version 1"));
    assert_string_equal(look(path, "PRAGMA user_version"), "1");
    assert_string_equal(look(path, "SELECT x FROM a"), "1");
}

/* ST14 and its neighbours: refused files keep their bytes. */
static void test_refused_files_keep_their_bytes(void **state)
{
    static const struct {
        const char *name;
        enum err_kind kind;
    } cases[] = {
        {"newer.db", ERR_NEWER},   {"foreign.db", ERR_INVALID}, {"versioned.db", ERR_INVALID},
        {"noise.db", ERR_CORRUPT}, {"text.db", ERR_CORRUPT},
    };
    (void)state;

    make(scratch("newer.db"), 2);
    write_sql(scratch("foreign.db"), "CREATE TABLE mine(x)");
    write_sql(scratch("versioned.db"), "PRAGMA user_version=1");
    FILE *f = fopen(scratch("noise.db"), "wb");
    for (int i = 0; i < 9000; i++)
        fputc(i * 7919 % 251, f);
    fclose(f);
    f = fopen(scratch("text.db"), "wb");
    for (int i = 0; i < 100; i++)
        fputs("this is no database at all\n", f);
    fclose(f);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *path = scratch(cases[i].name);
        struct db_spec spec = spec_of(path, 1);
        struct err err = {0};
        uint64_t before = file_hash(path);
        assert_null(db_open_write(&spec, &err));
        if (err.kind != cases[i].kind)
            fail_msg("%s: kind %s: %s", cases[i].name, err_kind_name(err.kind), err.text);
        assert_non_null(strstr(err.text, cases[i].name));
        err = (struct err){0};
        assert_null(db_open_read(&spec, &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_true(file_hash(path) == before);
    }
}

static void test_open_errors(void **state)
{
    struct db_spec spec = spec_of(scratch("none.db"), 1);
    struct err err = {0};
    (void)state;

    assert_null(db_open_read(&spec, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    spec.path = scratch("no/such/dir.db");
    assert_null(db_open_write(&spec, &err));
    assert_int_equal(err.kind, ERR_IO);
    make(scratch("v1.db"), 1);
    spec = spec_of(scratch("v1.db"), 2);
    assert_null(db_open_read(&spec, &err));
    assert_int_equal(err.kind, ERR_INVALID);
}

static void test_reader_neither_writes_nor_checkpoints(void **state)
{
    const char *path = scratch("read.db");
    struct db_spec spec = spec_of(path, 1);
    struct err err = {0};
    struct stat before, after;
    char wal[256];
    (void)state;

    sqlite3 *writer = db_open_write(&spec, &err);
    assert_non_null(writer);
    assert_true(db_exec(writer, "INSERT INTO a VALUES(2)", &err));
    snprintf(wal, sizeof(wal), "%s-wal", path);
    assert_int_equal(stat(wal, &before), 0);
    uint64_t hash = file_hash(wal);
    for (int i = 0; i < 2; i++) {
        sqlite3 *reader = db_open_read(&spec, &err);
        assert_non_null(reader);
        assert_false(db_exec(reader, "INSERT INTO a VALUES(3)", &err));
        assert_int_equal(err.kind, ERR_IO);
        assert_true(db_exec(reader, "SELECT * FROM a", &err));
        db_close(&reader);
    }
    assert_int_equal(stat(wal, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_true(file_hash(wal) == hash);
    db_close(&writer);
    assert_int_equal(stat(wal, &after), -1);
    assert_string_equal(look(path, "SELECT count(*) FROM a"), "2");
}

static const char *victim;

/* A newer daemon that was killed: its last commits are in the WAL alone. */
static void die_newer(int fd)
{
    sqlite3 *db;

    if (sqlite3_open(victim, &db) != SQLITE_OK ||
        sqlite3_exec(db, "INSERT INTO a VALUES(7, 'x'); PRAGMA user_version=9", NULL, NULL, NULL) !=
            SQLITE_OK)
        _exit(1);
    acknowledge(fd);
    _exit(9);
}

static void test_newer_file_with_a_wal(void **state)
{
    struct db_spec spec = spec_of(scratch("newerwal.db"), 2);
    struct err err = {0};
    char wal[256];
    bool killed;
    (void)state;

    victim = spec.path;
    make(victim, 2);
    assert_int_equal(run_child(die_newer, &killed), 1);
    snprintf(wal, sizeof(wal), "%s-wal", victim);
    uint64_t main_hash = file_hash(victim), wal_hash = file_hash(wal);
    assert_null(db_open_write(&spec, &err));
    assert_int_equal(err.kind, ERR_NEWER);
    assert_null(db_open_read(&spec, &err));
    assert_int_equal(err.kind, ERR_NEWER);
    assert_true(file_hash(victim) == main_hash);
    assert_true(file_hash(wal) == wal_hash);
    assert_string_equal(look(victim, "SELECT count(*) FROM a"), "2");
}

static void open_both(int fd)
{
    struct db_spec spec = spec_of(victim, 1);
    struct err err = {0};
    sqlite3 *db = db_open_write(&spec, &err);

    if (db != NULL)
        acknowledge(fd);
    db_close(&db);
    spec.user_version = 2;
    db = db_open_write(&spec, &err);
    if (db != NULL)
        acknowledge(fd);
    db_close(&db);
}

/* ST8, ST9, ST14: whatever ends the making or a migration, the next start finds a whole version. */
static void test_migration_survives_every_end(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_KILL, FAULT_POWER, FAULT_EIO, FAULT_ENOSPC};
    (void)state;

    victim = scratch("killed.db");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        long at;
        for (at = 1; at < 1000; at++) {
            bool killed;
            int acks = run_faulted(open_both, victim, kinds[k], at, &killed);
            if (acks == 2)
                assert_string_equal(look(victim, "PRAGMA user_version"), "2");
            make(victim, 2);
            assert_string_equal(look(victim, "SELECT y FROM a"), "two");
            assert_intact(victim);
            if (acks == 2 && !killed && at > 40)
                break;
        }
        assert_in_range(at, 5, 900);
    }
}

static void test_wal_reset_range(void **state)
{
    (void)state;
    if (sqlite3_libversion_number() == 3040001)
        assert_true(db_wal_reset_affected());
    if (sqlite3_libversion_number() >= 3051003)
        assert_false(db_wal_reset_affected());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_file),
        cmocka_unit_test(test_migrates),
        cmocka_unit_test(test_failed_migration_changes_nothing),
        cmocka_unit_test(test_refused_files_keep_their_bytes),
        cmocka_unit_test(test_newer_file_with_a_wal),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_reader_neither_writes_nor_checkpoints),
        cmocka_unit_test(test_migration_survives_every_end),
        cmocka_unit_test(test_wal_reset_range),
    };
    fault_vfs_register();
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
