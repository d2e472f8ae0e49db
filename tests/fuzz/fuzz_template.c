/* Templates: whatever is accepted expands over data of several shapes, within its limits. */
#include <math.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct label two[] = {{"job", "api"}, {"node", "pg1:5432"}};
static const struct label odd[] = {{"__name__", "q"}, {"job", "\xff\xc3\xa9<&\"'%d{{"}};
static struct promql_sample samples[] = {{{2, two}, 1.5}, {{2, odd}, -NAN}, {{0, NULL}, 1e300}};

/* The first letter chooses the shape of the answer. */
static bool query(const char *expr, struct arena *arena, struct promql_value *out, struct err *err,
                  void *arg)
{
    (void)arena;
    (void)arg;
    *out = (struct promql_value){.type = PROMQL_VECTOR, .vector = samples, .n = 3};
    if (*expr == 's')
        out->type = PROMQL_SCALAR;
    else if (*expr == 'x')
        out->type = PROMQL_STRING;
    else if (*expr == 'n')
        out->n = 0;
    else if (*expr == 'e')
        return err_set(err, ERR_INVALID, "%.100s", expr);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct labels sets[] = {{2, two}, {2, odd}, {0, NULL}};
    static const double values[] = {-0.0125, 1234567, NAN};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct err err = {0};
    char *text = mem_strndup((const char *)data, size);
    struct template *t = template_parse("fuzz", text, &err);
    for (size_t i = 0; t != NULL && i < ARRAY_LEN(sets); i++) {
        struct template_data given = {.labels = &sets[i],
                                      .external_labels = &sets[ARRAY_LEN(sets) - 1 - i],
                                      .external_url = i > 0 ? "http://x/y?z" : "",
                                      .value = values[i],
                                      .t = 1700000000123,
                                      .query = i < 2 ? query : NULL};
        const char *out = template_expand(t, &given, arena);
        if (strlen(out) > 4 * (size_t)65536)
            __builtin_trap();
        arena_reset(arena);
    }
    if (t == NULL && err.text[0] == '\0')
        __builtin_trap();
    template_destroy(&t);
    mem_free(text);
    arena_destroy(&arena);
    return 0;
}
