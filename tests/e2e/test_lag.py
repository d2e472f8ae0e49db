"""A lagging replica leaves routing and comes back; when none is fit, the primary takes reads."""

import time

from cluster import wait_until

MAX_LAG = 3.0
POLL = 1.0
TICK = 1.0

RULE = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: TestLag
        expr: db_replication_lag_seconds > 3
        labels: {severity: warning}
        annotations: {summary: 'lag of {{ $labels.replica }} is {{ $value | humanizeDuration }}'}
"""

CLUSTER = {"replicas": 2}
AGENT = {"gate": {"max_lag": "3s", "hard_lag": "60s", "hold": "3s"}, "rules": [RULE]}


def pause_until_over(cluster, name, limit):
    """Pauses replay and waits until the true lag is over the limit; returns the moment it was."""
    with cluster.heartbeat() as beat:
        wait_until(lambda: beat.lag(name) < 1, 10, f"{name} shows the beat")
        cluster.pause_replay(name)
        lag = wait_until(
            lambda: (beat.lag(name) > limit) and beat.lag(name), 30, f"lag of {name} over {limit} s"
        )
        return time.monotonic() - (lag - limit)


def test_point_1_paused_replica_leaves_and_returns(cluster, agent, receiver):
    agent.wait_files("replica_1.read", "replica_2.read")
    crossed = pause_until_over(cluster, "replica_1", MAX_LAG)
    wait_until(lambda: agent.health("replica_1.read") is None, 10, "replica_1.read is gone")
    took = time.monotonic() - crossed
    assert took <= 2 * POLL + 2 * TICK + 0.3, f"left {took:.2f} s after the crossing"

    assert agent.get("/replica?node=replica_1").status == 503
    metrics = wait_until(
        lambda: agent.metrics().value("db_replica_routable", replica="replica_1") == 0
        and agent.metrics(),
        5,
        "db_replica_routable is 0",
    )
    assert metrics.value("db_replication_lag_seconds", replica="replica_1") > MAX_LAG - 0.1
    assert metrics.value("db_replica_health", replica="replica_1") == 1
    assert agent.health("replica_2.read") is not None
    assert agent.get("/replica?node=replica_2").status == 200
    assert metrics.value("db_replica_routable", replica="replica_2") == 1

    fired = receiver.wait_alert("TestLag", replica="replica_1")
    assert fired["labels"]["cluster"] == "test"
    assert fired["annotations"]["summary"].startswith("lag of replica_1 is ")
    assert fired["endsAt"].startswith("0001-01-01")
    assert fired["request"].headers["webhook-id"].startswith("msg_")
    assert not receiver.alerts("TestLag", replica="replica_2")

    cluster.resume_replay("replica_1")
    agent.wait_files("replica_1.read", "replica_2.read", deadline=20)
    assert agent.get("/replica?node=replica_1").status == 200
    resolved = receiver.wait_alert("TestLag", status="resolved", replica="replica_1")
    assert resolved["fingerprint"] == fired["fingerprint"]
    assert resolved["startsAt"] == fired["startsAt"]
    assert resolved["endsAt"] > resolved["startsAt"]
    assert resolved["request"].headers["webhook-id"] != fired["request"].headers["webhook-id"]


def test_point_1_return_waits_for_the_hold(cluster, make_agent):
    agent = make_agent(gate={"max_lag": "3s", "hold": "6s"}, rules=[RULE]).start()
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.pause_replay("replica_1")
    wait_until(lambda: agent.health("replica_1.read") is None, 15, "replica_1.read is gone")
    cluster.resume_replay("replica_1")
    resumed = time.monotonic()
    wait_until(lambda: agent.health("replica_1.read") is not None, 20, "replica_1.read is back")
    took = time.monotonic() - resumed
    assert 5.5 <= took <= 6 + 2 + 1, f"came back after {took:.2f} s with a hold of 6 s"


def test_point_2_reads_fall_back_to_the_primary(cluster, make_agent, receiver):
    agent = make_agent(gate={"max_lag": "3s", "hold": "2s"}, webhook=receiver.url).start()
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.pause_replay("replica_1")
    cluster.pause_replay("replica_2")
    agent.wait_files("primary.read", deadline=20)
    wait_until(
        lambda: agent.metrics().value("db_reads_on_primary", cluster="test") == 1,
        5,
        "db_reads_on_primary is 1",
    )
    assert agent.get("/read-only?node=primary").status == 200
    fired = receiver.wait_alert("ReadsOnPrimary")
    assert fired["labels"]["severity"] == "warning"
    cluster.resume_replay("replica_1")
    cluster.resume_replay("replica_2")
    agent.wait_files("replica_1.read", "replica_2.read", deadline=20)
    wait_until(
        lambda: agent.metrics().value("db_reads_on_primary", cluster="test") == 0,
        5,
        "db_reads_on_primary is 0 again",
    )
