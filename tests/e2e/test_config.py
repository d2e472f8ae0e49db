"""Bad input is told with its place and hurts only itself; good input is taken over."""

import os
import signal
import socket
import threading

import pytest

from cluster import Agent, Cluster, Receiver, proc, wait_until

CLUSTER = {"replicas": 1, "workload": False}
RULE = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: Many, expr: db_connections_max > LIMIT, labels: {severity: warning}}
"""


def write(agent, text):
    agent.write_config(text)
    return os.path.basename(agent.config_path)


HEAD = "listen: 127.0.0.1:{port}\nstate_dir: {state}\nhealth_dir: {health}\nrules: []\n"
BAD = {
    "syntax": (
        'nodes:\n  - {{name: a, dsn: "host=127.0.0.1 port=1"\nscope: node\n',
        ["7:1: did not find expected ',' or '}}'"],
    ),
    "unknown key, with a suggestion": (
        "nodez:\n  - {{name: a}}\nnodes: [{{name: a, dsn: host=127.0.0.1, maxlag: 3s}}]\n",
        [
            "5:1: unknown key 'nodez', did you mean 'nodes'?",
            "7:40: unknown key 'maxlag', did you mean 'max_lag'?",
        ],
    ),
    "wrong units and values, all at once": (
        "nodes: [{{name: a, dsn: host=127.0.0.1}}]\n"
        "gate: {{max_lag: 3 parsecs, hold: 30}}\n"
        "history: {{max_size: 2GX}}\n"
        "scope: galaxy\n",
        [
            "6:17: 'gate.max_lag': expected a duration with a unit, like 10s, found '3 parsecs'",
            "6:34: 'gate.hold': expected a duration with a unit, like 10s, found '30'",
            "7:21: 'history.max_size': expected a size with a unit, like 2GiB, found '2GX'",
            "8:8: 'scope'",
        ],
    ),
    "duplicate key and name": (
        "nodes:\n  - {{name: a, dsn: host=127.0.0.1}}\n  - {{name: a, dsn: host=127.0.0.2}}\n"
        "scope: node\nscope: cluster\n",
        [
            '9:1: duplicate key "scope", first on line 8',
            "7:12: duplicate node 'a', the first is in line 6",
        ],
    ),
    "a password stays unsaid": (
        'nodes: [{{name: a, dsn: "host=127.0.0.1 portt=1 password=s3cr3t-word"}}]\n',
        ["5:24: 'dsn'"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_point_9_bad_configuration_is_refused_with_its_place(make_agent, case):
    agent = make_agent()
    text, messages = BAD[case]
    name = write(
        agent,
        (HEAD + text).format(port=agent.port, state=agent.state_dir, health=agent.health_dir),
    )
    for command in (["run"], ["check-config"]):
        done = agent.cli(*command, check=False)
        assert done.returncode == 3, done.stderr
        assert "s3cr3t-word" not in done.stderr + done.stdout
        for message in messages:
            wanted = f"{name}:{message.replace('}}', '}')}"
            assert wanted in done.stderr, f"{wanted!r} is not in:\n{done.stderr}"
        assert len(done.stderr.splitlines()) == len(messages), done.stderr


def test_point_9_missing_files_are_told(make_agent):
    agent = make_agent()
    done = agent.cli("run", "--config", "/nowhere/pgvigil.yaml", config=False, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        '/nowhere/pgvigil.yaml: cannot read "/nowhere/pgvigil.yaml": No such file or directory\n'
    )
    agent.config["nodes"][0]["dsn"] = "host=127.0.0.1 password=${file:/nowhere/secret}"
    agent.write_config()
    done = agent.cli("check-config", check=False)
    assert done.returncode == 3 and "/nowhere/secret" in done.stderr, done.stderr
    line = next(i for i, s in enumerate(open(agent.config_path), 1) if "/nowhere/secret" in s)
    assert f"pgvigil.yaml:{line}:" in done.stderr


def test_point_9_bad_rule_file_is_told_with_its_place(make_agent):
    agent = make_agent(rules=[RULE.replace("LIMIT", "sum((")])
    done = agent.cli("run", check=False)
    assert done.returncode == 3
    assert "test-0.yml:6:" in done.stderr and "parse error" in done.stderr, done.stderr


# ---- servers that do not let us in: the rest goes on ----


class Refuser:
    """Takes connections, sends `answer` and closes; without one it never says anything."""

    def __init__(self, answer=None):
        self.ports = proc.Ports()
        self.port = self.ports.take()
        self._answer = answer
        self._taken = []
        self._socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _peer = self._socket.accept()
                self._taken.append(connection)
                connection.recv(4096)
                if self._answer is not None:
                    connection.sendall(self._answer)
                    connection.close()
            except OSError:
                if self._socket.fileno() < 0:
                    return

    def close(self):
        self._socket.close()
        for connection in self._taken:
            connection.close()
        self.ports.release()


def up(agent, node):
    return agent.metrics().value("db_up", node=node)


def others_go_on(agent):
    agent.wait_files("replica_1.read")
    wait_until(lambda: up(agent, "primary") == 1 and up(agent, "replica_1") == 1, 10, "both are up")
    wait_until(lambda: agent.metrics().samples("db_connections", node="primary"), 10, "activity")


def add_node(agent, name, dsn):
    agent.config["nodes"].append({"name": name, "dsn": dsn, "cluster": "elsewhere"})
    agent.write_config()
    return agent


def test_point_9_unreachable_and_refusing_servers_hurt_nobody_else(cluster, make_agent):
    closing, silent = Refuser(b""), Refuser()
    babbling = Refuser(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    nobody = proc.Ports()
    agent = make_agent()
    add_node(agent, "absent", f"host=127.0.0.1 port={nobody.take()} user=x dbname=x")
    add_node(agent, "closing", f"host=127.0.0.1 port={closing.port} user=x dbname=x")
    add_node(agent, "silent", f"host=127.0.0.1 port={silent.port} user=x dbname=x")
    add_node(agent, "babbling", f"host=127.0.0.1 port={babbling.port} user=x dbname=x")
    add_node(agent, "nameless", "host=no-such-host.invalid user=x dbname=x")
    add_node(agent, "nodb", cluster.monitor_dsn("primary", dbname="no_such_db"))
    add_node(agent, "pooler", cluster.pool.conninfo("app", "app"))
    try:
        agent.start()
        others_go_on(agent)
        wanted = {
            "absent": "failure=connect",
            "closing": "failure=",
            "silent": "failure=timeout",
            "babbling": "failure=protocol",
            "nameless": "failure=resolve",
            "nodb": "failure=config",
            "pooler": "this is a PgBouncer, not a server",
        }
        for name, text in wanted.items():
            wait_until(
                lambda n=name, t=text: [
                    line
                    for line in agent.stderr().splitlines()
                    if f"target={n} role=probe" in line and t in line
                ],
                15,
                f"{text!r} about {name}",
            )
            wait_until(lambda n=name: up(agent, n) == 0, 10, f"{name} is not up")
        lines = [line for line in agent.stderr().splitlines() if "target=absent" in line]
        assert len(lines) <= 3, "a fault is told once, not at each try"
        assert agent.health_files() == ["replica_1.read"]
    finally:
        for server in (closing, silent, babbling):
            server.close()
        nobody.release()


@pytest.fixture(name="locked", scope="module")
def _locked():
    """A cluster whose monitoring role needs its password."""
    with Cluster(replicas=0, pool=False, scram=True) as cluster:
        yield cluster


def test_point_9_wrong_password_is_told_and_never_shown(locked):
    secret = "wrong-Pa55phrase"
    agent = Agent(locked)
    try:
        conninfo = locked.primary.conninfo("app", "pgvigil")
        agent.config["nodes"][0]["dsn"] = f"{conninfo} password={secret}"
        agent.write_config()
        agent.start()
        wait_until(lambda: "failure=auth" in agent.stderr(), 10, "the refused login")
        assert "password authentication failed" in agent.stderr()
        wait_until(lambda: up(agent, "primary") == 0, 10, "not up")
        shown = [agent.stderr()]
        for path in ("/metrics", "/", "/api/pgvigil/nodes", "/api/pgvigil/gate", "/api/v1/alerts"):
            shown.append(agent.get(path).text)
        for pid in [agent.pid, agent.guardian_pid()]:
            with open(f"/proc/{pid}/cmdline", encoding="latin-1") as file:
                shown.append(file.read())
        shown += [agent.cli("status").stdout, agent.cli("check-config").stdout]
        assert not [text for text in shown if secret in text]

        agent.config["nodes"][0]["dsn"] = locked.monitor_dsn("primary")
        agent.write_config()
        agent.reload()
        wait_until(lambda: up(agent, "primary") == 1, 10, "the right password lets it in")
        assert locked.password not in agent.stderr() + agent.get("/api/pgvigil/nodes").text
    finally:
        agent.close()


def test_password_file_is_read_again_at_each_login(locked):
    agent = Agent(locked)
    try:
        passfile = os.path.join(agent.home, "pass")
        proc.write_owned(passfile, "*:*:*:*:not-yet-right\n", 0o600)
        conninfo = locked.primary.conninfo("app", "pgvigil")
        agent.config["nodes"][0]["dsn"] = f"{conninfo} passfile={passfile}"
        agent.write_config()
        agent.start()
        wait_until(lambda: "failure=auth" in agent.stderr(), 10, "the refused login")
        proc.write_owned(passfile, f"*:*:*:*:{locked.password}\n", 0o600)
        wait_until(lambda: up(agent, "primary") == 1, 40, "logged in with the new password")
    finally:
        agent.close()


def collected(agent):
    """Lines of /metrics without those of recording rules (a colon in the name): they end with the
    next run of their group, minutes later."""
    lines = agent.get("/metrics").text.splitlines()
    return [line for line in lines if ":" not in line.split("{")[0]]


def failing_collectors(agent, node):
    samples = agent.metrics().samples("pgvigil_collector_failing", target=node)
    return {labels["collector"] for labels, value in samples if value}


def test_point_9_missing_grant_disables_what_needs_it_only(cluster, make_agent):
    """Without pg_monitor the views hide their figures without an error: those are not shown."""
    cluster.psql("primary", "create role poor login")
    cluster.psql("primary", "revoke select on pg_catalog.pg_stat_archiver from public")
    agent = make_agent(intervals={"activity": "1s", "statements": "1s", "schema": "1s"})
    for node in agent.config["nodes"]:
        node["dsn"] = cluster.nodes[node["name"]].conninfo("app", "poor")
    try:
        cluster.wait_caught_up("replica_1")
        agent.write_config()
        agent.start()
        agent.wait_files("replica_1.read")
        told = "node=primary collector=activity sqlstate=42501 error="
        wait_until(lambda: told in agent.stderr(), 10, "the missing grant is told")
        assert "not a member of pg_monitor, see 'pgvigil grants'" in agent.stderr()
        denied = "permission denied for view pg_stat_archiver"
        wait_until(lambda: denied in agent.stderr(), 10, "the denial")
        failing = {"activity", "archiver"}
        wait_until(lambda: failing_collectors(agent, "primary") == failing, 10, "no others")
        metrics = wait_until(
            lambda: agent.metrics().samples("db_xid_age") and agent.metrics(), 10, "databases"
        )
        assert metrics.value("db_up", node="primary") == 1
        assert metrics.value("db_replica_health", replica="replica_1") == 1
        for name in ("db_connections", "db_longest_transaction_seconds", "db_replica_streaming",
                     "db_archive_failures_total"):  # fmt: skip
            assert name not in metrics, f"{name} is not known"
        alerts = wait_until(lambda: len(agent.alerts()) == 2 and agent.alerts(), 10, "the alerts")
        assert {a["labels"]["alertname"] for a in alerts} == {"NodeUnobservable"}
        assert {a["labels"]["node"] for a in alerts} == {"primary", "replica_1"}

        cluster.psql("primary", "grant pg_monitor to poor")
        wait_until(lambda: "db_connections" in agent.metrics(), 10, "figures without a restart")
        wait_until(lambda: failing_collectors(agent, "primary") == {"archiver"}, 10, "and told so")
        assert agent.metrics().value("db_replica_streaming", replica="replica_1") == 1
        assert agent.stderr().count(told) == 1, "told once"
    finally:
        cluster.psql("primary", "grant select on pg_catalog.pg_stat_archiver to public")


# ---- reload ----


def reloads(agent):
    return agent.metrics().value("pgvigil_config_last_reload_successful")


def stamp(agent):
    return agent.metrics().value("pgvigil_config_last_reload_success_timestamp_seconds")


def test_point_9_reload_of_a_broken_file_keeps_the_old_one(cluster, make_agent):
    agent = make_agent().start()
    wait_until(lambda: reloads(agent) == 1, 10, "loaded")
    loaded = stamp(agent)
    good = open(agent.config_path, encoding="utf-8").read()
    agent.write_config(good + "gate: {max_lagg: 3s}\n")
    agent.reload()
    wait_until(lambda: reloads(agent) == 0, 10, "the reload has failed")
    line = good.count("\n") + 1
    told = f"pgvigil.yaml:{line}:8: unknown key 'max_lagg', did you mean 'max_lag'?"
    assert told in agent.stderr()
    assert stamp(agent) == loaded, "nothing was taken into use"
    others_go_on(agent)
    agent.write_config(good)
    agent.reload()
    wait_until(lambda: reloads(agent) == 1, 10, "the good file again")
    assert stamp(agent) > loaded
    others_go_on(agent)


def test_point_9_reload_takes_nodes_away_and_back(cluster, make_agent):
    agent = make_agent().start()
    others_go_on(agent)
    primary_polls = agent.metrics().value(
        "pgvigil_collector_polls_total", target="primary", collector="activity"
    )
    nodes = list(agent.config["nodes"])
    agent.config["nodes"] = [node for node in nodes if node["name"] != "replica_1"]
    agent.write_config()
    agent.reload()
    agent.wait_files("primary.read")
    wait_until(lambda: up(agent, "replica_1") is None, 10, "no series of a node that is gone")
    left = [l for l in collected(agent) if 'replica="replica_1"' in l or 'target="replica_1"' in l]
    wait_until(
        lambda: not [
            line
            for line in collected(agent)
            if 'replica="replica_1"' in line or 'target="replica_1"' in line
        ],
        12,
        f"nothing is left of it: {left[:3]}",
    )
    assert agent.get("/replica?node=replica_1").status in (404, 503)
    sessions = "select count(*) from pg_stat_activity where usename = 'pgvigil'"
    wait_until(lambda: cluster["replica_1"].value(sessions) == 0, 10, "its sessions are closed")
    assert agent.alerts() == []

    agent.config["nodes"] = nodes
    agent.write_config()
    agent.reload()
    agent.wait_files("replica_1.read", deadline=45)
    wait_until(lambda: up(agent, "replica_1") == 1, 10, "watched again")
    wait_until(
        lambda: agent.metrics().value(
            "pgvigil_collector_polls_total", target="primary", collector="activity"
        )
        > primary_polls,
        12,
        "the primary's collectors went on counting",
    )


def test_point_9_reload_changes_rules_and_webhook(cluster, make_agent, receiver):
    agent = make_agent(rules=[RULE.replace("LIMIT", "1000")], webhook=receiver.url).start()
    others_go_on(agent)
    assert agent.alerts() == []
    with Receiver() as second:
        agent.config["notify"] = {"webhook": second.url}
        agent.write_config()
        rule_path = os.path.join(agent.home, "rules", "test-0.yml")
        proc.write_owned(rule_path, RULE.replace("LIMIT", "10"))
        agent.reload()
        fired = second.wait_alert("Many", node="primary")
        assert fired["status"] == "firing"
        assert receiver.requests == []
        proc.write_owned(rule_path, RULE.replace("LIMIT", "1000"))
        agent.reload()
        ended = second.wait_alert("Many", status="resolved", node="primary")
        assert ended["fingerprint"] == fired["fingerprint"]


def test_reload_tells_what_needs_a_restart(cluster, make_agent):
    agent = make_agent().start()
    others_go_on(agent)
    agent.config["state_dir"] += "-elsewhere"
    agent.config["listen"] = "127.0.0.1:1"
    agent.config["evaluation_interval"] = "2s"
    agent.config["cluster"] = "renamed"
    agent.write_config()
    agent.reload()
    wait_until(
        lambda: agent.metrics().value("db_up", node="primary", cluster="renamed") == 1,
        10,
        "the new name of the cluster",
    )
    told = {line.split("key=")[1] for line in agent.stderr().splitlines() if "next start" in line}
    assert told == {"state_dir", "listen", "evaluation_interval"}
    agent.wait_files("replica_1.read", deadline=45)
    wait_until(
        lambda: not [
            line for line in collected(agent) if 'cluster="test"' in line
        ],
        15,
        "nothing bears the old name",
    )


# ---- no configuration at all ----


def zero_config(agent, env):
    """Starts `pgvigil run` without a configuration; the listener is the default one."""
    log = os.path.join(agent.home, "zero.log")
    process = proc.spawn([agent.binary, "run", "--once"], home=agent.home, log=log, env=env)
    try:
        code = process.wait(20)
    finally:
        proc.kill_tree(process, signal.SIGTERM)
    with open(log, encoding="utf-8") as file:
        return code, file.read()


def test_point_9_zero_config_by_variables(cluster, make_agent):
    agent = make_agent()
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.primary.port), "PGUSER": "pgvigil"}
    code, text = zero_config(agent, env)
    assert code == 0, text
    name = f"{socket.gethostname()}-{cluster.primary.port}"
    row = [line.split() for line in text.splitlines() if line.startswith(name)]
    assert row and row[0][1] == "primary", text

    nobody = proc.Ports()
    code, text = zero_config(agent, {**env, "PGPORT": str(nobody.take())})
    nobody.release()
    assert code == 5 and "no answer" in text, text


def test_point_9_zero_config_daemon_without_its_directories(cluster, make_agent):
    """By hand and unprivileged: no state, no health files, and that is told; the rest works."""
    address = ("127.0.0.1", 9432)
    with socket.socket() as probe:
        if probe.connect_ex(address) == 0 or os.access("/run/pgvigil", os.F_OK):
            pytest.skip("an agent seems to be installed here")
    agent = make_agent()
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(cluster.primary.port), "PGUSER": "pgvigil"}
    log = os.path.join(agent.home, "zero.log")
    process = proc.spawn([agent.binary, "run"], home=agent.home, log=log, env=env)
    try:
        agent.port = address[1]
        name = f"{socket.gethostname()}-{cluster.primary.port}"
        wait_until(lambda: agent.metrics().value("db_up", node=name) == 1, 15, "db_up")
        assert agent.get("/primary").status == 200
        with open(log, encoding="utf-8") as file:
            text = file.read()
        assert "state_dir cannot be used" in text and "health files cannot be published" in text
    finally:
        proc.kill_tree(process, signal.SIGTERM)
    assert process.returncode == 0, proc.tail(log)


def test_point_9_zero_config_by_sockets(cluster, make_agent):
    """Servers found by their sockets in /tmp, each as a node named after host and port."""
    node = cluster.primary
    agent = make_agent()
    paths = [f"/tmp/.s.PGSQL.{node.port}", f"/tmp/.s.PGSQL.{node.port}.lock"]
    try:
        for path in paths:
            os.symlink(os.path.join(node.home, os.path.basename(path)), path)
        code, text = zero_config(agent, {"PGUSER": "pgvigil"})
    finally:
        for path in paths:
            if os.path.islink(path):
                os.unlink(path)
    name = f"{socket.gethostname()}-{node.port}"
    row = [line.split() for line in text.splitlines() if line.startswith(name)]
    assert row and row[0][1] == "primary", text
    assert code in (0, 5), "another server of this host may not let us in"
