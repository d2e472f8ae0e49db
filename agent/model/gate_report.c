/*
 * gate_report.c: releases what the last run left for the gate. Reports themselves are plain data.
 */
#include "pgvigil/model/gate_report.h"

#include "pgvigil/base/mem.h"

void gate_image_free(struct gate_image *image)
{
    for (size_t i = 0; i < image->timeline_count; i++)
        mem_free(image->timelines[i].entries);
    mem_free(image->timelines);
    mem_free(image->nodes);
    *image = (struct gate_image){0};
}
