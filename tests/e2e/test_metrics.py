"""The page /metrics: all that is promised is there, others can read it, and it costs no SQL."""

import gzip
import http.client
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

from cluster import proc, wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 1, "app_pool": 10}
INTERVALS = {"activity": "1s", "pools": "1s", "statements": "1s", "schema": "1s"}
AGENT = {"intervals": INTERVALS}

NODES = {"primary", "replica_1"}
BOTH = [{"node": name} for name in sorted(NODES)]
REPLICA = [{"replica": "replica_1"}]
POOL = [{"pool": "app", "database": "app", "user": "app"}]
POOL_DATABASE = [{"pool": "app", "database": "app"}]
APP = [{"node": name, "database": "app"} for name in sorted(NODES)]

# name, type, label sets that must be there
PROMISED = [
    ("db_connection_pool_size", "gauge", [{**POOL[0], "state": s} for s in ("active", "idle", "waiting")]),
    ("db_connection_pool_wait_time_seconds", "gauge", POOL),
    ("db_connection_pool_errors_total", "counter", [{"pool": "app", "reason": "timeout"}]),
    ("db_connection_pool_max", "gauge", POOL),
    ("db_connection_pool_utilization", "gauge", POOL),
    ("db_connection_pool_wait_seconds_total", "counter", POOL_DATABASE),
    ("db_connection_pool_queries_total", "counter", POOL_DATABASE),
    ("db_replication_lag_seconds", "gauge", REPLICA),
    ("db_replication_lag_bytes", "gauge", REPLICA),
    ("db_replication_wal_lag_seconds", "gauge", REPLICA),
    ("db_replication_lag_bound_seconds", "gauge", [{**REPLICA[0], "bound": b} for b in ("lo", "hi")]),
    ("db_replica_health", "gauge", REPLICA),
    ("db_replica_routable", "gauge", REPLICA),
    ("db_replica_state", "gauge", [{**REPLICA[0], "state": s} for s in ("fresh", "stale", "down")]),
    ("db_replica_expected_delay_seconds", "gauge", REPLICA),
    ("db_replica_healthy_seconds_total", "counter", REPLICA),
    ("db_replica_observed_seconds_total", "counter", REPLICA),
    ("db_slot_lost", "gauge", [{"node": "primary", "slot": "replica_1"}]),
    ("db_slot_retained_bytes", "gauge", [{"node": "primary", "slot": "replica_1"}]),
    ("db_longest_idle_in_transaction_seconds", "gauge", BOTH),
    ("db_longest_transaction_seconds", "gauge", BOTH),
    ("db_locks_waiting", "gauge", BOTH),
    ("db_connections", "gauge", [{**node, "state": s} for node in BOTH for s in ("active", "idle")]),
    ("db_connections_max", "gauge", BOTH),
    ("db_split_brain", "gauge", [{}]),
    ("db_reads_on_primary", "gauge", [{}]),
    ("db_up", "gauge", BOTH),
    ("db_node_unobservable", "gauge", BOTH),
    ("db_node_role", "gauge", [{"node": "primary", "role": "primary"}, {"node": "replica_1", "role": "replica"}]),
    ("db_transactions_total", "counter", [{**db, "outcome": o} for db in APP for o in ("commit", "rollback")]),
    ("db_cache_hits_total", "counter", APP),
    ("db_cache_reads_total", "counter", APP),
    ("db_xid_age", "gauge", APP),
    ("db_archive_failures_total", "counter", BOTH),
    ("ALERTS", "gauge", [{"alertname": "TestAlways", "alertstate": "firing"}]),
    ("pgvigil_alert_firing", "gauge", [{"alertname": "TestAlways"}]),
    ("pgvigil_build_info", "gauge", [{}]),
    ("pgvigil_collector_poll_duration_seconds", "gauge", [{"target": "primary", "collector": "activity"}]),
    ("pgvigil_collector_failures_total", "counter", [{"target": "primary", "collector": "replication"}]),
    ("pgvigil_last_collect_timestamp_seconds", "gauge", [{"target": "app", "collector": "pools"}]),
    ("pgvigil_loop_lateness_seconds", "histogram", []),
    ("pgvigil_loop_turn_seconds", "histogram", []),
    ("pgvigil_stage_seconds", "histogram", []),
    ("pgvigil_memory_resident_bytes", "gauge", [{}]),
    ("pgvigil_memory_anonymous_bytes", "gauge", [{}]),
    ("pgvigil_queue_length", "gauge", [{"queue": "gate_reports"}]),
    ("pgvigil_history_bytes", "gauge", [{}]),
    ("pgvigil_outbox_length", "gauge", [{}]),
    ("pgvigil_deliveries_total", "counter", [{"outcome": "delivered"}, {"outcome": "failed"}]),
    ("pgvigil_config_last_reload_successful", "gauge", [{}]),
    ("pgvigil_series_dropped_total", "counter", [{}]),
]  # fmt: skip

ALWAYS = """
groups:
  - name: test
    interval: 1s
    rules:
      - {alert: TestAlways, expr: 'db_up{node="primary"} == 1', labels: {severity: info}}
"""


@pytest.fixture(name="agent_of_page")
def _agent_of_page(make_agent):
    return make_agent(intervals=INTERVALS, rules=[ALWAYS]).start()


@pytest.fixture(name="page")
def _page(cluster, agent_of_page):
    """The page once every collector has been polled."""
    del cluster
    agent = agent_of_page
    missing = []

    def complete():
        metrics = agent.metrics()
        missing[:] = [
            (name, labels)
            for name, kind, wanted in PROMISED
            for labels in wanted
            if kind != "histogram" and not metrics.samples(name, **labels)
        ]
        return metrics if not missing else None

    try:
        return wait_until(complete, 15, "every promised metric")
    except AssertionError:
        raise AssertionError(f"missing: {missing}") from None


def families(page):
    """{name: type} of the TYPE lines; each must come once, after its HELP."""
    types, helps = {}, {}
    for line in page.text.splitlines():
        word = line.split(" ", 3)
        if line.startswith("# HELP "):
            assert word[2] not in helps and len(word) == 4 and word[3].strip(), line
            helps[word[2]] = word[3]
        elif line.startswith("# TYPE "):
            assert word[2] not in types and word[2] in helps, line
            types[word[2]] = word[3]
    assert set(types) == set(helps)
    return types


def test_point_8_every_promised_metric_is_on_the_page(page):
    types = families(page)
    for name, kind, _labels in PROMISED:
        assert types.get(name) == kind, f"{name} is {types.get(name)}"
    for name in page.families:
        family = name
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix) and types.get(name[: -len(suffix)]) == "histogram":
                family = name[: -len(suffix)]
        assert family in types, f"{name} has no TYPE"
    for name, samples in page.families.items():
        keys = [tuple(sorted(labels.items())) for labels, _value in samples]
        assert len(keys) == len(set(keys)), f"{name} has a series twice"
        assert all(labels.get("cluster") == "test" for labels, _value in samples), name
        assert not any({"job", "instance", "__name__"} & set(labels) for labels, _ in samples), name


def test_values_are_those_of_the_servers(cluster, page):
    primary = cluster.primary
    assert page.value("db_connections_max", node="primary") == 60 - 3
    assert page.value("db_up", node="primary") == page.value("db_up", node="replica_1") == 1
    assert page.value("db_node_role", node="replica_1", role="primary") in (None, 0)
    age = primary.value("select age(datfrozenxid) from pg_database where datname = 'app'")
    assert 0 < page.value("db_xid_age", node="primary", database="app") <= age
    commits = primary.value("select xact_commit from pg_stat_database where datname = 'app'")
    seen = page.value("db_transactions_total", node="primary", database="app", outcome="commit")
    assert 0 < seen <= commits
    states = {
        labels["state"]: value for labels, value in page.samples("db_replica_state", **REPLICA[0])
    }
    assert states.pop("fresh") == 1 and not any(states.values())
    assert 0 <= page.value("db_replication_lag_seconds", replica="replica_1") < 2
    lo = page.value("db_replication_lag_bound_seconds", replica="replica_1", bound="lo")
    hi = page.value("db_replication_lag_bound_seconds", replica="replica_1", bound="hi")
    assert lo <= page.value("db_replication_lag_seconds", replica="replica_1") <= hi


def promtool(*args, stdin=None):
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("promtool is not installed")
    return subprocess.run(
        [tool, *args], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )


def test_point_8_promtool_accepts_page_and_rules(cluster, page):
    done = promtool("check", "metrics", stdin=page.text)
    # `ALERTS` is Prometheus' own name; it breaks promtool's rule against capitals.
    complaints = [line for line in done.stderr.splitlines() if line and "ALERTS" not in line]
    assert not complaints and not done.stdout, f"{done.stdout}\n{done.stderr}"
    folder = os.path.join(REPO, "rules")
    rules = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".yml")]
    done = promtool("check", "rules", *rules)
    assert done.returncode == 0 and len(rules) >= 2, done.stderr


# ---- both forms of the page ----

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["n\\])*)"(?:,(?!})|(?=}))')
SAMPLE = re.compile(rf"({NAME})(\{{.*\}})? (NaN|[+-]Inf|-?[0-9][0-9.]*(?:e[+-][0-9]+)?)$")
FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+|e[+-][0-9]+|\.[0-9]+e[+-][0-9]+)$")


def scrape(agent, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.headers, answer.read()
    finally:
        connection.close()


def label_pairs(text):
    """Of {a="b",c="d"}; every byte must belong to a label."""
    if not text:
        return ()
    assert "".join(match[0] for match in LABEL.finditer(text[1:-1] + "}")) == text[1:-1], text
    pairs = [(match[1], match[2]) for match in LABEL.finditer(text[1:-1] + "}")]
    assert len({name for name, _value in pairs}) == len(pairs), text
    return tuple(sorted(pairs))


class OpenMetrics:
    """A strict reader of what OpenMetrics 1.0 asks of the page; .series is {(name, labels): text}."""

    SUFFIXES = {
        "gauge": {""},
        "unknown": {""},
        "counter": {"_total"},
        "histogram": {"_bucket", "_sum", "_count"},
    }

    def __init__(self, text):
        self.series, self.families, self.points = {}, {}, []
        assert text.endswith("# EOF\n") and "\n\n" not in text and "\r" not in text
        for line in text[: -len("# EOF\n")].splitlines():
            if line.startswith("#"):
                self._meta(line)
            else:
                self._sample(line)
        self._histograms()

    def _meta(self, line):
        mark, what, name, *rest = line.split(" ", 3)
        assert mark == "#" and what in ("TYPE", "UNIT", "HELP") and re.fullmatch(NAME, name), line
        if what == "TYPE":
            assert name not in self.families, f"{name} is interleaved"
            assert rest[0] in self.SUFFIXES and not name.endswith("_total") or rest[0] == "unknown"
            self.family = {"name": name, "type": rest[0], "samples": 0, "seen": ["TYPE"]}
            self.families[name] = self.family
            return
        assert self.family["name"] == name and self.family["samples"] == 0, line
        self.family["seen"].append(what)
        assert self.family["seen"] in (["TYPE", "UNIT"], ["TYPE", "UNIT", "HELP"], ["TYPE", "HELP"])
        if what == "UNIT":
            assert name.endswith("_" + rest[0]), line
        else:
            assert re.fullmatch(r'([^\\"]|\\[\\"n])+', rest[0]), line

    def _sample(self, line):
        match = SAMPLE.match(line)
        assert match, line
        name, labels = match[1], label_pairs(match[2])
        family = self.family
        assert name.startswith(family["name"]), line
        suffix = name[len(family["name"]) :]
        assert suffix in self.SUFFIXES[family["type"]], line
        assert (name, labels) not in self.series, f"twice: {line}"
        if suffix == "_bucket":
            bound = dict(labels)["le"]
            assert bound == "+Inf" or FLOAT.match(bound), f"le is no float: {line}"
        if suffix in ("_total", "_bucket", "_count"):
            assert float(match[3]) >= 0, line
        family["samples"] += 1
        self.series[name, labels] = match[3]
        self.points.append((family, suffix, labels, match[3]))

    def _histograms(self):
        """Samples of one histogram stand together, buckets rise to +Inf, which is the count."""
        done, current, last = set(), None, 0
        for family, suffix, labels, value in self.points:
            if family["type"] != "histogram":
                continue
            point = family["name"], tuple(pair for pair in labels if pair[0] != "le")
            if point != current:
                assert point not in done, f"{point} is interleaved"
                done.add(point)
                current, last = point, 0
            if suffix != "_sum":
                assert float(value) >= last, f"{point} falls"
                last = float(value)
            if suffix == "_count":
                top = dict([*point[1], ("le", "+Inf")])
                key = family["name"] + "_bucket", tuple(sorted(top.items()))
                assert self.series[key] == value


def test_openmetrics_is_strictly_so(page, agent_of_page):
    agent = agent_of_page
    del page  # every collector has been polled
    headers, body = scrape(agent, Accept=PROMETHEUS)
    assert headers["Content-Type"] == OPENMETRICS
    found = OpenMetrics(body.decode("utf-8"))
    assert found.families["db_transactions"]["type"] == "counter"
    assert "UNIT" in found.families["db_replication_lag_seconds"]["seen"]
    assert found.families["pgvigil_stage_seconds"]["type"] == "histogram"
    for accept, kind in (("", TEXT), ("*/*", TEXT), ("text/plain", TEXT),
                         ("application/openmetrics-text;version=0.0.1", OPENMETRICS.replace("1.0.0", "0.0.1")),
                         ("application/openmetrics-text;q=0.1,text/plain;q=0.2", TEXT)):  # fmt: skip
        assert scrape(agent, Accept=accept)[0]["Content-Type"] == kind, accept


def test_gzip_only_for_whom_takes_it(page, agent_of_page):
    agent = agent_of_page
    del page
    headers, packed = scrape(agent, **{"Accept-Encoding": "deflate, gzip;q=0.5"})
    assert headers["Content-Encoding"] == "gzip"
    text = gzip.decompress(packed).decode("utf-8")
    assert text.startswith("# HELP ") and len(packed) < len(text) / 4
    for refused in ("", "identity", "gzip;q=0", "gzip;q=0, *"):
        headers, body = scrape(agent, **{"Accept-Encoding": refused})
        assert "Content-Encoding" not in headers and body.startswith(b"# HELP "), refused


class Prometheus:
    """A real one that scrapes the agent in one form each second."""

    def __init__(self, cluster, agent, form):
        tool = shutil.which("prometheus")
        if not tool:
            pytest.skip("prometheus is not installed")
        self.port = cluster.ports.take()
        self.home = proc.make_scratch("pgvigil-prometheus-")
        config = os.path.join(self.home, "prometheus.yml")
        # 2.42 cannot be told which form to ask for and takes OpenMetrics, so text needs a relay.
        target = agent.port if form == OPENMETRICS else TextRelay.start(agent.port)
        proc.write_owned(
            config,
            "scrape_configs: [{job_name: pgvigil, scrape_interval: 1s, scrape_timeout: 1s,"
            f" static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n",
        )
        self.process = subprocess.Popen(
            [tool, f"--config.file={config}", f"--storage.tsdb.path={self.home}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def get(self, path):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def target(self):
        try:
            targets = self.get("targets")["activeTargets"]
        except OSError:
            return None
        return targets[0] if targets and targets[0]["health"] == "up" else None

    def series(self):
        found = self.get("series?match[]=%7Bjob%3D%22pgvigil%22%7D")
        drop = ("instance", "job")
        return {tuple(sorted((k, v) for k, v in s.items() if k not in drop)) for s in found
                if s["__name__"] != "up" and not s["__name__"].startswith("scrape_")}  # fmt: skip

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)


class TextRelay(http.server.BaseHTTPRequestHandler):
    """Asks for text 0.0.4 whatever the scraper would like best."""

    def do_GET(self):  # noqa: N802
        connection = http.client.HTTPConnection("127.0.0.1", self.server.agent_port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass

    @classmethod
    def start(cls, agent_port):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
        server.agent_port = agent_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]


def test_a_prometheus_takes_the_same_series_in_both_forms(cluster, page, agent_of_page):
    agent = agent_of_page
    del page
    scrapers = [Prometheus(cluster, agent, form) for form in (OPENMETRICS, TEXT)]
    try:
        for scraper in scrapers:
            wait_until(scraper.target, 30, "the target is up")
            assert scraper.target()["lastError"] == ""

        def same():
            both = [scraper.series() for scraper in scrapers]
            names = [{dict(s)["__name__"] for s in found} for found in both]
            assert all("db_transactions_total" in found for found in names), names
            if both[0] != both[1]:
                raise AssertionError(f"only in one: {sorted(both[0] ^ both[1])[:5]}")
            return True

        wait_until(same, 20, "the same series in both forms")
        assert len(scrapers[0].series()) > 200
    finally:
        for scraper in scrapers:
            scraper.close()


def newest(api_answer):
    """{labels without job and instance: [newest values first]} of an answer of the query API."""
    found = {}
    for row in api_answer["result"]:
        labels = {k: v for k, v in row["metric"].items() if k not in ("job", "instance")}
        name = labels["__name__"]
        if name != "up" and not name.startswith("scrape_"):
            values = row.get("values") or [row["value"]]
            found[tuple(sorted(labels.items()))] = [float(v) for _, v in reversed(values)]
    return found


def test_a_prometheus_has_what_the_agent_answers(cluster, page, agent_of_page):
    """The same series, and every gauge of the servers is one of the agent's newest three values."""
    del page
    every = urllib.parse.quote('{__name__=~".+"}')
    gauges = urllib.parse.quote('{__name__=~"db_.+",__name__!~".+_total"}[2m]')
    scraper = Prometheus(cluster, agent_of_page, OPENMETRICS)
    try:
        wait_until(scraper.target, 30, "the target is up")

        def same():
            theirs = newest(scraper.get(f"query?query={every}"))
            ours = newest(agent_of_page.get(f"/api/v1/query?query={every}").json()["data"])
            if theirs.keys() != ours.keys():
                raise AssertionError(f"only in one: {sorted(theirs.keys() ^ ours.keys())[:5]}")
            return len(ours) > 200

        wait_until(same, 30, "the same series on both sides")

        def in_step():
            theirs = newest(scraper.get(f"query?query={every}"))
            ours = newest(agent_of_page.get(f"/api/v1/query?query={gauges}").json()["data"])
            odd = {k: (theirs[k][0], v[:3]) for k, v in ours.items() if theirs[k][0] not in v[:3]}
            if odd:
                raise AssertionError(f"others: {list(odd.items())[:3]}")
            return len(ours) > 50

        wait_until(in_step, 20, "gauges within one interval")
    finally:
        scraper.close()


def test_point_8_shipped_rules_and_configuration_are_accepted(make_agent):
    agent = make_agent()
    done = agent.cli("check-config", agent.config_path, config=False)
    assert done.stderr == ""
    assert "2 nodes, 1 pools" in done.stdout and "43 alerting" in done.stdout, done.stdout


def statements(cluster, name):
    """Statements that the monitoring role has run there. The replica has no own extension's
    tables to write, but the function reads its shared memory."""
    return cluster[name].value(
        "select coalesce(sum(calls), 0)::int8 from pg_stat_statements s"
        " join pg_roles r on r.oid = s.userid where r.rolname = 'pgvigil'"
    )


def test_point_8_scraping_costs_no_sql(cluster, make_agent):
    slow = {"activity": "1m", "pools": "1m", "statements": "1m", "schema": "1m"}
    agent = make_agent(intervals=slow).start()
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")
    for name in ("primary", "replica_1"):
        before, began = statements(cluster, name), time.monotonic()
        for _ in range(200):
            for path in ("/metrics", "/api/v1/alerts", "/"):
                assert agent.get(path).status == 200
        ran = statements(cluster, name) - before
        took = time.monotonic() - began
        assert ran <= took + 3, f"{ran} statements in {took:.1f} s: more than a probe each second"


def test_at_most_two_sessions_on_a_node(cluster, make_agent):
    agent = make_agent(intervals=INTERVALS).start()
    sql = "select application_name from pg_stat_activity where usename = 'pgvigil'"
    watchers = {name: cluster[name].connect() for name in NODES}
    most = dict.fromkeys(NODES, 0)
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for name, watcher in watchers.items():
                watcher.rollback()  # each transaction has its own view of the activity
                cursor = watcher.cursor()
                cursor.execute(sql)
                names = [row[0] for row in cursor.fetchall()]
                assert len(names) <= 2, f"{len(names)} sessions on {name}"
                assert set(names) <= {"pgvigil"}, names
                most[name] = max(most[name], len(names))
            time.sleep(0.02)
    finally:
        for watcher in watchers.values():
            watcher.close()
    assert most == {"primary": 2, "replica_1": 2}
    assert agent.running()


def test_page_is_quick_and_whole_with_a_frozen_server(cluster, agent):
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")
    cluster.sigstop("replica_1")
    wait_until(lambda: agent.metrics().value("db_up", node="replica_1") == 0, 15, "db_up is 0")
    times = []
    for _ in range(50):
        began = time.monotonic()
        metrics = agent.metrics()
        times.append(time.monotonic() - began)
        assert metrics.value("db_up", node="primary") == 1
    assert sorted(times)[25] < 0.1, f"median {sorted(times)[25]:.3f} s"
    assert metrics.samples("db_connections", node="primary")
    # the work session gives up one interval and one deadline after the last answer at the latest
    wait_until(
        lambda: not agent.metrics().samples("db_connections", node="replica_1"),
        12,
        "old figures are not shown",
    )


def test_every_sample_is_in_history(cluster, agent):
    wait_until(lambda: "db_connections" in agent.metrics(), 10, "the first poll")

    def points():
        out = agent.cli("query", 'count_over_time(db_up{node="primary"}[1m])', "-o", "json").stdout
        result = json.loads(out)["data"]["result"]
        return result and float(result[0]["value"][1])

    wait_until(lambda: points() >= 5, 20, "five polls of a second in history")
    sql = "select count(*) from sqlite_master"
    shell = shutil.which("sqlite3")
    if shell:
        path = os.path.join(agent.state_dir, "history.db")
        assert int(proc.run([shell, "-readonly", path, sql], home=agent.home)) > 0
