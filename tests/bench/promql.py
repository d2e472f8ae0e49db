"""The query engine beside Debian's Prometheus on the same samples.

500 series every 5 s for a day (8.64 million samples), a quarter each hardly changing, counters,
three decimals and full doubles: promql_bench.c makes them in memory for ours and as OpenMetrics for
promtool, which makes blocks of them. No sample stands on the edge of a window, where Prometheus 2
and 3 differ. Figures count only if both sides give the same answers. Evaluation is one thread that
waits for nothing, so bars are held against its CPU time: on a machine that others use, too.
"""

import http.client
import json
import math
import os
import subprocess
import time
import urllib.parse

from cluster import Agent, Cluster, proc

from bench import measures, peers, procfs

START = 1767225600  # 2026-01-01, fixed like the values
TICKS = 17280
TICK = 5
STEP = 60
FIRST = START + 2.5
LAST = START + TICKS * TICK - 57.5
INSTANT = START + TICKS * TICK - 12.5
SERIES = 500
SERIES_QUICK = 80  # of 10 series of lag 10 are left, and 10 of db_kind2
TOLERANCE = 1e-9
NEAR_ZERO = 1e-3  # a slope may be as good as none: then it counts beside the largest of its series
SECONDS_MAX = 15  # for the repeats of one query: quantiles of an hour take theirs seconds
BUDGET_MIB = 128  # of an API query: agent/serve/query.h

LAG = "db_replication_lag_seconds"
BY_REPLICA = f"max by (replica) ({LAG})"

# A subquery looks from whole minutes, where samples stand: the offset moves its windows off them.
RATE_BETWEEN = 'rate(db_kind1{series="1"}[5m] offset 2s500ms)'

# Name, expression, bar in ms; all as ranges of a day at a step of 60 s.
RANGES = (
    ("10 series", LAG, 4),
    ("max by of 10 series", BY_REPLICA, 4),
    ("max over {decimals} series", "max(db_kind2)", 10),
    ("avg_over_time[5m] of 10", f"avg_over_time({LAG}[5m])", 6),
    ("rate[5m] of one", 'rate(db_kind1{series="1"}[5m])', None),
    ("rate[5m] of {kind}", "sum(rate(db_kind1[5m]))", None),
    ("sum_over_time[5m] of 10", f"sum_over_time({LAG}[5m])", None),
    ("max_over_time[1h] of 10", f"max_over_time({LAG}[1h])", None),
    ("quantile_over_time[1h] of 10", f"quantile_over_time(0.9, {LAG}[1h])", None),
    ("stddev_over_time[1h] of 10", f"stddev_over_time({LAG}[1h])", None),
    ("deriv[1h] of 10", f"deriv({LAG}[1h])", None),
    ("changes[1h] of 10", f"changes({LAG}[1h])", None),
    ("subquery of one", f"max_over_time({RATE_BETWEEN}[1h:1m])", None),
    ("join of {kind}", "sum(db_kind0 / on (series) db_kind0)", None),
)
USUAL = "sum by (cluster, pool) (increase(db_connection_pool_errors_total[1m])) > 0"


class Engine:
    """promql_bench with its made head: a line in, a line of JSON out."""

    def __init__(self, program, series):
        command = [program, str(series), str(TICKS), str(START)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        proc.register(self)

    def ask(self, *fields):
        self._process.stdin.write("\t".join(str(field) for field in fields) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("promql_bench has ended: its message is above")
        return json.loads(line)

    def instant(self, expr, repeats):
        return self.ask("instant", repeats, int(1000 * INSTANT), expr)

    def range(self, expr, repeats):
        times = int(1000 * FIRST), int(1000 * LAST), 1000 * STEP
        return self.ask("range", repeats, *times, expr)

    def close(self):
        proc.unregister(self)
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


class Http:
    """Times of answers over one connection."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def _get(self, path):
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:300]}")
        return body

    def ask(self, path, repeats, **parameters):
        path = f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        body = self._get(path)
        times, end = [], time.monotonic() + SECONDS_MAX
        for _ in range(repeats):
            if len(times) >= 5 and time.monotonic() > end:
                break
            began = time.perf_counter()
            body = self._get(path)
            times.append(1e3 * (time.perf_counter() - began))
        return {
            "p50": procfs.percentile(times, 0.5),
            "p99": procfs.percentile(times, 0.99),
            "data": json.loads(body)["data"],
        }

    def instant(self, expr, repeats):
        return self.ask("query", repeats, query=expr, time=INSTANT)

    def range(self, expr, repeats):
        times = {"start": FIRST, "end": LAST, "step": STEP}
        return self.ask("query_range", repeats, query=expr, **times)


def start_prometheus(ports, program, series):
    server = peers.Server(ports, "blocks")
    text, data = f"{server.home}/made", f"{server.home}/data"
    write = [program, series, TICKS, START, "--write", text]
    proc.run(write, home=server.home, timeout=600)
    make = [proc.program("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, data]
    proc.run(make, home=server.home, timeout=1800)
    os.unlink(text)
    command = [
        proc.program("prometheus"),
        f"--config.file={server.write('prometheus.yml', '')}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{server.port}",
    ]
    return server.run(command, "/-/ready")


# ---- are the answers the same? ----


def _points(data):
    """Values by time, by labels; what the agent's API adds is left out."""
    found = {}
    for one in data["result"]:
        labels = {k: v for k, v in one["metric"].items() if k not in ("job", "instance")}
        values = one.get("values") or [one["value"]]
        found[tuple(sorted(labels.items()))] = {at: float(value) for at, value in values}
    return found


def _series_difference(ours, theirs, what):
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[:3]
        raise AssertionError(f"{what}: {len(ours)} points, Prometheus {len(theirs)}: {odd}")
    least = NEAR_ZERO * max((abs(v) for v in ours.values() if math.isfinite(v)), default=0)
    most = 0.0
    for at, a in ours.items():
        b = theirs[at]
        if a != b and not (math.isnan(a) and math.isnan(b)):
            most = max(most, abs(a - b) / max(abs(a), abs(b), least))
    return most


def largest_difference(ours, theirs, what):
    """Relative, and how many points; raises when it is too large, or points are missing."""
    ours, theirs = _points(ours), _points(theirs)
    if not ours or ours.keys() != theirs.keys():
        raise AssertionError(f"{what}: {len(ours)} series, Prometheus {len(theirs)}")
    most = max(_series_difference(points, theirs[key], what) for key, points in ours.items())
    if not most <= TOLERANCE:
        raise AssertionError(f"{what}: values differ by {most:.3g}")
    return most, sum(len(points) for points in ours.values())


# ---- the part ----


def _note(ours, theirs):
    note = f"p99 {ours['p99']:.3g}, theirs {theirs['p99']:.3g}"
    if "cpu" in ours:
        note += f"; CPU {ours['cpu']:.3g}, {ours['bytes'] / 2**20:.2f} MiB"
    return note


def _instants(engine, ours, theirs, repeats, table):
    peer = theirs.instant(BY_REPLICA, repeats)
    inside, over = engine.instant(BY_REPLICA, repeats), ours.instant(BY_REPLICA, repeats)
    for found in (inside, over):
        largest_difference(found["data"], peer["data"], BY_REPLICA)
    more = {"peer": peer["p50"], "unit": "ms"}
    table.add("instant, in process", inside["p50"], bar=0.2, note=_note(inside, peer), **more)
    table.add("instant, over HTTP", over["p50"], note=_note(over, peer), **more)


def _ranges(engine, ours, theirs, args, table):
    series = SERIES_QUICK if args.quick else SERIES
    repeats = 50 if args.quick else 100
    most, points, memory = 0.0, 0, 0
    for name, expr, bar in RANGES:
        if args.quick and "decimals" in name:
            bar = None  # fewer series are no reason to be proud
        name = name.format(kind=series // 4, decimals=series // 4 - 10)
        peer = theirs.range(expr, repeats)
        found = engine.range(expr, repeats)
        difference, count = largest_difference(found["data"], peer["data"], expr)
        most, points = max(most, difference), points + count
        memory = max(memory, found["bytes"])
        more = {"peer": peer["p50"], "unit": "ms", "note": _note(found, peer)}
        table.add(f"day of {name}", found["p50"], bar=bar, judged=found["cpu"], **more)
        if expr == LAG:
            over = ours.range(expr, repeats)
            more["note"] = _note(over, peer)
            table.add(f"day of {name}, over HTTP", over["p50"], **more)
    note = f"{points} points are the same, up to {most:.2g}"
    more = {"unit": "MiB", "note": note}
    table.add("memory of a query, the largest", memory / 2**20, bar=BUDGET_MIB, **more)


def _rules(engine, args, table, say):
    """One tick of all shipped rules over what an agent of three nodes shows."""
    say("shipped rules over the metrics of three nodes")
    with Cluster(replicas=2) as cluster:
        with Agent(cluster, binary=args.binary) as agent:
            measures.wait_polled(agent, 2)
            status, page = peers.get(agent.port)
            if status != 200:
                raise RuntimeError(f"/metrics: {status}")
        path = os.path.join(cluster.scratch, "page")
        with open(path, "wb") as file:
            file.write(page)
        found = engine.ask("rules", 300, path, *measures.shipped_rules())
    if found["failures"] > 0:
        raise AssertionError(f"{found['failures']} evaluations of shipped rules failed")
    note = f"{found['evaluations'] // 300} rules, {found['series']} series; "
    note += f"p99 {found['p99']:.3g}, CPU {found['cpu']:.3g}"
    more = {"unit": "ms", "judged": found["cpu"], "note": note}
    table.add("one tick of all shipped rules", found["p50"], bar=1, **more)


def part(args, table, say):
    program = os.path.join(os.path.dirname(args.binary), "tests", "promql_bench")
    series = SERIES_QUICK if args.quick else SERIES
    say(f"queries: {series * TICKS} samples for both, blocks take promtool a minute")
    ports = proc.Ports()
    engine = Engine(program, series)
    prometheus = start_prometheus(ports, program, series)
    port = ports.take()
    engine.ask("serve", port)
    ours, theirs = Http(port), Http(prometheus.port)
    _instants(engine, ours, theirs, 200 if args.quick else 500, table)
    _ranges(engine, ours, theirs, args, table)
    prometheus.close()
    parsed = engine.ask("parse", 5000, USUAL)
    more = {"unit": "us", "note": f"{len(USUAL)} bytes, p99 {1e3 * parsed['p99']:.3g}"}
    table.add("parsing an expression", 1e3 * parsed["p50"], bar=20, **more)
    _rules(engine, args, table, say)
    engine.close()
    ports.release()
