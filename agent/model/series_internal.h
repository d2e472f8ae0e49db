/*
 * series_internal.h: what batches need from the series table beside its public side.
 */
#ifndef SERIES_INTERNAL_H
#define SERIES_INTERNAL_H

#include "pgvigil/model/series.h"

/* Counts a sample that was refused before it reached the table. */
void series_table_refuse(struct series_table *table);

#endif
