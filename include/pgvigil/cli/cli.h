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

/* Rule files and tests that one call takes: a directory's worth by the shell's globs. */
#define CLI_FILES_MAX 1024
#define CLI_RUNS_MAX  16

/* Options after parsing, the same for all subcommands; unused ones stay NULL. */
struct cli_args {
    const char *config, *url, *output, *time, *start, *end, *step, *for_what, *pg, *role;
    const char *since, *lint;
    const char *runs[CLI_RUNS_MAX]; /* test-rules --run: any of them */
    size_t run_count;
    int watch_s; /* -w N; 0 = off */
    bool once, explain, verbose, lint_fatal;
    const char *positional[CLI_FILES_MAX];
    size_t positional_count;
};

/* run_daemon is given by main: the command line does not know the daemon. */
int cli_main(int argc, char **argv, int (*run_daemon)(const struct cli_args *args));

int cli_check_config(const struct cli_args *args);
int cli_status(const struct cli_args *args);
int cli_health(const struct cli_args *args);
int cli_grants(const struct cli_args *args);
int cli_query(const struct cli_args *args);
int cli_check_rules(const struct cli_args *args);
int cli_test_rules(const struct cli_args *args);
int cli_config_show(const struct cli_args *args);
int cli_rules(const struct cli_args *args); /* rules replay */

/* SQL of the least-privilege role (grants, doctor, zero-config's first message). */
struct buf;
void cli_grants_sql(int pg_major, const char *role, struct buf *out);

#endif
