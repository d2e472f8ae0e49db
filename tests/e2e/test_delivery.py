"""An alert reaches its receiver once per message id, in order, whatever happens on the way."""

import contextlib
import time

import pytest

from cluster import wait_until

CLUSTER = {"replicas": 0, "pool": False}
RULE = """
groups:
  - name: test
    interval: 200ms
    rules:
      - alert: TestOpen
        expr: 'sum by (cluster, node) (db_connections{state="idle in transaction"}) > 0'
        labels: {severity: warning}
        annotations: {summary: '{{ $value }} open on {{ $labels.node }}'}
"""
AGENT = {
    "rules": [RULE],
    "intervals": {"activity": "200ms"},
    "config": {"evaluation_interval": "200ms"},
}


@contextlib.contextmanager
def firing(cluster):
    """The alert's condition holds inside the `with` block."""
    connection = cluster.primary.connect()
    try:
        connection.cursor().execute("select 1")
        yield
    finally:
        connection.close()


def wait_state(agent, count):
    wait_until(lambda: len(agent.alerts("TestOpen")) == count, 10, f"{count} alerts are shown")


def outbox(agent):
    return agent.metrics().value("pgvigil_outbox_length")


def assert_pair(receiver):
    """Firing, then resolved: one accepted message each, the same alert."""
    accepted = receiver.accepted()
    seen = [(a["status"], a["labels"]["alertname"]) for r in accepted for a in r.alerts]
    assert seen == [("firing", "TestOpen"), ("resolved", "TestOpen")], accepted
    first, second = (request.alerts[0] for request in accepted)
    assert first["fingerprint"] == second["fingerprint"]
    assert first["startsAt"] == second["startsAt"] < second["endsAt"]
    assert accepted[0].id != accepted[1].id
    assert set(receiver.ledger) == {request.id for request in accepted}
    for requests in receiver.ledger.values():
        bodies = {request.raw for request in requests}
        assert len(bodies) == 1, "a repeat is the same message"


def test_message_is_an_alertmanager_webhook(cluster, agent, receiver):
    with firing(cluster):
        fired = receiver.wait_alert("TestOpen", node="primary")
    receiver.wait_alert("TestOpen", "resolved")
    request = fired["request"]
    body = request.body
    assert body["version"] == "4" and body["status"] == "firing" and body["truncatedAlerts"] == 0
    assert body["receiver"] == "webhook" and body["groupLabels"] == {"cluster": "test"}
    assert body["commonLabels"] == fired["labels"]
    assert fired["labels"] == {
        "alertname": "TestOpen", "cluster": "test", "node": "primary", "severity": "warning"
    }  # fmt: skip
    assert fired["annotations"] == {"summary": "1 open on primary"}
    assert fired["generatorURL"].startswith(f"http://127.0.0.1:{agent.port}/")
    assert request.headers["content-type"] == "application/json"
    assert abs(int(request.headers["webhook-timestamp"]) - request.at) <= 2
    assert_pair(receiver)


def test_receiver_down_then_up(cluster, agent, receiver):
    receiver.stop()
    with firing(cluster):
        wait_state(agent, 1)
        wait_until(lambda: outbox(agent) == 1, 10, "one message waits")
    wait_state(agent, 0)
    agent.restart()  # in between, in an orderly way
    receiver.start()
    receiver.wait_alert("TestOpen", "firing", deadline=30)
    receiver.wait_alert("TestOpen", "resolved", deadline=30)
    wait_until(lambda: outbox(agent) == 0, 10, "nothing waits")
    assert_pair(receiver)
    assert agent.metrics().value("pgvigil_deliveries_total", outcome="delivered") == 2


@pytest.mark.parametrize("failure", [500, "hang", "close"])
def test_refused_message_survives_a_kill(cluster, agent, receiver, failure):
    receiver.answer(failure)
    with firing(cluster):
        wait_until(lambda: receiver.requests, 10, "the first attempt")
        agent.kill()
        assert not receiver.accepted()
        agent.start()
        receiver.wait_alert("TestOpen", "firing", deadline=30)
        wait_state(agent, 1)
    receiver.wait_alert("TestOpen", "resolved", deadline=30)
    assert_pair(receiver)
    firsts = receiver.ledger[receiver.accepted()[0].id]
    assert len(firsts) >= 2, "the same id came again"


def test_kill_at_any_moment_loses_and_doubles_nothing(cluster, agent, receiver):
    """Killed soon after the condition begins and after it ends: the outbox goes on."""
    with firing(cluster):
        wait_state(agent, 1)
        agent.kill()
        agent.start()
        receiver.wait_alert("TestOpen", "firing", deadline=30)
    wait_state(agent, 0)
    agent.kill()
    agent.start()
    receiver.wait_alert("TestOpen", "resolved", deadline=30)
    wait_until(lambda: outbox(agent) == 0, 10, "nothing waits")
    ids = {
        status: {alert["request"].id for alert in receiver.alerts("TestOpen", status)}
        for status in ("firing", "resolved")
    }
    assert len(ids["firing"]) == len(ids["resolved"]) == 1, receiver.requests
    starts = {alert["startsAt"] for alert in receiver.alerts("TestOpen")}
    assert len(starts) == 1, "one alert, not two"


def test_order_is_kept_while_the_first_message_fails(cluster, agent, receiver):
    receiver.answer_always(503)
    with firing(cluster):
        wait_until(lambda: receiver.requests, 10, "the first attempt")
    wait_state(agent, 0)
    wait_until(lambda: len(receiver.requests) >= 2, 10, "the second attempt")
    assert {alert["status"] for r in receiver.requests for alert in r.alerts} == {"firing"}
    receiver.answer_always(200)
    receiver.wait_alert("TestOpen", "resolved", deadline=30)
    assert_pair(receiver)
    failed = agent.metrics().value("pgvigil_deliveries_total", outcome="failed")
    assert failed is not None


def test_retry_after_is_honoured(cluster, agent, receiver):
    receiver.answer((429, {"retry-after": "4"}))
    with firing(cluster):
        wait_until(lambda: receiver.requests, 10, "the first attempt")
        receiver.wait_alert("TestOpen", "firing", deadline=15)
    receiver.wait_alert("TestOpen", "resolved")
    first, second = receiver.requests[:2]
    assert first.id == second.id
    assert 3.9 <= second.at - first.at <= 6, f"tried again after {second.at - first.at:.1f} s"
    assert_pair(receiver)


def test_failed_attempts_are_counted_and_told_once(cluster, agent, receiver):
    receiver.answer(500, 500)
    with firing(cluster):
        receiver.wait_alert("TestOpen", "firing", deadline=15)
    receiver.wait_alert("TestOpen", "resolved")
    wait_until(
        lambda: agent.metrics().value("pgvigil_deliveries_total", outcome="failed") == 2,
        10,
        "two failed attempts",
    )
    lines = [line for line in agent.stderr().splitlines() if "not delivered" in line]
    assert len(lines) == 1 and "answer 500" in lines[0], lines
    assert "alert delivered after 3 attempts" in agent.stderr()
    assert time.time() - receiver.requests[0].at < 15
