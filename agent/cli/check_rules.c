/*
 * `pgvigil check-rules`: rule files as `promtool check rules` sees them.
 */
#include "pgvigil/cli/cli.h"

int cli_check_rules(const struct cli_args *args)
{
    (void)args;
    fputs("usage: pgvigil check-rules FILE...\n"
          "pgvigil: this build has no such command\n",
          stderr);
    return EXIT_CODE_USAGE;
}
