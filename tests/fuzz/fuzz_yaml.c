/* Any bytes as a YAML file: the tree is whole, inside its limits, and nothing fails silently. */
#include "pgvigil/base/yaml.h"

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static size_t walk(const struct yaml_node *node, int depth)
{
    size_t nodes = 1;
    bool v;

    require(depth <= YAML_DEPTH_MAX);
    require(node->line >= 1 && node->col >= 1);
    if (node->kind == YAML_SCALAR) {
        require(strlen(node->text) == node->len);
        require(!(yaml_bool(node, &v) && yaml_is_null(node)));
        return nodes;
    }
    for (size_t i = 0; i < node->count; i++) {
        if (node->kind == YAML_MAP) {
            require(node->keys[i]->kind == YAML_SCALAR);
            nodes++;
            /* Long maps are looked up in part: the look-up is linear. */
            require(i > 100 || yaml_get(node, node->keys[i]->text));
        }
        nodes += walk(node->items[i], depth + 1);
    }
    return nodes;
}

static void print_check(const struct diag *diag)
{
    struct buf out;

    buf_init(&out, (size_t)1 << 20);
    diag_print(diag, &out);
    require(buf_ok(&out) && (diag->count > 0) == (out.len > 0));
    for (size_t i = 0; i < diag->count; i++)
        require(diag->entries[i].line >= 1 && diag->entries[i].col >= 1);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(enum yaml_dialect dialect, const uint8_t *data, size_t size)
{
    struct diag diag;
    struct yaml_doc *doc;

    diag_init(&diag);
    doc = yaml_parse_as(dialect, "fuzz", (const char *)data, size, &diag);
    if (doc)
        require(walk(yaml_root(doc), 0) <= YAML_NODES_MAX + 1);
    else
        require(diag.count > 0);
    print_check(&diag);
    yaml_destroy(&doc);
    diag_deinit(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(YAML_STRICT, data, size);
    parse(YAML_GO, data, size);
    return 0;
}
