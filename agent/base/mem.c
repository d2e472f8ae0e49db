/*
 * mem.c: the C library's allocator, with "no" as an answer taken away.
 *
 * A daemon that tests each allocation has thousands of paths that no test walks; one that ends and
 * is started again has one. Invariant: nothing here returns NULL.
 */
#include "pgvigil/base/mem.h"

#include <stdarg.h>
#include <unistd.h>

static NORETURN void mem_fail(void)
{
    static const char text[] = "out of memory: ending, the service manager starts again\n";
    /* Not through the log: it must work with nothing left, in any thread. */
    ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)n;
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = calloc(1, n > 0 ? n : 1);

    if (!p)
        mem_fail();
    return p;
}

void *mem_alloc_array(size_t count, size_t size)
{
    void *p = count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1);

    if (!p)
        mem_fail();
    return p;
}

void *mem_realloc_array(void *p, size_t count, size_t size)
{
    /* A size of 0 would free p and return NULL. */
    void *grown = count > 0 && size > 0 ? reallocarray(p, count, size) : realloc(p, 1);

    if (!grown)
        mem_fail();
    return grown;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, SIZE_MAX);
}

char *mem_strndup(const char *s, size_t n)
{
    size_t len = n == SIZE_MAX ? strlen(s) : strnlen(s, n);
    char *copy = mem_realloc_array(NULL, len + 1, 1);

    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0 || !text)
        mem_fail();
    return text;
}

void mem_free(void *p)
{
    free(p);
}
