/*
 * `pgvigil rules replay`: rules over the local history.
 */
#include "pgvigil/cli/cli.h"

int cli_rules(const struct cli_args *args)
{
    (void)args;
    fputs("usage: pgvigil rules replay [FILE...] [--since DURATION] [-o text|json]\n"
          "pgvigil: this build has no such command\n",
          stderr);
    return EXIT_CODE_USAGE;
}
