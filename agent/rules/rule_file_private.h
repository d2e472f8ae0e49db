/*
 * rule_file_private.h: reading (rule_file_read.c) and holding (rule_file.c) a set of rules.
 */
#ifndef AGENT_RULES_RULE_FILE_PRIVATE_H
#define AGENT_RULES_RULE_FILE_PRIVATE_H

#include "pgvigil/base/yaml.h"
#include "pgvigil/rules/rule_file.h"

struct rule_reading {
    const char *file;
    struct diag *diag;
    size_t rules; /* in the whole set so far */
};

/* Adds the groups of one file to the set. */
void rule_file_read(struct rule_reading *r, const struct yaml_node *root, struct rule_set *set);

/* Name and value are copied; a pair of that name is overwritten. */
void rule_pair_put(struct label **pairs, size_t *count, const char *name, const char *value);
void rule_pairs_sort(struct label *pairs, size_t n);
void rule_pairs_free(struct label *pairs, size_t n);
/* Of pairs that were checked; alert is the rule's name, for texts of errors. */
void rule_templates_parse(const char *alert, const struct label *pairs, size_t n,
                          struct template ***out);
void rule_templates_free(struct template **templates, size_t n);
/* NULL if the text is a template, else why not. */
const char *rule_template_check(const char *alert, const char *text, struct err *err);
void rule_free(struct rule *rule);

#endif
