/* Rule files: any text gives a set or findings; a set can be walked and its templates expanded. */
#include "pgvigil/base/arena.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/promql/threshold.h"
#include "pgvigil/rules/rule_file.h"
#include "pgvigil/rules/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(struct template *const *templates, size_t k, const struct template_data *values,
                 struct arena *arena)
{
    if (templates != NULL && template_expand(templates[k], values, arena) == NULL)
        __builtin_trap();
}

/* What would be replaced is a part of the text, and can be replaced. */
static void threshold_check(const struct rule *rule)
{
    struct promql_threshold found;
    struct promql_error err;
    size_t whole = strlen(rule->expr_text);
    if (promql_threshold_find(rule->expr, &found) == 0 || found.len == 0)
        return;
    if (found.pos > whole || found.len > whole - found.pos)
        __builtin_trap();
    char *text = mem_printf("%.*s(7)%s", (int)found.pos, rule->expr_text,
                            rule->expr_text + found.pos + found.len);
    struct promql_expr *expr = promql_parse(text, &err);
    if (expr == NULL && whole + 8 < PROMQL_LENGTH_MAX)
        __builtin_trap();
    promql_destroy(&expr);
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label pairs[] = {{"node", "pg1"}};
    struct labels labels = {1, pairs};
    struct template_data values = {
        .labels = &labels, .external_labels = &labels, .external_url = "", .value = 1234.5};
    struct arena *arena = arena_create(0, ARENA_NO_LIMIT);
    struct diag diag;
    diag_init(&diag);
    struct rule_set *set = rule_set_parse("fuzz", (const char *)data, size, &diag);
    for (size_t g = 0; set != NULL && g < set->count; g++)
        for (size_t i = 0; i < set->groups[g].count; i++) {
            threshold_check(&set->groups[g].rules[i]);
            for (size_t k = 0; k < set->groups[g].rules[i].annotation_count; k++)
                take(set->groups[g].rules[i].annotation_templates, k, &values, arena);
        }
    if ((set == NULL) == (diag.count == 0))
        __builtin_trap(); /* refused without a finding, or accepted with one */
    rule_set_destroy(&set);
    diag_deinit(&diag);
    arena_destroy(&arena);
    return 0;
}
