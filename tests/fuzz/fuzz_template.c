/* Templates: what template_check accepts expands without an error of syntax. */
#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "pgvigil/rules/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label pairs[] = {{"node", "pg1"}};
    struct labels labels = {1, pairs};
    struct template_data values = {&labels, &labels, -0.0125};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct err err = {0};
    char *text = mem_strndup((const char *)data, size);
    bool ok = template_check(text, &err);
    const char *out = template_expand(text, &values, arena);
    if (ok && strstr(out, "unclosed action") != NULL && strstr(text, "unclosed") == NULL)
        __builtin_trap();
    mem_free(text);
    arena_destroy(&arena);
    return 0;
}
