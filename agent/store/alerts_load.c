/*
 * alerts_load.c: what the last run left, read once at start; and the flips, for a command.
 *
 * Why so: plain structs for the engine and the gate, read before the thread starts, so nobody else
 * ever reads this file inside the daemon. A row that makes no sense is skipped and told: one bad
 * row must not keep the others from being delivered. Entries of the LSN timeline carry times of a
 * boot; after a reboot they are moved by the wall clock, and of older boots none is given while the
 * last run was in this one, because the image cannot say which entries are exact.
 */
#include "alerts_parts.h"

#include <jansson.h>
#include <math.h>

#include "pgvigil/base/log.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

#define TIMELINE_LOAD_MS INT64_C(93600000) /* 26 h */
#define FLIPS_READ_MAX   100000

void alerts_image_free(struct alerts_image *image)
{
    for (size_t i = 0; i < image->alert_count; i++)
        alert_destroy(&image->alerts[i]);
    mem_free(image->alerts);
    for (size_t i = 0; i < image->outbox_count; i++)
        mem_free(image->outbox[i].body);
    mem_free(image->outbox);
    gate_image_free(&image->gate);
    *image = (struct alerts_image){0};
}

static wall_ms column_wall(sqlite3_stmt *s, int i)
{
    if (sqlite3_column_type(s, i) == SQLITE_NULL)
        return WALL_UNSET;
    return (wall_ms){sqlite3_column_int64(s, i)};
}

/* Runs a query and hands each row to fn. */
static bool each_row(sqlite3 *db, const char *sql, int64_t param,
                     void (*fn)(sqlite3_stmt *s, void *arg), void *arg, struct err *err)
{
    sqlite3_stmt *s = db_prepare(db, sql, err);
    int rc;

    if (s == NULL)
        return false;
    if (sqlite3_bind_parameter_count(s) > 0)
        sqlite3_bind_int64(s, 1, param);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        fn(s, arg);
    if (rc != SQLITE_DONE)
        db_fail(db, "cannot read", err);
    sqlite3_finalize(s);
    return rc == SQLITE_DONE;
}

/* Room for one more in a growing array of `count` items. */
static void *grow(void *items, size_t count, size_t size)
{
    if (count == 0)
        return mem_realloc_array(items, 16, size);
    if (count >= 16 && (count & (count - 1)) == 0)
        return mem_realloc_array(items, count * 2, size);
    return items;
}

/* ---- alerts ---- */
static bool labels_from(json_t *object, struct arena *arena, struct labels *out)
{
    size_t n = json_object_size(object), i = 0;
    struct label *pairs = arena_alloc_array(arena, n, sizeof(*pairs));
    const char *name;
    json_t *value;

    if (!json_is_object(object))
        return false;
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value))
            return false;
        pairs[i++] = (struct label){arena_strdup(arena, name),
                                    arena_strdup(arena, json_string_value(value))};
    }
    *out = (struct labels){labels_sort(pairs, i), pairs};
    return true;
}

static bool column_labels(sqlite3_stmt *s, int i, struct arena *arena, struct labels *out)
{
    json_t *json = json_loads(sql_text(s, i), 0, NULL);
    bool ok = json != NULL && labels_from(json, arena, out);

    json_decref(json);
    return ok;
}

static void read_alert(sqlite3_stmt *s, void *arg)
{
    struct alerts_image *image = arg;
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct alert a = {
        .state = str_eq(sql_text(s, 1), "firing") ? ALERT_FIRING : ALERT_PENDING,
        .fingerprint = strtoull(sql_text(s, 0), NULL, 16),
        .value = sqlite3_column_type(s, 4) == SQLITE_NULL ? NAN : sqlite3_column_double(s, 4),
        .active_at = column_wall(s, 5),
        .fired_at = column_wall(s, 6),
        .resolved_at = column_wall(s, 7),
        .keep_until = column_wall(s, 8),
        .held = sqlite3_column_int(s, 9) != 0,
        .group = arena_strdup(arena, sql_text(s, 10)),
        .rule = arena_strdup(arena, sql_text(s, 11)),
        .expr = arena_strdup(arena, sql_text(s, 12)),
        .reason = arena_strdup(arena, sql_text(s, 13)),
    };

    if (column_labels(s, 2, arena, &a.labels) && column_labels(s, 3, arena, &a.annotations)) {
        image->alerts = grow(image->alerts, image->alert_count, sizeof(*image->alerts));
        image->alerts[image->alert_count++] = alert_copy(&a);
    } else {
        log_warn("a stored alert is not readable and was skipped fingerprint=%s", sql_text(s, 0));
    }
    arena_destroy(&arena);
}

/* ---- outbox ---- */
static void read_outbox(sqlite3_stmt *s, void *arg)
{
    struct alerts_image *image = arg;

    image->outbox = grow(image->outbox, image->outbox_count, sizeof(*image->outbox));
    struct outbox_row *r = &image->outbox[image->outbox_count++];
    *r = (struct outbox_row){
        .seq = sqlite3_column_int64(s, 3),
        .body = mem_strdup(sql_text(s, 4)),
        .created_at = column_wall(s, 5),
        .next_attempt_at = column_wall(s, 6),
        .attempts = sqlite3_column_int(s, 7),
    };
    str_copy(r->id, sizeof(r->id), sql_text(s, 0));
    str_copy(r->receiver, sizeof(r->receiver), sql_text(s, 1));
    str_copy(r->group_key, sizeof(r->group_key), sql_text(s, 2));
    str_copy(r->last_error, sizeof(r->last_error), sql_text(s, 8));
}

/* ---- gate ---- */
static enum node_role role_of(const char *name)
{
    for (int i = ROLE_UNKNOWN; i <= ROLE_REPLICA; i++) {
        if (str_eq(node_role_name((enum node_role)i), name))
            return (enum node_role)i;
    }
    return ROLE_UNKNOWN;
}

static enum fresh_state state_of(const char *name)
{
    for (int i = FRESH_UNKNOWN; i <= FRESH_EXCLUDED; i++) {
        if (str_eq(fresh_state_name((enum fresh_state)i), name))
            return (enum fresh_state)i;
    }
    return FRESH_UNKNOWN;
}

static void read_node(sqlite3_stmt *s, void *arg)
{
    struct gate_image *image = arg;

    image->nodes = grow(image->nodes, image->node_count, sizeof(*image->nodes));
    struct gate_node_state *n = &image->nodes[image->node_count++];
    *n = (struct gate_node_state){
        .role = role_of(sql_text(s, 2)),
        .state = state_of(sql_text(s, 3)),
        .read = sqlite3_column_int(s, 4) != 0,
        .write = sqlite3_column_int(s, 5) != 0,
        .weight = sqlite3_column_int(s, 6),
        .since = column_wall(s, 8),
        .lease_until = column_wall(s, 9),
        .hold_ms = sqlite3_column_int64(s, 10),
        .last_return = column_wall(s, 11),
        .saved_at = column_wall(s, 12),
    };
    str_copy(n->cluster, sizeof(n->cluster), sql_text(s, 0));
    str_copy(n->node, sizeof(n->node), sql_text(s, 1));
    str_copy(n->reason, sizeof(n->reason), sql_text(s, 7));
}

struct timeline_load {
    struct gate_image *image;
    struct now now;
};

static struct gate_image_timeline *timeline_of(struct gate_image *image, uint64_t system_id,
                                               uint32_t timeline)
{
    struct gate_image_timeline *last =
        image->timeline_count > 0 ? &image->timelines[image->timeline_count - 1] : NULL;

    if (last != NULL && last->system_id == system_id && last->timeline == timeline)
        return last;
    image->timelines = grow(image->timelines, image->timeline_count, sizeof(*image->timelines));
    last = &image->timelines[image->timeline_count++];
    *last = (struct gate_image_timeline){.system_id = system_id, .timeline = timeline};
    return last;
}

static void read_timeline(sqlite3_stmt *s, void *arg)
{
    const struct timeline_load *load = arg;
    struct gate_image_timeline *t = timeline_of(load->image, (uint64_t)sqlite3_column_int64(s, 0),
                                                (uint32_t)sqlite3_column_int64(s, 1));
    int64_t after = sqlite3_column_int64(s, 2), before = sqlite3_column_int64(s, 3);

    if (!load->image->same_boot) {
        int64_t moved = sqlite3_column_int64(s, 4) - load->now.wall.ms + load->now.mono.ms;
        before += moved - after;
        after = moved;
    }
    t->entries = grow(t->entries, t->count, sizeof(*t->entries));
    t->entries[t->count++] = (struct timeline_entry){
        .t_before = {before},
        .t_after = {after},
        .write = (lsn_t)sqlite3_column_int64(s, 5),
        .insert = (lsn_t)sqlite3_column_int64(s, 6),
        .snap = {(uint64_t)sqlite3_column_int64(s, 7), (uint64_t)sqlite3_column_int64(s, 8)},
    };
}

static bool load_timelines(struct alerts_file *f, struct now now, struct gate_image *image,
                           struct err *err)
{
    struct timeline_load load = {image, now};
    char sql[256];

    snprintf(sql, sizeof(sql),
             "SELECT system_id, timeline, t_after, t_before, at, write_lsn, insert_lsn, snap0,"
             " snap1 FROM gate_timeline WHERE at > ?1 AND %s %lld"
             " ORDER BY system_id, timeline, boot, t_after",
             f->same_boot ? "boot =" : "boot <", (long long)f->boot);
    image->same_boot = f->same_boot;
    return each_row(f->db, sql, now.wall.ms - TIMELINE_LOAD_MS, read_timeline, &load, err);
}

static void read_evaluated(sqlite3_stmt *s, void *arg)
{
    struct alerts_image *image = arg;
    int64_t ms = sqlite3_column_int64(s, 0);

    if (ms > 0) /* else somebody has written what is no time */
        image->evaluated_at = (wall_ms){ms};
}

bool alerts_load(struct alerts_file *f, struct now now, struct alerts_image *image, struct err *err)
{
    int64_t last_seq;

    image->evaluated_at = WALL_UNSET;

    if (!each_row(f->db, "SELECT * FROM alerts WHERE state IN ('pending', 'firing')", 0, read_alert,
                  image, err) ||
        !each_row(f->db, "SELECT * FROM outbox WHERE delivered_at IS NULL ORDER BY seq", 0,
                  read_outbox, image, err) ||
        !sql_int(f->db, "SELECT max(seq) FROM outbox", 0, &last_seq, err) ||
        !each_row(f->db, "SELECT * FROM gate_nodes", 0, read_node, &image->gate, err) ||
        !each_row(f->db, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'evaluated_at'", 0,
                  read_evaluated, image, err))
        return false;
    image->next_seq = last_seq + 1;
    return load_timelines(f, now, &image->gate, err);
}

/* ---- flips ---- */
struct flip_list {
    struct gate_flip *flips;
    size_t n;
};

static void read_flip(sqlite3_stmt *s, void *arg)
{
    struct flip_list *list = arg;

    list->flips = grow(list->flips, list->n, sizeof(*list->flips));
    struct gate_flip *flip = &list->flips[list->n++];
    *flip = (struct gate_flip){
        .at = {sqlite3_column_int64(s, 0)},
        .lo_ms = sqlite3_column_int64(s, 7),
        .hi_ms = sqlite3_column_int64(s, 8),
        .replay = (lsn_t)sqlite3_column_int64(s, 9),
        .primary = (lsn_t)sqlite3_column_int64(s, 10),
    };
    str_copy(flip->cluster, sizeof(flip->cluster), sql_text(s, 1));
    str_copy(flip->node, sizeof(flip->node), sql_text(s, 2));
    str_copy(flip->what, sizeof(flip->what), sql_text(s, 3));
    str_copy(flip->from, sizeof(flip->from), sql_text(s, 4));
    str_copy(flip->to, sizeof(flip->to), sql_text(s, 5));
    str_copy(flip->reason, sizeof(flip->reason), sql_text(s, 6));
    str_copy(flip->evidence, sizeof(flip->evidence), sql_text(s, 11));
}

bool alerts_db_read_flips(const char *path, wall_ms since, struct gate_flip **flips, size_t *n,
                          struct err *err)
{
    struct db_spec spec = alerts_spec(path, NULL);
    struct flip_list list = {0};
    char sql[256];

    *flips = NULL;
    *n = 0;
    sqlite3 *db = db_open_read(&spec, err);
    if (db == NULL)
        return false;
    snprintf(sql, sizeof(sql),
             "SELECT at, cluster, node, what, was, became, reason, lo_ms, hi_ms, replay_lsn,"
             " primary_lsn, evidence FROM gate_flips WHERE at >= ?1 ORDER BY at, id LIMIT %d",
             FLIPS_READ_MAX);
    bool ok = each_row(db, sql, since.ms, read_flip, &list, err);
    db_close(&db);
    if (!ok) {
        mem_free(list.flips);
        return false;
    }
    *flips = list.flips;
    *n = list.n;
    return true;
}
