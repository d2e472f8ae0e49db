/*
 * yaml.h: a YAML file as a tree in which every node knows its line and column.
 *
 * Built on libyaml's event parser; strict: one document, anchors, aliases, tags and merge keys are
 * errors, so are duplicate keys, non-scalar keys and depth or size over the limits. The dialect of
 * Go's yaml.v3, for files that Prometheus' tools read too, takes anchors, aliases, merge keys, tags
 * and a byte order mark; a node may then stand at several places of the tree, and the limits are
 * those of the tree with every alias written out. All nodes live in the document and die with it.
 * Findings go to a struct diag; a document with findings may still be walked.
 */
#ifndef PGVIGIL_BASE_YAML_H
#define PGVIGIL_BASE_YAML_H

#include <stdio.h>

#include "pgvigil/base/buf.h"
#include "pgvigil/base/diag.h"
#include "pgvigil/base/err.h"

#define YAML_FILE_MAX  (4 * 1024 * 1024)
#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 200000
/* YAML_GO only: text with all aliases written out, anchors, keys of a map with a merge key. */
#define YAML_EXPANDED_MAX (4 * YAML_FILE_MAX)
#define YAML_ANCHORS_MAX  1000
#define YAML_MERGE_MAX    1000

enum yaml_dialect { YAML_STRICT, YAML_GO };

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
/* The same in another dialect than YAML_STRICT. */
struct yaml_doc *yaml_parse_as(enum yaml_dialect dialect, const char *file_name, const char *text,
                               size_t len, struct diag *diag);
struct yaml_doc *yaml_load_as(enum yaml_dialect dialect, const char *path, struct diag *diag);
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
/*
 * Also what is no regular file: a pipe, /dev/stdin; waits for its end. f NULL: it could not be
 * opened, errno says why. False: the finding is told. The text is the caller's in any case.
 */
bool yaml_read_stream(FILE *f, const char *name, struct buf *text, struct diag *diag) MUST_CHECK;

#endif
