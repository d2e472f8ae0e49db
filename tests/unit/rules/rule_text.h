/*
 * rule_text.h: a rule file written into a test; include it behind cmocka.h.
 */
#ifndef PGVIGIL_TESTS_RULE_TEXT_H
#define PGVIGIL_TESTS_RULE_TEXT_H

#include "pgvigil/rules/rule_file.h"

static struct rule_set *parse(const char *text)
{
    struct diag diag;
    diag_init(&diag);
    struct rule_set *set = rule_set_parse("t.yml", text, strlen(text), &diag);
    if (set == NULL)
        fail_msg("%s", diag.entries[0].text);
    diag_deinit(&diag);
    return set;
}

#endif
