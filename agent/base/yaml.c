/*
 * yaml.c: a tree built from libyaml's events by a loop with a stack of its own.
 *
 * libyaml's document loader would resolve aliases, forget where duplicate keys stood and recurse;
 * its events keep the place of everything, and a loop can stop at a limit: parsing ends at the
 * first event that passes one, so a hostile file costs no more than a large honest one. Invariant:
 * the tree is whole after every event (arrays are in their nodes, a key without a value is not in
 * its map), so it can be walked wherever parsing ended.
 */
#include "pgvigil/base/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"
#include "yaml_private.h"

#define YAML_TAG_PREFIX "tag:yaml.org,2002:"
#define READ_STEP_BYTES ((size_t)64 * 1024)

void yaml_find(struct yaml_build *b, yaml_mark_t mark, const char *text)
{
    diag_add(b->diag, b->doc->file_name, (int)mark.line + 1, (int)mark.column + 1, "%s", text);
}

void yaml_stop(struct yaml_build *b, yaml_mark_t mark, const char *text)
{
    yaml_find(b, mark, text);
    b->is_stopped = true;
}

/* ---- building ---- */

static struct yaml_node *node_create(struct yaml_build *b, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = arena_alloc(b->doc->arena, sizeof(*node));

    node->kind = kind;
    node->line = (int)mark.line + 1;
    node->col = (int)mark.column + 1;
    return node;
}

bool yaml_is_key_next(const struct yaml_build *b)
{
    const struct yaml_frame *top = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;

    return top && top->node->kind == YAML_MAP && !top->key;
}

static void frame_append(struct yaml_build *b, struct yaml_frame *top, struct yaml_node *node)
{
    struct yaml_node *into = top->node;

    if (into->count == top->cap) {
        size_t cap = top->cap > 0 ? top->cap * 2 : 4;

        into->items =
            arena_grow_array(b->doc->arena, into->items, top->cap, cap, sizeof(*into->items));
        if (into->kind == YAML_MAP)
            into->keys =
                arena_grow_array(b->doc->arena, into->keys, top->cap, cap, sizeof(*into->keys));
        top->cap = cap;
    }
    if (into->kind == YAML_MAP)
        into->keys[into->count] = top->key;
    into->items[into->count++] = node;
    top->key = NULL;
}

/* Puts a node where the next one belongs. A key has to be a scalar: who calls has seen to it. */
void yaml_place(struct yaml_build *b, struct yaml_node *node, yaml_mark_t mark)
{
    if (++b->nodes > YAML_NODES_MAX) {
        yaml_stop(b, mark, "too many values in one file");
        return;
    }
    if (yaml_is_key_next(b))
        b->frames[b->depth - 1].key = node;
    else if (b->depth > 0)
        frame_append(b, &b->frames[b->depth - 1], node);
    else
        b->doc->root = node;
}

void yaml_raise(struct yaml_build *b, size_t height)
{
    if (b->depth > 0 && b->frames[b->depth - 1].height < height)
        b->frames[b->depth - 1].height = height;
}

static void anchor_check(struct yaml_build *b, const yaml_char_t *anchor, yaml_mark_t mark)
{
    if (anchor && b->dialect == YAML_STRICT)
        yaml_find(b, mark, "anchors are not allowed");
}

/* Only what was written: libyaml leaves the tag out unless it stands in the text. */
static void tag_check(struct yaml_build *b, const yaml_char_t *tag, yaml_mark_t mark)
{
    if (tag && b->dialect == YAML_STRICT)
        yaml_find(b, mark, "tags are not allowed");
    else if (tag && str_eq((const char *)tag, YAML_TAG_PREFIX "binary"))
        yaml_find(b, mark, "!!binary is not supported: write the text itself");
}

static void scalar_add(struct yaml_build *b, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    size_t len = event->data.scalar.length;
    struct yaml_node *node = node_create(b, YAML_SCALAR, event->start_mark);

    anchor_check(b, event->data.scalar.anchor, event->start_mark);
    tag_check(b, event->data.scalar.tag, event->start_mark);
    if (memchr(text, '\0', len))
        yaml_find(b, event->start_mark, "a text may not hold a NUL character");
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
                   (tag && str_eq(tag, YAML_TAG_PREFIX "str"));
    node->text = arena_strndup(b->doc->arena, text, len);
    node->len = strlen(node->text);
    if (b->dialect == YAML_STRICT && yaml_is_key_next(b) && !node->quoted &&
        str_eq(node->text, "<<"))
        yaml_find(b, event->start_mark, "merge keys are not allowed");
    size_t anchor = b->dialect == YAML_STRICT
                        ? 0
                        : yaml_anchor_open(b, event->data.scalar.anchor, node, event->start_mark);
    b->bytes += len;
    yaml_place(b, node, event->start_mark);
    yaml_anchor_close(b, anchor, 0);
}

/* Reads on as if a null stood there: one finding, and the keys around it are still checked. */
static void alias_add(struct yaml_build *b, const yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;

    if (b->dialect == YAML_STRICT)
        yaml_find(b, mark, "aliases are not allowed");
    else if (yaml_alias_place(b, event->data.alias.anchor, mark))
        return;
    struct yaml_node *node = node_create(b, YAML_SCALAR, mark);
    node->text = "";
    yaml_place(b, node, mark);
}

static void collection_begin(struct yaml_build *b, enum yaml_kind kind, const yaml_event_t *event,
                             const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct yaml_node *node;
    size_t number;

    anchor_check(b, anchor, event->start_mark);
    tag_check(b, tag, event->start_mark);

    if (yaml_is_key_next(b)) {
        yaml_stop(b, event->start_mark, "a key must be a single word or text");
        return;
    }
    if (b->depth == YAML_DEPTH_MAX) {
        yaml_stop(b, event->start_mark, "nested too deeply");
        return;
    }
    node = node_create(b, kind, event->start_mark);
    number = b->dialect == YAML_STRICT ? 0 : yaml_anchor_open(b, anchor, node, event->start_mark);
    yaml_place(b, node, event->start_mark);
    b->frames[b->depth++] = (struct yaml_frame){.node = node, .anchor = number};
}

/* By text, then by place: equal keys end up side by side, the later one behind. */
static int key_order(const void *pa, const void *pb)
{
    const struct yaml_node *a = *(const struct yaml_node *const *)pa;
    const struct yaml_node *b = *(const struct yaml_node *const *)pb;
    int by_text = strcmp(a->text, b->text);

    if (by_text != 0)
        return by_text;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->col < b->col ? -1 : a->col > b->col;
}

/* Sorted and not compared pairwise: a map of 100,000 keys must not take seconds. */
static void keys_check(struct yaml_build *b, const struct yaml_node *map)
{
    size_t bytes = map->count * sizeof(const struct yaml_node *);
    const struct yaml_node **sorted;

    if (map->count < 2)
        return;
    sorted = mem_alloc(bytes);
    memcpy(sorted, map->keys, bytes);
    qsort(sorted, map->count, sizeof(*sorted), key_order);
    for (size_t i = 1; i < map->count; i++) {
        const struct yaml_node *a = sorted[i - 1], *key = sorted[i];

        if (str_eq(a->text, key->text))
            diag_add(b->diag, b->doc->file_name, key->line, key->col,
                     "duplicate key \"%s\", first on line %d", key->text, a->line);
    }
    mem_free(sorted);
}

static void collection_end(struct yaml_build *b)
{
    struct yaml_frame *top = &b->frames[--b->depth];

    if (top->node->kind == YAML_MAP)
        keys_check(b, top->node);
    if (top->node->kind == YAML_MAP && b->dialect == YAML_GO)
        yaml_merge(b, top->node);
    yaml_anchor_close(b, top->anchor, top->height + 1);
    yaml_raise(b, top->height + 1);
}

static void document_begin(struct yaml_build *b, const yaml_event_t *event)
{
    if (b->has_document) {
        yaml_stop(b, event->start_mark, "only one document may be in a file");
        return;
    }
    b->has_document = true;
    const yaml_version_directive_t *version = event->data.document_start.version_directive;
    if (b->dialect == YAML_GO && version && (version->major != 1 || version->minor != 1))
        yaml_stop(b, event->start_mark, "found incompatible YAML document");
    if (b->dialect == YAML_STRICT && event->data.document_start.tag_directives.start !=
                                         event->data.document_start.tag_directives.end)
        yaml_find(b, event->start_mark, "tags are not allowed");
}

static void event_apply(struct yaml_build *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        document_begin(b, event);
        break;
    case YAML_SCALAR_EVENT:
        scalar_add(b, event);
        break;
    case YAML_ALIAS_EVENT:
        alias_add(b, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        collection_begin(b, YAML_SEQ, event, event->data.sequence_start.anchor,
                         event->data.sequence_start.tag);
        break;
    case YAML_MAPPING_START_EVENT:
        collection_begin(b, YAML_MAP, event, event->data.mapping_start.anchor,
                         event->data.mapping_start.tag);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        collection_end(b);
        break;
    case YAML_STREAM_END_EVENT:
        b->is_stopped = true;
        break;
    default: /* libyaml's enum: stream start, document end */
        break;
    }
}

/* ---- the text before libyaml sees it, and its complaints ---- */

/* Column in characters, as libyaml counts. */
static yaml_mark_t mark_at(const char *text, size_t offset)
{
    yaml_mark_t mark = {.index = offset};

    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/* What libyaml would misread or refuse with an obscure text. False: nothing can be read. */
static bool text_check(struct yaml_build *b, const char **text, size_t *len)
{
    const yaml_mark_t top = {0};
    const char *nul;

    if (*len > YAML_FILE_MAX) {
        yaml_find(b, top, "larger than 4 MiB");
        return false;
    }
    if (*len >= 2 && (memcmp(*text, "\xFF\xFE", 2) == 0 || memcmp(*text, "\xFE\xFF", 2) == 0)) {
        yaml_find(b, top, "is UTF-16: save it as UTF-8");
        return false;
    }
    if (*len >= 3 && memcmp(*text, "\xEF\xBB\xBF", 3) == 0) {
        if (b->dialect == YAML_STRICT)
            yaml_find(b, top, "starts with a byte order mark: save it as UTF-8 without one");
        *text += 3;
        *len -= 3;
    }
    nul = *len > 0 ? memchr(*text, '\0', *len) : NULL;
    if (nul) {
        yaml_find(b, mark_at(*text, (size_t)(nul - *text)), "NUL byte: this is not a text file");
        return false;
    }
    return true;
}

/* Character at a place of libyaml's, to say more than it does. */
static char char_at(const char *text, size_t len, yaml_mark_t mark)
{
    size_t i = 0;

    for (size_t line = 0; i < len && line < mark.line; i++)
        if (text[i] == '\n')
            line++;
    for (size_t column = 0; i < len && column < mark.column; column++)
        i += size_min(len - i, str_utf8_len(text + i) > 0 ? str_utf8_len(text + i) : 1);
    return i < len ? text[i] : '\0';
}

static void parser_error(struct yaml_build *b, const yaml_parser_t *parser, const char *text,
                         size_t len)
{
    const char *problem = parser->problem ? parser->problem : "cannot be read";
    yaml_mark_t mark = parser->problem_mark;

    b->is_stopped = true;
    if (parser->error == YAML_READER_ERROR) {
        yaml_stop(b, mark_at(text, size_min(parser->problem_offset, len)), problem);
        return;
    }
    if (char_at(text, len, mark) == '\t') {
        yaml_find(b, mark, "tabs are not allowed for indentation");
    } else if (parser->context && parser->context_mark.line != mark.line) {
        diag_add(b->diag, b->doc->file_name, (int)mark.line + 1, (int)mark.column + 1,
                 "%s %s that begins on line %zu", problem, parser->context,
                 parser->context_mark.line + 1);
    } else {
        yaml_find(b, mark, problem);
    }
}

static void events_read(struct yaml_build *b, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_event_t event;

    if (!yaml_parser_initialize(&parser))
        abort(); /* it fails only without memory */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (!b->is_stopped) {
        if (!yaml_parser_parse(&parser, &event)) {
            parser_error(b, &parser, text, len);
            break;
        }
        event_apply(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
}

struct yaml_doc *yaml_parse_as(enum yaml_dialect dialect, const char *file_name, const char *text,
                               size_t len, struct diag *diag)
{
    struct yaml_doc *doc = mem_alloc(sizeof(*doc));
    struct yaml_build b = {.doc = doc, .diag = diag, .dialect = dialect};
    size_t findings = diag->count + diag->dropped;

    /* Bounded by the size of the text and the number of nodes. */
    doc->arena = arena_create(0, ARENA_NO_LIMIT);
    doc->file_name = arena_strdup(doc->arena, file_name);
    if (text_check(&b, &text, &len))
        events_read(&b, text, len);
    else
        b.is_stopped = true;
    /* Nothing but comments or "---" is an empty file too. */
    if (doc->root ? yaml_is_null(doc->root) : diag->count + diag->dropped == findings)
        doc->root = node_create(&b, YAML_MAP, (yaml_mark_t){0});
    if (!doc->root)
        yaml_destroy(&doc);
    return doc;
}

struct yaml_doc *yaml_parse(const char *file_name, const char *text, size_t len, struct diag *diag)
{
    return yaml_parse_as(YAML_STRICT, file_name, text, len, diag);
}

struct yaml_doc *yaml_load_as(enum yaml_dialect dialect, const char *path, struct diag *diag)
{
    struct yaml_doc *doc;
    struct err err;
    size_t len;
    char *text = yaml_read_file(path, YAML_FILE_MAX, &len, &err);

    if (!text) {
        diag_add(diag, path, 0, 0, "%s", err.text);
        return NULL;
    }
    doc = yaml_parse_as(dialect, path, text, len, diag);
    mem_free(text);
    return doc;
}

struct yaml_doc *yaml_load(const char *path, struct diag *diag)
{
    return yaml_load_as(YAML_STRICT, path, diag);
}

void yaml_destroy(struct yaml_doc **doc)
{
    if (!*doc)
        return;
    arena_destroy(&(*doc)->arena);
    MEM_FREE_NULL(doc);
}

/* ---- walking ---- */

const struct yaml_node *yaml_root(const struct yaml_doc *doc)
{
    return doc->root;
}

const char *yaml_file_name(const struct yaml_doc *doc)
{
    return doc->file_name;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (str_eq(map->keys[i]->text, key))
            return map->items[i];
    return NULL;
}

/* Is it a plain scalar that reads as one of three spellings (the core schema's)? */
static bool is_plain(const struct yaml_node *node, const char *lower, const char *title,
                     const char *upper)
{
    return node->kind == YAML_SCALAR && !node->quoted &&
           (str_eq(node->text, lower) || str_eq(node->text, title) || str_eq(node->text, upper));
}

bool yaml_is_null(const struct yaml_node *node)
{
    return is_plain(node, "null", "Null", "NULL") || is_plain(node, "~", "", "");
}

bool yaml_bool(const struct yaml_node *node, bool *out)
{
    bool is_true = is_plain(node, "true", "True", "TRUE");

    if (!is_true && !is_plain(node, "false", "False", "FALSE"))
        return false;
    *out = is_true;
    return true;
}

/* ---- files ---- */

static bool file_error(struct err *err, const char *path)
{
    enum err_kind kind = ERR_IO;

    if (errno == ENOENT || errno == ENOTDIR)
        kind = ERR_NOT_FOUND;
    else if (errno == EACCES || errno == EPERM)
        kind = ERR_PERMISSION;
    return err_set(err, kind, "cannot read \"%s\": %m", path);
}

static bool file_too_large(struct err *err, const char *path, size_t max)
{
    return err_set(err, ERR_LIMIT, "cannot read \"%s\": larger than %zu bytes", path, max);
}

/* The size that fstat tells is checked first, so that a huge file costs nothing. */
static bool file_check(int fd, const char *path, size_t max, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return file_error(err, path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "cannot read \"%s\": not a regular file", path);
    if (st.st_size > 0 && (size_t)st.st_size > max)
        return file_too_large(err, path, max);
    return true;
}

/* Reads to the end, whatever fstat said: a file may grow meanwhile, and /proc tells 0. */
static bool file_read(int fd, const char *path, size_t max, struct buf *out, struct err *err)
{
    char *step = mem_alloc(READ_STEP_BYTES);
    bool is_read = false;

    for (;;) {
        ssize_t n = read(fd, step, READ_STEP_BYTES);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            file_error(err, path);
            break;
        }
        is_read = n == 0;
        if (is_read)
            break;
        buf_add(out, step, (size_t)n);
        if (!buf_ok(out)) {
            file_too_large(err, path, max);
            break;
        }
    }
    mem_free(step);
    return is_read;
}

char *yaml_read_file(const char *path, size_t max, size_t *len, struct err *err)
{
    struct buf text;
    char *data = NULL;
    /* Not blocking: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        file_error(err, path);
        return NULL;
    }
    buf_init(&text, max);
    if (file_check(fd, path, max, err) && file_read(fd, path, max, &text, err))
        data = buf_take(&text, len);
    buf_deinit(&text);
    close(fd);
    return data;
}

bool yaml_read_stream(FILE *f, const char *name, struct buf *text, struct diag *diag)
{
    char *step;
    size_t n;

    /* Room for more than a file may have: what is a little longer is told by the parser. */
    buf_init(text, YAML_FILE_MAX + READ_STEP_BYTES);
    if (!f) {
        diag_add(diag, name, 0, 0, "cannot be read: %m");
        return false;
    }
    step = mem_alloc(READ_STEP_BYTES);
    while (buf_ok(text) && (n = fread(step, 1, READ_STEP_BYTES, f)) > 0)
        buf_add(text, step, n);
    if (ferror(f))
        diag_add(diag, name, 0, 0, "cannot be read: %m");
    else if (!buf_ok(text))
        diag_add(diag, name, 0, 0, "larger than %d bytes", YAML_FILE_MAX);
    mem_free(step);
    return !ferror(f) && buf_ok(text);
}
