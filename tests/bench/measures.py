"""The measurements. Each takes what runs already and returns plain numbers."""

import glob
import http.client
import os
import subprocess
import time

from cluster import Agent, proc, yaml_text
from cluster.agent import REPO

from bench import peers, procfs

LAG_THRESHOLD = 3
LAG_RULE = "BenchLag"
BEAT_SECONDS = 0.05
FLEET_SIZES = (10, 50, 100, 200)
LIBRARIES = "libpq libcurl yaml-0.1 libmicrohttpd sqlite3 libuv libpcre2-8".split()

# Every collector each second, and hardly any; the difference is what polls cost.
EACH_SECOND = dict.fromkeys(("replication", "activity", "pools", "statements"), "1s")
EACH_SECOND["schema"] = "1h"
SELDOM = {"replication": "1m", **dict.fromkeys(("activity", "pools", "statements", "schema"), "1h")}


def wait_polled(agent, count=1):
    """Until every collector of every node has answered."""

    def polled():
        page = agent.metrics()
        polls = page.samples("pgvigil_collector_polls_total", collector="activity")
        return len(polls) == len(agent.config["nodes"]) and all(n >= count for _, n in polls)

    proc.wait_until(polled, 60, "every node was polled", 0.5)


# ---- CPU of a poll ----


def backends(node, application):
    """Process ids of the sessions of an application on a node."""
    sql = f"select pid from pg_stat_activity where application_name = '{application}'"
    return [int(line) for line in node.psql(sql).split()]


class _Window:
    """CPU of an agent, and of its sessions on each node, over a time."""

    def __init__(self, cluster, agent, seconds):
        wait_polled(agent)
        time.sleep(6)
        own = procfs.tree(agent.pid)
        sessions = {name: backends(node, "pgvigil") for name, node in cluster.nodes.items()}
        before = self._read(agent, own, sessions)
        time.sleep(seconds)
        after = self._read(agent, own, sessions)
        self.seconds = after["at"] - before["at"]
        self.cpu = after["cpu"] - before["cpu"]
        self.polls = {name: after["polls"][name] - n for name, n in before["polls"].items()}
        self.backend = {name: after["backend"][name] - n for name, n in before["backend"].items()}

    @staticmethod
    def _read(agent, own, sessions):
        polls = agent.metrics().samples("pgvigil_collector_polls_total", collector="activity")
        return {
            "at": time.monotonic(),
            "cpu": procfs.cpu_seconds(*own),
            "polls": {labels["target"]: n for labels, n in polls},
            "backend": {name: procfs.cpu_seconds(*pids) for name, pids in sessions.items()},
        }


def polls(cluster, binary, seconds):
    """Milliseconds of one poll by all collectors of a node: our CPU, the CPU of our sessions."""
    options = {"binary": binary, "rules": [], "gate": {"lease": "5m"}}
    options["config"] = {"pools": [], "logs": []}
    with Agent(cluster, intervals=EACH_SECOND, **options) as agent:
        busy = _Window(cluster, agent, seconds)
    with Agent(cluster, intervals=SELDOM, **options) as agent:
        idle = _Window(cluster, agent, seconds)
        sql = sql_of_scrapes(cluster, agent)
    extra = busy.cpu - idle.cpu * busy.seconds / idle.seconds
    by_node = {n: 1e3 * busy.backend[n] / max(1, busy.polls[n]) for n in busy.backend}
    return {
        "own": 1e3 * extra / max(1, sum(busy.polls.values())),
        "idle": 1e3 * idle.cpu / idle.seconds,
        "backend": max(by_node.values()),
        "backends": by_node,
        "sql": sql,
    }


def exporter_polls(cluster, count):
    """The same of the exporter with its default queries, on the primary, by scrapes."""
    exporter = peers.start_exporter(cluster, "primary")
    try:
        for _ in range(10):
            peers.get(exporter.port)
        sessions = backends(cluster.primary, peers.APPLICATION)
        own, server = procfs.cpu_seconds(exporter.pid), procfs.cpu_seconds(*sessions)
        times = []
        for _ in range(count):
            began = time.perf_counter()
            peers.get(exporter.port)
            times.append(1e3 * (time.perf_counter() - began))
            time.sleep(0.2)
        return {
            "own": 1e3 * (procfs.cpu_seconds(exporter.pid) - own) / count,
            "backend": 1e3 * (procfs.cpu_seconds(*sessions) - server) / count,
            "p50": procfs.percentile(times, 0.5),
            "p99": procfs.percentile(times, 0.99),
        }
    finally:
        exporter.close()


# ---- /metrics ----


class Scrapes:
    """Latency in ms of scrapes over one connection, as Prometheus does it, and our CPU for one.

    On a busy machine the tail is that of the scheduler, so this takes the quietest of a few series,
    and tells how late a sleeper of the same length woke up in it (99th percentile).
    """

    def __init__(self, agent, series=3, count=500):
        pids = procfs.tree(agent.pid)
        before = procfs.cpu_seconds(*pids)
        times, late = min(
            (self._series(agent.port, count) for _ in range(series)),
            key=lambda found: procfs.percentile(found[0], 0.99),
        )
        self.cpu = 1e3 * (procfs.cpu_seconds(*pids) - before) / (series * count)
        self.p50 = procfs.percentile(times, 0.5)
        self.p99 = procfs.percentile(times, 0.99)
        self.sleeper = procfs.percentile(late, 0.99)

    @staticmethod
    def _series(port, count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        times, late = [], []
        for _ in range(count):
            began = time.perf_counter()
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            answer.read()
            times.append(1e3 * (time.perf_counter() - began))
            if answer.status != 200:
                raise AssertionError(f"/metrics answered {answer.status}")
            late.append(oversleep(0.01))
        connection.close()
        return times, late


def oversleep(seconds):
    """Milliseconds by which a sleep took longer: what the machine alone adds to a latency."""
    began = time.perf_counter()
    time.sleep(seconds)
    return 1e3 * (time.perf_counter() - began - seconds)


def sql_of_scrapes(cluster, agent, count=500):
    """Statements on all nodes during 500 scrapes of an agent that hardly polls."""

    def calls():
        sql = (
            "select coalesce(sum(calls), 0) from pg_stat_statements"
            " where userid = 'pgvigil'::regrole"
        )
        return sum(int(node.psql(sql)) for node in cluster.nodes.values())

    before = calls()
    Scrapes(agent, 1, count)
    return calls() - before


def frozen_scrapes(cluster, agent, stack, deadline=10.0):
    """Scrapes while the primary is frozen; the exporter's answer in ms, None after `deadline`."""
    cluster.sigstop("primary")
    try:
        time.sleep(5)
        own = Scrapes(agent)
        up = agent.metrics().value("db_up", node="primary")
        began = time.perf_counter()
        try:
            peers.get(stack.exporters["primary"].port, timeout=deadline)
            peer = 1e3 * (time.perf_counter() - began)
        except OSError:
            peer = None
    finally:
        cluster.sigcont("primary")
    return own, up, peer


# ---- memory ----


def empty_program():
    """Memory of a program that only initialises the libraries."""
    home = proc.make_scratch("pgvigil-bench-empty-")
    program = os.path.join(home, "empty")
    command = ["pkg-config", "--cflags", "--libs", *LIBRARIES]
    flags = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    source = os.path.join(REPO, "tests", "bench", "empty.c")
    cc = os.environ.get("CC", "cc")
    subprocess.run([cc, "-O2", "-D_GNU_SOURCE", "-o", program, source, *flags], check=True)
    process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n", "the empty program did not start"
        return procfs.Memory(process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        proc.remove_scratch(home)


def long_run(agent, stack, seconds, report):
    """CPU share over the time and memory at its end, of the agent and of the peers."""
    wait_polled(agent)
    began = time.monotonic()
    agent_cpu = procfs.cpu_seconds(*procfs.tree(agent.pid))
    stack_cpu = procfs.cpu_seconds(*stack.pids)
    while time.monotonic() - began < seconds:
        time.sleep(min(60, max(0.1, began + seconds - time.monotonic())))
        memory = procfs.Memory(*procfs.tree(agent.pid))
        done = time.monotonic() - began
        report(
            f"{done:.0f} s: anonymous {memory.anonymous:.2f} MiB, PSS {memory.pss:.2f}, load"
            f" {procfs.load_average():.1f}"
        )
    elapsed = time.monotonic() - began
    return {
        "agent": procfs.Memory(*procfs.tree(agent.pid)),
        "peers": procfs.Memory(*stack.pids),
        "cpu": 100 * (procfs.cpu_seconds(*procfs.tree(agent.pid)) - agent_cpu) / elapsed,
        "peers_cpu": 100 * (procfs.cpu_seconds(*stack.pids) - stack_cpu) / elapsed,
        "publish": Histogram(agent.metrics(), "pgvigil_stage_seconds", stage="publish"),
    }


# ---- lag to webhook ----


def shipped_rules():
    return sorted(glob.glob(os.path.join(REPO, "rules", "*.yml")))


def lag_rule():
    rule = {"alert": LAG_RULE, "labels": {"severity": "critical"}}
    rule["expr"] = f'db_replication_lag_seconds{{replica="replica_1"}} > {LAG_THRESHOLD}'
    return yaml_text.dump({"groups": [{"name": "bench", "interval": "1s", "rules": [rule]}]})


def lag_alerts(cluster, ours, theirs, runs):
    """Seconds from the lag's crossing to the webhook: ([ours], [peers']) of the same events.

    The heartbeat row that the paused replica shows was written at t; its data are older than the
    threshold from t + threshold on, at the latest one beat later: these figures are never too low.
    """
    found = [], []
    with cluster.heartbeat(BEAT_SECONDS):
        for run in range(runs):
            time.sleep(1 + run * 0.37 % 1)  # not always at the same moment of the poll
            ours.clear()
            theirs.clear()
            cluster.pause_replay("replica_1")
            crossed = cluster["replica_1"].value("select t from beat") + LAG_THRESHOLD
            watched = ((ours, LAG_RULE, found[0]), (theirs, peers.LAG_RULE, found[1]))
            for receiver, name, delays in watched:
                alert = receiver.wait_alert(name, deadline=40)
                delays.append(alert["request"].at - crossed)
            cluster.resume_replay("replica_1")
            for receiver, name, _delays in watched:
                receiver.wait_alert(name, "resolved", deadline=60)
    return found


# ---- many nodes ----


class Histogram:
    """A histogram of the agent's page; `minus` gives what came since an earlier look."""

    def __init__(self, page, name, **labels):
        samples = page.samples(f"{name}_bucket", **labels)
        self.buckets = sorted((float(have["le"]), count) for have, count in samples)

    def minus(self, earlier):
        pairs = zip(self.buckets, earlier.buckets)
        self.buckets = [(bound, now - before) for (bound, now), (_, before) in pairs]
        return self

    def at_most(self, share):
        """The bound in milliseconds that at least `share` of the values do not exceed."""
        total = self.buckets[-1][1]
        return 1e3 * next(bound for bound, count in self.buckets if count >= share * total)


def fleet_nodes(cluster, count):
    """Many names for few servers: clusters of three, each a primary with its two replicas."""
    names = list(cluster.nodes)
    return [
        {"name": f"n{i}", "cluster": f"c{i // 3}", "dsn": cluster.monitor_dsn(names[i % 3])}
        for i in range(count)
    ]


def fleet(cluster, binary, count, seconds):
    """CPU of an agent with many nodes, and how late its gate was."""
    config = {"nodes": fleet_nodes(cluster, count), "pools": [], "logs": []}
    with Agent(cluster, binary=binary, config=config) as agent:
        wait_polled(agent, 2)
        time.sleep(5)
        names = ("pgvigil_loop_lateness_seconds", "pgvigil_loop_turn_seconds")
        pids = procfs.tree(agent.pid)
        before = [Histogram(agent.metrics(), name, loop="gate") for name in names]
        cpu, began = procfs.cpu_seconds(*pids), time.monotonic()
        sleeper = [oversleep(0.01) for _ in range(int(seconds / 0.01))]
        cpu, elapsed = procfs.cpu_seconds(*pids) - cpu, time.monotonic() - began
        page = agent.metrics()
        late, turn = (
            Histogram(page, name, loop="gate").minus(old) for name, old in zip(names, before)
        )
        return {
            "count": count,
            "cpu": 100 * cpu / elapsed,
            "late": late.at_most(0.99),
            "turn": turn.at_most(0.99),
            "sleeper": procfs.percentile(sleeper, 0.99),
            "memory": procfs.Memory(*pids),
            "up": sum(value for _, value in page.samples("db_up")),
            "dropped": page.total("pgvigil_series_dropped_total"),
        }
