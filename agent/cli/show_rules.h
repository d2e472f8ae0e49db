/*
 * show_rules.h: the rules in effect, in Prometheus' rule file format and as JSON.
 */
#ifndef AGENT_CLI_SHOW_RULES_H
#define AGENT_CLI_SHOW_RULES_H

#include <jansson.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/rules/rule_file.h"

void show_rules_yaml(const struct rule_set *set, struct buf *out);
json_t *show_rules_json(const struct rule_set *set);

#endif
