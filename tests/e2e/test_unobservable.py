"""What the agent does not see: NodeUnobservable, and what must not be concluded from it."""

import glob
import os
import time

import pytest

from cluster import wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 2, "pool": False}
NAMES = ["primary", "replica_1", "replica_2"]
READS = ["replica_1.read", "replica_2.read"]


def shipped_rules():
    """As shipped, but alerts end soon and PrimaryDown comes soon: that would be half a minute each."""
    texts = []
    for path in sorted(glob.glob(os.path.join(REPO, "rules", "*.yml"))):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("keep_firing_for: 30s", "keep_firing_for: 2s")
        text = text.replace("keep_firing_for: 2m", "keep_firing_for: 2s")
        texts.append(text.replace("for: 30s", "for: 5s"))
    return texts


AGENT = {
    "gate": {"max_lag": "60s", "hold": "2s"},
    "intervals": {"activity": "1s", "statements": "1s"},
    "rules": shipped_rules(),
}


@pytest.fixture(name="seen")
def _seen(agent):
    """The agent, once it sees all and nothing fires."""
    agent.wait_files(*READS)
    wait_until(lambda: "db_connections" in agent.metrics(), 15, "the work sessions")
    assert unobservable(agent) == {} and firing(agent) == set()
    return agent


def unobservable(agent):
    """{node: reason} of those that the agent says it does not see."""
    samples = agent.metrics().samples("db_node_unobservable")
    assert sorted(labels["node"] for labels, _value in samples) == NAMES
    return {labels["node"]: labels["reason"] for labels, value in samples if value == 1}


def firing(agent):
    """{(alert, node, severity)}: what fires, as the API shows it."""
    return {
        (a["labels"]["alertname"], a["labels"].get("node"), a["labels"]["severity"])
        for a in agent.alerts()
        if a["state"] == "firing"
    }


def wait_firing(agent, wanted, deadline):
    def same():
        have = firing(agent)
        assert have == wanted, have
        return True

    wait_until(same, deadline, f"exactly {wanted} fire")


def unseen(node, severity):
    return ("NodeUnobservable", node, severity)


def reject(node):
    """The server lets the monitoring role in no more; open sessions are ended."""
    path = os.path.join(node.data, "pg_hba.conf")
    with open(path, encoding="ascii") as file:
        old = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write("host all pgvigil 127.0.0.1/32 reject\n" + old)
    end_sessions(node)
    return old


def end_sessions(node):
    node.psql("select pg_reload_conf()")
    time.sleep(0.2)  # the postmaster reads it after its answer; there is nothing to look at
    node.psql(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pgvigil'"
    )


def let_in(node, old):
    with open(os.path.join(node.data, "pg_hba.conf"), "w", encoding="ascii") as file:
        file.write(old)
    node.psql("select pg_reload_conf()")


def test_a_refused_login_is_told_and_takes_nobody_out(cluster, seen, receiver):
    old = reject(cluster["replica_1"])
    try:
        wait_firing(seen, {unseen("replica_1", "warning")}, 15)
        assert unobservable(seen) == {"replica_1": "login"}
        fired = receiver.wait_alert("NodeUnobservable", node="replica_1", severity="warning")
        assert fired["annotations"]["summary"].endswith("reason: login")
        assert "reason" not in fired["labels"] and fired["labels"]["role"] == "replica"
        assert seen.health_files() == READS
        assert seen.metrics().value("db_replica_health", replica="replica_1") == 1
    finally:
        let_in(cluster["replica_1"], old)
    wait_firing(seen, set(), 60)  # a refused login is tried again after 30 s
    assert not receiver.alerts("ReplicaDown")


def test_a_login_refused_by_the_primary_is_critical_and_not_primary_down(cluster, seen, receiver):
    old = reject(cluster.primary)
    try:
        for name in ("replica_1", "replica_2"):  # nobody streams, so nothing speaks for it
            cluster.stop_receiver(name)
        wait_firing(seen, {unseen("primary", "critical")}, 15)
        assert unobservable(seen) == {"primary": "login"}
        end = time.monotonic() + 10  # PrimaryDown waits 5 s here
        while time.monotonic() < end:
            assert "PrimaryDown" not in {name for name, _node, _severity in firing(seen)}
            time.sleep(0.5)
    finally:
        let_in(cluster.primary, old)
    assert not receiver.alerts("PrimaryDown")


def test_a_missing_grant_is_told_for_each_node_and_ends_with_it(cluster, seen):
    cluster.psql("primary", "revoke pg_monitor from pgvigil")
    try:
        wanted = {unseen("primary", "critical"), unseen("replica_1", "warning"), unseen("replica_2", "warning")}  # fmt: skip
        wait_firing(seen, wanted, 20)
        assert unobservable(seen) == dict.fromkeys(NAMES, "grant")
        assert seen.health_files() == READS
    finally:
        cluster.psql("primary", "grant pg_monitor to pgvigil")
    wait_firing(seen, set(), 20)


def test_the_probe_without_its_grant_is_no_evidence(cluster, seen):
    function = "pg_catalog.pg_control_system()"
    cluster.psql("primary", f"revoke execute on function {function} from public")
    try:
        wanted = {unseen("primary", "critical"), unseen("replica_1", "warning"), unseen("replica_2", "warning")}  # fmt: skip
        wait_firing(seen, wanted, 20)
        assert unobservable(seen) == dict.fromkeys(NAMES, "grant")
        assert seen.health_files() == READS
    finally:
        cluster.psql("primary", f"grant execute on function {function} to public")
    wait_firing(seen, set(), 20)


def test_a_frozen_primary_that_replicas_stream_from(cluster, seen, receiver):
    cluster.sigstop("primary")
    frozen = time.monotonic()
    fired = receiver.wait_alert("NodeUnobservable", node="primary", deadline=12)
    took = time.monotonic() - frozen
    print(f"NodeUnobservable after {took:.1f} s")
    assert took <= 10, f"{took:.1f} s after the freeze"
    assert fired["labels"]["severity"] == "critical"
    assert unobservable(seen) == {"primary": "streaming"}
    while time.monotonic() - frozen < 18:  # PrimaryDown waits 5 s here
        assert firing(seen) == {unseen("primary", "critical")}
        assert seen.health_files() == READS
        time.sleep(0.5)
    cluster.sigcont("primary")
    receiver.wait_alert("NodeUnobservable", status="resolved", node="primary", deadline=45)
    wait_firing(seen, set(), 10)
    assert not receiver.alerts("PrimaryDown")


def test_an_agent_that_sees_no_node_calls_none_down(cluster, seen, receiver):
    for name in NAMES:
        cluster.sigstop(name)
    frozen = time.monotonic()
    wanted = {unseen("primary", "critical"), unseen("replica_1", "warning"), unseen("replica_2", "warning")}  # fmt: skip
    wait_firing(seen, wanted, 12)
    took = time.monotonic() - frozen
    print(f"all three after {took:.1f} s")
    assert took <= 10, f"{took:.1f} s after the freeze"
    assert unobservable(seen) == dict.fromkeys(NAMES, "blind")
    while time.monotonic() - frozen < 18:
        assert firing(seen) == wanted
        assert seen.health_files() == READS
        assert seen.metrics().value("db_replica_health", replica="replica_1") == 1
        time.sleep(0.5)
    for name in NAMES:
        cluster.sigcont(name)
    wait_firing(seen, set(), 60)
    told = {alert["labels"]["alertname"] for alert in receiver.alerts()}
    assert told == {"NodeUnobservable"}, told


def test_a_replica_that_is_down_is_observed(cluster, seen, receiver):
    cluster.stop_node("replica_1", "immediate")
    receiver.wait_alert("ReplicaDown", replica="replica_1", deadline=15)
    assert unobservable(seen) == {}
    # after a restart it is remembered as a replica, so it is still down and not unknown
    seen.restart()
    wait_until(lambda: "ReplicaDown" in {name for name, *_ in firing(seen)}, 20, "it is still down")
    assert unobservable(seen) == {}


def test_a_node_that_was_never_seen(cluster, make_agent, receiver):
    cluster.stop_node("replica_2", "immediate")
    agent = make_agent(webhook=receiver.url, **AGENT).start()
    wait_firing(agent, {unseen("replica_2", "warning")}, 20)
    assert unobservable(agent) == {"replica_2": "never_seen"}
    cluster.start_node("replica_2")
    wait_firing(agent, set(), 60)
    assert not receiver.alerts("ReplicaDown")


def test_watchdog_and_info_are_shown_and_not_sent(cluster, make_agent, receiver):
    info = "groups: [{name: t, interval: 1s, rules: [{alert: TestInfo, expr: vector(1), labels: {severity: info}}, {alert: TestWarning, expr: vector(1), labels: {severity: warning}}]}]\n"  # fmt: skip
    agent = make_agent(webhook=receiver.url, rules=[*shipped_rules(), info]).start()
    receiver.wait_alert("TestWarning")
    watchdog = wait_until(lambda: agent.alerts("Watchdog"), 10, "Watchdog is shown")
    assert watchdog[0]["state"] == "firing" and watchdog[0]["labels"]["severity"] == "none"
    assert agent.alerts("TestInfo")[0]["state"] == "firing"
    page = agent.get("/").text
    assert "<td>Watchdog</td>" in page and "2 alerts firing" in page
    assert agent.metrics().value("ALERTS", alertname="Watchdog", alertstate="firing") == 1
    first = agent.cli("status").stdout.splitlines()[0]
    assert first == "LOOK: 2 alerts firing, all 3 nodes answer"
    told = {alert["labels"]["alertname"] for alert in receiver.alerts()}
    assert told == {"TestWarning"}, told
