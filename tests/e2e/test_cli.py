"""The command line: what it prints, where, and with which exit code; daemon alive and dead."""

import contextlib
import csv
import io
import json
import os
import socket
import threading
import time

import pytest

from cluster import Agent, Cluster, proc, wait_until

CLUSTER = {"replicas": 2, "app_pool": 10}
AGENT = {
    "gate": {"max_lag": "3s", "hold": "2s", "lease": "5s"},
    "intervals": {"activity": "1s", "pools": "1s"},
}


def json_of(done):
    assert done.stderr == "", done.stderr
    return json.loads(done.stdout)


# ---- status ----


def test_status_shows_verdict_nodes_pools_and_alerts(cluster, agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    wait_until(lambda: "app " in agent.cli("status").stdout, 10, "the pool is shown")
    text = agent.cli("status").stdout
    lines = text.splitlines()
    assert lines[0] == "OK: all 3 nodes answer, nothing fires"
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["primary"][1:3] == ["primary", "up"]
    assert rows["replica_1"][1:3] == ["replica", "fresh"] and rows["replica_1"][4] == "yes"
    assert rows["app"][1:3] == ["app", "app"]
    assert "\033" not in text, "no colour into a pipe"

    found = json_of(agent.cli("status", "-o", "json"))
    assert found["schema"] == "pgvigil.status/1"
    assert {n["node"]: n["role"] for n in found["gate"]["nodes"]} == {
        "primary": "primary", "replica_1": "replica", "replica_2": "replica"
    }  # fmt: skip
    assert [a["labels"]["alertname"] for a in found["alerts"]["alerts"]] == ["Watchdog"]
    names = {sample["labels"]["__name__"] for sample in found["pools"]["samples"]}
    assert "db_connection_pool_max" in names

    by_url = agent.cli("status", "--url", f"http://127.0.0.1:{agent.port}", config=False)
    assert by_url.stdout.splitlines()[0] == lines[0]

    cluster.stop_node("replica_1", "immediate")
    wait_until(
        lambda: "ReplicaDown" in agent.cli("status").stdout.split("NODE")[0], 20, "the alert"
    )
    first = agent.cli("status").stdout.splitlines()[0]
    assert first.startswith("TROUBLE: ") and "1 of 3 nodes down" in first, first


def test_status_of_a_dead_daemon(agent):
    agent.kill()
    done = agent.cli("status", check=False)
    assert done.returncode == 4 and done.stdout == ""
    assert "the daemon does not answer at" in done.stderr and "api.sock" in done.stderr


# ---- query ----


@contextlib.contextmanager
def too_busy(path):
    """A daemon that answers one request with 503, on its socket."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o666)
        server.listen()

        def answer():
            connection, _address = server.accept()
            with connection:
                connection.recv(65536)
                body = b'{"status":"error","errorType":"timeout","error":"query timed out"}'
                head = f"HTTP/1.1 503 Busy\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        thread.join(10)
    os.unlink(path)


def query_all_forms(agent):
    """The forms of an instant and of a range query; returns the instant value."""
    now = time.time()
    instant = agent.query("db_connections_max")
    values = {row["metric"]["node"]: row["value"][1] for row in instant}
    assert values == dict.fromkeys(("primary", "replica_1", "replica_2"), "57")
    assert all(abs(row["value"][0] - now) < 60 for row in instant)

    table = agent.cli("query", 'db_connections_max{node="primary"}').stdout.splitlines()
    assert len(table) == 1 and table[0].endswith("  57") and 'node="primary"' in table[0]

    rows = list(csv.reader(io.StringIO(agent.cli("query", "db_up == 1", "-o", "csv").stdout)))
    # a column for each label; job and instance are those of the API
    labels = ["__name__", "cluster", "instance", "job", "node"]
    assert rows[0] == ["time", *labels, "value"] and len(rows) == 4
    instance = f"127.0.0.1:{agent.port}"
    for row, node in zip(rows[1:], ("primary", "replica_1", "replica_2")):
        assert row[1:] == ["db_up", "test", instance, "pgvigil", node, "1"]
    lines = agent.cli("query", "db_up").stdout.splitlines()
    assert len(lines) == 3 and len({line.rindex("  1") for line in lines}) == 1, lines
    assert agent.cli("query", "1 + 2").stdout == "3\n"
    assert agent.cli("query", "'a b'").stdout == "a b\n"

    start, end = str(int(now) - 10), str(int(now))
    span = ["--start", start, "--end", end, "--step", "1s"]
    found = json_of(agent.cli("query", 'db_up{node="primary"}', *span, "-o", "json"))
    assert found["status"] == "success" and found["data"]["resultType"] == "matrix"
    points = found["data"]["result"][0]["values"]
    assert len(points) >= 3 and all(value == "1" for _at, value in points)
    text = agent.cli("query", 'db_up{node="primary"}', *span, "-o", "csv").stdout
    assert len(text.splitlines()) == len(points) + 1
    lines = agent.cli("query", 'db_up{node="primary"}', *span).stdout.splitlines()
    assert lines[0].startswith("db_up{") and all(line.endswith("Z  1") for line in lines[1:])
    doubtful = agent.cli("query", "rate(db_up[1m])")
    assert doubtful.stderr.startswith("pgvigil: info: PromQL info: metric might not be a counter")
    scalar = json_of(agent.cli("query", "1 + 2", "-o", "json"))["data"]
    assert scalar["resultType"] == "scalar" and scalar["result"][1] == "3"


def test_query_prints_all_forms_with_the_daemon_alive_and_dead(agent):
    for name in ("db_connections_max", "db_up"):
        seen = f"count_over_time({name}[1m]) >= 5"
        wait_until(lambda s=seen: len(agent.query(s)) == 3, 20, f"five polls in history: {name}")
    query_all_forms(agent)
    alive = json_of(agent.cli("query", "rate(db_up[1m])", "-o", "json"))
    assert len(alive["infos"]) == 1
    done = agent.cli("query", "db_up + on() db_up", check=False)
    assert done.returncode == 1 and done.stdout == "" and "many-to-many" in done.stderr
    done = agent.cli("query", "sum(", check=False)
    assert done.returncode == 2 and "1:5: parse error: unclosed left parenthesis" in done.stderr
    agent.kill()
    query_all_forms(agent)
    with too_busy(os.path.join(os.path.dirname(agent.health_dir), "api.sock")):
        done = agent.cli("query", "vector(7)")
    assert done.stdout == "{}  7\n" and "the daemon gave up" in done.stderr

    done = agent.cli("query", "sum(", check=False)
    assert done.returncode == 2 and done.stdout == "" and "parse error" in done.stderr
    done = agent.cli("query", "1", "-o", "xml", check=False)
    assert done.returncode == 2 and "table, json or csv" in done.stderr
    done = agent.cli("query", "1", "--start", "yesterday", check=False)
    assert done.returncode == 2 and "yesterday" in done.stderr


# ---- health ----


def test_health_tells_by_exit_code(cluster, agent):
    def health(*args):
        done = agent.cli("health", *args, check=False)
        assert done.stderr == "" or done.returncode >= 2, done.stderr
        return done.returncode

    agent.wait_files("replica_1.read", "replica_2.read")
    assert health("replica_1") == health("replica_1", "--for", "read") == 0
    assert health("primary") == 1, "the replicas take the reads"
    assert health("primary", "--for", "write") == 0
    assert health("replica_1", "--for", "write") == 1
    assert health("nobody") == 2
    assert health("replica_1", "--for", "lunch") == 2

    cluster.pause_replay("replica_1")
    wait_until(lambda: health("replica_1") == 1, 15, "replica_1 is stale")
    assert health("replica_2") == 0

    agent.kill()
    killed = time.monotonic()
    assert health("replica_2") == 0, "its lease runs on"
    assert health("primary", "--for", "write") == 4, "that is for the daemon to say"
    wait_until(lambda: health("replica_2") == 1, 10, "the lease has run out")
    assert 2 < time.monotonic() - killed < 5 + 1.5


def test_health_does_not_trust_an_old_file(agent):
    """A frozen host: file and guardian stand still, the time in the file does not."""
    agent.wait_files("replica_1.read", "replica_2.read")
    agent.sigstop()
    guardian = agent.guardian_pid()
    proc.signal_quietly(guardian, 19)
    try:
        wait_until(
            lambda: agent.cli("health", "replica_1", check=False).returncode == 1, 10, "told no"
        )
        assert "replica_1.read" in agent.health_files(), "although its file is there"
        told = agent.cli("health", "replica_1", check=False).stdout
        assert "lease" in told, told
    finally:
        proc.signal_quietly(guardian, 18)
        agent.sigcont()


# ---- grants ----


@pytest.mark.parametrize("version", [[], ["--pg", "15"]])
def test_grants_are_all_that_is_needed(cluster, make_agent, version):
    role = "watcher" + "".join(version[1:])
    agent = make_agent(
        intervals={"activity": "1s", "statements": "1s", "schema": "1s"},
        nodes=["primary", "replica_1"],
    )
    sql = agent.cli("grants", "--role", role, *version, config=False).stdout
    cluster.psql("primary", sql, dbname="postgres")
    cluster.wait_caught_up("replica_1")
    for node in agent.config["nodes"]:
        node["dsn"] = cluster.nodes[node["name"]].conninfo("app", role)
    agent.write_config()
    agent.start()
    agent.wait_files("replica_1.read")

    def all_good():
        name = "pgvigil_last_collect_timestamp_seconds"
        samples = agent.metrics().samples(name, target="primary")
        return {labels["collector"] for labels, _value in samples} >= {
            "replication", "activity", "database", "archiver", "slots", "standbys", "size"
        }  # fmt: skip

    wait_until(all_good, 15, "every collector of the primary had a good poll")

    # a lag is not proven in the very first ticks, and the agent tells about itself each 5 s
    def none_fails():
        failing = agent.metrics().samples("pgvigil_collector_failing")
        bad = [labels for labels, value in failing if value]
        if bad:
            raise AssertionError(f"failing: {bad}")
        return bool(failing)

    wait_until(none_fails, 15, "no collector fails")
    metrics = agent.metrics()
    assert "permission denied" not in agent.stderr() and "sqlstate=" not in agent.stderr()
    assert metrics.value("db_replication_lag_bytes", replica="replica_1") is not None
    assert metrics.value("db_replica_streaming", replica="replica_1") == 1
    size = metrics.value("db_database_size_bytes", node="primary", database="other")
    assert size and size > 1e6
    limit = f"select rolconnlimit, rolsuper from pg_roles where rolname = '{role}'"
    assert cluster.execute("primary", limit) == [(10, False)]
    with pytest.raises(Exception, match="permission denied"):
        cluster.execute("primary", "select * from public.pgbench_accounts", user=role)
    with pytest.raises(Exception, match="read-only"):
        cluster.execute("primary", "create temp table t ()", user=role)


def test_grants_quote_the_role():
    with Cluster(replicas=0, pool=False) as cluster:
        agent = Agent(cluster)
        try:
            name = 'o"dd; role'
            sql = agent.cli("grants", "--role", name, config=False).stdout
            cluster.psql("primary", sql, dbname="postgres")
            found = cluster.execute("primary", "select 1 from pg_roles where rolname = %s", (name,))
            assert found == [(1,)]
            sql = agent.cli("grants", "--explain", config=False).stdout
            cluster.psql("primary", sql, dbname="postgres")
        finally:
            agent.close()


# ---- run --once, help, usage ----


def test_run_once_prints_the_verdicts_and_publishes_nothing(cluster, make_agent):
    agent = make_agent()
    done = agent.cli("run", "--once", check=False)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows["primary"][1] == "primary" and rows["replica_1"][1:3] == ["replica", "fresh"]
    assert agent.health_files() == []

    cluster.stop_node("replica_1", "immediate")
    done = agent.cli("run", "--once", check=False)
    assert done.returncode == 5
    assert "no answer" in next(l for l in done.stdout.splitlines() if l.startswith("replica_1"))


USAGE = [
    # arguments, exit code, text on stdout, text on stderr
    (["--version"], 0, "pgvigil ", ""),
    (["--help"], 0, "check-config", ""),
    (["status", "--help"], 0, "usage: pgvigil status", ""),
    ([], 2, "", "commands:"),
    (["statsu"], 2, "", "unknown command 'statsu', did you mean 'status'?"),
    (["frobnicate"], 2, "", "unknown command 'frobnicate'"),
    (["status", "--outptu", "json"], 2, "", "unknown option '--outptu', did you mean '--output'?"),
    (["status", "--time", "1"], 2, "", "this command has no option '--time'"),
    (["status", "-o"], 2, "", "a value is missing after '-o'"),
    (["status", "-o", "xml"], 2, "", "-o takes text or json here, not 'xml'"),
    (["query"], 2, "", "usage: pgvigil query"),
    (["health", "a", "b"], 2, "", "usage: pgvigil health"),
    (["grants", "--pg", "9"], 2, "", "from 13 to 18, not '9'"),
    (["check-config", "/nowhere.yaml"], 3, "", "/nowhere.yaml: cannot read"),
    (["status", "--config", "/nowhere.yaml"], 3, "", "/nowhere.yaml: cannot read"),
    (["status", "--url", "http://127.0.0.1:1"], 4, "", "the daemon does not answer"),
]


def test_usage_errors_are_told_on_stderr_with_their_code(cluster, make_agent):
    agent = make_agent()
    for args, code, out, err in USAGE:
        done = agent.cli(*args, config=False, check=False)
        assert done.returncode == code, (args, done)
        assert out in done.stdout and err in done.stderr, (args, done)
        assert bool(done.stderr) == bool(code), (args, done)
        assert bool(done.stdout) == (code == 0), (args, done)
