/*
 * cli_private.h: what the subcommands share: configuration of the command line, asking the daemon.
 */
#ifndef AGENT_CLI_PRIVATE_H
#define AGENT_CLI_PRIVATE_H

#include <jansson.h>

#include "pgvigil/cli/cli.h"
#include "pgvigil/model/config.h"

/* Loads what --config names (or the default); findings go to stderr. NULL: exit with CONFIG. */
struct config *cli_config(const struct cli_args *args);
/*
 * GET path from the daemon: --url, PGVIGIL_URL, else api.sock beside health_dir. *body is
 * NUL-terminated and the caller's (mem_free). Returns an exit code; on failure the reason is on
 * stderr.
 */
int cli_get(const struct cli_args *args, const char *path, char **body);
/* The same, parsed. */
int cli_get_json(const struct cli_args *args, const char *path, json_t **json);
/* May stdout have colour? */
bool cli_colour(void);

#endif
