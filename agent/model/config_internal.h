/*
 * config_internal.h: what the files of the configuration share with each other and with tests.
 *
 * The way of a configuration: yaml tree -> config_read.c walks it along the rows of config_table.c
 * (values by config_value.c) into a struct config_build -> config_check.c fills in what depends on
 * other settings and checks them against each other -> struct config.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "pgvigil/base/yaml.h"
#include "pgvigil/model/config.h"
#include "pgvigil/model/config_show.h"

/* An expanded value, and a secret file, are never longer than this. */
#define CONFIG_TEXT_MAX      (64 * 1024)
#define CONFIG_URL_MAX       2048
#define CONFIG_FILES_MAX     256 /* in conf.d */
#define LOGS_MAX             256
#define RULE_GLOBS_MAX       64
#define OVERRIDES_MAX        1000
#define ALERT_NAME_MAX       256
#define CONFIG_ROWS_MAX      48
#define CONFIG_ITEM_ROWS_MAX 12
#define DISCOVERED_MAX       64

/* ---- the table of settings ---- */

enum setting_type {
    SETTING_NAME,     /* char[NODE_NAME_MAX]; min 0: may be empty */
    SETTING_BOOL,     /* bool: true, false */
    SETTING_SWITCH,   /* bool: on, off, true, false */
    SETTING_COUNT,    /* int */
    SETTING_DURATION, /* int64_t, milliseconds */
    SETTING_SIZE,     /* int64_t, bytes */
    SETTING_PERCENT,  /* double, 0 to 1; min and max in percent */
    SETTING_WORD,     /* enum: place in words */
    SETTING_LISTEN,   /* listen_host and listen_port of struct config */
    SETTING_PATH,     /* char *, absolute */
    SETTING_FILE,     /* char *, absolute or "" */
    SETTING_URL,      /* char *, http(s) or "" */
    SETTING_DSN,      /* char *, checked and expanded later */
    SETTING_POOL_DSN, /* the only one of a pool's dsns */
    SETTING_POOL_DSNS,
    SETTING_THRESHOLD, /* struct config_threshold */
    SETTING_TEXT,      /* char *, not empty */
    SETTING_OVERRIDES, /* rule_overrides: maps by the names of alerts */
    SETTING_GLOBS,     /* rules: relative ones are below the file's directory */
    SETTING_NETWORKS,  /* outgoing.deny */
    SETTING_LABELS,    /* external_labels */
    SETTING_NODES,     /* lists of maps with tables of their own */
    SETTING_POOLS,
    SETTING_LOGS
};

struct setting {
    const char *key; /* path from its map: "gate.max_lag" */
    enum setting_type type;
    size_t offset;            /* in struct config, config_node, config_pool or config_log */
    const char *value;        /* default as it would be written; NULL: none, or see help */
    int64_t min, max;         /* in the unit of the type */
    const char *const *words; /* SETTING_WORD: NULL-terminated, in the order of the enum */
    bool reloadable;
    const char *help;
};

struct setting_table {
    const struct setting *rows;
    size_t count;
};

const struct setting_table *config_table_top(void);
const struct setting_table *config_table_node(void);
const struct setting_table *config_table_pool(void);
const struct setting_table *config_table_log(void);
const struct setting_table *config_table_override(void);
/* Row of a key; it must be there. */
size_t config_row(const struct setting_table *table, const char *key);

/* ---- a configuration that is being built ---- */

/* Where a setting was set last; file NULL: it is the default. */
struct origin {
    const char *file;
    int line, col;
    bool is_wrong;       /* told already: what depends on it is not judged */
    const char *written; /* a text with ${...} as it stands in the file, else NULL */
};

/* Beside each node, pool and log. */
struct item {
    struct origin at;
    unsigned file_no; /* file that named it last: twice in one is a duplicate */
    struct origin origins[CONFIG_ITEM_ROWS_MAX];
};

/* Nodes, pools or logs while they are read; the array goes to the configuration. */
struct list {
    const struct setting_table *table; /* row 0 is the name */
    const char *what;                  /* "node" */
    size_t size, max;
    void *array;
    struct item *items;
    size_t n;
    bool full; /* told once */
};

struct config_build {
    struct config *config;
    struct diag *diag;
    const char *file; /* that is being read */
    unsigned file_no;
    bool discovered;                        /* nodes are zero-config's */
    struct origin origins[CONFIG_ROWS_MAX]; /* by row of the top table */
    struct list nodes, pools, logs;
    struct config_show *show; /* to be filled in at the end; NULL = not asked for */
    struct list overrides;    /* by their key in the map, not by row 0 */
};

void config_build_init(struct config_build *b, struct diag *diag);
/* The configuration, checked; NULL when there are findings. Releases the rest. */
struct config *config_build_end(struct config_build *b);
/* secret_modes must be known before anything is expanded: call it for all files first. */
void config_read_modes(struct config_build *b, const struct yaml_doc *doc);
void config_read(struct config_build *b, const struct yaml_doc *doc);
/* Adds a node as if it had been written; for zero-config. */
void config_build_add_node(struct config_build *b, const char *name, const char *cluster,
                           const char *dsn);
/* Adds an item with its defaults and returns its fields. */
void *config_list_add(struct config_build *b, struct list *list, const struct origin *at);
/* Fills in what depends on other settings and checks them against each other. */
void config_check(struct config_build *b);

void config_free_label(struct label *label);

/* ---- config_show.c ---- */

void config_show_build(const struct config_build *b, struct config_show *show);

/* ---- config_overrides.c ---- */

/* The override that is meant by this key of the map; NULL (told) if there can be none. */
struct config_override *config_override_at(struct config_build *b, const struct yaml_node *key,
                                           struct item **item);
/* After its map was read. */
void config_override_end(struct config_build *b, struct config_override *override,
                         const struct item *item);
void config_overrides_free(struct config_override *overrides, size_t n);
/* "30s", "85%", "10MiB", "-1.5" */
bool config_threshold_parse(const char *text, struct config_threshold *out) MUST_CHECK;

/* A finding at a place. */
void config_complain(struct config_build *b, const struct origin *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct origin config_origin(const struct config_build *b, const struct yaml_node *node);
/* Text for a finding: quoted, cut, and hidden when it may hold a secret. */
#define CONFIG_SHOWN_MAX 64
const char *config_shown(const char *text, char out[CONFIG_SHOWN_MAX]);

/* Sets one scalar from its YAML node; findings go to the build. */
void config_value_set(struct config_build *b, const struct setting *row, void *base,
                      const struct yaml_node *node);
void config_value_default(struct config_build *b, const struct setting *row, void *base);
/* The expanded text of a scalar, NULL (told) if it is none; mem_free. */
char *config_value_text(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node);
/* Tells what was expected and what was found. */
void config_value_wrong(struct config_build *b, const struct setting *row,
                        const struct yaml_node *node);
bool config_name_is_valid(const char *name);
bool config_network_is_valid(const char *text);
bool config_url_is_valid(const char *text);
bool config_host_is_loopback(const char *host);

/* ---- texts ---- */

/*
 * Appends the value of the `${...}` at *at to out and moves *at behind it.
 * Error texts name variables and files, never values.
 */
bool config_expand_one(const char **at, enum config_secret_modes modes, struct buf *out,
                       struct err *err) MUST_CHECK;
bool config_dsn_is_uri(const char *dsn);

/* What a connection string says, for checks. */
struct dsn_facts {
    bool several_hosts;
    bool unix_socket; /* no host, or a path */
};
/* Expands and parses it; err never repeats a part that may be secret. */
bool config_dsn_check(const char *dsn, enum config_secret_modes modes, struct dsn_facts *facts,
                      struct err *err) MUST_CHECK;

/* ---- zero-config: what the seams for tests are ---- */

struct discover_env {
    const char *hostname;
    const char *const *socket_dirs;
    size_t socket_dir_count;
};
/* Adds the nodes it finds; true if there is one. Environment variables are read with getenv. */
bool config_discover_nodes(struct config_build *b, const struct discover_env *env);
/* As config_discover. */
struct config *config_discover_shown(struct config_show *show, struct diag *diag);
/* With this host's name and the usual directories. */
bool config_discover_here(struct config_build *b);

#endif
