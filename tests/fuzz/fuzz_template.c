/* Templates: what is accepted expands. */
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label pairs[] = {{"node", "pg1"}};
    struct labels labels = {1, pairs};
    struct template_data values = {
        .labels = &labels, .external_labels = &labels, .external_url = "", .value = -0.0125};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct err err = {0};
    char *text = mem_strndup((const char *)data, size);
    struct template *t = template_parse("fuzz", text, &err);
    if (t != NULL && template_expand(t, &values, arena) == NULL)
        __builtin_trap();
    template_destroy(&t);
    mem_free(text);
    arena_destroy(&arena);
    return 0;
}
