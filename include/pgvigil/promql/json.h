/*
 * json.h: values as Prometheus' HTTP API gives them. Pure.
 */
#ifndef PGVIGIL_PROMQL_JSON_H
#define PGVIGIL_PROMQL_JSON_H

#include "pgvigil/promql/promql.h"

/* {"resultType":"vector","result":[...]} */
void promql_print_json(const struct promql_value *value, struct buf *out);
/* The same without the last brace: more members can follow. */
void promql_print_json_open(const struct promql_value *value, struct buf *out);

#endif
