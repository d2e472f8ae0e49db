/*
 * app.h: the daemon: the only place that knows all stages and wires them.
 */
#ifndef PGVIGIL_APP_H
#define PGVIGIL_APP_H

#include "pgvigil/cli/cli.h"

/* `pgvigil run`: foreground until SIGTERM or SIGINT; SIGHUP reloads. Returns an exit code. */
int app_run(const struct cli_args *args);

#endif
