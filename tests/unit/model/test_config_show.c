/* test_config_show.c: what is told about a configuration: values, origins, and no secrets. */
#include "pgvigil/model/config_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"
#include "pgvigil/base/str.h"

static char path[64];

static struct config *load(const char *text, struct config_show *show)
{
    struct diag diag;
    struct buf findings;
    snprintf(path, sizeof(path), "/tmp/pgvigil_show_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    diag_init(&diag);
    buf_init(&findings, 10000);
    struct config *c = config_load_shown(path, show, &diag);
    diag_print(&diag, &findings);
    if (c == NULL)
        fail_msg("%s", findings.data);
    buf_deinit(&findings);
    diag_deinit(&diag);
    unlink(path);
    return c;
}

/* The n-th value of this key, and its place behind the path if it has one. */
static const char *value_of(const struct config_show *show, const char *key, int n, char *origin)
{
    for (size_t i = 0; i < show->n; i++) {
        const struct config_shown *entry = &show->entries[i];
        if (entry->key == NULL || !str_eq(entry->key, key) || n-- > 0)
            continue;
        size_t skip = str_starts(entry->origin, path) ? strlen(path) : 0;
        str_copy(origin, 64, entry->origin + skip);
        return entry->value;
    }
    fail_msg("no '%s'", key);
    return NULL;
}

static const char text[] = "cluster: ${env:SHOW_CLUSTER}\n"
                           "nodes:\n"
                           "  - {name: a, dsn: 'host=x password=hush'}\n"
                           "  - {name: b, dsn: 'postgres://u:hush@y/z', zone: '${env:NO:-z}'}\n"
                           "pools: [{name: p, dsns: ['host=x password=hush']}]\n"
                           "notify: https://u:hush@example.org:8443/hush?hush=hush\n"
                           "gate: {max_lag: 1500ms, write: on, panic_guard: {primary_weight: 7%}}\n"
                           "history: {max_size: 3GiB}\n"
                           "listen: '[::1]:9000'\n"
                           "outgoing: {deny: []}\n"
                           "external_labels: {dc: '$${x}'}\n"
                           "rule_overrides: {A: {threshold: 2.50, for: 0s}}\n";

static const struct {
    const char *key;
    int n;
    const char *value, *origin;
} wanted[] = {
    {"cluster", 0, "prod", ":1, environment SHOW_CLUSTER"},
    {"scope", 0, "cluster", "default"},
    {"dsn", 0, "host=x password=***", ":3"},
    {"dsn", 1, "postgres://u:***@y/z", ":4"},
    {"zone", 0, "", "default"},
    {"zone", 1, "z", ":4, environment NO"},
    {"max_lag", 0, "1s500ms", "default"}, /* of the node */
    {"webhook", 0, "https://***@example.org:8443/***", ":6"},
    {"hard_lag", 2, "7s500ms", "default"},
    {"write", 0, "on", ":7"},
    {"dry_run", 0, "false", "default"},
    {"primary_weight", 0, "7%", ":7"},
    {"max_size", 0, "3GiB", ":8"},
    {"listen", 0, "[::1]:9000", ":9"},
    {"threshold", 0, "2.50", ":12"},
    {"for", 0, "0s", ":12"},
};

static void values_have_origins(void **state)
{
    struct config_show show = {0};
    char origin[64];
    (void)state;
    setenv("SHOW_CLUSTER", "prod", 1);
    struct config *c = load(text, &show);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_string_equal(value_of(&show, wanted[i].key, wanted[i].n, origin), wanted[i].value);
        assert_string_equal(origin, wanted[i].origin);
    }
    config_show_deinit(&show);
    config_unref(&c);
}

static void secrets_are_masked_and_nothing_is_left_open(void **state)
{
    struct config_show show = {0};
    int depth = 0;
    (void)state;
    struct config *c = load(text, &show);
    for (size_t i = 0; i < show.n; i++) {
        const struct config_shown *entry = &show.entries[i];
        if (entry->kind == CONFIG_SHOWN_VALUE)
            assert_null(strstr(entry->value, "hush"));
        if (entry->kind == CONFIG_SHOWN_VALUE && entry->key != NULL && str_eq(entry->key, "dc"))
            assert_string_equal(entry->value, "$${x}");
        depth += entry->kind == CONFIG_SHOWN_MAP || entry->kind == CONFIG_SHOWN_LIST;
        depth -= entry->kind == CONFIG_SHOWN_END;
        assert_true(depth >= 0);
    }
    assert_int_equal(depth, 0);
    config_show_deinit(&show);
    config_unref(&c);
}

static void what_is_filled_in_from_files_is_not_told(void **state)
{
    struct config_show show = {0};
    char origin[64], secret[] = "/tmp/pgvigil_secret_XXXXXX";
    (void)state;
    int fd = mkstemp(secret);
    assert_int_equal(write(fd, "https://h/hush", 14), 14);
    close(fd);
    char *config = mem_printf("nodes: [{name: a, dsn: host=x}]\nnotify: ${file:%s}\n", secret);
    struct config *c = load(config, &show);
    assert_string_equal(c->notify.webhook, "https://h/hush");
    assert_true(str_starts(value_of(&show, "webhook", 0, origin), "${file:/tmp/"));
    unlink(secret);
    mem_free(config);
    config_show_deinit(&show);
    config_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_have_origins),
        cmocka_unit_test(secrets_are_masked_and_nothing_is_left_open),
        cmocka_unit_test(what_is_filled_in_from_files_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
