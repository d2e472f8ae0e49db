/*
 * yaml.h: a YAML file as a tree in which every node knows its line and column.
 *
 * Built on libyaml's event parser; strict: one document, anchors, aliases, tags and merge keys are
 * errors, so are duplicate keys, non-scalar keys and depth or size over the limits. All nodes live
 * in the document and die with it. Findings go to a struct diag; a document with findings may still
 * be walked.
 */
#ifndef PGVIGIL_BASE_YAML_H
#define PGVIGIL_BASE_YAML_H

#include "pgvigil/base/diag.h"
#include "pgvigil/base/err.h"

#define YAML_FILE_MAX  (4 * 1024 * 1024)
#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 200000

enum yaml_kind { YAML_SCALAR, YAML_SEQ, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    int line, col;    /* from 1 */
    const char *text; /* scalar: NUL-terminated */
    size_t len;
    bool quoted;              /* scalar: '..', "..", | or > */
    size_t count;             /* seq: items; map: pairs */
    struct yaml_node **items; /* seq: items; map: values */
    struct yaml_node **keys;  /* map: keys (scalars) */
};

struct yaml_doc;

/* NULL only when nothing could be read at all (told in diag). An empty text gives an empty map. */
struct yaml_doc *yaml_parse(const char *file_name, const char *text, size_t len, struct diag *diag);
/* Reads the file (regular, at most YAML_FILE_MAX) and parses it. */
struct yaml_doc *yaml_load(const char *path, struct diag *diag);
void yaml_destroy(struct yaml_doc **doc);
const struct yaml_node *yaml_root(const struct yaml_doc *doc);
const char *yaml_file_name(const struct yaml_doc *doc);
/* Value of a key, or NULL. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* Plain (unquoted) null, ~ or empty. */
bool yaml_is_null(const struct yaml_node *node);
/* Plain true/false (YAML 1.2 core: any other word is not a boolean). */
bool yaml_bool(const struct yaml_node *node, bool *out) MUST_CHECK;
/* Reads a whole file into memory: NUL-terminated, mem_free. For rule and secret files too. */
char *yaml_read_file(const char *path, size_t max, size_t *len, struct err *err) MUST_CHECK;

#endif
