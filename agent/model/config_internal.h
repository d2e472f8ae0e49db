/*
 * config_internal.h: what the files of the configuration share with each other and with tests.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "pgvigil/model/config.h"

/* An expanded value, and a secret file, are never longer than this. */
#define CONFIG_TEXT_MAX (64 * 1024)

/*
 * Appends the value of the `${...}` at *at to out and moves *at behind it.
 * Error texts name variables and files, never values.
 */
bool config_expand_one(const char **at, enum config_secret_modes modes, struct buf *out,
                       struct err *err) MUST_CHECK;
bool config_dsn_is_uri(const char *dsn);

#endif
