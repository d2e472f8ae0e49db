/*
 * main: hands over to the command line. The hidden `guardian` subcommand comes first because it
 * must not touch anything that the daemon sets up.
 */
#include "pgvigil/app.h"
#include "pgvigil/base/str.h"
#include "pgvigil/gate/lease.h"

int main(int argc, char **argv)
{
    if (argc > 1 && str_eq(argv[1], "guardian"))
        return lease_guardian_main(argc - 1, argv + 1);
    return cli_main(argc, argv, app_run);
}
