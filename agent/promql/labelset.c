/*
 * labelset.c: label sets as keys of joins and groups.
 *
 * A key is never built to be compared: it is hashed and compared in place, label by label, and
 * built once per result. Invariant: equal keys have equal hashes because both walk the labels in
 * their sorted order and skip the same names; labels without a value do not exist in a set.
 */
#include "promql_private.h"

#include "pgvigil/base/str.h"

static bool list_has(const struct label_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->names[i], name))
            return true;
    return false;
}

/* The name, and the type and unit that go where it goes. */
static bool is_metadata(const char *name)
{
    return name[0] == '_' && name[1] == '_' &&
           (str_eq(name, LABEL_METRIC) || str_eq(name, "__type__") || str_eq(name, "__unit__"));
}

static bool in_key(const struct key_spec *spec, const char *name)
{
    if (spec->only)
        return list_has(&spec->labels, name);
    if (!spec->keep_name && is_metadata(name))
        return false;
    return !list_has(&spec->labels, name);
}

uint64_t key_hash(const struct key_spec *spec, const struct labels *ls)
{
    uint64_t hash = STR_HASH_SEED;

    for (size_t i = 0; i < ls->n; i++) {
        if (!in_key(spec, ls->v[i].name))
            continue;
        /* With their NULs, so that ("ab", "c") is not ("a", "bc"). */
        hash = str_hash(ls->v[i].name, strlen(ls->v[i].name) + 1, hash);
        hash = str_hash(ls->v[i].value, strlen(ls->v[i].value) + 1, hash);
    }
    return hash;
}

bool key_equal(const struct key_spec *spec, const struct labels *a, const struct labels *b)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a->n && !in_key(spec, a->v[i].name))
            i++;
        while (j < b->n && !in_key(spec, b->v[j].name))
            j++;
        if (i == a->n || j == b->n)
            return i == a->n && j == b->n;
        if (!str_eq(a->v[i].name, b->v[j].name) || !str_eq(a->v[i].value, b->v[j].value))
            return false;
        i++;
        j++;
    }
}

struct labels key_labels(struct arena *arena, const struct key_spec *spec, const struct labels *ls)
{
    struct label *out = arena_alloc_array(arena, ls->n, sizeof(*out));
    size_t n = 0;

    for (size_t i = 0; i < ls->n; i++)
        if (in_key(spec, ls->v[i].name))
            out[n++] = ls->v[i];
    return (struct labels){.n = n, .v = out};
}

struct labels labels_with(struct arena *arena, const struct labels *ls, const char *name,
                          const char *value)
{
    struct label *out = arena_alloc_array(arena, ls->n + 1, sizeof(*out));
    bool done = *value == '\0';
    size_t n = 0;

    for (size_t i = 0; i < ls->n; i++) {
        int order = strcmp(ls->v[i].name, name);

        if (order >= 0 && !done) {
            out[n++] = (struct label){.name = name, .value = value};
            done = true;
        }
        if (order != 0)
            out[n++] = ls->v[i];
    }
    if (!done)
        out[n++] = (struct label){.name = name, .value = value};
    return (struct labels){.n = n, .v = out};
}

bool key_index_init(struct eval *ev, struct key_index *index, const struct key_spec *spec,
                    size_t max_keys)
{
    size_t slots = 8;

    while (slots < 2 * max_keys)
        slots *= 2;
    *index = (struct key_index){.spec = *spec, .slot_count = slots};
    index->slots = eval_array(ev, slots, sizeof(*index->slots));
    index->labels = eval_array(ev, max_keys, sizeof(*index->labels));
    index->hashes = eval_array(ev, max_keys, sizeof(*index->hashes));
    return index->slots && index->labels && index->hashes;
}

/* The slot that holds the key, or the free one where it belongs; slots hold group + 1. */
static size_t find_slot(const struct key_index *index, const struct labels *ls, uint64_t hash)
{
    size_t slot = hash & (index->slot_count - 1);

    for (; index->slots[slot] != 0; slot = (slot + 1) & (index->slot_count - 1)) {
        size_t group = index->slots[slot] - 1;

        if (index->hashes[group] == hash && key_equal(&index->spec, index->labels[group], ls))
            break;
    }
    return slot;
}

size_t key_index_add(struct key_index *index, const struct labels *ls)
{
    uint64_t hash = key_hash(&index->spec, ls);
    size_t slot = find_slot(index, ls, hash);

    if (index->slots[slot] == 0) {
        index->labels[index->n] = ls;
        index->hashes[index->n] = hash;
        index->slots[slot] = (uint32_t)++index->n;
    }
    return index->slots[slot] - 1;
}

size_t key_index_find(const struct key_index *index, const struct labels *ls)
{
    size_t slot = find_slot(index, ls, key_hash(&index->spec, ls));

    return index->slots[slot] == 0 ? KEY_NONE : index->slots[slot] - 1;
}
