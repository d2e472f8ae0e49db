/*
 * config.h: the configuration after load: immutable, counted, validated as a whole.
 *
 * Built by config_load from pgvigil.yaml (+ conf.d) or by config_discover without a file. All
 * errors are told at once in a struct diag, with file:line:col. Running code only ever sees a
 * valid one. Secrets stay inside dsn/url texts: never print them, use config_mask_dsn.
 * Durations are milliseconds. The settings table (agent/model/config_table.c) is the one list of
 * keys, types, defaults and limits.
 */
#ifndef PGVIGIL_MODEL_CONFIG_H
#define PGVIGIL_MODEL_CONFIG_H

#include <stdatomic.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/diag.h"
#include "pgvigil/base/err.h"
#include "pgvigil/model/labels.h"
#include "pgvigil/model/verdict.h"

#define CONFIG_PATH_DEFAULT "/etc/pgvigil/pgvigil.yaml"
#define POOLS_MAX           256
#define POOL_DSNS_MAX       16

enum config_scope { SCOPE_NODE, SCOPE_CLUSTER };
enum config_panic { PANIC_PRIMARY, PANIC_BEST, PANIC_HOLD };
enum config_loss { LOSS_HOLD, LOSS_UNHEALTHY };
enum config_secret_modes { SECRET_MODES_STRICT, SECRET_MODES_RELAXED };

struct config_node {
    char name[NODE_NAME_MAX];
    char cluster[NODE_NAME_MAX]; /* its own, or the top-level one; may be "" */
    char zone[NODE_NAME_MAX];
    char *dsn; /* conninfo or URI as written; ${file:} and ${cred:} are expanded at connect */
    bool local;
    bool read;          /* false keeps it out of routing */
    int64_t max_lag_ms; /* its own or gate.max_lag */
    int64_t hard_lag_ms;
};

enum config_pool_kind { POOL_PGBOUNCER };

struct config_pool {
    char name[NODE_NAME_MAX];
    char cluster[NODE_NAME_MAX];
    enum config_pool_kind kind;
    char *dsns[POOL_DSNS_MAX];
    size_t dsn_count;
};

struct config_log {
    char pool[NODE_NAME_MAX]; /* PgBouncer's log of this pool */
    char *path;
};

/* A number as people write it, in what Prometheus counts in. */
enum config_threshold_kind {
    THRESHOLD_NONE,
    THRESHOLD_NUMBER,
    THRESHOLD_SECONDS,
    THRESHOLD_FRACTION, /* 85% is 0.85 */
    THRESHOLD_BYTES
};

struct config_threshold {
    enum config_threshold_kind kind;
    double value;
    char text[32]; /* as written */
};

struct config_place {
    char *file; /* NULL: nowhere */
    int line, col;
};

/* What rule_overrides changes about the alerts of a name; see rules/overrides.h. */
struct config_override {
    char *alert;
    struct config_place at, threshold_at;
    struct config_threshold threshold;
    int64_t for_ms, keep_firing_ms; /* -1 = as in the rule file */
    char *severity;                 /* NULL = as in the rule file */
    bool disabled;
};

struct config_gate {
    int64_t max_lag_ms, hard_lag_ms, hold_ms, lease_ms, probe_timeout_ms;
    int fall, down_after, min_fresh;
    enum config_panic panic;
    enum config_loss on_total_loss;
    bool write;               /* publish <node>.write files */
    bool dry_run;             /* decide and log, publish nothing new */
    double guard_connections; /* panic_guard.max_connections_used, fraction */
    double guard_weight;      /* panic_guard.primary_weight, fraction */
};

#define EXTERNAL_MAX            16
#define CONFIG_ALERT_LABELS_MAX (EXTERNAL_MAX + 1)

struct config {
    _Atomic uint32_t refs;
    char *path; /* NULL = zero-config */
    char cluster[NODE_NAME_MAX];
    enum config_scope scope;
    char *listen_host;
    int listen_port;
    bool insecure;
    char *state_dir;
    char *health_dir;
    struct config_node *nodes;
    size_t node_count;
    struct config_pool *pools;
    size_t pool_count;
    struct config_log *logs;
    size_t log_count;
    struct {
        int64_t replication_ms, activity_ms, pools_ms, statements_ms, schema_ms;
    } intervals;
    struct config_gate gate;
    char **rules; /* globs */
    size_t rule_count;
    struct config_override *overrides;
    size_t override_count;
    int64_t evaluation_interval_ms;
    struct {
        char *webhook; /* "" = none */
    } notify;
    struct {
        bool allow_loopback;
        char **deny;
        size_t deny_count;
        char *ca, *cert, *key; /* "" = none */
    } outgoing;
    struct {
        int64_t retention_ms;
        int64_t max_size_bytes;
    } history;
    struct label *external_labels;
    size_t external_label_count;
    enum config_secret_modes secret_modes;
};

/* path NULL: CONFIG_PATH_DEFAULT if it is there, else config_discover. NULL when diag has entries.
 */
struct config *config_load(const char *path, struct diag *diag);
/* From a text, for tests and fuzzing; name is shown in findings. */
struct config *config_parse(const char *name, const char *text, size_t len, struct diag *diag);
/* PG* variables (PGHOST, PGSERVICE, ...) if any is set, else every socket in the usual places. */
struct config *config_discover(struct diag *diag);
/* Keys of settings that differ and count from the next start on only; how many, at most max. */
size_t config_restart_keys(const struct config *running, const struct config *fresh,
                           const char *keys[], size_t max);
struct config *config_ref(struct config *c);
void config_unref(struct config **c);
const struct config_node *config_node_find(const struct config *c, const char *name);
/*
 * Expands ${env:X}, ${env:X:-default}, ${file:P}, ${cred:N}; `$${` is a literal `${`. Called at
 * load for plain values and at each connect for DSNs (so a rotated password needs no reload).
 */
char *config_expand(const char *text, enum config_secret_modes modes, struct err *err) MUST_CHECK;
/*
 * The same for a connection string, and what is filled in is escaped for its place (backslashes in
 * conninfo, %XX in a URI), so that a password with blanks or quotes stays one value. A string that
 * is one whole ${...} is taken as it comes. Use this one at connect.
 */
char *config_expand_dsn(const char *dsn, enum config_secret_modes modes,
                        struct err *err) MUST_CHECK;
/* DSN for people: passwords replaced by ***; caller frees. */
char *config_mask_dsn(const char *dsn);

/* What every alert carries unless its rule says otherwise: external_labels and `cluster`, which a
 * rule over `vector(1)` cannot have from a series. Borrowed from the configuration; returns how
 * many.
 */
size_t config_alert_labels(const struct config *config, struct label out[CONFIG_ALERT_LABELS_MAX]);

#endif
