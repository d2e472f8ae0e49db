/*
 * query_print.h: the `data` of an answer of Prometheus' API for people and for spreadsheets.
 */
#ifndef AGENT_CLI_QUERY_PRINT_H
#define AGENT_CLI_QUERY_PRINT_H

#include <jansson.h>

enum query_format { QUERY_FORMAT_TABLE, QUERY_FORMAT_JSON, QUERY_FORMAT_CSV };

/* On stdout, as a table or as CSV. */
void query_print(const json_t *data, enum query_format format);
/* Warnings and infos of the answer, on stderr. */
void query_print_notes(const json_t *root);

#endif
