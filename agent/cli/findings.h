/*
 * findings.h: what is wrong with files, for people.
 */
#ifndef AGENT_CLI_FINDINGS_H
#define AGENT_CLI_FINDINGS_H

#include "pgvigil/base/diag.h"

/* To stderr, in the order of their places. */
void cli_print_findings(const struct diag *diag);

#endif
