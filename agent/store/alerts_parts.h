/*
 * alerts_parts.h: the insides of alerts.db: transactions as lists of changes, and the file.
 */
#ifndef STORE_ALERTS_PARTS_H
#define STORE_ALERTS_PARTS_H

#include "pgvigil/store/alerts_db.h"
#include "sql.h"

/* ---- transactions (alerts_tx.c) ---- */
enum change_kind {
    CHANGE_PUT_ALERT,
    CHANGE_DROP_ALERT,
    CHANGE_PUT_OUTBOX,
    CHANGE_ATTEMPT,
    CHANGE_DONE,
    CHANGE_NODE,
    CHANGE_FLIP,
    CHANGE_TIMELINE,
    CHANGE_EVALUATED
};

struct change {
    struct change *next;
    enum change_kind kind;
    union {
        struct alert *alert;
        uint64_t fingerprint;
        struct outbox_row outbox; /* CHANGE_ATTEMPT and CHANGE_DONE use some fields of it */
        struct gate_node_state node;
        struct gate_flip flip;
        wall_ms evaluated_at;
        struct {
            uint64_t system_id;
            uint32_t timeline;
            struct timeline_entry entry;
            wall_ms at; /* of t_after */
        } timeline;
    } u;
};

struct alerts_tx {
    struct change *first, **end;
    bool may_be_lost; /* only what will be said again: nodes, timeline, time of evaluation */
    /* in the queue */
    struct alerts_tx *next;
    void (*done)(bool ok, const struct err *err, void *arg);
    void *arg;
    bool answered;
};

/* ---- the file (alerts_file.c, alerts_load.c); one thread at a time ---- */
enum alerts_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_PUT_ALERT,
    SQL_DROP_ALERT,
    SQL_PUT_OUTBOX,
    SQL_ATTEMPT,
    SQL_DONE,
    SQL_PUT_NODE,
    SQL_PUT_FLIP,
    SQL_PUT_TIMELINE,
    SQL_PUT_EVALUATED,
    SQL_PRUNE_ALERTS,
    SQL_PRUNE_OUTBOX,
    SQL_PRUNE_FLIPS,
    SQL_PRUNE_TIMELINE,
    SQL_THIN_TIMELINE,
    SQL_COUNT
};

struct alerts_file {
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT];
    int64_t boot; /* number of this boot in the file: gate_timeline.boot */
    bool same_boot;
};

struct db_spec alerts_spec(const char *path, const char *vfs);

/*
 * Opens, migrates, checks the whole file, and notes the boot. A damaged file is set aside, a new
 * one made, and what can still be read is copied over.
 */
bool alerts_file_open(struct alerts_file *f, const char *path, const char *vfs, wall_ms now,
                      struct err *err) MUST_CHECK;
void alerts_file_close(struct alerts_file *f);
bool alerts_file_apply(struct alerts_file *f, const struct alerts_tx *tx,
                       struct err *err) MUST_CHECK;
bool alerts_file_prune(struct alerts_file *f, wall_ms now, struct err *err) MUST_CHECK;

/* Fills *image; free it also after an error. */
bool alerts_load(struct alerts_file *f, struct now now, struct alerts_image *image,
                 struct err *err) MUST_CHECK;

/* Copies the rows of a damaged file that can be read; returns how many (alerts_salvage.c). */
size_t alerts_salvage(sqlite3 *db, const char *damaged, const char *vfs);

#endif
