/*
 * overrides.h: `rule_overrides` of the configuration applied to a set of rules.
 *
 * Whoever loads the rules of a configuration does it with rule_set_of_config, so that the daemon,
 * its reload and every command see the same rules.
 */
#ifndef PGVIGIL_RULES_OVERRIDES_H
#define PGVIGIL_RULES_OVERRIDES_H

#include "pgvigil/model/config.h"
#include "pgvigil/rules/rule_file.h"

/* The rule files of the configuration with its overrides. NULL when diag grew. */
struct rule_set *rule_set_of_config(const struct config *config, struct diag *diag);
/*
 * Before the set is used: an override counts for all alerts of its name; a disabled one leaves the
 * set. What cannot be applied is a finding at the place of the override.
 */
void rule_overrides_apply(struct rule_set *set, const struct config *config, struct diag *diag);

#endif
