/*
 * yaml_private.h: the tree while it is built, for yaml.c (events) and yaml_anchors.c (what Go's
 * dialect adds: anchors, aliases, merge keys).
 */
#ifndef AGENT_BASE_YAML_PRIVATE_H
#define AGENT_BASE_YAML_PRIVATE_H

#include <yaml.h>

#include "pgvigil/base/arena.h"
#include "pgvigil/base/yaml.h"

struct yaml_doc {
    struct arena *arena;
    char *file_name;
    struct yaml_node *root;
};

/* A node with a name; an alias stands for the node itself, which is shared and never copied. */
struct yaml_anchor {
    const char *name;
    struct yaml_node *node;
    size_t nodes, bytes; /* of the whole tree below it; while it is open: what came before it */
    size_t height;
    bool is_open; /* its end has not come: an alias to it would contain itself */
};

/* A sequence or map that is not finished. */
struct yaml_frame {
    struct yaml_node *node;
    size_t cap;
    size_t height;         /* of what it holds */
    size_t anchor;         /* its own, from 1; 0 = none */
    struct yaml_node *key; /* map: waits for its value */
};

struct yaml_build {
    struct yaml_doc *doc;
    struct diag *diag;
    enum yaml_dialect dialect;
    struct yaml_frame frames[YAML_DEPTH_MAX];
    size_t depth;
    size_t nodes, bytes; /* as if every alias were written out */
    struct yaml_anchor *anchors;
    size_t anchor_count, anchor_cap;
    bool has_document;
    bool is_stopped;
};

void yaml_find(struct yaml_build *b, yaml_mark_t mark, const char *text);
void yaml_stop(struct yaml_build *b, yaml_mark_t mark, const char *text);
/* Puts a node where the next one belongs; counts it as one. */
void yaml_place(struct yaml_build *b, struct yaml_node *node, yaml_mark_t mark);
/* Does a key of a map come next? */
bool yaml_is_key_next(const struct yaml_build *b);
/* For the frames around: something of this height (a scalar has 0) was put into the top one. */
void yaml_raise(struct yaml_build *b, size_t height);

/* The anchor of a node that begins: its number, 0 if there is none or no room for it. */
size_t yaml_anchor_open(struct yaml_build *b, const yaml_char_t *name, struct yaml_node *node,
                        yaml_mark_t mark);
void yaml_anchor_close(struct yaml_build *b, size_t anchor, size_t height);
/* Puts what the alias stands for; false (told) if it stands for nothing. */
bool yaml_alias_place(struct yaml_build *b, const yaml_char_t *name, yaml_mark_t mark);
/* Replaces `<<` by the pairs that it brings. */
void yaml_merge(struct yaml_build *b, struct yaml_node *map);

#endif
