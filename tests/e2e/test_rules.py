"""Rules: what a restart leaves standing, rules that look back further than memory, rules without series."""

import sqlite3
import time
from datetime import datetime

from cluster import wait_until

CLUSTER = {"replicas": 1}

RESTART = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: TestFiring, expr: 'db_up{node="primary"} == 1', labels: {severity: warning}}
      - {alert: TestPending, expr: 'db_up{node="primary"} == 1', for: 10s, labels: {severity: warning}}
"""


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def alert_of(agent, name):
    found = agent.alerts(name)
    return found[0] if found else None


def test_pending_and_firing_alerts_over_a_restart(make_agent, receiver):
    agent = make_agent(rules=[RESTART], webhook=receiver.url).start()
    fired = receiver.wait_alert("TestFiring")
    pending = wait_until(lambda: alert_of(agent, "TestPending"), 10, "TestPending is pending")
    since = seconds(pending["activeAt"])
    time.sleep(max(0, since + 4 - time.time()))
    agent.stop()
    stopped = time.time()
    time.sleep(7)  # more than is left of its 10 s
    agent.start()
    up = time.time()

    def moved():
        alert = alert_of(agent, "TestPending")
        return alert if alert and seconds(alert["activeAt"]) > since + 1 else None

    again = wait_until(moved, 10, "TestPending is pending again, and later")
    assert again["state"] == "pending"
    down = seconds(again["activeAt"]) - since
    assert up - stopped - 1.5 <= down <= up - stopped + 6, f"{down:.1f} s do not count"
    assert alert_of(agent, "TestFiring")["state"] == "firing"
    series = agent.metrics()
    told = series.value("ALERTS_FOR_STATE", alertname="TestPending")
    assert abs(told - seconds(again["activeAt"])) < 0.01

    assert not receiver.alerts("TestFiring", "resolved"), "resolved by a restart"
    ids = {a["request"].id for a in receiver.alerts("TestFiring", "firing")}
    assert ids == {fired["request"].id}, "fired again as another message"

    late = receiver.wait_alert("TestPending")
    held = seconds(late["startsAt"]) - seconds(again["activeAt"])
    assert 10 <= held < 12.5, f"fired after {held:.1f} s"


FAR = """
groups:
  - name: far
    interval: 1s
    rules:
      - {alert: TestOld, expr: 'max_over_time(test_old[1d]) > 5', labels: {severity: warning}}
      - {record: 'test:after', expr: 'vector(1)'}
      - {record: 'test:ups', expr: 'count_over_time(db_up{node="primary"}[3h])'}
  - name: near
    interval: 1s
    rules:
      - {record: 'test:near', expr: 'sum(db_up)'}
"""


def put_history(agent, name, labels, samples):
    """Samples [(unix seconds, value)] into the file of a stopped agent."""
    pairs = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    text = f"{name}{{{pairs}}}"
    db = sqlite3.connect(f"{agent.state_dir}/history.db")
    with db:
        row = db.execute("SELECT id FROM series WHERE labels = ?", (text,)).fetchone()
        if row is None:
            row = db.execute(
                "INSERT INTO series(name, labels, last_seen) VALUES(?, ?, ?) RETURNING id",
                (name, text, int(samples[-1][0] * 1000)),
            ).fetchone()
        for when, value in samples:
            db.execute("INSERT INTO samples VALUES(?, ?, ?)", (int(when * 1000), row[0], value))
    db.close()


def test_a_rule_reads_what_is_older_than_memory(make_agent, receiver):
    agent = make_agent(rules=[FAR], webhook=receiver.url).start()
    wait_until(lambda: agent.metrics().value("test:near") == 2, 10, "rules are evaluated")
    assert agent.metrics().value("test:ups") < 30
    agent.stop()
    now = time.time()
    old = [(now - 9000 + i, 1) for i in range(100)]  # 2.5 h ago: memory holds 2 h at most
    put_history(agent, "db_up", {"cluster": "test", "node": "primary"}, old)
    put_history(agent, "test_old", {"node": "primary"}, [(now - 20 * 3600, 9), (now - 8000, 2)])
    agent.start()
    fired = receiver.wait_alert("TestOld")
    assert fired["labels"]["node"] == "primary"
    ups = wait_until(lambda: agent.metrics().value("test:ups"), 10, "the far record")
    assert ups >= 100, f"{ups} samples"

    def all_ok():
        groups = agent.get("/api/v1/rules").json()["data"]["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    wait_until(all_ok, 10, "all rules are well")
    # both groups go on, each second
    before = agent.metrics().value("pgvigil_rule_evaluations_total")
    wait_until(
        lambda: agent.metrics().value("pgvigil_rule_evaluations_total") >= before + 8,
        20,
        "rules go on",
    )


WITHOUT = """
groups:
  - name: typos
    rules:
      - {alert: NoSuchMetric, expr: 'db_replication_lag_secnds > 3'}
      - {alert: NoSuchReplica, expr: 'db_replication_lag_seconds{replica="nowhere"} > 3'}
      - {alert: FineThoughQuiet, expr: 'db_replication_lag_seconds{replica="replica_1"} > 3000'}
"""


def test_rules_without_series_are_told(make_agent):
    agent = make_agent(rules=[WITHOUT]).start()
    wanted = {"NoSuchMetric", "NoSuchReplica"}

    def told():
        found = agent.metrics().samples("pgvigil_rule_without_series")
        return {labels["rule"] for labels, value in found if value == 1} == wanted

    assert not told(), "told before the collectors had their time"
    wait_until(told, 90, "the gauge names both rules")
    log = [line for line in agent.stderr().splitlines() if "rule without series" in line]
    assert len(log) == 2, log
    assert all("test-0.yml" in line and "group=typos" in line for line in log), log
    assert any("NoSuchMetric" in line and "db_replication_lag_seconds" in line for line in log), log
    assert any("NoSuchReplica" in line and "nowhere" in line for line in log), log
    wait_until(lambda: "Rules without series" in agent.get("/").text, 10, "the page tells it")
    page = agent.get("/").text
    assert "NoSuchMetric" in page and "nowhere" in page and "FineThoughQuiet" not in page
    groups = agent.get("/api/v1/rules").json()["data"]["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert "nobody knows this metric" in rules["NoSuchMetric"]["warnings"][0]
    assert rules["NoSuchMetric"]["health"] == "ok" and "lastError" not in rules["NoSuchMetric"]
    assert "warnings" not in rules["FineThoughQuiet"]


def test_an_agent_without_rules_says_so(make_agent):
    agent = make_agent(rules=[]).start()
    assert "no rules are loaded" in agent.stderr()
