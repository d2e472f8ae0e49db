"""However the agent ends, its files end with their lease; started again, it goes on."""

import os
import signal
import time

from cluster import wait_until

CLUSTER = {"replicas": 2}
LEASE = 5.0
AGENT = {"gate": {"max_lag": "3s", "hold": "3s", "lease": "5s"}}


def until_of(agent):
    return max(agent.health(name + ".read").until for name in ("replica_1", "replica_2"))


def assert_gone_with_lease(agent, began):
    """The files were there for a while and are gone at the end of the lease, at most 1 s later."""
    wait_until(lambda: agent.health_files() == [], LEASE + 3, "health files are gone")
    took = time.monotonic() - began
    assert LEASE - 2.5 <= took <= LEASE + 1.2, f"gone {took:.2f} s after the end"


def test_point_6_killed_agent_leaves_files_for_the_lease(agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    agent.kill()
    began = time.monotonic()
    assert agent.health_files() == ["replica_1.read", "replica_2.read"]
    assert_gone_with_lease(agent, began)


def test_point_6_frozen_agent_loses_files_and_gets_them_back(agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    agent.sigstop()
    began = time.monotonic()
    assert_gone_with_lease(agent, began)
    agent.sigcont()
    resumed = time.monotonic()
    agent.wait_files("replica_1.read", "replica_2.read", deadline=10)
    assert time.monotonic() - resumed < 4.5, "back within three ticks, without a new hold"


def test_point_6_restart_within_the_lease_is_no_flip(cluster, agent, receiver):
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.pause_replay("replica_1")
    wait_until(lambda: agent.health("replica_1.read") is None, 15, "replica_1 left")
    wait_until(lambda: agent.alerts("FewFreshReplicas"), 10, "an alert is pending")
    active = agent.alerts("FewFreshReplicas")[0]["activeAt"]
    time.sleep(1.2)
    agent.kill()
    flips = agent.stderr().count("what=read")
    agent.start()
    watched = time.monotonic()
    while time.monotonic() - watched < LEASE + 3:
        assert agent.health("replica_2.read") is not None, "replica_2 has a gap"
        assert agent.health("replica_1.read") is None, "replica_1 came back by a restart"
        time.sleep(0.1)
    assert agent.stderr().count("what=read") == flips, "a verdict flipped"
    kept = agent.alerts("FewFreshReplicas")
    assert kept and kept[0]["activeAt"] >= active, "the pending alert went on"
    assert kept[0]["state"] == "pending", "time in which nobody looked does not count"


def test_point_6_firing_alert_survives_a_kill(cluster, make_agent, receiver):
    rule = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: TestLag, expr: db_replication_lag_seconds > 3, labels: {severity: warning}}
"""
    agent = make_agent(gate=AGENT["gate"], rules=[rule], webhook=receiver.url).start()
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.pause_replay("replica_1")
    fired = receiver.wait_alert("TestLag", replica="replica_1")
    agent.kill()
    agent.start()
    wait_until(lambda: agent.alerts("TestLag"), 10, "the alert is shown again")
    assert agent.alerts("TestLag")[0]["state"] == "firing"
    time.sleep(3)
    assert not receiver.alerts("TestLag", "resolved"), "resolved by a restart"
    ids = {a["request"].id for a in receiver.alerts("TestLag", "firing")}
    assert ids == {fired["request"].id}, "fired again as another message"
    cluster.resume_replay("replica_1")
    resolved = receiver.wait_alert("TestLag", "resolved", replica="replica_1")
    assert resolved["fingerprint"] == fired["fingerprint"]
    assert resolved["startsAt"] == fired["startsAt"]


def test_point_6_gate_goes_on_while_all_else_stands_still(cluster, agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    names = set(agent.threads().values())
    assert "pgv-gate" in names and "pgv-engine" in names and "pgv-http" in names, names
    with agent.freeze_threads(lambda name: name != "pgv-gate"):
        cluster.pause_replay("replica_1")
        paused = time.monotonic()
        wait_until(lambda: agent.health("replica_1.read") is None, 15, "replica_1.read is gone")
        took = time.monotonic() - paused
        assert took <= 3 + 4.3, f"{took:.2f} s after the pause"
        assert agent.health("replica_2.read") is not None
        cluster.resume_replay("replica_1")
        wait_until(lambda: agent.health("replica_1.read") is not None, 20, "replica_1.read is back")
    assert agent.get("/-/healthy").status == 200


def test_guardian_is_started_again(agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    first = agent.guardian_pid()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: agent.guardian_pid() not in (None, first), 5, "a new guardian")
    agent.kill()
    began = time.monotonic()
    assert_gone_with_lease(agent, began)


def test_sigterm_ends_in_five_seconds_and_keeps_files(agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    began = time.monotonic()
    agent.stop(deadline=5)
    assert time.monotonic() - began < 5
    assert agent.health_files() == ["replica_1.read", "replica_2.read"]
    left = until_of(agent) - time.time()
    assert 25 <= left <= 31, f"an upgrade has {left:.0f} s"


def test_second_agent_on_one_state_dir_is_refused(agent):
    began = time.monotonic()
    done = agent.cli("run", check=False, timeout=10)
    assert done.returncode == 1
    assert time.monotonic() - began < 2.5
    assert str(agent.pid) in done.stderr, done.stderr
    assert agent.get("/-/healthy").status == 200
