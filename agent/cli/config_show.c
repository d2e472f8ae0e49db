/*
 * `pgvigil config show`: what the daemon works with.
 */
#include "pgvigil/cli/cli.h"

int cli_config_show(const struct cli_args *args)
{
    (void)args;
    fputs("usage: pgvigil config show [--config FILE] [-o yaml|json]\n"
          "pgvigil: this build has no such command\n",
          stderr);
    return EXIT_CODE_USAGE;
}
