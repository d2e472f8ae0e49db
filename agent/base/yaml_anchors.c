/*
 * yaml_anchors.c: anchors, aliases and merge keys, as Go's yaml.v3 reads them in rule files.
 *
 * An alias shares the node that it names, so a file costs no more memory than its text; but who
 * walks the tree meets the node again and again. Invariant: counters and depth are those of the
 * tree with every alias written out, and that tree has the same limits as a file without any: a
 * few lines of aliases to aliases (the "billion laughs") end at the first alias that passes one.
 */
#include "yaml_private.h"

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

size_t yaml_anchor_open(struct yaml_build *b, const yaml_char_t *name, struct yaml_node *node,
                        yaml_mark_t mark)
{
    if (!name)
        return 0;
    if (b->anchor_count == YAML_ANCHORS_MAX) {
        yaml_stop(b, mark, "too many anchors in one file");
        return 0;
    }
    if (b->anchor_count == b->anchor_cap) {
        size_t cap = b->anchor_cap > 0 ? b->anchor_cap * 2 : 8;

        b->anchors =
            arena_grow_array(b->doc->arena, b->anchors, b->anchor_cap, cap, sizeof(*b->anchors));
        b->anchor_cap = cap;
    }
    b->anchors[b->anchor_count++] = (struct yaml_anchor){
        .name = arena_strdup(b->doc->arena, (const char *)name),
        .node = node,
        .nodes = b->nodes,
        .bytes = b->bytes,
        .is_open = true,
    };
    return b->anchor_count;
}

void yaml_anchor_close(struct yaml_build *b, size_t anchor, size_t height)
{
    if (anchor == 0)
        return;
    struct yaml_anchor *a = &b->anchors[anchor - 1];

    a->nodes = b->nodes - a->nodes;
    a->bytes = b->bytes - a->bytes;
    a->height = height;
    a->is_open = false;
}

/* The last one of that name above: a name may be used again. */
static const struct yaml_anchor *anchor_find(const struct yaml_build *b, const char *name)
{
    for (size_t i = b->anchor_count; i > 0; i--)
        if (str_eq(b->anchors[i - 1].name, name))
            return &b->anchors[i - 1];
    return NULL;
}

bool yaml_alias_place(struct yaml_build *b, const yaml_char_t *name, yaml_mark_t mark)
{
    const struct yaml_anchor *a = anchor_find(b, (const char *)name);

    if (!a || a->is_open) {
        diag_add(b->diag, b->doc->file_name, (int)mark.line + 1, (int)mark.column + 1, "%s '%s' %s",
                 a ? "anchor" : "unknown anchor", (const char *)name,
                 a ? "value contains itself" : "referenced");
        return false;
    }
    if (yaml_is_key_next(b) && a->node->kind != YAML_SCALAR) {
        yaml_stop(b, mark, "a key must be a single word or text");
        return true;
    }
    if (b->depth + a->height > YAML_DEPTH_MAX) {
        yaml_stop(b, mark, "nested too deeply");
        return true;
    }
    b->nodes += a->nodes > 0 ? a->nodes - 1 : 0;
    b->bytes += a->bytes;
    if (b->bytes > YAML_EXPANDED_MAX) {
        yaml_stop(b, mark, "too much text in one file with its aliases");
        return true;
    }
    yaml_place(b, a->node, mark);
    yaml_raise(b, a->height);
    return true;
}

/* ---- merge keys ---- */

static bool is_merge(const struct yaml_node *key)
{
    return !key->quoted && str_eq(key->text, "<<");
}

static bool has_key(const struct yaml_node *map, const char *text)
{
    for (size_t i = 0; i < map->count; i++)
        if (str_eq(map->keys[i]->text, text))
            return true;
    return false;
}

static void too_many(struct yaml_build *b, const struct yaml_node *map)
{
    yaml_mark_t mark = {.line = (size_t)map->line - 1, .column = (size_t)map->col - 1};

    yaml_stop(b, mark, "too many keys in a map with a merge key");
}

static void merge_map(struct yaml_build *b, struct yaml_node *into, const struct yaml_node *from)
{
    for (size_t i = 0; i < from->count && !b->is_stopped; i++) {
        if (has_key(into, from->keys[i]->text))
            continue;
        if (into->count == YAML_MERGE_MAX) {
            too_many(b, into);
            return;
        }
        into->keys[into->count] = from->keys[i];
        into->items[into->count++] = from->items[i];
    }
}

/* How many keys the value of a merge key brings at most. */
static size_t merge_room(const struct yaml_node *value)
{
    size_t room = value->kind == YAML_MAP ? value->count : 0;

    for (size_t i = 0; value->kind == YAML_SEQ && i < value->count; i++)
        room += value->items[i]->kind == YAML_MAP ? value->items[i]->count : 0;
    return room;
}

/* The value of a merge key: a map, or a list of them of which the first has precedence. */
static void merge_value(struct yaml_build *b, struct yaml_node *into, const struct yaml_node *value)
{
    size_t n = value->kind == YAML_SEQ ? value->count : 1;

    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *from = value->kind == YAML_SEQ ? value->items[i] : value;

        if (from->kind == YAML_MAP)
            merge_map(b, into, from);
        else
            diag_add(b->diag, b->doc->file_name, value->line, value->col,
                     "map merge requires map or sequence of maps as the value");
    }
}

void yaml_merge(struct yaml_build *b, struct yaml_node *map)
{
    struct yaml_node merged = *map;
    size_t merges = 0, room = map->count;

    for (size_t i = 0; i < map->count; i++) {
        if (!is_merge(map->keys[i]))
            continue;
        merges++;
        room += merge_room(map->items[i]);
    }
    if (merges == 0)
        return;
    if (map->count > YAML_MERGE_MAX) {
        too_many(b, map);
        return;
    }
    /* Not the limit: a file of small maps with a merge key each would cost a gigabyte. */
    room = size_min(room, YAML_MERGE_MAX);
    merged.keys = arena_alloc_array(b->doc->arena, room, sizeof(*merged.keys));
    merged.items = arena_alloc_array(b->doc->arena, room, sizeof(*merged.items));
    merged.count = 0;
    /* The map's own keys stand over what is merged, wherever they are written. */
    for (size_t i = 0; i < map->count; i++) {
        if (is_merge(map->keys[i]))
            continue;
        merged.keys[merged.count] = map->keys[i];
        merged.items[merged.count++] = map->items[i];
    }
    for (size_t i = 0; i < map->count; i++)
        if (is_merge(map->keys[i]))
            merge_value(b, &merged, map->items[i]);
    *map = merged;
}
