/*
 * `pgvigil check-config`: what the daemon would refuse at start, told without starting it.
 */
#include "cli_private.h"
#include "findings.h"
#include "pgvigil/rules/overrides.h"

int cli_check_config(const struct cli_args *args)
{
    struct diag diag;
    const char *path = args->positional_count > 0 ? args->positional[0] : args->config;
    struct rule_set *set = NULL;
    int rc = EXIT_CODE_OK;
    diag_init(&diag);
    struct config *config = config_load(path, &diag);
    if (config != NULL)
        set = rule_set_of_config(config, &diag);
    if (set == NULL) {
        cli_print_findings(&diag);
        rc = EXIT_CODE_CONFIG;
    } else {
        printf("%s: ok: %zu nodes, %zu pools, %zu alerting and %zu recording rules\n",
               config->path != NULL ? config->path : "zero-config", config->node_count,
               config->pool_count, rule_set_count(set, true), rule_set_count(set, false));
    }
    rule_set_destroy(&set);
    config_unref(&config);
    diag_deinit(&diag);
    return rc;
}
