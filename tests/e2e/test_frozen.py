"""A node that hangs concerns nobody else, and a held lock holds up the work session only."""

import os
import threading
import time

from cluster import wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 2}
ALONE = True  # polls must not be late by 100 ms


def shipped_rules():
    """As shipped, but alerts end at once: each test would wait two minutes for that."""
    with open(os.path.join(REPO, "rules", "database.yml"), encoding="utf-8") as file:
        return file.read().replace("keep_firing_for: 2m", "keep_firing_for: 2s")


AGENT = {"gate": {"max_lag": "30s", "hold": "2s"}, "rules": [shipped_rules()]}


def probe_ages(agent, names):
    gate = agent.get("/api/pgvigil/nodes").json()
    return {n["node"]: n["last_answer"] for n in gate["nodes"] if n["node"] in names}


def test_point_5_frozen_replica_delays_nobody(cluster, agent, receiver):
    agent.wait_files("replica_1.read", "replica_2.read")
    cluster.sigstop("replica_1")
    stopped = time.monotonic()
    wait_until(lambda: agent.metrics().value("db_up", node="replica_1") == 0, 15, "db_up is 0")
    assert time.monotonic() - stopped <= 3 * (1 + 2) + 1.5, "three probes of 2 s each"
    receiver.wait_alert("ReplicaDown", replica="replica_1", deadline=20)
    assert agent.health("replica_1.read") is None

    # the other nodes are read each second all the while
    answers = {"primary": set(), "replica_2": set()}
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for name, at in probe_ages(agent, answers).items():
            answers[name].add(at)
        time.sleep(0.1)
    for name, stamps in answers.items():
        assert len(stamps) >= 5, f"{name} answered {len(stamps)} times in 6 s"
        millis = sorted(int(s[17:19]) * 1000 + int(s[20:23]) for s in stamps)
        steps = [(b - a) % 60000 for a, b in zip(millis, millis[1:])]
        late = max(abs(step - 1000) for step in steps if step < 30000)
        assert late < 100, f"{name}: {steps}"

    cluster.sigcont("replica_1")
    agent.wait_files("replica_1.read", "replica_2.read", deadline=60)
    wait_until(lambda: agent.metrics().value("db_up", node="replica_1") == 1, 10, "up again")
    receiver.wait_alert("ReplicaDown", status="resolved", deadline=20, replica="replica_1")


def test_point_5_lock_on_a_catalogue_table_moves_no_verdict(cluster, agent):
    agent.wait_files("replica_1.read", "replica_2.read")
    before = agent.stderr().count(" flip ")
    held = threading.Event()
    done = threading.Event()

    def hold_lock():
        connection = cluster.primary.connect(user="postgres")
        cursor = connection.cursor()
        cursor.execute("lock table pg_catalog.pg_database in access exclusive mode")
        held.set()
        done.wait(20)
        connection.rollback()
        connection.close()

    thread = threading.Thread(target=hold_lock)
    thread.start()
    assert held.wait(10)
    began = time.monotonic()
    stamps = set()
    try:
        while time.monotonic() - began < 10:
            stamps.add(probe_ages(agent, {"primary"})["primary"])
            assert agent.health_files() == ["replica_1.read", "replica_2.read"]
            time.sleep(0.2)
    finally:
        done.set()
        thread.join()
    assert len(stamps) >= 9, "the probe went on each second"
    assert agent.stderr().count(" flip ") == before
    assert agent.metrics().value("db_up", node="primary") == 1
