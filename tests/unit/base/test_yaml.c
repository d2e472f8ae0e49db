/* Tests of yaml.c: the tree, every refusal with its place, and hostile files in bounded time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgvigil/base/clock.h"
#include "pgvigil/base/mem.h"
#include "pgvigil/base/yaml.h"

/* A node as one line, to compare: [a 'quoted' {k:v}]. */
static void dump(const struct yaml_node *node, struct buf *out)
{
    if (node->kind == YAML_SCALAR) {
        buf_printf(out, node->quoted ? "'%s'" : "%s", node->text);
        assert_int_equal(strlen(node->text), node->len);
        return;
    }
    buf_add_char(out, node->kind == YAML_SEQ ? '[' : '{');
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0)
            buf_add_char(out, ' ');
        if (node->kind == YAML_MAP) {
            dump(node->keys[i], out);
            buf_add_char(out, ':');
        }
        dump(node->items[i], out);
    }
    buf_add_char(out, node->kind == YAML_SEQ ? ']' : '}');
}

/* tree NULL: no document. findings: as printed, the file is "f". */
static const struct {
    const char *text, *tree, *findings;
} cases[] = {
    {"", "{}", ""},
    {"# only a comment\n", "{}", ""},
    {"---\n", "{}", ""},
    {"~", "{}", ""},
    {"a: 1\nb: [x, 'y', \"z\"]\nc:\n  - d: |\n      two\n      lines\n  - ~\n",
     "{a:1 b:[x 'y' 'z'] c:[{d:'two\nlines\n'} ~]}", ""},
    {"plain", "plain", ""},
    {"%YAML 1.2\n---\na: 1\n...\n", "{a:1}", ""},
    {"a: 1\na: 2\n", "{a:1 a:2}", "f:2:1: duplicate key \"a\", first on line 1\n"},
    {"a: 1\n'a': 2\nb: {c: 1, d: 2, c: 3, c: 4}\n", "{a:1 'a':2 b:{c:1 d:2 c:3 c:4}}",
     "f:2:1: duplicate key \"a\", first on line 1\nf:3:17: duplicate key \"c\", first on line 3\n"
     "f:3:23: duplicate key \"c\", first on line 3\n"},
    {"a: &x 1\nb: *x\nc: 3\n", "{a:1 b: c:3}",
     "f:1:4: anchors are not allowed\nf:2:4: aliases are not allowed\n"},
    {"a: &x [1]\nb: &y {c: d}\n", "{a:[1] b:{c:d}}",
     "f:1:4: anchors are not allowed\nf:2:4: anchors are not allowed\n"},
    {"*x : 1\n", "{:1}", "f:1:1: aliases are not allowed\n"},
    {"a: !!int 1\nb: !mine [2]\nc: ! x\n", "{a:1 b:[2] c:x}",
     "f:1:4: tags are not allowed\nf:2:4: tags are not allowed\nf:3:4: tags are not allowed\n"},
    {"%TAG ! tag:x,2000:\n---\na: 1\n", "{a:1}", "f:1:1: tags are not allowed\n"},
    {"a: {<<: 1}\n'<<': 2\n", "{a:{<<:1} '<<':2}", "f:1:5: merge keys are not allowed\n"},
    {"a: 1\n? [x]\n: 2\n", "{a:1}", "f:2:3: a key must be a single word or text\n"},
    {"{x: 1}: 2\n", "{}", "f:1:1: a key must be a single word or text\n"},
    {"a: 1\n---\nb: 2\n", "{a:1}", "f:2:1: only one document may be in a file\n"},
    {"a: 1\nb: \"no end\n", "{a:1}",
     "f:3:1: found unexpected end of stream while scanning a quoted scalar that begins on line "
     "2\n"},
    {"a: 1\nb: [1, 2\nc: 3\n", "{a:1 b:[1 2 c]}",
     "f:3:2: did not find expected ',' or ']' while parsing a flow sequence that begins on line "
     "2\n"},
    {"a: 1\n  b: 2\n", "{a:1 b}", "f:2:4: mapping values are not allowed in this context\n"},
    {"a:\n\t- x\n", "{}", "f:2:1: tabs are not allowed for indentation\n"},
    {"gr\xC3\xBC\xC3\x9F"
     "e: 1\n\xC3\xA4: *x\n",
     "{gr\xC3\xBC\xC3\x9F"
     "e:1 \xC3\xA4:}",
     "f:2:4: aliases are not allowed\n"},
    {"a: 1\nb: \xFF\n", NULL, "f:2:4: invalid leading UTF-8 octet\n"},
    {"a: \x01\n", NULL, "f:1:4: control characters are not allowed\n"},
    {"\xEF\xBB\xBF"
     "a: 1\na: 2\n",
     "{a:1 a:2}",
     "f:1:1: starts with a byte order mark: save it as UTF-8 without one\n"
     "f:2:1: duplicate key \"a\", first on line 1\n"},
    {"\xFF\xFE"
     "a",
     NULL, "f:1:1: is UTF-16: save it as UTF-8\n"},
    {"a: \"x\\0y\"\n", "{a:'x'}", "f:1:4: a text may not hold a NUL character\n"},
    {"}", NULL, "f:1:1: did not find expected node content\n"},
};

/* The same in the dialect of Go's yaml.v3. */
static const struct {
    const char *text, *tree, *findings;
} go_cases[] = {
    {"a: &x 1\nb: *x\n*x : c\n", "{a:1 b:1 1:c}", ""},
    {"a: &x {p: 1, q: [2]}\nb: *x\nc: [*x, *x]\n",
     "{a:{p:1 q:[2]} b:{p:1 q:[2]} c:[{p:1 q:[2]} {p:1 q:[2]}]}", ""},
    {"- &x 1\n- &x 2\n- *x\n", "[1 2 2]", ""},
    {"a: *x\n", "{a:}", "f:1:4: unknown anchor 'x' referenced\n"},
    {"a: &x [b, *x]\n", "{a:[b ]}", "f:1:11: anchor 'x' value contains itself\n"},
    {"a: &x [1]\n? *x\n: 2\n", "{a:[1]}", "f:2:3: a key must be a single word or text\n"},
    {"a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n  r: 4\n", "{a:{p:1 q:2} b:{q:3 r:4 p:1}}", ""},
    {"- &x {p: 1}\n- &y {p: 2, q: 3}\n- <<: [*x, *y]\n- {<<: {z: 1}}\n",
     "[{p:1} {p:2 q:3} {p:1 q:3} {z:1}]", ""},
    {"- &x {p: 1}\n- &y {<<: *x, q: 2}\n- {<<: *y}\n", "[{p:1} {q:2 p:1} {q:2 p:1}]", ""},
    {"<<: x\n", "{}", "f:1:5: map merge requires map or sequence of maps as the value\n"},
    {"<<:\na: 1\n", "{a:1}", "f:1:4: map merge requires map or sequence of maps as the value\n"},
    {"<<: {a: 1}\n<<: {b: 2}\n", "{a:1 b:2}", "f:2:1: duplicate key \"<<\", first on line 1\n"},
    {"'<<': {a: 1}\n", "{'<<':{a:1}}", ""},
    {"a: !!str 5\nb: !mine [!!int 2]\n", "{a:'5' b:[2]}", ""},
    {"a: !!binary aGk=\n", "{a:aGk=}", "f:1:4: !!binary is not supported: write the text itself\n"},
    {"\xEF\xBB\xBF"
     "a: 1\n",
     "{a:1}", ""},
    {"%YAML 1.1\n---\na: 1\n", "{a:1}", ""},
    {"%YAML 1.2\n---\na: 1\n", NULL, "f:1:1: found incompatible YAML document\n"},
    {"a: 1\n---\nb: 2\n", "{a:1}", "f:2:1: only one document may be in a file\n"},
};

static enum yaml_dialect dialect = YAML_STRICT;

static void check(const char *text, size_t len, const char *tree, const char *findings)
{
    struct diag d;
    struct buf out;
    struct yaml_doc *doc;

    diag_init(&d);
    buf_init(&out, 100000);
    doc = dialect == YAML_STRICT ? yaml_parse("f", text, len, &d)
                                 : yaml_parse_as(dialect, "f", text, len, &d);
    diag_print(&d, &out);
    assert_string_equal(out.data, findings);
    assert_int_equal(doc != NULL, tree != NULL);
    if (doc) {
        buf_clear(&out);
        dump(yaml_root(doc), &out);
        assert_string_equal(out.data, tree);
        assert_string_equal(yaml_file_name(doc), "f");
        yaml_destroy(&doc);
        assert_null(doc);
    }
    diag_deinit(&d);
    buf_deinit(&out);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i].text, strlen(cases[i].text), cases[i].tree, cases[i].findings);
    check("a: 1\nb: x\0y\n", 13, NULL, "f:2:5: NUL byte: this is not a text file\n");
}

static void test_go_dialect(void **state)
{
    (void)state;
    dialect = YAML_GO;
    for (size_t i = 0; i < ARRAY_LEN(go_cases); i++)
        check(go_cases[i].text, strlen(go_cases[i].text), go_cases[i].tree, go_cases[i].findings);
    dialect = YAML_STRICT;
}

static void test_places_and_values(void **state)
{
    static const char text[] = "top:\n"
                               "  list:\n"
                               "    - {yes: true, no: FALSE, word: on, text: 'true'}\n"
                               "  none: null\n"
                               "  empty:\n"
                               "  quoted: \"\"\n";
    struct diag d;
    struct yaml_doc *doc;
    const struct yaml_node *top, *item;
    bool v;

    (void)state;
    diag_init(&d);
    doc = yaml_parse("f", text, strlen(text), &d);
    assert_int_equal(d.count, 0);
    top = yaml_get(yaml_root(doc), "top");
    assert_int_equal(top->line, 2);
    assert_int_equal(top->col, 3);
    assert_int_equal(yaml_root(doc)->keys[0]->line, 1);
    item = yaml_get(top, "list")->items[0];
    assert_int_equal(item->line, 3);
    assert_int_equal(item->col, 7);
    assert_int_equal(item->keys[1]->col, 19);
    assert_true(yaml_bool(yaml_get(item, "yes"), &v) && v);
    assert_true(yaml_bool(yaml_get(item, "no"), &v) && !v);
    assert_false(yaml_bool(yaml_get(item, "word"), &v));
    assert_false(yaml_bool(yaml_get(item, "text"), &v));
    assert_false(yaml_bool(item, &v));
    assert_true(yaml_is_null(yaml_get(top, "none")));
    assert_true(yaml_is_null(yaml_get(top, "empty")));
    assert_false(yaml_is_null(yaml_get(top, "quoted")));
    assert_false(yaml_is_null(yaml_get(top, "list")));
    assert_null(yaml_get(top, "absent"));
    assert_null(yaml_get(yaml_get(top, "list"), "x"));
    yaml_destroy(&doc);
    yaml_destroy(&doc);
    diag_deinit(&d);
}

/* ---- hostile files (CF1) ---- */

struct hostile {
    const char *begin, *piece, *end;
    size_t pieces;
    const char *finding; /* part of the first one; NULL = none */
};

static const struct hostile hostiles[] = {
    {"", "[", "", 100000, "nested too deeply"},
    {"", "{a: ", "", 100000, "nested too deeply"},
    {"", "- ", "x", 100000, "nested too deeply"},
    {"", "? ", "x", 100000, "a key must be a single word or text"},
    {"", "[", "", YAML_FILE_MAX, "nested too deeply"},
    {"", "[\n", "", YAML_FILE_MAX / 2, "nested too deeply"},
    {"[", "x,", "]", YAML_FILE_MAX / 2 - 2, "too many values"},
    {"", "- \n", "", 199000, NULL},
    {"a: &a [x]\n", "b: [*a, *a, *a, *a]\n", "", 1000, "anchors are not allowed"},
    {"", "a: 1\n", "", 99000, "duplicate key"},
    {"a: '", "\n", "'", YAML_FILE_MAX - 10, NULL},
    {"", "#\n", "", YAML_FILE_MAX / 2, NULL},
    {"a: ", "word ", "", YAML_FILE_MAX / 5 - 2, NULL},
    {"a: |\n", " x\n", "", YAML_FILE_MAX / 3 - 3, NULL},
    {"a: \"", "\\u00e9", "\"", YAML_FILE_MAX / 6 - 2, NULL},
    {"", "x", "", YAML_FILE_MAX + 1, "larger than 4 MiB"},
};

#ifndef __has_feature /* clang's way to tell; gcc has the macros */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOWED 20 /* sanitizers, and other programs on the machine */
#else
#define SLOWED 1
#endif

static char *hostile_text(const struct hostile *h, size_t *len)
{
    struct buf text;

    buf_init(&text, SIZE_MAX);
    buf_add_str(&text, h->begin);
    for (size_t i = 0; i < h->pieces; i++)
        buf_add_str(&text, h->piece);
    buf_add_str(&text, h->end);
    return buf_take(&text, len);
}

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hostiles); i++) {
        size_t len;
        char *text = hostile_text(&hostiles[i], &len);
        uint64_t began_ns;
        struct diag d;
        struct yaml_doc *doc;

        diag_init(&d);
        began_ns = clock_thread_cpu_ns();
        doc = yaml_parse("f", text, len, &d);
        print_message("hostile %zu: %llu us\n", i,
                      (unsigned long long)(clock_thread_cpu_ns() - began_ns) / 1000);
        assert_true(clock_thread_cpu_ns() - began_ns < SLOWED * UINT64_C(100000000));
        if (hostiles[i].finding)
            assert_non_null(strstr(d.entries[0].text, hostiles[i].finding));
        else
            assert_int_equal(d.count, 0);
        assert_true(d.count <= DIAG_MAX);
        yaml_destroy(&doc);
        diag_deinit(&d);
        mem_free(text);
    }
}

/* ---- files ---- */

static char folder[] = "/tmp/pgvigil_yaml_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *write_file(const char *name, const char *text, size_t len)
{
    static char path[200];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    return path;
}

static void test_load(void **state)
{
    const char *path = write_file("ok.yaml", "a: 1\nb: *x\n", 11);
    struct diag d;
    struct yaml_doc *doc;
    struct buf out;

    (void)state;
    diag_init(&d);
    buf_init(&out, 1000);
    doc = yaml_load(path, &d);
    assert_string_equal(yaml_get(yaml_root(doc), "a")->text, "1");
    assert_string_equal(yaml_file_name(doc), path);
    assert_string_equal(d.entries[0].file, path);
    assert_int_equal(d.entries[0].line, 2);
    yaml_destroy(&doc);
    unlink(path);
    assert_null(yaml_load(path, &d));
    assert_int_equal(d.count, 2);
    assert_non_null(strstr(d.entries[1].text, "No such file"));
    diag_deinit(&d);
    buf_deinit(&out);
}

static void test_read_file(void **state)
{
    static const char bytes[] = {'1', '2', '\0', '5', '6'};
    const char *path = write_file("text", bytes, sizeof(bytes));
    char fifo[200];
    struct err err = {0};
    size_t len;
    char *text;

    (void)state;
    text = yaml_read_file(path, 5, &len, &err);
    assert_int_equal(len, 5);
    assert_memory_equal(text, bytes, sizeof(bytes));
    assert_int_equal(text[5], 0);
    mem_free(text);
    assert_int_equal(err.kind, ERR_NONE);
    assert_null(yaml_read_file(path, 4, &len, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_non_null(strstr(err.text, "larger than 4 bytes"));
    unlink(path);
    assert_null(yaml_read_file(path, 5, &len, &err));
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_null(yaml_read_file(folder, 5, &len, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    /* Must not wait for somebody to write. */
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_null(yaml_read_file(fifo, 5, &len, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    unlink(fifo);
    text = yaml_read_file("/proc/self/status", 100000, &len, &err);
    assert_true(len > 100); /* fstat says 0 */
    mem_free(text);
    assert_null(yaml_read_file("/proc/self/status", 10, &len, &err));
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void test_huge_file(void **state)
{
    const char *path = write_file("huge.yaml", "a", 1);
    uint64_t began_ns;
    struct diag d;

    (void)state;
    assert_int_equal(truncate(path, (off_t)100 * 1024 * 1024), 0);
    diag_init(&d);
    began_ns = clock_stage_ns();
    assert_null(yaml_load(path, &d));
    assert_true(clock_stage_ns() - began_ns < SLOWED * UINT64_C(100000000));
    assert_non_null(strstr(d.entries[0].text, "larger than 4194304 bytes"));
    diag_deinit(&d);
    unlink(path);
}

/* Files that are small as text and too large, too deep or too wide with their aliases. */
static void alias_bomb(struct buf *text, const char *kind)
{
    bool is_deep = strcmp(kind, "nested too deeply") == 0;
    bool is_long = strstr(kind, "text") != NULL;

    buf_add_str(text, "a0: &a0 [");
    for (int i = 0; i < (is_long ? 1000000 : 1); i++)
        buf_add_char(text, 'x');
    buf_add_str(text, "]\n");
    for (int i = 1; i < 100; i++) {
        buf_printf(text, "a%d: &a%d [", i, i);
        for (int k = 0; k < (is_deep ? 1 : 10); k++)
            buf_printf(text, "*a%d,", i - 1);
        buf_add_str(text, "]\n");
    }
}

static void test_aliases_are_bounded(void **state)
{
    static const char *const kinds[] = {"too many values in one file", "nested too deeply",
                                        "too much text in one file with its aliases"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct diag d;
        struct buf text;
        int64_t began_ns = (int64_t)clock_stage_ns();

        diag_init(&d);
        buf_init(&text, (size_t)4 << 20);
        alias_bomb(&text, kinds[i]);
        struct yaml_doc *doc = yaml_parse_as(YAML_GO, "f", text.data, text.len, &d);
        assert_true((int64_t)clock_stage_ns() - began_ns < SLOWED * INT64_C(1000000000));
        assert_int_equal(d.count, 1);
        assert_string_equal(d.entries[0].text, kinds[i]);
        yaml_destroy(&doc);
        buf_deinit(&text);
        diag_deinit(&d);
    }
}

static long resident_most_mb(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss / 1024;
}

/* As many merge keys as a file may hold cost what they bring, not what one may bring at most. */
static void test_merge_keys_are_small(void **state)
{
    struct diag d;
    struct buf text;
    long before_mb = resident_most_mb();

    (void)state;
    diag_init(&d);
    buf_init(&text, (size_t)4 << 20);
    buf_add_str(&text, "- &a {k: v}\n");
    for (int i = 0; i < YAML_NODES_MAX / 5 - 2; i++)
        buf_add_str(&text, "- {<<: *a}\n");
    struct yaml_doc *doc = yaml_parse_as(YAML_GO, "f", text.data, text.len, &d);
    assert_non_null(doc);
    assert_int_equal(d.count, 0);
    assert_string_equal(yaml_get(yaml_root(doc)->items[1], "k")->text, "v");
    assert_true(resident_most_mb() - before_mb < 300);
    yaml_destroy(&doc);
    buf_deinit(&text);
    diag_deinit(&d);
}

static void read_case(FILE *f, const char *text, const char *finding)
{
    struct diag d;
    struct buf out;

    diag_init(&d);
    assert_int_equal(yaml_read_stream(f, "name", &out, &d), finding == NULL);
    assert_int_equal(d.count, finding != NULL);
    if (finding)
        assert_string_equal(d.entries[0].text, finding);
    else
        assert_string_equal(out.data, text);
    if (f)
        fclose(f);
    buf_deinit(&out);
    diag_deinit(&d);
}

static void test_read_stream(void **state)
{
    int ends[2];
    FILE *large = tmpfile();

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "a: 1", 4), 4);
    close(ends[1]);
    read_case(fdopen(ends[0], "r"), "a: 1", NULL);
    read_case(fopen("/dev/null", "r"), "", NULL);
    read_case(fopen("/", "r"), NULL, "cannot be read: Is a directory");
    read_case(fopen("/no-such-file", "r"), NULL, "cannot be read: No such file or directory");
    assert_non_null(large);
    assert_int_equal(ftruncate(fileno(large), (off_t)64 << 20), 0);
    read_case(large, NULL, "larger than 4194304 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_places_and_values),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_read_file),
        cmocka_unit_test(test_huge_file),
        cmocka_unit_test(test_go_dialect),
        cmocka_unit_test(test_aliases_are_bounded),
        cmocka_unit_test(test_merge_keys_are_small),
        cmocka_unit_test(test_read_stream),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
