"""The same samples in a real Prometheus and in the agent give equal answers to every expression that
is shipped, and both show the same rules.

Prometheus gets the samples as blocks, the agent in its history.db, so timestamps are equal. Debian's
2.42 differs from 3.x where a sample lies on the left edge of a window; prometheus_samples.py keeps
samples away from there.
"""

import glob
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.parse
import urllib.request

import prometheus_samples as samples
import pytest
import yaml

from cluster import proc, wait_until
from cluster.agent import REPO

CLUSTER = {"replicas": 0}

HOURS_2 = 2 * 3600 * 1000
# Instants off the grid of the samples: :07 and :30 of some minutes.
OFFSETS = [1207, 1830, 2507, 2830, 3307, 4030, 4807, 5430, 6007, 6607, 7050, 7187]
# Of Go's numbers with an exponent, which 2.42 prints and 3.x does not.
EXPONENT = re.compile(r"\b\d(?:\.\d+)?e\+\d+\b")


def shipped_rules():
    """[(file, group, rule)] of rules/*.yml."""
    found = []
    for path in sorted(glob.glob(os.path.join(REPO, "rules", "*.yml"))):
        with open(path, encoding="utf-8") as file:
            for group in yaml.safe_load(file)["groups"]:
                found += [(os.path.basename(path), group["name"], rule) for rule in group["rules"]]
    return found


def targets_of(panels):
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", []))
        yield from targets_of(panel.get("panels", []))


def board_expressions():
    """Every expression of the boards with its variables filled in as Grafana does it."""
    found = []
    for path in sorted(glob.glob(os.path.join(REPO, "dashboards", "*.json"))):
        with open(path, encoding="utf-8") as file:
            board = json.load(file)
        found += targets_of(board["panels"])
        found += [a["expr"] for a in board["annotations"]["list"] if "expr" in a]
    for name, value in (("$__rate_interval", "1m"), ("$job", "pgvigil"), ("$instance", ".*")):
        found = [text.replace(name, value) for text in found]
    assert found and not any("$" in text for text in found), found
    return found


EXPRESSIONS = sorted({rule["expr"] for *_, rule in shipped_rules()} | set(board_expressions()))


class Api:
    """/api/v1 of one side."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/api/v1/"

    def get(self, path, **parameters):
        body = urllib.parse.urlencode(parameters).encode()
        request = urllib.request.Request(self.url + path, data=body if parameters else None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def instant(self, expression, seconds):
        data = self.get("query", query=expression, time=seconds)
        if data["resultType"] == "scalar":
            return {(): [data["result"]]}
        return {key(row["metric"]): [row["value"]] for row in data["result"]}

    def range(self, expression, start, end, step):
        data = self.get("query_range", query=expression, start=start, end=end, step=step)
        return {key(row["metric"]): row["values"] for row in data["result"]}


def key(labels):
    return tuple(sorted(labels.items()))


def metric_names(node):
    """Names that the selectors of a tree of /api/v1/parse_query ask for."""
    if isinstance(node, list):
        return set().union(*map(metric_names, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = set().union(*map(metric_names, node.values())) if node else set()
    if node.get("type") in ("vectorSelector", "matrixSelector") and node.get("name"):
        found.add(node["name"])
    return found


def start_prometheus(cluster, home, made, instance):
    """Port and process of a Prometheus that has the samples, and the shipped rules beside."""
    text = os.path.join(home, "samples.txt")
    with open(text, "w", encoding="utf-8") as file:
        for labels, points in made:
            labels = {**labels, "job": "pgvigil", "instance": instance}
            name = labels.pop("__name__")
            pairs = ",".join(f'{k}="{v}"' for k, v in sorted(labels.items()))
            file.writelines(f"{name}{{{pairs}}} {value!r} {t / 1000}\n" for t, value in points)
        file.write("# EOF\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", text, os.path.join(home, "data")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    config = os.path.join(home, "prometheus.yml")
    rules = os.path.join(REPO, "rules", "*.yml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"rule_files: ['{rules}']\n")
    port = cluster.ports.take()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home}/data",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    return port, process


def fill_history(agent, made):
    """The samples into the file of a stopped agent."""
    db = sqlite3.connect(f"{agent.state_dir}/history.db")
    with db:
        for labels, points in made:
            rest = sorted((k, v) for k, v in labels.items() if k != "__name__")
            text = labels["__name__"] + "{" + ",".join(f'{k}="{v}"' for k, v in rest) + "}"
            text = text.removesuffix("{}")
            found = db.execute("SELECT id FROM series WHERE labels = ?", (text,)).fetchone()
            found = found or db.execute(
                "INSERT INTO series(name, labels, last_seen) VALUES(?, ?, ?) RETURNING id",
                (labels["__name__"], text, points[-1][0]),
            ).fetchone()
            rows = [(t, found[0], value) for t, value in points]
            db.executemany("INSERT INTO samples VALUES(?, ?, ?)", rows)
    db.close()


@pytest.fixture(scope="module")
def sides(shared_cluster):
    """(agent's API, Prometheus' API, start of the samples in seconds)."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    from cluster import Agent  # noqa: PLC0415

    start_ms = (int(time.time() * 1000) - 24 * 3600 * 1000) // HOURS_2 * HOURS_2
    home = proc.make_scratch("pgvigil-blocks-")
    agent, process = Agent(shared_cluster), None
    try:
        agent.start()
        api = Api(agent.port)
        names = set()
        for expression in EXPRESSIONS:
            names |= metric_names(api.get("parse_query", query=expression))
        assert len(names) > 40, names
        made = samples.make(names, start_ms)
        agent.stop()
        fill_history(agent, made)
        agent.start()
        port, process = start_prometheus(
            shared_cluster, home, made, f"127.0.0.1:{agent.port}"
        )
        other = Api(port)
        wait_until(lambda: is_ready(other), 30, "Prometheus is up")
        yield api, other, start_ms // 1000
        agent.close()
    finally:
        if process is not None:
            process.terminate()
            process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def is_ready(api):
    try:
        return api.get("status/buildinfo")
    except OSError:
        return None


def same(ours, theirs):
    a, b = float(ours), float(theirs)
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def differences(ours, theirs):
    """What one side has and the other has not, as texts."""
    found = [f"only in {side}: {dict(k)}" for side, k in
             [("agent", k) for k in ours.keys() - theirs.keys()]
             + [("prometheus", k) for k in theirs.keys() - ours.keys()]]  # fmt: skip
    for labels in ours.keys() & theirs.keys():
        left, right = dict(map(tuple, ours[labels])), dict(map(tuple, theirs[labels]))
        if left.keys() != right.keys():
            found.append(f"{dict(labels)}: other times: {sorted(left.keys() ^ right.keys())[:3]}")
            continue
        found += [
            f"{dict(labels)} at {t}: agent {left[t]}, prometheus {right[t]}"
            for t in left
            if not same(left[t], right[t])
        ][:3]
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_equal_answers(sides, expression):
    agent, prometheus, start = sides
    answered = False
    for offset in OFFSETS:
        ours, theirs = (side.instant(expression, start + offset) for side in (agent, prometheus))
        assert differences(ours, theirs) == [], f"at {offset} s"
        answered = answered or bool(ours)
    span = (start + 607, start + 7187, 60)
    ours, theirs = (side.range(expression, *span) for side in (agent, prometheus))
    assert differences(ours, theirs) == []
    assert answered or ours, "the samples must make it answer"


def shown_rules(api):
    """What /api/v1/rules tells of definitions, by group and place."""
    found = {}
    for group in api.get("rules")["groups"]:
        file = os.path.basename(group["file"])
        for place, rule in enumerate(group["rules"]):
            about = {k: rule.get(k) for k in ("type", "name", "query", "labels", "annotations")}
            about["query"] = EXPONENT.sub(lambda n: f"{float(n[0]):.0f}", about["query"])
            about["labels"] = about["labels"] or {}
            about["for"] = rule.get("duration")
            about["keep"] = rule.get("keepFiringFor")
            about["interval"] = group["interval"]
            found[file, group["name"], place] = about
    return found


def test_the_same_rules_are_shown(sides):
    ours, theirs = shown_rules(sides[0]), shown_rules(sides[1])
    assert len(ours) == len(shipped_rules())
    assert ours.keys() == theirs.keys()
    for place, rule in ours.items():
        assert rule == theirs[place], place
