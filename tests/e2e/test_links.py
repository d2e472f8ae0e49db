"""Links that are cut, servers that are frozen: evidence against a replica, or none."""

import os
import time

from cluster import wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 2}
AGENT = {"gate": {"max_lag": "4s", "hard_lag": "60s", "hold": "3s"}}


def lag_of(agent, name):
    return agent.metrics().value("db_replication_lag_seconds", replica=name)


def test_point_4_stopped_receiver_is_lag_not_zero(cluster, agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.stop_receiver("replica_1")
    stopped = time.monotonic()
    wait_until(lambda: agent.health("replica_1.read") is None, 15, "replica_1.read is gone")
    seen = []
    while time.monotonic() - stopped < 12:
        seen.append((time.monotonic() - stopped, lag_of(agent, "replica_1")))
        time.sleep(0.25)
    for elapsed, lag in seen:
        assert lag is not None and lag > 0, f"lag {lag} after {elapsed:.1f} s without a receiver"
        assert abs(lag - elapsed) < 3.0, f"lag {lag} after {elapsed:.1f} s"
    assert seen[-1][1] > seen[0][1] + 2
    assert agent.metrics().value("db_replica_streaming", replica="replica_1") == 0
    assert agent.health("replica_2.read") is not None
    cluster.start_receiver("replica_1")
    agent.wait_files("replica_1.read", "replica_2.read", deadline=40)


def test_point_4_frozen_primary_takes_no_replica_out(cluster, agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.sigstop("primary")
    try:
        frozen = time.monotonic()
        while time.monotonic() - frozen < 30:
            assert agent.health_files() == ["replica_1.read", "replica_2.read"]
            time.sleep(0.2)
        metrics = agent.metrics()
        assert metrics.value("db_up", node="primary") == 0
        assert metrics.value("db_replica_health", replica="replica_1") == 1
        assert metrics.value("db_reads_on_primary", cluster="test") == 0
    finally:
        cluster.sigcont("primary")
    wait_until(lambda: agent.metrics().value("db_up", node="primary") == 1, 40, "primary is up")
    assert agent.health_files() == ["replica_1.read", "replica_2.read"]
    assert "flip cluster=test node=replica_1 what=read from=on to=off" not in agent.stderr()


def test_primary_that_dies_with_a_replica_is_down(cluster, make_agent, receiver):
    """What the dead replica said last about its receiver is no proof that the primary lives."""
    with open(os.path.join(REPO, "rules", "operations.yml"), encoding="utf-8") as file:
        rules = file.read().replace("for: 30s", "for: 5s")
    agent = make_agent(rules=[rules], webhook=receiver.url, gate={"max_lag": "60s"}).start()
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.sigstop("replica_1")
    cluster.stop_node("primary", "immediate")
    fired = receiver.wait_alert("PrimaryDown", deadline=25)
    assert fired["labels"]["severity"] == "critical" and fired["labels"]["cluster"] == "test"
    assert agent.health("replica_2.read") is not None, "no primary is no evidence against it"
