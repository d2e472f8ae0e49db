/*
 * config_show.h: a configuration as it is used, with the origin of each value, for people.
 *
 * A list of entries in the order of the settings table that can be written as YAML or JSON. The
 * values are those of the running configuration: written as a file they give it again, but for
 * secrets, which are masked. Owned by who asked; any thread.
 */
#ifndef PGVIGIL_MODEL_CONFIG_SHOW_H
#define PGVIGIL_MODEL_CONFIG_SHOW_H

#include "pgvigil/base/arena.h"
#include "pgvigil/model/config.h"

enum config_shown_kind {
    CONFIG_SHOWN_VALUE,
    CONFIG_SHOWN_MAP, /* up to its END */
    CONFIG_SHOWN_LIST,
    CONFIG_SHOWN_END
};

struct config_shown {
    enum config_shown_kind kind;
    const char *key; /* NULL in a list */
    const char *value;
    bool is_text;       /* else a number or true, false, on, off */
    const char *origin; /* "/etc/pgvigil/pgvigil.yaml:12", "default", "environment", ... */
};

struct config_show {
    struct arena *arena; /* holds all */
    struct config_shown *entries;
    size_t n, cap;
};

/* As config_load, and fills in show if there is a configuration. */
struct config *config_load_shown(const char *path, struct config_show *show, struct diag *diag);
void config_show_deinit(struct config_show *show);

#endif
