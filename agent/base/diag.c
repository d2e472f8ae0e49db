/*
 * diag.c: findings are kept in the order in which they were found and sorted when printed.
 *
 * Checks run by meaning (all keys, then all units, ...), people read by line. Invariant: count
 * never passes DIAG_MAX, so a hostile file costs a bounded amount of memory.
 */
#include "pgvigil/base/diag.h"

#include <stdarg.h>

#include "pgvigil/base/mem.h"

#define DIAG_TEXT_MAX 1024

void diag_init(struct diag *d)
{
    *d = (struct diag){0};
}

void diag_deinit(struct diag *d)
{
    for (size_t i = 0; i < d->count; i++) {
        mem_free(d->entries[i].file);
        mem_free(d->entries[i].text);
    }
    mem_free(d->entries);
    *d = (struct diag){0};
}

void diag_add(struct diag *d, const char *file, int line, int col, const char *fmt, ...)
{
    char text[DIAG_TEXT_MAX];
    va_list ap;

    if (d->count == DIAG_MAX) {
        d->dropped++;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* Grown by one: findings are rare, and there are at most DIAG_MAX. */
    d->entries = mem_realloc_array(d->entries, d->count + 1, sizeof(*d->entries));
    d->entries[d->count++] = (struct diag_entry){
        .file = mem_strdup(file ? file : ""),
        .line = line,
        .col = col,
        .text = mem_strdup(text),
    };
}

/* Pointers into one array: the address is the last key and makes the order stable. */
static int entry_order(const void *pa, const void *pb)
{
    const struct diag_entry *a = *(const struct diag_entry *const *)pa;
    const struct diag_entry *b = *(const struct diag_entry *const *)pb;
    int by_file = strcmp(a->file, b->file);

    if (by_file != 0)
        return by_file;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->col != b->col)
        return a->col < b->col ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void entry_print(const struct diag_entry *e, struct buf *out)
{
    if (e->file[0])
        buf_printf(out, "%s:", e->file);
    if (e->line > 0)
        buf_printf(out, "%d:", e->line);
    if (e->line > 0 && e->col > 0)
        buf_printf(out, "%d:", e->col);
    buf_printf(out, "%s%s\n", e->file[0] || e->line > 0 ? " " : "", e->text);
}

void diag_print(const struct diag *d, struct buf *out)
{
    const struct diag_entry **order = mem_alloc_array(d->count, sizeof(const struct diag_entry *));

    for (size_t i = 0; i < d->count; i++)
        order[i] = &d->entries[i];
    qsort(order, d->count, sizeof(const struct diag_entry *), entry_order);
    for (size_t i = 0; i < d->count; i++)
        entry_print(order[i], out);
    if (d->dropped > 0)
        buf_printf(out, "and %zu more\n", d->dropped);
    mem_free(order);
}
