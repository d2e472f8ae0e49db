/*
 * cli.h: subcommands: one table {name, usage, help, options, function}; --help, usage errors and
 * suggestions come from it.
 *
 * Data on stdout, messages on stderr; exit codes of EXIT_*; colour only on a terminal and never
 * with NO_COLOR.
 */
#ifndef PGVIGIL_CLI_CLI_H
#define PGVIGIL_CLI_CLI_H

#include "pgvigil/base/base.h"

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_CONFIG = 3,
    EXIT_CODE_DAEMON = 4,
    EXIT_CODE_DATABASE = 5,
    EXIT_CODE_PERMISSION = 6,
    EXIT_CODE_STORE_NEWER = 7
};

#define PGVIGIL_VERSION "0.1.0"

/* Options after parsing, the same for all subcommands; unused ones stay NULL. */
struct cli_args {
    const char *config, *url, *output, *time, *start, *end, *step, *for_what, *pg, *role;
    int watch_s; /* -w N; 0 = off */
    bool once, explain, verbose;
    const char *positional[16];
    size_t positional_count;
};

/* run_daemon is given by main: the command line does not know the daemon. */
int cli_main(int argc, char **argv, int (*run_daemon)(const struct cli_args *args));

int cli_check_config(const struct cli_args *args);
int cli_status(const struct cli_args *args);
int cli_health(const struct cli_args *args);
int cli_grants(const struct cli_args *args);
int cli_query(const struct cli_args *args);

/* SQL of the least-privilege role (grants, doctor, zero-config's first message). */
struct buf;
void cli_grants_sql(int pg_major, const char *role, struct buf *out);

#endif
