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

struct cli_answer {
    long status;
    char *body;    /* mem_free; NULL if nobody answers */
    char why[320]; /* nobody answers: where and why */
    bool is_local; /* it was the socket that was asked, not a URL */
};
/*
 * As cli_get, but what the daemon answers is left to the caller, and nothing is printed unless the
 * configuration is wrong. form: the body of a POST, or NULL for a GET. OK if there is an answer.
 */
int cli_ask(const struct cli_args *args, const char *path, const char *form,
            struct cli_answer *answer);
/* The same, parsed. */
int cli_get_json(const struct cli_args *args, const char *path, json_t **json);
/* May stdout have colour? */
bool cli_colour(void);

#endif
