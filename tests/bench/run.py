"""`make bench`: the agent's figures beside those of the peers, measured in the same run.

A scratch cluster (primary, two replicas, PgBouncer, pgbench at 50 tps, about a hundred statements)
carries the agent and Debian's postgres_exporter, Prometheus and Alertmanager. Ends with one table.
CPU time is the processes' own and hardly depends on what else runs; latencies do, so the load of
the machine is printed too. `--quick` takes a minute for the memory instead of ten; PGVIGIL_BIN
names another binary than build/pgvigil; `--only fleet,alerts` runs parts.
"""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench import measures, procfs, promql  # noqa: E402
from bench.peers import Stack  # noqa: E402
from cluster import Agent, Cluster, Receiver, proc  # noqa: E402
from cluster.agent import REPO  # noqa: E402

PARTS = ("polls", "memory", "scrapes", "alerts", "fleet", "promql")
STATEMENTS = 100


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


class Table:
    """Rows of the result; a bar is a limit from above."""

    def __init__(self):
        self.rows = []
        self.held = self.missed = 0

    def add(self, figure, measured, *, bar=None, peer=None, unit="", note="", judged=None):
        """judged: what is held against the bar instead, as CPU time on a machine that others use."""
        verdict = ""
        if bar is not None:
            good = (measured if judged is None else judged) <= bar
            self.held += good
            self.missed += not good
            verdict = "ok" if good else "MISS"
        ratio = f"{peer / measured:.1f}x" if _is_number(peer) and measured > 0 else ""
        limit = "" if bar is None else f"<= {bar:g} {unit}"
        other = f"{peer:.3g} {unit}" if _is_number(peer) else peer or ""
        self.rows.append([figure, limit, f"{measured:.3g} {unit}", other, ratio, verdict, note])

    def print(self):
        head = ["figure", "bar", "measured", "peer", "peer/ours", "", ""]
        widths = [max(len(row[i].strip()) for row in [head, *self.rows]) for i in range(len(head))]
        print()
        for row in [head, ["-" * width for width in widths], *self.rows]:
            cells = zip(row, widths)
            print("  ".join(cell.strip().ljust(width) for cell, width in cells).rstrip())
        print(f"\n{self.held} of {self.held + self.missed} bars held", flush=True)


def _is_number(value):
    return isinstance(value, (int, float))


def run_statements(cluster):
    """About a hundred entries in pg_stat_statements of every node: they differ in their columns."""
    text = ";".join("select " + ",".join(["1"] * (i + 1)) for i in range(STATEMENTS))
    for node in cluster.nodes.values():
        node.psql(text)


# ---- parts ----


def part_polls(cluster, args, table):
    seconds = 15 if args.quick else 40
    say(f"CPU of polls: two windows of {seconds} s, then the exporter's scrapes")
    ours = measures.polls(cluster, args.binary, seconds)
    peer = measures.exporter_polls(cluster, 40 if args.quick else 150)
    table.add("own CPU of a full poll", ours["own"], bar=0.5, peer=peer["own"], unit="ms")
    note = ", ".join(f"{name} {value:.2f}" for name, value in ours["backends"].items())
    more = {"unit": "ms", "note": note}
    table.add("CPU of its backends", ours["backend"], bar=1.5, peer=peer["backend"], **more)
    table.add("own CPU a second, no polls, no rules", ours["idle"], unit="ms")
    table.add("SQL of 500 scrapes", ours["sql"], bar=0, unit="statements")
    return peer


def add_memory(table, found, empty):
    agent, others = found["agent"], found["peers"]
    more = {"unit": "MiB"}
    anonymous = others.anonymous
    table.add("anonymous memory, with guardian", agent.anonymous, bar=6, peer=anonymous, **more)
    table.add("PSS", agent.pss, bar=16, peer=others.pss, **more)
    note = f"empty program: {empty.rss:.1f} RSS, {empty.anonymous:.1f} anonymous"
    table.add("RSS", agent.rss, bar=24, peer=others.rss, note=note, **more)
    more = {"unit": "% of a core"}
    table.add("CPU, default intervals", found["cpu"], bar=0.3, peer=found["peers_cpu"], **more)
    publish = found["publish"]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        table.add(f"answer parsed to file renamed, {name} <", publish.at_most(share), unit="ms")


def add_scrapes(cluster, agent, stack, peer, table):
    found = measures.Scrapes(agent)
    note = "a sleeper at the same time woke {:.2g} ms late at p99"
    table.add("/metrics p50", found.p50, peer=peer and peer["p50"], unit="ms")
    more = {"bar": 5, "unit": "ms"}
    about = note.format(found.sleeper)
    table.add("/metrics p99", found.p99, peer=peer and peer["p99"], note=about, **more)
    table.add("own CPU of a scrape", found.cpu, peer=peer and peer["own"], unit="ms")
    found, up, answer = measures.frozen_scrapes(cluster, agent, stack)
    about = note.format(found.sleeper) + f"; db_up of the frozen primary {up:g}"
    answer = "none in 10 s" if answer is None else answer
    table.add("/metrics p99, server frozen", found.p99, peer=answer, note=about, **more)


def add_alerts(cluster, ours, theirs, runs, table):
    found = measures.lag_alerts(cluster, ours, theirs, runs)
    for name, choose, bar in (("median", statistics.median, 1.5), ("max", max, None)):
        table.add(
            f"lag over {measures.LAG_THRESHOLD} s to webhook, {name} of {runs}",
            choose(found[0]),
            bar=bar,
            peer=choose(found[1]),
            unit="s",
        )


def part_stack(cluster, args, table, peer):
    """All that one agent with default intervals and the whole stack of the peers can show."""
    with Receiver() as ours, Receiver() as theirs:
        options = {"binary": args.binary, "webhook": ours.url}
        options["rules"] = measures.shipped_rules() + [measures.lag_rule()]
        stack = Stack(cluster, theirs.url, measures.LAG_THRESHOLD)
        with Agent(cluster, **options) as agent:
            if "memory" in args.only:
                say(f"memory and CPU over {args.minutes:g} min")
                found = measures.long_run(agent, stack, 60 * args.minutes, say)
                add_memory(table, found, measures.empty_program())
            if "scrapes" in args.only:
                say("scrapes, also with the primary frozen")
                add_scrapes(cluster, agent, stack, peer, table)
            if "alerts" in args.only:
                runs = 3 if args.quick else 7
                say(f"lag to webhook, {runs} runs")
                cluster.wait_streaming()
                add_alerts(cluster, ours, theirs, runs, table)
        stack.close()


def part_fleet(args, table):
    say("many nodes: another cluster with more connections")
    with Cluster(replicas=2, settings="max_connections = 250") as cluster:
        cluster.primary.psql("alter role pgvigil connection limit 250")
        cluster.wait_caught_up("replica_1")
        cluster.wait_caught_up("replica_2")
        found = []
        for count in measures.FLEET_SIZES:
            seconds = 15 if args.quick else 120 if count == measures.FLEET_SIZES[-1] else 30
            found.append(measures.fleet(cluster, args.binary, count, seconds))
            load = procfs.load_average()
            say(f"{count} nodes: {found[-1]['cpu']:.2f} % of a core, load {load:.1f}")
    add_fleet(found, table)


def add_fleet(found, table):
    for one in found:
        memory = one["memory"]
        note = f"{one['up']:g} up, anonymous {memory.anonymous:.1f} MiB"
        note += f", {one['dropped']:g} series dropped" if one["dropped"] else ""
        table.add(f"CPU, {one['count']} nodes", one["cpu"], unit="% of a core", note=note)
    first, _, middle, last = found
    low, high = (
        (b["cpu"] - a["cpu"]) / (b["count"] - a["count"])
        for a, b in ((first, middle), (middle, last))
    )
    note = f"from {10 * low:.3f} to {10 * high:.3f} ms a second for each node"
    table.add("cost of a node, 100-200 over 10-100", high / low, bar=1.3, note=note)
    note = f"a sleeper at the same time woke {last['sleeper']:.2g} ms late at p99"
    table.add("lateness of a probe p99 <=, 200 nodes", last["late"], bar=50, unit="ms", note=note)
    table.add("turn of the gate p99 <=, 200 nodes", last["turn"], unit="ms")


def arguments():
    parser = argparse.ArgumentParser(description="Measures the agent and its peers.")
    parser.add_argument("--minutes", type=float, default=10, help="time of the memory run")
    parser.add_argument("--quick", action="store_true", help="one minute, fewer repeats")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    args = parser.parse_args()
    args.only = args.only.split(",")
    unknown = set(args.only) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if args.quick:
        args.minutes = min(args.minutes, 1)
    args.binary = os.environ.get("PGVIGIL_BIN") or os.path.join(REPO, "build", "pgvigil")
    return args


def run(args, table):
    say(f"{args.binary}; {os.cpu_count()} CPUs, load {procfs.load_average():.1f}")
    seconds = 60 * args.minutes + 1800
    if set(args.only) - {"fleet", "promql"}:
        with Cluster(replicas=2, load_seconds=int(seconds)) as cluster:
            run_statements(cluster)
            peer = part_polls(cluster, args, table) if "polls" in args.only else None
            if set(args.only) & {"memory", "scrapes", "alerts"}:
                part_stack(cluster, args, table, peer)
    if "fleet" in args.only:
        part_fleet(args, table)
    if "promql" in args.only:
        promql.part(args, table, say)


def main():
    proc.exit_on_signals()
    args = arguments()
    table = Table()
    code = 0
    try:
        run(args, table)
    except (AssertionError, RuntimeError, OSError) as error:
        text = str(error)  # may hold a whole log: its end says why
        print(f"make bench: {text[:200]} ... {text[-2000:]}" if len(text) > 2200 else text)
        code = 1
    except KeyboardInterrupt:
        code = 130
    table.print()  # what was measured until then, too
    return code


if __name__ == "__main__":
    sys.exit(main())
