/*
 * `pgvigil test-rules`: unit tests of rule files in the format of promtool.
 */
#include "pgvigil/cli/cli.h"

int cli_test_rules(const struct cli_args *args)
{
    (void)args;
    fputs("usage: pgvigil test-rules FILE... [--run REGEX]\n"
          "pgvigil: this build has no such command\n",
          stderr);
    return EXIT_CODE_USAGE;
}
