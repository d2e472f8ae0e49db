/*
 * history_reader.c: struct reader over history.db.
 *
 * Why so: rows are keyed (t, series), so a select is one walk over the time range, and what is not
 * wanted is passed over; with a single series SQLite does the passing over. Series and samples are
 * read in one read transaction, which is ended before returning, because an open one would keep the
 * writer's WAL from being reset. The writer may set a damaged file aside and begin a new one, so
 * each select looks whether the path still names the file that is open. Invariant: `wanted` is
 * sorted by row, for binary search.
 */
#include "history_parts.h"

#include <math.h>
#include <sys/stat.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/store/history.h"

#define POINTS_START 16
#define WATCH_STEPS  20000 /* of SQLite's machine: about a millisecond */

enum {
    BEGIN,
    END,
    SERIES_ALL,
    SERIES_NAMED,
    RANGE,
    RANGE_ONE,
    RANGE_BACK,
    RANGE_BACK_ONE,
    IS_NAN,
    STATEMENTS
};

#define IN_RANGE "SELECT t, series, value FROM samples WHERE t > ?1 AND t <= ?2"

static const char *const statements[STATEMENTS] = {
    [BEGIN] = "BEGIN",
    [END] = "END",
    [SERIES_ALL] = "SELECT id, labels FROM series WHERE last_seen >= ?1 ORDER BY id",
    [SERIES_NAMED] = "SELECT id, labels FROM series WHERE last_seen >= ?1 AND name = ?2"
                     " ORDER BY id",
    [RANGE] = IN_RANGE " ORDER BY t",
    [RANGE_ONE] = IN_RANGE " AND series = ?3 ORDER BY t",
    [RANGE_BACK] = IN_RANGE " ORDER BY t DESC",
    [RANGE_BACK_ONE] = IN_RANGE " AND series = ?3 ORDER BY t DESC",
    [IS_NAN] = "SELECT 1 FROM nan_samples WHERE t = ?1 AND series = ?2",
};

struct wanted {
    int64_t row;
    struct labels labels;
    struct point *points;
    size_t n, cap;
};

struct history_reader {
    struct reader reader;
    char *path;
    dev_t dev;
    ino_t ino;
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENTS];
    bool (*cancelled)(void *arg);
    void *arg;
    bool gave_up; /* the select that runs was ended by `cancelled` */
};

/* One select: the wanted series and the budget. */
struct select {
    struct history_reader *r;
    const struct read_request *req;
    struct arena *arena;
    struct wanted *wanted;
    size_t n, cap;
    size_t points, found, looked_at;
};

/* ---- labels from their text: name{a="b",c="d"} ---- */
/* Reads a quoted value at *p (behind the opening quote) into out; false if it does not end. */
static bool parse_value(const char **p, char *out)
{
    const char *s = *p;

    while (*s != '"') {
        if (*s == '\\' && s[1] != '\0') {
            s++;
            *out++ = *s == 'n' ? '\n' : *s;
            s++;
        } else if (*s == '\0') {
            return false;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
    *p = s + 1;
    return true;
}

static bool parse_pair(const char **p, struct arena *arena, struct label *pair)
{
    size_t name_len = strcspn(*p, "=");
    const char *value = *p + name_len;

    if (strncmp(value, "=\"", 2) != 0)
        return false;
    pair->name = arena_strndup(arena, *p, name_len);
    value += 2;
    char *out = arena_alloc(arena, strlen(value) + 1);
    pair->value = out;
    *p = value;
    return parse_value(p, out);
}

static bool parse_labels(const char *text, struct arena *arena, struct labels *out)
{
    struct label pairs[LABELS_MAX + 1];
    size_t n = 0, name_len = strcspn(text, "{");
    const char *p = text + name_len;

    if (name_len > 0)
        pairs[n++] = (struct label){LABEL_METRIC, arena_strndup(arena, text, name_len)};
    if (*p == '{')
        p++;
    while (*p != '\0' && *p != '}') {
        if (n == ARRAY_LEN(pairs) || !parse_pair(&p, arena, &pairs[n]))
            return false;
        n++;
        if (*p == ',')
            p++;
    }
    n = labels_sort(pairs, n);
    *out = labels_copy(arena, &(struct labels){n, pairs});
    return true;
}

/* ---- which series ---- */
static bool fits(const struct select *s, struct err *err)
{
    if (s->points > s->req->max_points) {
        return err_set(err, ERR_LIMIT, "the query reads more than %zu points", s->req->max_points);
    }
    if (arena_exceeded(s->arena))
        return err_set(err, ERR_LIMIT, "the query needs more memory than it may use");
    return true;
}

static bool want(struct select *s, int64_t row, const char *text, struct err *err)
{
    const struct read_request *req = s->req;
    struct labels labels;
    bool match;

    if (!read_goes_on(req, s->looked_at++, err))
        return false;
    if (!parse_labels(text, s->arena, &labels))
        return err_set(err, ERR_CORRUPT, "series %lld has unreadable labels", (long long)row);
    if (!matchers_match(req->matchers, req->matcher_count, req->regex_match, &labels, &match, err))
        return false;
    if (!match)
        return true;
    if (s->n == s->cap) {
        size_t cap = s->cap == 0 ? 64 : s->cap * 2;
        s->wanted = s->cap == 0
                        ? arena_alloc_array(s->arena, cap, sizeof(*s->wanted))
                        : arena_grow_array(s->arena, s->wanted, s->cap, cap, sizeof(*s->wanted));
        s->cap = cap;
    }
    s->wanted[s->n++] = (struct wanted){.row = row, .labels = labels};
    return fits(s, err);
}

static bool find_series(struct select *s, struct err *err)
{
    const char *name = matchers_metric(s->req->matchers, s->req->matcher_count);
    sqlite3_stmt *stmt = s->r->stmt[name != NULL ? SERIES_NAMED : SERIES_ALL];
    /* a row's last_seen may be that old; where points are read, they tell */
    int64_t seen = s->req->labels_only ? i64_max(s->req->t_min, 0) - SEEN_EVERY_MS : INT64_MIN;
    bool ok = true;
    int rc = SQLITE_ROW;

    sqlite3_bind_int64(stmt, 1, seen);
    if (name != NULL)
        sql_bind_text(stmt, 2, name);
    while (ok && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        ok = want(s, sqlite3_column_int64(stmt, 0), sql_text(stmt, 1), err);
    if (ok && rc != SQLITE_DONE)
        ok = db_fail(s->r->db, "cannot read series", err);
    sqlite3_reset(stmt);
    return ok;
}

static struct wanted *find_wanted(const struct select *s, int64_t row)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->wanted[mid].row < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n && s->wanted[lo].row == row ? &s->wanted[lo] : NULL;
}

/* ---- samples ---- */
static bool read_value(const struct select *s, sqlite3_stmt *stmt, double *v, struct err *err)
{
    sqlite3_stmt *is_nan = s->r->stmt[IS_NAN];
    int64_t found;

    *v = sqlite3_column_double(stmt, 2);
    if (sqlite3_column_type(stmt, 2) != SQLITE_NULL)
        return true;
    sqlite3_bind_int64(is_nan, 1, sqlite3_column_int64(stmt, 0));
    sqlite3_bind_int64(is_nan, 2, sqlite3_column_int64(stmt, 1));
    if (!sql_step_int(is_nan, 0, &found, err))
        return false;
    *v = found != 0 ? (double)NAN : point_stale_value();
    return true;
}

static bool add_point(struct select *s, struct wanted *w, sqlite3_stmt *stmt, struct err *err)
{
    double v;

    if (!read_value(s, stmt, &v, err))
        return false;
    if (w->n == w->cap) {
        size_t cap = s->req->last_only ? 1 : w->cap == 0 ? POINTS_START : w->cap * 2;
        w->points = w->cap == 0
                        ? arena_alloc_array(s->arena, cap, sizeof(*w->points))
                        : arena_grow_array(s->arena, w->points, w->cap, cap, sizeof(*w->points));
        w->cap = cap;
    }
    w->points[w->n++] = (struct point){sqlite3_column_int64(stmt, 0), v};
    s->points++;
    s->found += w->n == 1;
    return fits(s, err);
}

static bool read_samples(struct select *s, struct err *err)
{
    int which = s->req->last_only ? (s->n == 1 ? RANGE_BACK_ONE : RANGE_BACK)
                                  : (s->n == 1 ? RANGE_ONE : RANGE);
    sqlite3_stmt *stmt = s->r->stmt[which];
    bool ok = true;
    int rc = SQLITE_DONE;

    sqlite3_bind_int64(stmt, 1, s->req->t_min);
    sqlite3_bind_int64(stmt, 2, s->req->t_max);
    if (s->n == 1)
        sqlite3_bind_int64(stmt, 3, s->wanted[0].row);
    while (ok && !(s->req->last_only && s->found == s->n) &&
           (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct wanted *w = find_wanted(s, sqlite3_column_int64(stmt, 1));
        if (w != NULL && !(s->req->last_only && w->n > 0))
            ok = add_point(s, w, stmt, err);
    }
    if (ok && rc != SQLITE_DONE && rc != SQLITE_ROW)
        ok = db_fail(s->r->db, "cannot read samples", err);
    sqlite3_reset(stmt);
    return ok;
}

static void give_result(const struct select *s, struct read_result *out)
{
    size_t most = s->req->labels_only ? s->n : s->found;
    out->series = arena_alloc_array(s->arena, most, sizeof(*out->series));
    for (size_t i = 0; i < s->n; i++) {
        const struct wanted *w = &s->wanted[i];
        if (w->n > 0 || s->req->labels_only)
            out->series[out->n++] = (struct read_series){w->labels, w->points, w->n};
    }
}

/* ---- the file ---- */
static void close_file(struct history_reader *r)
{
    sql_finalize_all(r->stmt, STATEMENTS);
    db_close(&r->db);
}

/* SQLite calls it every WATCH_STEPS; not 0 ends the statement. */
static int give_up(void *arg)
{
    struct history_reader *r = arg;

    r->gave_up = r->cancelled != NULL && r->cancelled(r->arg);
    return r->gave_up;
}

static bool open_file(struct history_reader *r, struct err *err)
{
    struct db_spec spec = history_spec(r->path, NULL);
    struct stat st = {0};

    close_file(r);
    /* Before the open: a file set aside in between is then noticed by the next select. */
    if (stat(r->path, &st) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no file \"%s\"", r->path);
    r->dev = st.st_dev;
    r->ino = st.st_ino;
    r->db = db_open_read(&spec, err);
    if (r->db == NULL)
        return false;
    sqlite3_progress_handler(r->db, WATCH_STEPS, give_up, r);
    if (sql_prepare_all(r->db, statements, r->stmt, STATEMENTS, err))
        return true;
    db_close(&r->db);
    return false;
}

static bool is_current(const struct history_reader *r)
{
    struct stat st;

    return r->db != NULL && stat(r->path, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

static bool history_select(struct reader *reader, const struct read_request *req,
                           struct arena *arena, struct read_result *out, struct err *err)
{
    struct history_reader *r = reader->impl;
    struct select s = {.r = r, .req = req, .arena = arena};

    *out = (struct read_result){0};
    if (!is_current(r) && !open_file(r, err))
        return false;
    r->gave_up = false;
    if (!db_run(r->stmt[BEGIN], err))
        return false;
    bool ok = find_series(&s, err) && (s.n == 0 || req->labels_only || read_samples(&s, err));
    if (!ok && r->gave_up)
        err_set(err, ERR_TIMEOUT, "query timed out in expression evaluation");
    if (ok)
        give_result(&s, out);
    sqlite3_step(r->stmt[END]);
    sqlite3_reset(r->stmt[END]);
    return ok;
}

struct reader *history_reader_open(const char *path, struct err *err)
{
    struct history_reader *r = mem_alloc(sizeof(*r));
    struct reader *reader = &r->reader;

    r->reader = (struct reader){history_select, r};
    r->path = mem_strdup(path);
    if (!open_file(r, err))
        history_reader_close(&reader);
    return reader;
}

void history_reader_watch(struct reader *reader, bool (*cancelled)(void *arg), void *arg)
{
    struct history_reader *r = reader->impl;

    r->cancelled = cancelled;
    r->arg = arg;
}

void history_reader_close(struct reader **reader)
{
    if (*reader == NULL)
        return;
    struct history_reader *r = (*reader)->impl;
    close_file(r);
    mem_free(r->path);
    mem_free(r);
    *reader = NULL;
}
