"""Prometheus' HTTP API: the calls that Grafana makes, parameters and errors, and what load may not do."""

import gzip
import http.client
import json
import socket
import threading
import time
import urllib.parse

import pytest

from cluster import wait_until

CLUSTER = {"replicas": 1}
INTERVALS = {"activity": "1s", "schema": "1s"}
FORM = "application/x-www-form-urlencoded"

RULES = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: TestUp, expr: 'db_up{node="primary"} == 1', labels: {severity: info}}
      - {record: test:ups, expr: sum(db_up)}
"""


class Api:
    def __init__(self, agent):
        self.agent = agent
        self.instance = f"127.0.0.1:{agent.port}"

    def call(self, path, params=(), post=False, headers=None, timeout=15):
        """(status, headers, body) of a call below /api/v1/."""
        text = urllib.parse.urlencode(params, doseq=True)
        url = f"/api/v1/{path}" + (f"?{text}" if text and not post else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=timeout)
        try:
            sent = dict(headers or {})
            if post:
                sent.setdefault("Content-Type", FORM)
            connection.request("POST" if post else "GET", url, text if post else None, sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def data(self, path, params=(), **more):
        status, headers, body = self.call(path, params, **more)
        answer = json.loads(body)
        assert (status, answer["status"]) == (200, "success"), answer
        assert headers["Content-Type"] == "application/json"
        return answer["data"]

    def error(self, path, params=(), **more):
        status, _headers, body = self.call(path, params, **more)
        answer = json.loads(body)
        assert answer["status"] == "error" and set(answer) == {"status", "errorType", "error"}
        return status, answer["errorType"], answer["error"]

    def value(self, expression):
        """The value of a query that gives one series; None if it gives none."""
        data = self.data("query", {"query": expression})
        if data["resultType"] == "scalar":
            return data["result"][1]
        return data["result"][0]["value"][1] if data["result"] else None


@pytest.fixture(name="api")
def _api(make_agent):
    api = Api(make_agent(intervals=INTERVALS, rules=[RULES]).start())
    wait_until(lambda: api.value("test:ups") == "2", 15, "a recorded series")
    return api


def test_point_4_grafana(api):
    """What Grafana 11 asks of a Prometheus data source, in its order."""
    now = int(time.time()) + 1
    hour = {"start": now - 3600, "end": now}

    # "Save & test"
    data = api.data("query", {"query": "1+1", "time": 4}, post=True)
    assert data == {"resultType": "scalar", "result": [4, "2"]}
    info = api.data("status/buildinfo")
    assert set(info) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}
    assert info["version"]

    # start-up of the query builder
    names = api.data("label/__name__/values", {**hour, "limit": 40000})
    assert names == sorted(set(names))
    assert {"db_up", "db_replication_lag_seconds", "test:ups", "ALERTS"} <= set(names)
    labels = api.data("labels", {**hour, "limit": 40000}, post=True)
    assert labels == sorted(set(labels))
    assert {"__name__", "cluster", "instance", "job", "node"} <= set(labels)
    metadata = api.data("metadata", {"limit": 40000})
    assert metadata["db_up"] == [{"type": "gauge", "help": metadata["db_up"][0]["help"], "unit": ""}]
    assert metadata["db_up"][0]["help"]
    groups = wait_until(
        lambda: [g for g in api.data("rules")["groups"] if g["rules"][0]["health"] == "ok"],
        15,
        "rules that have run",
    )
    assert [g["name"] for g in groups] == ["test"] and groups[0]["interval"] == 1
    alert, record = groups[0]["rules"]
    assert (alert["name"], alert["type"], alert["state"]) == ("TestUp", "alerting", "firing")
    assert [a["labels"]["severity"] for a in alert["alerts"]] == ["info"]
    assert (record["name"], record["query"], record["type"]) == ("test:ups", "sum(db_up)", "recording")
    assert api.data("rules", {"type": "record"})["groups"][0]["rules"][0]["name"] == "test:ups"
    exemplars = {"query": "test", "start": now * 1000 - 3600000, "end": now * 1000}
    assert api.data("query_exemplars", exemplars, post=True) == []
    assert [a["labels"]["alertname"] for a in api.data("alerts")["alerts"]] == ["TestUp"]

    # a panel: extra parameters are ignored
    panel = {"query": "db_up", "start": now - 60, "end": now, "step": 1}
    data = api.data("query_range", {**panel, "__rawQuery": "x", "stats": "all"}, post=True)
    assert data["resultType"] == "matrix" and len(data["result"]) == 2
    for series in data["result"]:
        assert series["metric"]["job"] == "pgvigil"
        assert series["metric"]["instance"] == api.instance
        assert all(isinstance(t, int) and v == "1" for t, v in series["values"])
    assert api.data("query_range", panel)["result"] == data["result"]

    # variables
    assert api.data("label/node/values", hour) == ["primary", "replica_1"]
    one = {"match[]": ['db_up{node="primary"}'], **hour}
    assert api.data("label/node/values", one) == ["primary"]
    series = api.data("series", one, post=True)
    assert [(s["__name__"], s["node"], s["job"]) for s in series] == [("db_up", "primary", "pgvigil")]
    instant = api.data("query", {"query": "count by (node) (db_up)", "time": now}, post=True)
    assert len(instant["result"]) == 2


def test_job_and_instance_are_labels_like_others(api):
    assert api.value(f'count(db_up{{job="pgvigil",instance="{api.instance}"}})') == "2"
    assert api.value('count(db_up{job="other"})') is None
    assert api.value('count(db_up{job!="pgvigil"})') is None
    assert api.value('count(db_up{instance=~"127.+"})') == "2"
    assert api.data("label/job/values") == ["pgvigil"]
    assert api.data("label/instance/values") == [api.instance]


BAD = [
    ("query", {}, 400, "bad_data", 'invalid parameter "query": 1:1: parse error: no expression'),
    ("query", {"query": "1 +"}, 400, "bad_data", 'invalid parameter "query": 1:4: parse error: '),
    ("query", {"query": "1", "time": "x"}, 400, "bad_data", 'invalid parameter "time": '),
    ("query", {"query": "1", "timeout": "x"}, 400, "bad_data", 'invalid parameter "timeout": '),
    ("query", {"query": "1", "limit": "-1"}, 400, "bad_data", 'invalid parameter "limit": limit must be non-'),
    ("query", {"query": "1" * 9000}, 400, "bad_data", 'invalid parameter "query": 1:1: parse error: '),
    ("query", {"query": "db_up + on() db_up"}, 422, "execution", ""),
    ("query", {"query": "db_up", "timeout": "0"}, 503, "timeout", "query timed out"),
    ("query_range", {"query": "1", "start": 2, "end": 1, "step": 1}, 400, "bad_data",
     'invalid parameter "end": end timestamp must not be before start time'),
    ("query_range", {"query": "1", "start": 1, "end": 2, "step": 0}, 400, "bad_data",
     'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
     "Try a positive integer"),
    ("query_range", {"query": "1", "start": 0, "end": 11001, "step": 1}, 400, "bad_data",
     "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
     "resolution (?step=XX)"),
    ("query_range", {"query": "up[5m]", "start": 1, "end": 2, "step": 1}, 400, "bad_data",
     'invalid parameter "query": invalid expression type "range vector" for range query, must be '
     "Scalar or instant Vector"),
    ("query_range", {"query": "1", "end": 2, "step": 1}, 400, "bad_data",
     'invalid parameter "start": cannot parse "" to a valid timestamp'),
    ("series", {}, 400, "bad_data", "no match[] parameter provided"),
    ("series", {"match[]": '{a=~".*"}'}, 400, "bad_data", ""),
    ("labels", {"match[]": "sum("}, 400, "bad_data", 'invalid parameter "match[]": 1:4: parse error: unexpected "("'),
    ("label/%ff/values", {}, 400, "bad_data", "invalid label name: "),
]  # fmt: skip


def test_errors_have_prometheus_types_and_texts(api):
    for path, params, status, kind, text in BAD:
        for post in (False, True):
            if post and path.startswith("label/"):
                continue
            found = api.error(path, params, post=post)
            assert found[:2] == (status, kind) and found[2].startswith(text), (path, params, found)
    assert api.call("nothing")[0] == 404
    assert api.call("label/node/values", post=True)[0] == 405
    assert api.call("query?query=%zz")[0] == 400
    assert api.call("query", {"query": "x" * 100000}, post=True)[0] == 413
    assert api.value("1") == "1"


def test_limit_and_gzip(api):
    status, _headers, body = api.call("label/__name__/values", {"limit": 2})
    answer = json.loads(body)
    assert status == 200 and len(answer["data"]) == 2
    assert answer["warnings"] == ["results truncated due to limit"]
    data = api.data("query", {"query": '{__name__!=""}', "limit": 1})
    assert len(data["result"]) == 1

    plain = api.call("label/__name__/values")
    packed = api.call("label/__name__/values", headers={"Accept-Encoding": "deflate, gzip"})
    assert "Content-Encoding" not in plain[1] and packed[1]["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed[2]) == plain[2] and len(packed[2]) < len(plain[2])
    refused = api.call("label/__name__/values", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused[1]


def test_history_before_the_start_is_seen(api):
    """After a restart the head is empty: what is older comes from the file, without a seam."""
    raw = 'db_up{node="primary"}[1m]'

    def points(at):
        data = api.data("query", {"query": raw, "time": at})
        return [point for series in data["result"] for point in series["values"]]

    wait_until(lambda: len(points(time.time())) >= 4, 15, "four points")
    then = time.time()
    before = points(then)
    api.agent.restart()
    wait_until(lambda: api.value("test:ups") == "2", 15, "the recorded series again")
    after = points(time.time())
    assert after[: len(before)] == before and len(after) > len(before)
    times = [t for t, _value in after]
    assert times == sorted(set(times))
    assert points(then) == before


def slowest_of(call, seconds):
    """(slowest, median) of calls for so long."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        call()
        took.append(time.monotonic() - begin)
        time.sleep(0.01)
    return max(took), sorted(took)[len(took) // 2]


def test_queries_never_delay_the_fast_paths(api):
    """Ten years, everything squared: limits end it; the page and the gate answer meanwhile."""
    now = int(time.time())
    ten_years = {"query": "sum(rate({__name__!=''}[1h]))", "start": now - 315360000, "end": now}
    heavy = "count({__name__!=''} * on(__name__, node) group_left() {__name__!=''})"
    requests = [
        {**ten_years, "step": 28670},
        {**ten_years, "query": "max_over_time((" * 20 + "db_up" + ")[1h:1s])" * 20, "step": 86400},
        {**ten_years, "query": f"quantile(0.5, {heavy})", "step": 28700},
    ]
    statuses, stop = [], threading.Event()

    def load(params):
        while not stop.is_set():
            status, _headers, body = api.call("query_range", params, post=True, timeout=30)
            json.loads(body)
            statuses.append(status)

    threads = [threading.Thread(target=load, args=(r,), daemon=True) for r in requests * 3]
    for thread in threads:
        thread.start()
    try:
        page, page_median = slowest_of(lambda: api.agent.get("/metrics"), 3)
        gate, gate_median = slowest_of(lambda: api.agent.get("/primary"), 2)
    finally:
        stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert statuses and set(statuses) <= {200, 422, 503}, statuses
    # The medians tell of waiting in the agent; the slowest also of this process and its threads.
    assert page_median < 0.03 and gate_median < 0.03, (page_median, gate_median)
    assert page < 0.5 and gate < 0.5, (page, gate)
    assert api.value("1+1") == "2"


def test_too_many_queries_are_refused_at_once(api):
    now = int(time.time())
    slow = {"query": "sum(max_over_time((max_over_time({__name__!=''}[1h:1s]))[1h:1s]))",
            "start": now - 36000, "end": now, "step": 60}  # fmt: skip
    answers = []

    def ask():
        answers.append(api.call("query_range", slow, post=True, timeout=30))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()
    kinds = {(status, json.loads(body).get("errorType")) for status, _headers, body in answers}
    assert len(answers) == 40 and kinds <= {
        (200, None), (422, "execution"), (503, "timeout"), (500, "unavailable"),
    }, kinds  # fmt: skip
    assert api.value("1+1") == "2"


def test_connections_are_kept_and_may_be_dropped(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.agent.port, timeout=10)
    for number in range(20):
        connection.request("POST", "/api/v1/query", f"query={number}", {"Content-Type": FORM})
        assert json.loads(connection.getresponse().read())["data"]["result"][1] == str(number)
        sock = connection.sock
        connection.request("GET", "/api/v1/labels")
        assert connection.getresponse().read() and connection.sock is sock
    connection.close()

    now = int(time.time())
    slow = urllib.parse.urlencode(
        {"query": "sum(rate({__name__!=''}[1h]))", "start": now - 36000, "end": now, "step": 4}
    )
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", api.agent.port)) as raw:
            raw.sendall(f"GET /api/v1/query_range?{slow} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    with socket.create_connection(("127.0.0.1", api.agent.port)) as raw:
        raw.sendall(b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nquery=")
    wait_until(lambda: api.call("query", {"query": "1"})[0] == 200, 20, "the queries have ended")


def test_the_local_socket_has_the_api(api):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(f"{api.agent.health_dir}/../api.sock")
        raw.sendall(b"GET /api/v1/query?query=1%2B1&time=4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with raw.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'"result":[4,"2"]}}')


def test_a_stop_does_not_wait_for_queries(api):
    now = int(time.time())
    slow = {"query": "sum(rate({__name__!=''}[1h]))", "start": now - 36000, "end": now, "step": 4}

    def ask():
        try:
            api.call("query_range", slow, post=True, timeout=30)
        except (OSError, http.client.HTTPException):
            pass

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    begin = time.monotonic()
    api.agent.stop()
    assert time.monotonic() - begin < 6
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
