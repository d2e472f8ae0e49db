"""The test bed itself: what the other tests rely on must be so."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psycopg2
import pytest

from cluster import Agent, Cluster, proc, wait_until
from cluster.metrics import Metrics
from cluster.threads import frozen
from cluster.yaml_text import dump

CLUSTER = {"replicas": 2, "app_pool": 3, "query_wait_timeout": 2}
HERE = os.path.dirname(os.path.abspath(__file__))


def test_replicas_stream_through_slots_of_their_name(cluster):
    rows = cluster.execute(
        "primary",
        "select application_name, state, slot_name, active from pg_stat_replication r"
        " join pg_replication_slots s on s.active_pid = r.pid order by 1",
    )
    assert rows == [(n, "streaming", n, True) for n in ("replica_1", "replica_2")]
    assert all(node.in_recovery() for node in cluster.replicas)


def test_nothing_runs_as_root(cluster):
    pids = [node.process.pid for node in cluster.nodes.values()]
    pids += [cluster.pool.process.pid, cluster.load.process.pid]
    for pid in pids + [child for pid in pids for child in proc.descendants(pid)]:
        try:
            assert os.stat(f"/proc/{pid}").st_uid != 0
        except FileNotFoundError:
            assert pid not in pids, "a server has ended"  # autovacuum workers come and go


def test_ports_are_below_the_ephemeral_range(cluster):
    ports = [node.port for node in cluster.nodes.values()] + [cluster.pool.port]
    assert len(set(ports)) == 4 and max(ports) < 32768


def test_monitoring_role_sees_replication_and_no_tables(cluster):
    sql = "select count(*) from pg_stat_replication where replay_lsn is not null"
    assert cluster.primary.value(sql, user="pgvigil") == 2
    limit = "select rolconnlimit from pg_roles where rolname = 'pgvigil'"
    assert cluster.primary.value(limit) == 10
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cluster.primary.execute("select * from pgbench_accounts", user="pgvigil")


def test_load_goes_through_the_pool(cluster):
    def count():
        return {row["database"]: row["total_query_count"] for row in cluster.pool.show("stats")}

    before = count()["app"]
    wait_until(lambda: count()["app"] > before + 20, 10, "statements go through the pool")


def test_paused_replay_makes_true_lag_on_that_replica_only(cluster):
    with cluster.heartbeat() as beat:
        cluster.pause_replay("replica_1")
        wait_until(lambda: beat.lag("replica_1") > 1.5, 10, "replica_1 is 1.5 s behind")
        assert beat.lag("replica_2") < 1
        cluster.resume_replay("replica_1")
        wait_until(lambda: beat.lag("replica_1") < 0.5, 10, "replica_1 has caught up")


def test_stopped_receiver_makes_true_lag(cluster):
    with cluster.heartbeat() as beat:
        cluster.stop_receiver("replica_2")
        wait_until(lambda: beat.lag("replica_2") > 1.5, 10, "replica_2 is 1.5 s behind")
        cluster.start_receiver("replica_2")
        wait_until(lambda: beat.lag("replica_2") < 0.5, 10, "replica_2 has caught up")


def test_frozen_node_answers_nothing_and_thaws(cluster):
    cluster.sigstop("replica_1")
    began = time.monotonic()
    with pytest.raises(psycopg2.OperationalError):
        cluster.execute("replica_1", "select 1", timeout=0.5)
    assert time.monotonic() - began < 2
    cluster.sigcont("replica_1")
    assert cluster["replica_1"].value("select 1") == 1


def test_stopped_node_comes_back(cluster):
    for mode in ("fast", "immediate", "kill"):
        cluster.stop_node("replica_2", mode)
        with pytest.raises(psycopg2.OperationalError):
            cluster.execute("replica_2", "select 1")
        cluster.start_node("replica_2")
    cluster.wait_streaming()
    cluster.wait_caught_up("replica_2")


def test_full_pool_times_out_its_clients(cluster):
    holders = [cluster.pool.connect("other") for _ in range(5)]
    try:
        for holder in holders:
            holder.cursor().execute("select 1")  # in a transaction: keeps its server
        waiting = cluster.pool.connect("other")
        with pytest.raises(psycopg2.OperationalError):
            waiting.cursor().execute("select 1")
        pools = {(row["database"], row["user"]): row for row in cluster.pool.show("pools")}
        assert pools["other", "app"]["sv_active"] == 5
        with open(cluster.pool.log, encoding="utf-8") as log:
            assert "query_wait_timeout" in log.read()
    finally:
        for holder in holders:
            holder.close()


def test_heal_mends_everything(cluster):
    cluster.pause_replay("replica_1")
    cluster.stop_receiver("replica_2")
    cluster.stop_node("replica_2")
    cluster.sigstop("primary")
    cluster.load.stop()
    cluster.heal()
    assert cluster["replica_1"].value("select pg_get_wal_replay_pause_state()") == "not paused"
    assert cluster.load.running()


def test_receiver_keeps_a_ledger_and_answers_as_told(receiver):
    def post(number):
        body = b'{"alerts": [{"status": "firing", "labels": {"alertname": "A", "n": "%d"}}]}'
        request = urllib.request.Request(receiver.url, body % number, {"webhook-id": f"id{number}"})
        try:
            return urllib.request.urlopen(request, timeout=0.5).status
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("retry-after")
        except OSError:
            return "no answer"

    receiver.answer(500, (429, {"retry-after": "7"}), "hang", "close")
    assert [post(1) for _ in range(5)] == [(500, None), (429, "7"), "no answer", "no answer", 200]
    assert post(2) == 200
    assert {key: len(found) for key, found in receiver.ledger.items()} == {"id1": 5, "id2": 1}
    assert [alert["labels"]["n"] for alert in receiver.alerts("A", "firing")] == ["1", "2"]
    assert receiver.wait_alert("A", n="2")["request"].id == "id2"
    receiver.stop()
    assert post(3) == "no answer"
    receiver.start()
    assert post(3) == 200


def test_single_threads_can_be_frozen():
    code = (
        "import threading,time\n"
        "n={}\n"
        "def f(k):\n"
        "    while True: n[k]=n.get(k,0)+1; time.sleep(.005)\n"
        "t=threading.Thread(target=f,args=('a',),daemon=True); t.start()\n"
        "print(t.native_id,flush=True)\n"
        "while True:\n"
        "    before=n.get('a',0); time.sleep(.1); print(n['a']-before,flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        tid = int(child.stdout.readline())
        assert int(child.stdout.readline()) > 0
        with frozen(child.pid, [tid]):
            child.stdout.readline()
            assert [int(child.stdout.readline()) for _ in range(2)] == [0, 0]
            assert child.poll() is None
        child.stdout.readline()
        assert int(child.stdout.readline()) > 0
    finally:
        child.kill()
        child.wait()


FAKE_AGENT = """#!/usr/bin/python3
import http.server, os, re, sys, time
config = open(sys.argv[sys.argv.index("--config") + 1]).read()
health = re.search(r"^health_dir: (.*)$", config, re.M)[1]
if os.fork() == 0:
    while True:
        time.sleep(1)
open(health + "/.owner", "w").close()
with open(health + "/replica_1.read", "w") as file:
    file.write("up 90% lag=0.2 until=1700000000 reason=fresh   \\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if self.path == "/replica" else 200)
        self.end_headers()
        self.wfile.write(b'db_up{node="primary"} 1\\n')
        if self.path == "/break":
            print("ERROR: AddressSanitizer: made up", file=sys.stderr, flush=True)
port = int(re.search(r"^listen: .*:(\\d+)", config, re.M)[1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture(name="fake_agent")
def _fake_agent(cluster, tmp_path):
    script = tmp_path / "fake"
    script.write_text(FAKE_AGENT)
    script.chmod(0o755)
    found = Agent(cluster, binary=str(script), gate={"max_lag": "3s"}, rules=[])
    found.start()
    yield found
    found.close(check=False)


def test_agent_is_seen_as_its_users_see_it(fake_agent):
    assert fake_agent.get("/replica").status == 503
    assert fake_agent.metrics().value("db_up", node="primary") == 1
    line = fake_agent.health("replica_1.read")
    assert (line.weight, line.lag, line.until, line.reason) == (90, "0.2", 1700000000, "fresh")
    assert fake_agent.health("primary.read") is None
    fake_agent.wait_files("replica_1.read")
    with pytest.raises(AssertionError):
        fake_agent.wait_files("primary.read", deadline=0.1)
    assert list(fake_agent.threads()) == [fake_agent.pid]
    assert os.stat(f"/proc/{fake_agent.pid}").st_uid != 0


def test_agent_with_a_sanitizer_report_fails_the_test(fake_agent):
    fake_agent.get("/break")
    with pytest.raises(AssertionError, match="made up"):
        fake_agent.close()


def test_guardian_is_known_after_a_kill_and_ends_with_the_agent(fake_agent):
    guardian = fake_agent.guardian_pid()
    known = proc.identity(guardian)
    fake_agent.kill()
    assert proc.identity(guardian) == known
    assert fake_agent.guardian_pid() == guardian
    fake_agent.close()
    wait_until(lambda: proc.identity(guardian) != known, 5, "the guardian has ended")
    assert not os.path.exists(fake_agent.home)


def test_metrics_page_is_read():
    page = Metrics(
        '# HELP a x\n# TYPE a gauge\na{x="1",y="q\\"\\\\\\n"} 2\na{x="2"} NaN\nb 1e3\nc_bucket{le="+Inf"} 4\n'
    )
    assert page.value("a", x="1") == 2 and page.samples("a", x="1")[0][0]["y"] == 'q"\\\n'
    assert page.value("b") == 1000 and page.value("missing") is None
    with pytest.raises(ValueError):
        page.value("a")
    with pytest.raises(ValueError):
        Metrics('a{x="1} 2')


def test_generated_yaml_quotes_what_needs_it():
    text = dump({"a": "3s", "b": True, "c": [{"dsn": "host=x y='z\"'", "on": "off"}], "d": {"n": 1}})
    assert text == 'a: 3s\nb: true\nc:\n  - {dsn: "host=x y=\'z\\"\'", on: "off"}\nd: {n: 1}\n'


def test_promotion_and_a_second_cluster_at_once(shared_cluster):
    began = time.monotonic()
    with Cluster(replicas=2, pool=False, scram=True) as other:
        started = time.monotonic() - began
        assert started < 10
        used = {node.port for node in shared_cluster.nodes.values()}
        assert not used & {node.port for node in other.nodes.values()}
        with pytest.raises(psycopg2.OperationalError):
            other.execute("replica_1", "select 1", user="pgvigil")
        connection = psycopg2.connect(other.monitor_dsn("replica_1"))
        connection.close()
        other.stop_node("primary")
        other.promote("replica_1")
        other["replica_2"].follow(other["replica_1"])
        other.wait_streaming("replica_1", 1)
        other.execute("replica_1", "create table t ()")
        other.wait_caught_up("replica_2", "replica_1")
        scratch, pids = other.scratch, [node.process.pid for node in other.replicas]
    assert not os.path.exists(scratch)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.parametrize("signal_name", ["TERM", "INT", "KILL"])
def test_nothing_survives_its_starter(signal_name):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cluster import Cluster, proc\n"
        "proc.exit_on_signals()\n"
        "c=Cluster(replicas=1).start()\n"
        "print(c.scratch, *[n.process.pid for n in c.nodes.values()], c.pool.process.pid,\n"
        "      c.load.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, os.path.dirname(HERE)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # a shell's background job hands SIGINT on as ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    scratch, *pids = child.stdout.readline().split()
    family = [(pid, proc.identity(int(pid))) for pid in pids]
    child.send_signal(getattr(signal, f"SIG{signal_name}"))
    child.wait(20)
    gone = lambda: not any(proc.identity(int(pid)) == known for pid, known in family)  # noqa: E731
    wait_until(gone, 10, "all servers are gone")
    if signal_name == "KILL":
        proc.remove_scratch(scratch)
    assert not os.path.exists(scratch)
