/* test_config.c: one text to one configuration: every refusal with its place, values, defaults. */
#include "pgvigil/model/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "pgvigil/base/mem.h"

#define NODE "nodes: [{name: a, dsn: host=x}]\n"

static struct config *parse(const char *text, struct diag *diag)
{
    diag_init(diag);
    return config_parse("t.yaml", text, strlen(text), diag);
}

/* ---- bad inputs ---- */

struct bad {
    const char *text;
    const char *findings; /* all of them, in order of place */
};

static const struct bad bad_keys[] = {
    {"clustr: main\n", "t.yaml:1:1: unknown key 'clustr', did you mean 'cluster'?\n"},
    {"qwertz: 1\n", "t.yaml:1:1: unknown key 'qwertz'\n"},
    {"cluster: a\ncluster: b\n", "t.yaml:2:1: duplicate key \"cluster\", first on line 1\n"},
    {"max_lag: 3s\n", "t.yaml:1:1: unknown key 'max_lag', did you mean 'gate.max_lag'?\n"},
    {"gate: {max_leg: 3s}\n", "t.yaml:1:8: unknown key 'max_leg', did you mean 'max_lag'?\n"},
    {"gate.max_lag: 3s\n", "t.yaml:1:1: unknown key 'gate.max_lag'\n"},
    {"gate: {panic_guard: {weight: 1%}}\n", "t.yaml:1:22: unknown key 'weight'\n"},
    {"indexes: []\npartitions: []\n",
     "t.yaml:1:1: unknown key 'indexes'\nt.yaml:2:1: unknown key 'partitions'\n"},
    {"notify: {config: x}\n", "t.yaml:1:10: unknown key 'config'\n"},
    {"nodes:\n  - {name: a, dsn: host=x, patroni: y}\n", "t.yaml:2:28: unknown key 'patroni'\n"},
    {"logs: [{node: a, path: /l}]\n",
     "t.yaml:1:8: a log needs 'pool' and 'path'\nt.yaml:1:9: unknown key 'node'\n"},
    {"- a\n", "t.yaml:1:1: expected a map of settings, like cluster: main\n"},
    {"gate: 5\n", "t.yaml:1:7: 'gate': expected a map\n"},
    {"intervals: [1s]\n", "t.yaml:1:12: 'intervals': expected a map\n"},
};

static const struct bad bad_values[] = {
    {"gate: {max_lag: 5}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found '5'\n"},
    {"gate: {max_lag: 0}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found '0'\n"},
    {"gate: {max_lag: -1s}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found '-1s'\n"},
    {"gate: {max_lag: 10 seconds}\n", "t.yaml:1:17: 'gate.max_lag': expected a duration with a "
                                      "unit, like 10s, found '10 seconds'\n"},
    {"gate: {max_lag: 1000000000y}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found "
     "'1000000000y'\n"},
    {"gate: {max_lag: }\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found nothing\n"},
    {"gate: {max_lag: [1s]}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found a list\n"},
    {"gate: {max_lag: {a: 1s}}\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found a map\n"},
    {"gate: {max_lag: 99ms}\n",
     "t.yaml:1:17: 'gate.max_lag': must be from 100ms to 30d, found '99ms'\n"},
    {"gate: {fall: 0, down_after: 101, min_fresh: two}\n",
     "t.yaml:1:14: 'gate.fall': must be from 1 to 100, found '0'\n"
     "t.yaml:1:29: 'gate.down_after': must be from 1 to 100, found '101'\n"
     "t.yaml:1:45: 'gate.min_fresh': expected a whole number from 0 to 1024, found 'two'\n"},
    {"gate: {fall: \"2\"}\n",
     "t.yaml:1:14: 'gate.fall': expected a whole number from 1 to 100, found '2'\n"},
    {"gate: {fall: 99999999999999999999}\n",
     "t.yaml:1:14: 'gate.fall': expected a whole number from 1 to 100, found "
     "'99999999999999999999'\n"},
    {"gate: {panic: never}\n",
     "t.yaml:1:15: 'gate.panic': expected primary or best or hold, found 'never'\n"},
    {"gate: {write: maybe, dry_run: on}\n",
     "t.yaml:1:15: 'gate.write': expected on or off, found 'maybe'\n"
     "t.yaml:1:31: 'gate.dry_run': expected true or false, found 'on'\n"},
    {"gate: {panic_guard: {primary_weight: 30, max_connections_used: 0%}}\n",
     "t.yaml:1:38: 'gate.panic_guard.primary_weight': expected a percentage, like 80%, found '30'\n"
     "t.yaml:1:64: 'gate.panic_guard.max_connections_used': must be from 1% to 100%, found '0%'\n"},
    {"history: {max_size: 2}\n",
     "t.yaml:1:21: 'history.max_size': expected a size with a unit, like 2GiB, found '2'\n"},
    {"history: {max_size: 1kB}\n",
     "t.yaml:1:21: 'history.max_size': must be from 16MiB to 1024GiB, found '1kB'\n"},
    {"scope: fleet\n", "t.yaml:1:8: 'scope': expected node or cluster, found 'fleet'\n"},
    {"cluster: a b\n",
     "t.yaml:1:10: 'cluster': expected a name of up to 63 letters, digits, '.', '_' and '-', like "
     "pg1, found 'a b'\n"},
    {"state_dir: var\n",
     "t.yaml:1:12: 'state_dir': expected an absolute path, like /var/lib/pgvigil, found 'var'\n"},
    {"listen: 9432\n",
     "t.yaml:1:9: 'listen': expected an address and a port, like 127.0.0.1:9432, found '9432'\n"},
    {"listen: \":9432\"\n",
     "t.yaml:1:9: 'listen': expected an address and a port, like 127.0.0.1:9432, found ':9432'\n"},
    {"listen: 127.0.0.1:99999\n",
     "t.yaml:1:9: 'listen': expected an address and a port, like 127.0.0.1:9432, found "
     "'127.0.0.1:99999'\n"},
    {"listen: \"::1:9432\"\n",
     "t.yaml:1:9: 'listen': expected an address and a port, like 127.0.0.1:9432, found "
     "'::1:9432'\n"},
    {"notify: {webhook: ftp://x/}\n",
     "t.yaml:1:19: 'notify.webhook': expected a URL, like https://example.org/hook, found another "
     "text\n"},
    {"notify: {webhook: \"http:///x\"}\n",
     "t.yaml:1:19: 'notify.webhook': expected a URL, like https://example.org/hook, found another "
     "text\n"},
    {"notify: /etc/pgvigil/notify.yml\n",
     "t.yaml:1:9: 'notify': notify.yml is not supported by this version, give a webhook, like "
     "notify: {webhook: \"https://example.org/hook\"}\n"},
    {"notify: [a]\n", "t.yaml:1:9: 'notify': expected a map\n"},
    {"outgoing: {deny: [10.0.0.0/33]}\n",
     "t.yaml:1:19: 'outgoing.deny': expected a list of networks, like [169.254.0.0/16], found "
     "'10.0.0.0/33'\n"},
    {"rules: {a: b}\n",
     "t.yaml:1:8: 'rules': expected a list of paths, like [\"/etc/pgvigil/rules/*.yml\"], found a "
     "map\n"},
    {"external_labels: {__x: a, alertname: b, ok: \"\", 1a: c}\n",
     "t.yaml:1:19: '__x' cannot be the name of an external label\n"
     "t.yaml:1:27: 'alertname' cannot be the name of an external label\n"
     "t.yaml:1:41: external label 'ok' must have 1 to 1024 bytes\n"
     "t.yaml:1:49: '1a' cannot be the name of an external label\n"},
    {"cluster: ${env:PGVIGIL_NOT_SET}\n",
     "t.yaml:1:10: 'cluster': environment variable 'PGVIGIL_NOT_SET' is not set\n"},
};

static const struct bad bad_overrides[] = {
    {"rule_overrides: x\n", "t.yaml:1:17: 'rule_overrides': expected a map of alerts, like "
                            "{HighReplicationLag: {threshold: 30s}}, found 'x'\n"},
    {"rule_overrides: {A: 5, B: [x]}\n",
     "t.yaml:1:21: 'A': expected a map, like {threshold: 30s, for: 10m}\n"
     "t.yaml:1:27: 'B': expected a map, like {threshold: 30s, for: 10m}\n"},
    {"rule_overrides: {A: {treshold: 1}}\n",
     "t.yaml:1:22: unknown key 'treshold', did you mean 'threshold'?\n"},
    {"rule_overrides: {A: {threshold: 5 s}}\n",
     "t.yaml:1:33: 'threshold': expected a number, with its unit if it has one, like 30s, 85% or "
     "10MiB, found '5 s'\n"},
    {"rule_overrides: {A: {threshold: Inf}}\n",
     "t.yaml:1:33: 'threshold': expected a number, with its unit if it has one, like 30s, 85% or "
     "10MiB, found 'Inf'\n"},
    {"rule_overrides: {A: {for: 5, severity: \"\", disabled: no}}\n",
     "t.yaml:1:27: 'for': expected a duration with a unit, like 10s, found '5'\n"
     "t.yaml:1:40: 'severity': expected a text, like critical, found ''\n"
     "t.yaml:1:54: 'disabled': expected true or false, found 'no'\n"},
    {"rule_overrides: {\"\": {}}\n",
     "t.yaml:1:18: the name of an alert must have 1 to 256 bytes\n"},
};

static const struct bad bad_nodes[] = {
    {"nodes: x\n", "t.yaml:1:8: 'nodes': expected a list of maps, found 'x'\n"},
    {"nodes: [x]\n", "t.yaml:1:9: a node must be a map, like {name: app, ...}\n"},
    {"nodes: [{}]\n", "t.yaml:1:9: a node needs 'name'\nt.yaml:1:9: a node needs 'dsn'\n"},
    {"nodes:\n  - {name: -a, dsn: host=x}\n",
     "t.yaml:2:12: 'name': expected a name of up to 63 letters, digits, '.', '_' and '-', like "
     "pg1, found '-a'\n"},
    {"nodes:\n  - {name: \"\", dsn: host=x}\n",
     "t.yaml:2:12: 'name': expected a name of up to 63 letters, digits, '.', '_' and '-', like "
     "pg1, found ''\n"},
    {"nodes:\n  - {name: a/b, dsn: host=x}\n",
     "t.yaml:2:12: 'name': expected a name of up to 63 letters, digits, '.', '_' and '-', like "
     "pg1, found 'a/b'\n"},
    {"nodes:\n  - {name: a, dsn: host=x}\n  - {name: a, dsn: host=y}\n",
     "t.yaml:3:12: duplicate node 'a', the first is in line 2\n"},
    {"nodes:\n  - {name: a, dsn: \"host=x,y\"}\n",
     "t.yaml:2:20: 'dsn' names several hosts: a node is one host\n"},
    {"nodes:\n  - {name: a, dsn: hots=x}\n",
     "t.yaml:2:20: 'dsn': not a connection string: invalid connection option \"hots\"\n"},
    {"nodes:\n  - {name: a, dsn: host=x, local: true}\n  - {name: b, dsn: host=y, local: true}\n",
     "t.yaml:3:35: two nodes are local: 'a' and 'b'\n"},
    {"nodes:\n  - {name: a, dsn: host=x, max_lag: 10s, hard_lag: 10s}\n",
     "t.yaml:2:52: 'hard_lag' (10s) must be more than max_lag (10s)\n"},
    {"pools:\n  - {name: app}\n", "t.yaml:2:5: a pool needs 'dsn' or 'dsns'\n"},
    {"pools:\n  - {name: app, kind: odyssey, dsn: host=x}\n",
     "t.yaml:2:23: 'kind': expected pgbouncer, found 'odyssey'\n"},
    {"pools:\n  - {name: app, dsn: host=x, dsns: [host=y]}\n",
     "t.yaml:2:5: a pool has either 'dsn' or 'dsns'\n"},
    {"pools: [{name: app, dsn: host=x}]\nlogs: [{pool: api, path: /l}]\n",
     "t.yaml:2:15: no pool is named 'api'\n"},
    {"pools: [{name: app, dsn: host=x}]\nlogs: [{pool: app}]\n",
     "t.yaml:2:8: a log needs 'pool' and 'path'\n"},
};

static const struct bad bad_together[] = {
    {"gate: {max_lag: 10s, hard_lag: 5s}\n",
     "t.yaml:1:32: 'gate.hard_lag' (5s) must be more than max_lag (10s)\n"},
    {"gate: {lease: 1500ms, probe_timeout: 1s}\n",
     "t.yaml:1:15: 'gate.lease' must be at least twice 'intervals.replication' (1s), or the files "
     "end between two probes\n"},
    {"intervals: {replication: 6s}\n",
     "t.yaml:1:26: 'gate.lease' must be at least twice 'intervals.replication' (6s), or the files "
     "end between two probes\n"},
    {"gate: {max_lag: 500ms}\n",
     "t.yaml:1:17: 'gate.max_lag' must be at least 'intervals.replication' (1s)\n"},
    {"gate: {probe_timeout: 10s}\n",
     "t.yaml:1:23: 'gate.probe_timeout' must be less than 'gate.lease'\n"},
    {"listen: 0.0.0.0:9432\n",
     "t.yaml:1:9: 'listen': '0.0.0.0' is not a loopback address, and this version has no TLS and "
     "no users: set 'insecure: true' to open metrics, API and page to everyone who can reach it\n"},
    {"state_dir: /a\nhealth_dir: /a\n",
     "t.yaml:2:13: 'health_dir' and 'state_dir' must not be the same directory\n"},
    {"outgoing: {cert: /a}\n", "t.yaml:1:18: 'outgoing.cert' and 'outgoing.key' need each other\n"},
    /* What was wrong is not judged again, and all is told at once. */
    {"gate: {max_lag: 5, hard_lag: 3s}\nlisten: x\ninsecure: 1\n",
     "t.yaml:1:17: 'gate.max_lag': expected a duration with a unit, like 10s, found '5'\n"
     "t.yaml:2:9: 'listen': expected an address and a port, like 127.0.0.1:9432, found 'x'\n"
     "t.yaml:3:11: 'insecure': expected true or false, found '1'\n"},
};

static void check_bad(const struct bad *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct diag diag;
        struct buf out;
        struct config *c = parse(cases[i].text, &diag);
        buf_init(&out, 100000);
        diag_print(&diag, &out);
        if (c != NULL)
            fail_msg("accepted: %s", cases[i].text);
        assert_string_equal(out.data, cases[i].findings);
        buf_deinit(&out);
        diag_deinit(&diag);
    }
}

static void keys_are_strict(void **state)
{
    (void)state;
    check_bad(bad_keys, ARRAY_LEN(bad_keys));
}

static void values_are_strict(void **state)
{
    (void)state;
    check_bad(bad_values, ARRAY_LEN(bad_values));
}

static void nodes_and_pools_are_strict(void **state)
{
    (void)state;
    check_bad(bad_nodes, ARRAY_LEN(bad_nodes));
    check_bad(bad_overrides, ARRAY_LEN(bad_overrides));
}

static void settings_fit_together(void **state)
{
    (void)state;
    check_bad(bad_together, ARRAY_LEN(bad_together));
}

/* Wherever a secret was put by mistake, no finding repeats it. */
static void secrets_are_never_shown(void **state)
{
    static const char *const texts[] = {
        "nodes: [{name: a, dsn: \"host=x password=hunter2 hunter2\"}]\n",
        "nodes: [{name: a, dsn: \"host=x password=hunter2,y hots=1\"}]\n",
        "nodes: [{name: a, dsn: \"password = 'hunter2\"}]\n",
        "nodes: [{name: a, dsn: \"postgresql://u:hunter2@h:x/db?a=b\"}]\n",
        "nodes: [{name: a, dsn: \"postgresql://u:x@[hunter2/db\"}]\n",
        "nodes: [{name: \"host=x password=hunter2\"}]\n",
        "listen: \"postgres://u:hunter2@h\"\n",
        "cluster: \"host=x password=hunter2\"\n",
        "gate: {max_lag: \"host=x password=hunter2\"}\n",
        "\"password=hunter2\": 1\n",
        "notify: \"slack secret hunter2\"\n",
        "notify: {webhook: \"hooks.slack.com/hunter2\"}\n",
        "pools: [{name: a, dsns: [\"password=hunter2 x\", \"${env:NO_SUCH} password=hunter2\"]}]\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct diag diag;
        struct buf out;
        struct config *c = parse(texts[i], &diag);
        buf_init(&out, 100000);
        diag_print(&diag, &out);
        if (c != NULL || out.len == 0)
            fail_msg("accepted: case %zu", i);
        if (strstr(out.data, "hunter2") != NULL)
            fail_msg("case %zu: %s", i, out.data);
        buf_deinit(&out);
        diag_deinit(&diag);
    }
}

/* ---- good inputs ---- */

static struct config *parse_good(const char *text)
{
    struct diag diag;
    struct config *c = parse(text, &diag);
    struct buf out;
    buf_init(&out, 100000);
    diag_print(&diag, &out);
    if (c == NULL)
        fail_msg("refused: %s", out.data);
    assert_int_equal(diag.count, 0);
    buf_deinit(&out);
    diag_deinit(&diag);
    return c;
}

static void defaults(void **state)
{
    struct config *c = parse_good("");
    (void)state;
    assert_string_equal(c->cluster, "");
    assert_int_equal(c->scope, SCOPE_NODE);
    assert_string_equal(c->listen_host, "127.0.0.1");
    assert_int_equal(c->listen_port, 9432);
    assert_false(c->insecure);
    assert_string_equal(c->state_dir, "/var/lib/pgvigil");
    assert_string_equal(c->health_dir, "/run/pgvigil/health");
    assert_int_equal(c->intervals.replication_ms, 1000);
    assert_int_equal(c->intervals.activity_ms, 5000);
    assert_int_equal(c->intervals.pools_ms, 5000);
    assert_int_equal(c->intervals.statements_ms, 15000);
    assert_int_equal(c->intervals.schema_ms, 60000);
    assert_int_equal(c->gate.max_lag_ms, 60000);
    assert_int_equal(c->gate.hard_lag_ms, 300000);
    assert_int_equal(c->gate.hold_ms, 30000);
    assert_int_equal(c->gate.lease_ms, 10000);
    assert_int_equal(c->gate.probe_timeout_ms, 2000);
    assert_int_equal(c->gate.fall, 2);
    assert_int_equal(c->gate.down_after, 3);
    assert_int_equal(c->gate.min_fresh, 1);
    assert_int_equal(c->gate.panic, PANIC_PRIMARY);
    assert_int_equal(c->gate.on_total_loss, LOSS_HOLD);
    assert_false(c->gate.write || c->gate.dry_run);
    assert_true(c->gate.guard_connections == 0.8 && c->gate.guard_weight == 0.3);
    assert_int_equal(c->rule_count, 2);
    assert_string_equal(c->rules[0], "/usr/share/pgvigil/rules/*.yml");
    assert_string_equal(c->rules[1], "/etc/pgvigil/rules/*.yml");
    assert_int_equal(c->evaluation_interval_ms, 1000);
    assert_string_equal(c->notify.webhook, "");
    assert_true(c->outgoing.allow_loopback);
    assert_int_equal(c->outgoing.deny_count, 1);
    assert_string_equal(c->outgoing.deny[0], "169.254.0.0/16");
    assert_string_equal(c->outgoing.ca, "");
    assert_int_equal(c->history.retention_ms, INT64_C(30) * 24 * 3600 * 1000);
    assert_int_equal(c->history.max_size_bytes, INT64_C(2) << 30);
    assert_int_equal(c->external_label_count, 0);
    assert_int_equal(c->secret_modes, SECRET_MODES_STRICT);
    config_unref(&c);
    assert_null(c);
}

static void all_values(void **state)
{
    struct config *c = parse_good(
        "cluster: main\nscope: node\nlisten: \"[::1]:0\"\nstate_dir: /a\nhealth_dir: /b\n"
        "nodes:\n"
        "  - {name: pg1, dsn: \"host=10.0.0.1 password=x\", zone: eu-1, read: false}\n"
        "  - name: pg2\n    dsn: postgresql://u:p@10.0.0.2/app\n    cluster: other\n"
        "    max_lag: 10s\n    local: true\n"
        "  - {name: pg3, dsn: service=pg3, max_lag: 10s, hard_lag: 1m}\n"
        "pools:\n  - {name: app, dsn: host=127.0.0.1 port=6432}\n"
        "  - {name: api, kind: pgbouncer, cluster: other, dsns: [host=a, \"host=b\"]}\n"
        "logs: [{pool: app, path: /var/log/pgbouncer.log}]\n"
        "intervals: {replication: 500ms, activity: 1m30s}\n"
        "gate: {max_lag: 3s, fall: 1, write: on, panic: best, on_total_loss: unhealthy,\n"
        "  panic_guard: {primary_weight: 10%}}\n"
        "rules: [/x/*.yml, mine.yml]\nevaluation_interval: 15s\n"
        "notify: https://example.org/hook\n"
        "outgoing: {deny: [10.0.0.0/8, \"fc00::/7\", 1.2.3.4], allow_loopback: false}\n"
        "history: {retention: 1w, max_size: 512MiB}\n"
        "external_labels: {region: eu, agent: \"${env:PGVIGIL_NOT_SET:-one}\"}\n");
    (void)state;
    assert_string_equal(c->path, "t.yaml");
    assert_int_equal(c->scope, SCOPE_NODE);
    assert_string_equal(c->listen_host, "::1");
    assert_int_equal(c->listen_port, 0);
    assert_int_equal(c->node_count, 3);
    assert_string_equal(c->nodes[0].cluster, "main");
    assert_string_equal(c->nodes[0].zone, "eu-1");
    assert_string_equal(c->nodes[0].dsn, "host=10.0.0.1 password=x");
    assert_false(c->nodes[0].read || c->nodes[0].local);
    assert_int_equal(c->nodes[0].max_lag_ms, 3000);
    assert_int_equal(c->nodes[0].hard_lag_ms, 15000);
    assert_string_equal(c->nodes[1].cluster, "other");
    assert_true(c->nodes[1].read && c->nodes[1].local);
    assert_int_equal(c->nodes[1].hard_lag_ms, 50000);
    assert_int_equal(c->nodes[2].hard_lag_ms, 60000);
    assert_ptr_equal(config_node_find(c, "pg2"), &c->nodes[1]);
    assert_null(config_node_find(c, "pg4"));
    assert_int_equal(c->pool_count, 2);
    assert_string_equal(c->pools[0].cluster, "main");
    assert_int_equal(c->pools[0].dsn_count, 1);
    assert_int_equal(c->pools[1].dsn_count, 2);
    assert_string_equal(c->pools[1].dsns[1], "host=b");
    assert_string_equal(c->logs[0].pool, "app");
    assert_string_equal(c->logs[0].path, "/var/log/pgbouncer.log");
    assert_int_equal(c->intervals.replication_ms, 500);
    assert_int_equal(c->intervals.activity_ms, 90000);
    assert_int_equal(c->gate.panic, PANIC_BEST);
    assert_int_equal(c->gate.on_total_loss, LOSS_UNHEALTHY);
    assert_true(c->gate.write);
    assert_true(c->gate.guard_weight == 0.1);
    assert_int_equal(c->rule_count, 2);
    assert_string_equal(c->rules[1], "mine.yml");
    assert_string_equal(c->notify.webhook, "https://example.org/hook");
    assert_int_equal(c->outgoing.deny_count, 3);
    assert_int_equal(c->external_label_count, 2);
    assert_string_equal(c->external_labels[0].name, "agent");
    assert_string_equal(c->external_labels[0].value, "one");
    struct label labels[CONFIG_ALERT_LABELS_MAX];
    assert_int_equal(config_alert_labels(c, labels), 3);
    assert_string_equal(labels[1].name, "region");
    assert_string_equal(labels[2].name, "cluster");
    assert_string_equal(labels[2].value, c->cluster);
    struct config *second = config_ref(c);
    config_unref(&c);
    assert_int_equal(second->node_count, 3);
    config_unref(&second);
}

static void what_is_implied(void **state)
{
    static const struct {
        const char *text;
        enum config_scope scope;
        int local; /* index, -1 = none */
    } cases[] = {
        {NODE, SCOPE_NODE, 0},
        {"nodes: [{name: a, dsn: host=x, local: false}]\n", SCOPE_NODE, -1},
        {"nodes: [{name: a, dsn: host=x}, {name: b, dsn: host=y}]\n", SCOPE_CLUSTER, -1},
        {"scope: node\nnodes: [{name: a, dsn: host=x}, {name: b, dsn: host=y}]\n", SCOPE_NODE, -1},
        {"scope: cluster\n" NODE, SCOPE_CLUSTER, 0},
        {"nodes: [{name: a, dsn: host=x}, {name: b, dsn: host=/tmp}]\n", SCOPE_CLUSTER, 1},
        {"nodes: [{name: a, dsn: dbname=x}, {name: b, dsn: host=y}]\n", SCOPE_CLUSTER, 0},
        {"nodes: [{name: a, dsn: service=x}, {name: b, dsn: host=y}]\n", SCOPE_CLUSTER, -1},
        {"nodes: [{name: a, dsn: host=/tmp}, {name: b, dsn: host=/run}]\n", SCOPE_CLUSTER, -1},
        {"nodes: [{name: a, dsn: host=/tmp hostaddr=10.0.0.1}, {name: b, dsn: host=y}]\n",
         SCOPE_CLUSTER, -1},
        {"nodes: [{name: a, dsn: host=/tmp}, {name: b, dsn: host=y, local: true}]\n", SCOPE_CLUSTER,
         1},
        {"nodes: [{name: a, dsn: \"postgresql:///db?host=/tmp\"}, {name: b, dsn: host=y}]\n",
         SCOPE_CLUSTER, 0},
    };
    (void)state;
    unsetenv("PGHOST");
    unsetenv("PGHOSTADDR");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = parse_good(cases[i].text);
        int local = -1;
        for (size_t j = 0; j < c->node_count; j++)
            local = c->nodes[j].local ? (int)j : local;
        if (c->scope != cases[i].scope || local != cases[i].local)
            fail_msg("case %zu: scope %d, local %d", i, (int)c->scope, local);
        config_unref(&c);
    }
}

static void small_kindnesses(void **state)
{
    static const char *const texts[] = {
        "nodes:\n",
        "gate:\n",
        "gate: {}\n",
        "notify:\n",
        "notify: \"\"\n",
        "external_labels:\n",
        "rules: []\n",
        "rules: /x/*.yml\n",
        "gate: {hold: 0}\n",
        "gate: {hold: 0s}\n",
        "cluster: \"\"\n",
        "listen: localhost:1\n",
        "listen: 127.9.9.9:1\n",
        "insecure: true\nlisten: 0.0.0.0:1\n",
        "insecure: true\nlisten: \"[::]:1\"\n",
        "gate: {write: true}\n",
        "gate: {max_lag: '5s'}\n",
        "nodes: [{name: a, dsn: \"host=x password=$${literal} user=$x\"}]\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config *c = parse_good(texts[i]);
        config_unref(&c);
    }
}

static void too_many_nodes(void **state)
{
    struct buf text;
    struct diag diag;
    (void)state;
    buf_init(&text, 1000000);
    buf_add_str(&text, "nodes:\n");
    for (int i = 0; i < NODES_MAX + 2; i++)
        buf_printf(&text, "  - {name: n%d, dsn: host=x}\n", i);
    assert_null(parse(text.data, &diag));
    assert_int_equal(diag.count, 1);
    assert_string_equal(diag.entries[0].text, "more than 1024 nodes");
    assert_int_equal(diag.entries[0].line, NODES_MAX + 2);
    diag_deinit(&diag);
    buf_deinit(&text);
}

static void what_needs_a_restart(void **state)
{
    static const struct {
        const char *text, *key; /* NULL: a reload is enough */
    } cases[] = {
        {"", NULL},
        {"listen: 127.0.0.1:9433\n", "listen"},
        {"state_dir: /elsewhere\n", "state_dir"},
        {"health_dir: /elsewhere\n", "health_dir"},
        {"evaluation_interval: 5s\n", "evaluation_interval"},
        {"external_labels: {dc: x}\n", NULL},
        {"cluster: other\nscope: cluster\n", NULL},
        {"intervals: {activity: 7s}\ngate: {max_lag: 9s}\nrules: []\n", NULL},
    };
    struct config *running = parse_good(NODE);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *keys[4];
        char *text = mem_printf(NODE "%s", cases[i].text);
        struct config *fresh = parse_good(text);
        size_t n = config_restart_keys(running, fresh, keys, ARRAY_LEN(keys));
        assert_int_equal(n, cases[i].key != NULL);
        if (n > 0)
            assert_string_equal(keys[0], cases[i].key);
        config_unref(&fresh);
        mem_free(text);
    }
    config_unref(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_strict),
        cmocka_unit_test(values_are_strict),
        cmocka_unit_test(nodes_and_pools_are_strict),
        cmocka_unit_test(settings_fit_together),
        cmocka_unit_test(secrets_are_never_shown),
        cmocka_unit_test(defaults),
        cmocka_unit_test(all_values),
        cmocka_unit_test(what_is_implied),
        cmocka_unit_test(small_kindnesses),
        cmocka_unit_test(too_many_nodes),
        cmocka_unit_test(what_needs_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
