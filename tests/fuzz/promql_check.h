/*
 * promql_check.h: what is true of every result of the engine; shared by the fuzz targets.
 */
#ifndef PGVIGIL_FUZZ_PROMQL_CHECK_H
#define PGVIGIL_FUZZ_PROMQL_CHECK_H

#include "../unit/promql/mem_reader.h"
#include "pgvigil/promql/promql.h"

static inline void require(bool is_true)
{
    if (!is_true)
        abort();
}

static inline void check_labels(const struct labels *ls)
{
    for (size_t i = 0; i < ls->n; i++) {
        require(ls->v[i].name[0] != '\0' && ls->v[i].value[0] != '\0');
        require(i == 0 || strcmp(ls->v[i - 1].name, ls->v[i].name) < 0);
    }
}

static inline void check_matrix(const struct promql_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        check_labels(&v->matrix[i].labels);
        require(v->matrix[i].n > 0);
        for (size_t k = 1; k < v->matrix[i].n; k++)
            require(v->matrix[i].points[k - 1].t < v->matrix[i].points[k].t);
        require(i == 0 || labels_compare(&v->matrix[i - 1].labels, &v->matrix[i].labels) < 0);
    }
}

static inline void check_notes(const struct promql_value *v)
{
    require(v->note_count <= PROMQL_NOTES_MAX);
    for (size_t i = 0; i < v->note_count; i++)
        require(v->notes[i].text[0] != '\0' && v->notes[i].line >= 1 && v->notes[i].col >= 1);
}

static inline void check_value(const struct promql_value *v, bool is_range)
{
    require(!is_range || v->type == PROMQL_MATRIX);
    if (v->type == PROMQL_MATRIX)
        check_matrix(v);
    for (size_t i = 0; v->type == PROMQL_VECTOR && i < v->n; i++) {
        check_labels(&v->vector[i].labels);
        require(!point_is_stale(v->vector[i].value));
    }
    if (v->type == PROMQL_STRING)
        require(v->string != NULL);
    check_notes(v);
}

static inline void check_error(const struct err *err)
{
    require(err->kind != ERR_NONE && err->text[0] != '\0');
}

#endif
