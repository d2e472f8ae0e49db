/*
 * history_writer.c: the statements behind history.db.
 *
 * Why so: samples are keyed (t, series), so a poll appends to the last leaf and a trim frees whole
 * leaves at the front; keyed the other way round each poll would dirty a leaf per series
 * (measured: 7.9 kB against some 20 bytes written a sample). The chunked format is a later schema.
 * NaN cannot be stored in SQLite (it becomes NULL), so the common NaN, the end of a series, is
 * value NULL, and a NaN that was measured is NULL with its key in nan_samples, which is as good as
 * always empty. Plain sqlite3 shows numbers, and NULL where a series ended.
 * Invariant: a transaction is committed whole or rolled back whole, and what it was about to
 * remember (cache, newest batches) is taken over only after the commit.
 */
#include "history_parts.h"

#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/model/reader.h"

#define SERIES_GRACE_MS (3 * 3600000) /* a series row outlives its last sample at least so long */
#define SOURCE_KEEP_MS  3600000       /* a source without a batch for so long is forgotten */
#define TRIM_ROWS       2000
#define VACUUM_PAGES    64
#define CACHE_KIB       384

static const char *const migrations[] = {
    "CREATE TABLE series("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL,"
    " labels TEXT NOT NULL UNIQUE,"
    " last_seen INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX series_name ON series(name);"
    "CREATE TABLE samples("
    " t INTEGER NOT NULL,"
    " series INTEGER NOT NULL,"
    " value REAL,"
    " PRIMARY KEY(t, series)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE nan_samples("
    " t INTEGER NOT NULL,"
    " series INTEGER NOT NULL,"
    " PRIMARY KEY(t, series)"
    ") WITHOUT ROWID, STRICT;",
};

enum {
    BEGIN,
    COMMIT,
    FIND_SERIES,
    ADD_SERIES,
    SEEN_SERIES,
    ADD_SAMPLE,
    ADD_NAN,
    OLDEST,
    NTH_OLDEST,
    TRIM_SAMPLES,
    TRIM_NANS,
    TRIM_SERIES,
    PAGES,
    FREE_PAGES,
    PAGE_SIZE,
    STATEMENTS
};

static const char *const statements[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [FIND_SERIES] = "SELECT id FROM series WHERE labels = ?1",
    [ADD_SERIES] = "INSERT INTO series(name, labels, last_seen) VALUES(?1, ?2, ?3)",
    [SEEN_SERIES] = "UPDATE series SET last_seen = ?2 WHERE id = ?1",
    [ADD_SAMPLE] = "INSERT OR IGNORE INTO samples(t, series, value) VALUES(?1, ?2, ?3)",
    [ADD_NAN] = "INSERT OR IGNORE INTO nan_samples(t, series) VALUES(?1, ?2)",
    [OLDEST] = "SELECT min(t) FROM samples",
    [NTH_OLDEST] = "SELECT t FROM samples ORDER BY t LIMIT 1 OFFSET ?1",
    [TRIM_SAMPLES] = "DELETE FROM samples WHERE t < ?1",
    [TRIM_NANS] = "DELETE FROM nan_samples WHERE t < ?1",
    [TRIM_SERIES] = "DELETE FROM series WHERE last_seen < ?1",
    [PAGES] = "PRAGMA page_count",
    [FREE_PAGES] = "PRAGMA freelist_count",
    [PAGE_SIZE] = "PRAGMA page_size",
};

/* The newest batch of a source: what is missing in the next one has ended. */
struct source {
    struct source *next;
    struct batch *last; /* committed */
    struct batch *now;  /* of the running transaction */
    char name[BATCH_SOURCE_MAX];
};

#define SOURCE_SLOTS 64

struct history_writer {
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENTS];
    struct series_cache cache;
    struct source *sources[SOURCE_SLOTS];
    uint32_t round;
    uint64_t put_since_trim;
    int64_t series_trimmed_t;
};

struct db_spec history_spec(const char *path, const char *vfs)
{
    return (struct db_spec){
        .path = path,
        .vfs = vfs,
        .application_id = HISTORY_APPLICATION_ID,
        .user_version = ARRAY_LEN(migrations),
        .migrations = migrations,
        .sync = DB_SYNC_NORMAL,
        .cache_kib = CACHE_KIB,
    };
}

struct history_writer *history_writer_open(const char *path, const char *vfs, struct err *err)
{
    struct db_spec spec = history_spec(path, vfs);
    struct history_writer *w = mem_alloc(sizeof(*w));

    w->db = db_open_write(&spec, err);
    if (w->db == NULL || !sql_prepare_all(w->db, statements, w->stmt, STATEMENTS, err))
        history_writer_close(&w);
    return w;
}

static void free_source(struct source *s)
{
    if (s->last != NULL)
        batch_unref(s->last);
    if (s->now != NULL)
        batch_unref(s->now);
    mem_free(s);
}

void history_writer_close(struct history_writer **wp)
{
    struct history_writer *w = *wp;

    if (w == NULL)
        return;
    sql_finalize_all(w->stmt, STATEMENTS);
    db_close(&w->db);
    series_cache_clear(&w->cache);
    for (size_t i = 0; i < SOURCE_SLOTS; i++) {
        while (w->sources[i] != NULL) {
            struct source *next = w->sources[i]->next;
            free_source(w->sources[i]);
            w->sources[i] = next;
        }
    }
    MEM_FREE_NULL(wp);
}

static void rollback(struct history_writer *w)
{
    /* Rows of the cache may have been made in this transaction. */
    series_cache_clear(&w->cache);
    for (size_t i = 0; i < SOURCE_SLOTS; i++) {
        for (struct source *s = w->sources[i]; s != NULL; s = s->next) {
            if (s->now != NULL)
                batch_unref(s->now);
            s->now = NULL;
        }
    }
    if (sqlite3_get_autocommit(w->db) == 0)
        sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
}

static bool begin(struct history_writer *w, struct err *err)
{
    return db_run(w->stmt[BEGIN], err);
}

/* Ends the transaction: commits if all went well. */
static bool end(struct history_writer *w, bool ok, struct err *err)
{
    if (ok && db_run(w->stmt[COMMIT], err))
        return true;
    rollback(w);
    return false;
}

/* ---- series ---- */
static bool find_row(struct history_writer *w, const struct series *s, int64_t t, int64_t *row,
                     struct err *err)
{
    sqlite3_stmt *find = w->stmt[FIND_SERIES], *add = w->stmt[ADD_SERIES];

    sql_bind_text(find, 1, s->text);
    if (!sql_step_int(find, 0, row, err))
        return false;
    if (*row != 0)
        return true;
    sql_bind_text(add, 1, s->name);
    sql_bind_text(add, 2, s->text);
    sqlite3_bind_int64(add, 3, t);
    if (!db_run(add, err))
        return false;
    *row = sqlite3_last_insert_rowid(w->db);
    return true;
}

static bool save_seen(struct history_writer *w, struct cached_series *c, struct err *err)
{
    if (c->seen_t - c->saved_t < SEEN_EVERY_MS)
        return true;
    sqlite3_bind_int64(w->stmt[SEEN_SERIES], 1, c->row);
    sqlite3_bind_int64(w->stmt[SEEN_SERIES], 2, c->seen_t);
    c->saved_t = c->seen_t;
    return db_run(w->stmt[SEEN_SERIES], err);
}

/* The cached series with its row, made in the file if it is new there; NULL on error. */
static struct cached_series *get_series(struct history_writer *w, const struct series *s, int64_t t,
                                        struct err *err)
{
    struct cached_series *c = series_cache_find(&w->cache, s->id);
    int64_t row;

    if (c == NULL) {
        if (!find_row(w, s, t, &row, err))
            return NULL;
        c = series_cache_add(&w->cache, s->id, row, t, t - SEEN_EVERY_MS);
        c->saved_t = t - SEEN_EVERY_MS; /* the row may be old: write last_seen now */
    }
    c->seen_t = i64_max(c->seen_t, t);
    return save_seen(w, c, err) ? c : NULL;
}

/* ---- samples ---- */
static bool put_sample(struct history_writer *w, int64_t t, int64_t row, double v, struct err *err)
{
    sqlite3_stmt *add = w->stmt[ADD_SAMPLE], *nan_key = w->stmt[ADD_NAN];

    sqlite3_bind_int64(add, 1, t);
    sqlite3_bind_int64(add, 2, row);
    sqlite3_bind_double(add, 3, v); /* a NaN becomes NULL */
    if (!db_run(add, err))
        return false;
    if (!isnan(v) || point_is_stale(v))
        return true;
    sqlite3_bind_int64(nan_key, 1, t);
    sqlite3_bind_int64(nan_key, 2, row);
    return db_run(nan_key, err);
}

static bool same_series(const struct batch *a, const struct batch *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->samples[i].series != b->samples[i].series)
            return false;
    }
    return true;
}

/* Ends the series of the batch before that this one has no more. */
static bool put_ends(struct history_writer *w, const struct batch *before, const struct batch *b,
                     uint64_t *rows, struct err *err)
{
    if (same_series(before, b))
        return true;
    for (size_t i = 0; i < before->n; i++) {
        const struct series *s = before->samples[i].series;
        struct cached_series *c = get_series(w, s, b->at.ms, err);

        if (c == NULL)
            return false;
        if (c->round == w->round)
            continue;
        if (!put_sample(w, b->at.ms, c->row, point_stale_value(), err))
            return false;
        (*rows)++;
    }
    return true;
}

static struct source *get_source(struct history_writer *w, const struct batch *b)
{
    struct source **slot =
        &w->sources[str_hash(b->source, strlen(b->source), STR_HASH_SEED) % SOURCE_SLOTS];
    struct source *s = *slot;

    while (s != NULL && !str_eq(s->name, b->source))
        s = s->next;
    if (s == NULL) {
        s = mem_alloc(sizeof(*s));
        str_copy(s->name, sizeof(s->name), b->source);
        s->next = *slot;
        *slot = s;
    }
    return s;
}

static bool put_batch(struct history_writer *w, struct batch *b, uint64_t *rows, struct err *err)
{
    struct source *source = get_source(w, b);
    const struct batch *before = source->now != NULL ? source->now : source->last;

    w->round++;
    for (size_t i = 0; i < b->n; i++) {
        struct cached_series *c = get_series(w, b->samples[i].series, b->at.ms, err);

        if (c == NULL)
            return false;
        c->round = w->round;
        if (!put_sample(w, b->at.ms, c->row, b->samples[i].value, err))
            return false;
    }
    *rows += b->n;
    if (before != NULL && !put_ends(w, before, b, rows, err))
        return false;
    if (source->now != NULL)
        batch_unref(source->now);
    source->now = batch_ref(b);
    return true;
}

/* After the commit: the batches just written are what the next ones are compared with. */
static void keep_newest(struct history_writer *w, int64_t newest_t)
{
    for (size_t i = 0; i < SOURCE_SLOTS; i++) {
        struct source **p = &w->sources[i];
        while (*p != NULL) {
            struct source *s = *p;
            if (s->now != NULL) {
                if (s->last != NULL)
                    batch_unref(s->last);
                s->last = s->now;
                s->now = NULL;
            }
            if (s->last != NULL && s->last->at.ms >= newest_t - SOURCE_KEEP_MS) {
                p = &s->next;
                continue;
            }
            *p = s->next;
            free_source(s);
        }
    }
}

bool history_writer_put(struct history_writer *w, struct batch *const *batches, size_t n,
                        uint64_t *samples, struct err *err)
{
    int64_t newest_t = INT64_MIN;
    bool ok = true;

    *samples = 0;
    if (!begin(w, err))
        return false;
    for (size_t i = 0; ok && i < n; i++) {
        ok = put_batch(w, batches[i], samples, err);
        newest_t = i64_max(newest_t, batches[i]->at.ms);
    }
    if (!end(w, ok, err))
        return false;
    keep_newest(w, newest_t);
    w->put_since_trim += *samples;
    return true;
}

bool history_writer_checkpoint(struct history_writer *w, struct err *err)
{
    return sql_checkpoint(w->db, err);
}

/* ---- trimming ---- */
static bool run_with_int(sqlite3_stmt *stmt, int64_t v, struct err *err)
{
    sqlite3_bind_int64(stmt, 1, v);
    return db_run(stmt, err);
}

/* Deletes the oldest rows, at most about `rows` of them, and only those before `before`. */
static bool trim_samples(struct history_writer *w, int64_t before, int64_t rows, bool *more,
                         struct err *err)
{
    int64_t oldest, nth;

    *more = false;
    if (!sql_step_int(w->stmt[OLDEST], INT64_MAX, &oldest, err))
        return false;
    if (oldest >= before)
        return true;
    sqlite3_bind_int64(w->stmt[NTH_OLDEST], 1, rows);
    if (!sql_step_int(w->stmt[NTH_OLDEST], INT64_MAX, &nth, err))
        return false;
    nth = i64_max(nth, oldest + 1); /* one poll may be larger than a step */
    *more = nth < before;
    before = i64_min(before, nth);
    return run_with_int(w->stmt[TRIM_SAMPLES], before, err) &&
           run_with_int(w->stmt[TRIM_NANS], before, err);
}

struct space {
    int64_t used, total;
};

static bool get_space(struct history_writer *w, struct space *space, struct err *err)
{
    int64_t pages, free_pages, size;

    if (!sql_step_int(w->stmt[PAGES], 0, &pages, err) ||
        !sql_step_int(w->stmt[FREE_PAGES], 0, &free_pages, err) ||
        !sql_step_int(w->stmt[PAGE_SIZE], 0, &size, err))
        return false;
    *space = (struct space){.used = (pages - free_pages) * size, .total = pages * size};
    return true;
}

static bool trim_size(struct history_writer *w, int64_t max_size, int64_t rows, bool *more,
                      struct err *err)
{
    char sql[64];
    struct space space;
    bool more_rows;

    if (!get_space(w, &space, err))
        return false;
    if (space.used > max_size) {
        *more = true;
        return trim_samples(w, INT64_MAX, rows, &more_rows, err);
    }
    if (space.total <= max_size)
        return true;
    /* A lowered limit: hand the free pages back to the file system. */
    *more = true;
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
    return db_exec(w->db, sql, err);
}

/* Series whose last sample is gone; only once the samples themselves are trimmed, since SQLite may
 * give the number of a deleted row to a new series. */
static bool trim_series(struct history_writer *w, int64_t before, struct err *err)
{
    if (before - w->series_trimmed_t < SEEN_EVERY_MS)
        return true;
    w->series_trimmed_t = before;
    return run_with_int(w->stmt[TRIM_SERIES], before - SERIES_GRACE_MS, err);
}

static bool trim_step(struct history_writer *w, int64_t before, int64_t max_size, bool *more,
                      struct err *err)
{
    int64_t rows = i64_max(TRIM_ROWS, (int64_t)(2 * w->put_since_trim));

    if (!trim_samples(w, before, rows, more, err))
        return false;
    if (!*more && !trim_series(w, before, err))
        return false;
    return trim_size(w, max_size, rows, more, err);
}

bool history_writer_trim(struct history_writer *w, wall_ms now, int64_t retention_ms,
                         int64_t max_size_bytes, bool *more, struct err *err)
{
    *more = false;
    if (!begin(w, err))
        return false;
    bool ok = trim_step(w, now.ms - retention_ms, max_size_bytes, more, err);
    w->put_since_trim = 0;
    return end(w, ok, err);
}
