/* test_config_files.c: the file and its conf.d, merged in byte order. */
#include "pgvigil/model/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"

struct file {
    const char *name, *text;
};

static char dir[64];

static void remove_all(void)
{
    static const char *const names[] = {"pgvigil.yaml",  "conf.d/10.yaml", "conf.d/20.yaml",
                                        "conf.d/9.yaml", "conf.d/.x.yaml", "conf.d/x.yml",
                                        "secret",        "conf.d",         ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = mem_printf("%s/%s", dir, names[i]);
        if (unlink(path) != 0)
            rmdir(path);
        mem_free(path);
    }
}

static void write_all(const struct file *files, size_t n)
{
    snprintf(dir, sizeof(dir), "/tmp/pgvigil_files_XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0);
    char *parts = mem_printf("%s/conf.d", dir);
    assert_int_equal(mkdir(parts, 0755), 0);
    mem_free(parts);
    for (size_t i = 0; i < n; i++) {
        char *path = mem_printf("%s/%s", dir, files[i].name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(files[i].text, f);
        fclose(f);
        mem_free(path);
    }
}

static struct config *load(struct diag *diag, struct buf *findings)
{
    char *path = mem_printf("%s/pgvigil.yaml", dir);
    diag_init(diag);
    buf_init(findings, 100000);
    struct config *c = config_load(path, diag);
    diag_print(diag, findings);
    mem_free(path);
    return c;
}

/* A later file changes single fields; each is told at its place. */
static void check_overrides(const struct config *c)
{
    const struct config_override *a = &c->overrides[0];
    assert_int_equal(c->override_count, 3);
    assert_string_equal(a->alert, "A");
    assert_int_equal(a->threshold.kind, THRESHOLD_SECONDS);
    assert_true(a->threshold.value == 30);
    assert_int_equal(a->for_ms, 120000);
    assert_int_equal(a->keep_firing_ms, -1);
    assert_null(a->severity);
    assert_non_null(strstr(a->at.file, "conf.d/10.yaml"));
    assert_non_null(strstr(a->threshold_at.file, "pgvigil.yaml"));
    assert_int_equal(a->threshold_at.line, 8);
    assert_string_equal(c->overrides[1].severity, "x");
    assert_true(c->overrides[2].disabled);
}

static void parts_are_merged(void **state)
{
    static const struct file files[] = {
        {"pgvigil.yaml", "cluster: main\nrules: [mine/*.yml, /abs.yml]\nnodes:\n"
                         "  - {name: a, dsn: host=x, zone: one}\n"
                         "pools: [{name: app, dsn: host=x}]\n"
                         "logs: [{pool: app, path: /one}, {pool: app, path: /two}]\n"
                         "external_labels: {a: 1, b: 2}\n"
                         "rule_overrides: {A: {threshold: 30s, for: 1m}, B: {severity: x}}\n"},
        {"conf.d/9.yaml", "cluster: nine\n"}, /* bytes, not numbers: it is the last */
        {"conf.d/10.yaml", "cluster: ten\nnodes:\n  - {name: a, zone: two, max_lag: 5s}\n"
                           "  - {name: b, dsn: host=y}\n"
                           "external_labels: {b: 3, c: 4}\n"
                           "rule_overrides: {A: {for: 2m}, C: {disabled: true}}\n"},
        {"conf.d/20.yaml", "pools:\n  - {name: app, dsns: [host=p, host=q]}\n"
                           "logs: [{pool: app, path: /three}]\n"},
        {"conf.d/.x.yaml", "broken: [\n"},
        {"conf.d/x.yml", "broken: [\n"},
    };
    struct diag diag;
    struct buf findings;
    (void)state;
    write_all(files, ARRAY_LEN(files));
    struct config *c = load(&diag, &findings);
    if (c == NULL)
        fail_msg("%s", findings.data);
    assert_string_equal(c->cluster, "nine");
    assert_int_equal(c->node_count, 2);
    assert_string_equal(c->nodes[0].dsn, "host=x");
    assert_string_equal(c->nodes[0].zone, "two");
    assert_int_equal(c->nodes[0].max_lag_ms, 5000);
    assert_string_equal(c->nodes[0].cluster, "nine");
    assert_string_equal(c->nodes[1].name, "b");
    assert_int_equal(c->scope, SCOPE_CLUSTER);
    assert_int_equal(c->pools[0].dsn_count, 2);
    assert_string_equal(c->pools[0].dsns[1], "host=q");
    assert_int_equal(c->log_count, 1);
    assert_string_equal(c->logs[0].path, "/three");
    assert_int_equal(c->external_label_count, 3);
    assert_string_equal(c->external_labels[1].value, "3");
    assert_int_equal(c->rule_count, 2);
    char *glob = mem_printf("%s/mine/*.yml", dir); /* beside the file that names it */
    assert_string_equal(c->rules[0], glob);
    assert_string_equal(c->rules[1], "/abs.yml");
    mem_free(glob);
    check_overrides(c);
    config_unref(&c);
    diag_deinit(&diag);
    buf_deinit(&findings);
    remove_all();
}

static void all_files_tell_their_findings(void **state)
{
    static const struct file files[] = {
        {"pgvigil.yaml", "clustr: main\nnodes: [{name: a}]\n"},
        {"conf.d/10.yaml", "gate: {fall: x}\nnodes: [{name: b, dsn: host=x}, {name: b}]\n"},
        {"conf.d/20.yaml", "a: [\n"},
    };
    struct diag diag;
    struct buf findings;
    (void)state;
    write_all(files, ARRAY_LEN(files));
    struct config *c = load(&diag, &findings);
    assert_null(c);
    assert_non_null(strstr(findings.data, "/conf.d/10.yaml:1:14: 'gate.fall': expected"));
    assert_non_null(strstr(findings.data, "/conf.d/10.yaml:2:40: duplicate node 'b', the first is "
                                          "in line 2"));
    assert_non_null(strstr(findings.data, "/conf.d/20.yaml:"));
    assert_non_null(strstr(findings.data, "/pgvigil.yaml:1:1: unknown key 'clustr'"));
    assert_non_null(strstr(findings.data, "/pgvigil.yaml:2:9: a node needs 'dsn'"));
    diag_deinit(&diag);
    buf_deinit(&findings);
    remove_all();
}

/* The mode of a secret file is checked at load, and secret_modes counts wherever it stands. */
static void secret_files_are_checked(void **state)
{
    struct file files[] = {
        {"secret", "pw\n"},
        {"pgvigil.yaml", NULL},
        {"conf.d/10.yaml", "{}\n"},
    };
    struct diag diag;
    struct buf findings;
    (void)state;
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        if (relaxed != 0)
            files[2].text = "secret_modes: relaxed\n";
        files[1].text = "{}\n";
        write_all(files, ARRAY_LEN(files));
        char *path = mem_printf("%s/pgvigil.yaml", dir);
        FILE *f = fopen(path, "w");
        fprintf(f, "nodes: [{name: a, dsn: \"host=x password=${file:%s/secret}\"}]\n", dir);
        fclose(f);
        mem_free(path);
        path = mem_printf("%s/secret", dir);
        assert_int_equal(chmod(path, 0644), 0);
        mem_free(path);
        struct config *c = load(&diag, &findings);
        if (relaxed == 0) {
            assert_null(c);
            assert_non_null(strstr(findings.data, "pgvigil.yaml:1:24: 'dsn': secret file"));
            assert_non_null(strstr(findings.data, "can be read by others (mode 0644)"));
        } else {
            assert_non_null(c);
            assert_non_null(strstr(c->nodes[0].dsn, "${file:")); /* expanded at connect only */
        }
        config_unref(&c);
        diag_deinit(&diag);
        buf_deinit(&findings);
        remove_all();
    }
}

static void a_missing_file_is_an_error(void **state)
{
    struct diag diag;
    (void)state;
    diag_init(&diag);
    assert_null(config_load("/nonexistent/pgvigil.yaml", &diag));
    assert_int_equal(diag.count, 1);
    assert_string_equal(diag.entries[0].file, "/nonexistent/pgvigil.yaml");
    diag_deinit(&diag);
}

/* The shipped file has everything commented out: the nodes are then zero-config's. */
static void a_file_without_nodes_discovers_them(void **state)
{
    static const struct file files[] = {{"pgvigil.yaml", "cluster: main\nnodes:\n#  - x\n"}};
    static const struct file none[] = {{"pgvigil.yaml", "cluster: main\nnodes: []\n"}};
    struct diag diag;
    struct buf findings;
    (void)state;
    setenv("PGHOST", "db.example.org", 1);
    write_all(files, 1);
    struct config *c = load(&diag, &findings);
    assert_non_null(c);
    assert_int_equal(c->node_count, 1);
    assert_string_equal(c->nodes[0].name, "db.example.org-5432");
    assert_string_equal(c->nodes[0].cluster, "main");
    assert_int_equal(c->scope, SCOPE_NODE);
    assert_non_null(c->path);
    config_unref(&c);
    diag_deinit(&diag);
    buf_deinit(&findings);
    remove_all();

    write_all(none, 1);
    c = load(&diag, &findings);
    assert_non_null(c);
    assert_int_equal(c->node_count, 0);
    config_unref(&c);
    diag_deinit(&diag);
    buf_deinit(&findings);
    remove_all();
    unsetenv("PGHOST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_merged),
        cmocka_unit_test(all_files_tell_their_findings),
        cmocka_unit_test(secret_files_are_checked),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(a_file_without_nodes_discovers_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
