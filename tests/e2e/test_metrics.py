"""The page /metrics: all that is promised is there, others can read it, and it costs no SQL."""

import json
import os
import shutil
import subprocess
import time

import pytest

from cluster import proc, wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 1, "app_pool": 10}
INTERVALS = {"activity": "1s", "pools": "1s", "statements": "1s", "schema": "1s"}
AGENT = {"intervals": INTERVALS}

NODES = {"primary", "replica_1"}
BOTH = [{"node": name} for name in sorted(NODES)]
REPLICA = [{"replica": "replica_1"}]
POOL = [{"pool": "app", "database": "app", "user": "app"}]
POOL_DATABASE = [{"pool": "app", "database": "app"}]
APP = [{"node": name, "database": "app"} for name in sorted(NODES)]

# name, type, label sets that must be there
PROMISED = [
    ("db_connection_pool_size", "gauge", [{**POOL[0], "state": s} for s in ("active", "idle", "waiting")]),
    ("db_connection_pool_wait_time_seconds", "gauge", POOL),
    ("db_connection_pool_errors_total", "counter", [{"pool": "app", "reason": "timeout"}]),
    ("db_connection_pool_max", "gauge", POOL),
    ("db_connection_pool_utilization", "gauge", POOL),
    ("db_connection_pool_wait_seconds_total", "counter", POOL_DATABASE),
    ("db_connection_pool_queries_total", "counter", POOL_DATABASE),
    ("db_replication_lag_seconds", "gauge", REPLICA),
    ("db_replication_lag_bytes", "gauge", REPLICA),
    ("db_replication_wal_lag_seconds", "gauge", REPLICA),
    ("db_replication_lag_bound_seconds", "gauge", [{**REPLICA[0], "bound": b} for b in ("lo", "hi")]),
    ("db_replica_health", "gauge", REPLICA),
    ("db_replica_routable", "gauge", REPLICA),
    ("db_replica_state", "gauge", [{**REPLICA[0], "state": s} for s in ("fresh", "stale", "down")]),
    ("db_replica_expected_delay_seconds", "gauge", REPLICA),
    ("db_replica_healthy_seconds_total", "counter", REPLICA),
    ("db_replica_observed_seconds_total", "counter", REPLICA),
    ("db_slot_lost", "gauge", [{"node": "primary", "slot": "replica_1"}]),
    ("db_slot_retained_bytes", "gauge", [{"node": "primary", "slot": "replica_1"}]),
    ("db_longest_idle_in_transaction_seconds", "gauge", BOTH),
    ("db_longest_transaction_seconds", "gauge", BOTH),
    ("db_locks_waiting", "gauge", BOTH),
    ("db_connections", "gauge", [{**node, "state": s} for node in BOTH for s in ("active", "idle")]),
    ("db_connections_max", "gauge", BOTH),
    ("db_split_brain", "gauge", [{}]),
    ("db_reads_on_primary", "gauge", [{}]),
    ("db_up", "gauge", BOTH),
    ("db_node_role", "gauge", [{"node": "primary", "role": "primary"}, {"node": "replica_1", "role": "replica"}]),
    ("db_transactions_total", "counter", [{**db, "outcome": o} for db in APP for o in ("commit", "rollback")]),
    ("db_cache_hits_total", "counter", APP),
    ("db_cache_reads_total", "counter", APP),
    ("db_xid_age", "gauge", APP),
    ("db_archive_failures_total", "counter", BOTH),
    ("ALERTS", "gauge", [{"alertname": "TestAlways", "alertstate": "firing"}]),
    ("pgvigil_alert_firing", "gauge", [{"alertname": "TestAlways"}]),
    ("pgvigil_build_info", "gauge", [{}]),
    ("pgvigil_collector_poll_duration_seconds", "gauge", [{"target": "primary", "collector": "activity"}]),
    ("pgvigil_collector_failures_total", "counter", [{"target": "primary", "collector": "replication"}]),
    ("pgvigil_last_collect_timestamp_seconds", "gauge", [{"target": "app", "collector": "pools"}]),
    ("pgvigil_loop_lateness_seconds", "histogram", []),
    ("pgvigil_loop_turn_seconds", "histogram", []),
    ("pgvigil_stage_seconds", "histogram", []),
    ("pgvigil_memory_resident_bytes", "gauge", [{}]),
    ("pgvigil_memory_anonymous_bytes", "gauge", [{}]),
    ("pgvigil_queue_length", "gauge", [{"queue": "gate_reports"}]),
    ("pgvigil_history_bytes", "gauge", [{}]),
    ("pgvigil_outbox_length", "gauge", [{}]),
    ("pgvigil_deliveries_total", "counter", [{"outcome": "delivered"}, {"outcome": "failed"}]),
    ("pgvigil_config_last_reload_successful", "gauge", [{}]),
    ("pgvigil_series_dropped_total", "counter", [{}]),
]  # fmt: skip

ALWAYS = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: TestAlways, expr: 'db_up{node="primary"} == 1', labels: {severity: info}}
"""


@pytest.fixture(name="page")
def _page(cluster, make_agent):
    """The page once every collector has been polled."""
    agent = make_agent(intervals=INTERVALS, rules=[ALWAYS]).start()
    missing = []

    def complete():
        metrics = agent.metrics()
        missing[:] = [
            (name, labels)
            for name, kind, wanted in PROMISED
            for labels in wanted
            if kind != "histogram" and not metrics.samples(name, **labels)
        ]
        return metrics if not missing else None

    try:
        return wait_until(complete, 15, "every promised metric")
    except AssertionError:
        raise AssertionError(f"missing: {missing}") from None


def families(page):
    """{name: type} of the TYPE lines; each must come once, after its HELP."""
    types, helps = {}, {}
    for line in page.text.splitlines():
        word = line.split(" ", 3)
        if line.startswith("# HELP "):
            assert word[2] not in helps and len(word) == 4 and word[3].strip(), line
            helps[word[2]] = word[3]
        elif line.startswith("# TYPE "):
            assert word[2] not in types and word[2] in helps, line
            types[word[2]] = word[3]
    assert set(types) == set(helps)
    return types


def test_point_8_every_promised_metric_is_on_the_page(page):
    types = families(page)
    for name, kind, _labels in PROMISED:
        assert types.get(name) == kind, f"{name} is {types.get(name)}"
    for name in page.families:
        family = name
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix) and types.get(name[: -len(suffix)]) == "histogram":
                family = name[: -len(suffix)]
        assert family in types, f"{name} has no TYPE"
    for name, samples in page.families.items():
        keys = [tuple(sorted(labels.items())) for labels, _value in samples]
        assert len(keys) == len(set(keys)), f"{name} has a series twice"
        assert all(labels.get("cluster") == "test" for labels, _value in samples), name
        assert not any({"job", "instance", "__name__"} & set(labels) for labels, _ in samples), name


def test_values_are_those_of_the_servers(cluster, page):
    primary = cluster.primary
    assert page.value("db_connections_max", node="primary") == 60 - 3
    assert page.value("db_up", node="primary") == page.value("db_up", node="replica_1") == 1
    assert page.value("db_node_role", node="replica_1", role="primary") in (None, 0)
    age = primary.value("select age(datfrozenxid) from pg_database where datname = 'app'")
    assert 0 < page.value("db_xid_age", node="primary", database="app") <= age
    commits = primary.value("select xact_commit from pg_stat_database where datname = 'app'")
    seen = page.value("db_transactions_total", node="primary", database="app", outcome="commit")
    assert 0 < seen <= commits
    states = {
        labels["state"]: value for labels, value in page.samples("db_replica_state", **REPLICA[0])
    }
    assert states.pop("fresh") == 1 and not any(states.values())
    assert 0 <= page.value("db_replication_lag_seconds", replica="replica_1") < 2
    lo = page.value("db_replication_lag_bound_seconds", replica="replica_1", bound="lo")
    hi = page.value("db_replication_lag_bound_seconds", replica="replica_1", bound="hi")
    assert lo <= page.value("db_replication_lag_seconds", replica="replica_1") <= hi


def promtool(*args, stdin=None):
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("promtool is not installed")
    return subprocess.run(
        [tool, *args], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )


def test_point_8_promtool_accepts_page_and_rules(cluster, page):
    done = promtool("check", "metrics", stdin=page.text)
    # `ALERTS` is Prometheus' own name; it breaks promtool's rule against capitals.
    complaints = [line for line in done.stderr.splitlines() if line and "ALERTS" not in line]
    assert not complaints and not done.stdout, f"{done.stdout}\n{done.stderr}"
    folder = os.path.join(REPO, "rules")
    rules = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".yml")]
    done = promtool("check", "rules", *rules)
    assert done.returncode == 0 and len(rules) >= 2, done.stderr


def test_point_8_shipped_rules_and_configuration_are_accepted(make_agent):
    agent = make_agent()
    done = agent.cli("check-config", agent.config_path, config=False)
    assert done.stderr == ""
    assert "2 nodes, 1 pools" in done.stdout and "20 alerting" in done.stdout, done.stdout


def statements(cluster, name):
    """Statements that the monitoring role has run there. The replica has no own extension's
    tables to write, but the function reads its shared memory."""
    return cluster[name].value(
        "select coalesce(sum(calls), 0)::int8 from pg_stat_statements s"
        " join pg_roles r on r.oid = s.userid where r.rolname = 'pgvigil'"
    )


def test_point_8_scraping_costs_no_sql(cluster, make_agent):
    slow = {"activity": "1m", "pools": "1m", "statements": "1m", "schema": "1m"}
    agent = make_agent(intervals=slow).start()
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")
    for name in ("primary", "replica_1"):
        before, began = statements(cluster, name), time.monotonic()
        for _ in range(200):
            for path in ("/metrics", "/api/v1/alerts", "/"):
                assert agent.get(path).status == 200
        ran = statements(cluster, name) - before
        took = time.monotonic() - began
        assert ran <= took + 3, f"{ran} statements in {took:.1f} s: more than a probe each second"


def test_at_most_two_sessions_on_a_node(cluster, make_agent):
    agent = make_agent(intervals=INTERVALS).start()
    sql = "select application_name from pg_stat_activity where usename = 'pgvigil'"
    watchers = {name: cluster[name].connect() for name in NODES}
    most = dict.fromkeys(NODES, 0)
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for name, watcher in watchers.items():
                watcher.rollback()  # each transaction has its own view of the activity
                cursor = watcher.cursor()
                cursor.execute(sql)
                names = [row[0] for row in cursor.fetchall()]
                assert len(names) <= 2, f"{len(names)} sessions on {name}"
                assert set(names) <= {"pgvigil"}, names
                most[name] = max(most[name], len(names))
            time.sleep(0.02)
    finally:
        for watcher in watchers.values():
            watcher.close()
    assert most == {"primary": 2, "replica_1": 2}
    assert agent.running()


def test_page_is_quick_and_whole_with_a_frozen_server(cluster, agent):
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")
    cluster.sigstop("replica_1")
    wait_until(lambda: agent.metrics().value("db_up", node="replica_1") == 0, 15, "db_up is 0")
    times = []
    for _ in range(50):
        began = time.monotonic()
        metrics = agent.metrics()
        times.append(time.monotonic() - began)
        assert metrics.value("db_up", node="primary") == 1
    assert sorted(times)[25] < 0.1, f"median {sorted(times)[25]:.3f} s"
    assert metrics.samples("db_connections", node="primary")
    # the work session gives up one interval and one deadline after the last answer at the latest
    wait_until(
        lambda: not agent.metrics().samples("db_connections", node="replica_1"),
        12,
        "old figures are not shown",
    )


def test_every_sample_is_in_history(cluster, agent):
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")

    def points():
        out = agent.cli("query", 'count_over_time(db_up{node="primary"}[1m])', "-o", "json").stdout
        result = json.loads(out)["data"]["result"]
        return result and float(result[0]["value"][1])

    wait_until(lambda: points() >= 5, 20, "five polls of a second in history")
    sql = "select count(*) from sqlite_master"
    shell = shutil.which("sqlite3")
    if shell:
        path = os.path.join(agent.state_dir, "history.db")
        assert int(proc.run([shell, "-readonly", path, sql], home=agent.home)) > 0
