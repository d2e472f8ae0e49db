"""`pgvigil rules replay` over a history.db that the agent made and this test filled: when alerts
would have fired, gaps, the running daemon, exit codes."""

import calendar
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster import wait_until  # noqa: E402
from cluster.agent import default_binary  # noqa: E402

MINUTE = 60
HOUR = 60 * MINUTE

RULES = """
groups:
- name: lag
  interval: 10s
  rules:
  - alert: Lag
    expr: test_lag > 10
    for: 2m
    labels: {severity: page}
    annotations: {summary: 'lag of {{ $labels.replica }} is {{ $value }}'}
  - {record: 'lag:max', expr: max(test_lag)}
  - {alert: Recorded, expr: 'max_over_time(lag:max[30s]) > 10'}
  - {alert: Never, expr: test_lag > 1000}
  - {alert: NeverToo, expr: test_lag < 0}
"""


class Home:
    """A state directory, its configuration and the samples in its history."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self.rules = folder / "rules.yml"
        self.rules.write_text(RULES)
        self.config = folder / "pgvigil.yaml"
        self.configure()
        self.now = int(time.time())
        self.process = None

    def configure(self, more=""):
        self.config.write_text(
            "nodes: [{name: none, dsn: 'host=127.0.0.1 port=1 dbname=x user=x'}]\n"
            f"listen: 127.0.0.1:0\nstate_dir: {self.state}\nhealth_dir: {self.folder}/health\n"
            f"rules: [{self.rules}]\n{more}"
        )

    def start(self):
        """The daemon; it makes history.db."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [default_binary(), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: self.count() > 0, 20, "the first samples")

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def db(self):
        return sqlite3.connect(self.state / "history.db", timeout=10)

    def count(self):
        try:
            with self.db() as db:
                return db.execute("SELECT count(*) FROM samples").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    def fill(self, labels, parts, step=5):
        """parts: (from, to, value) in seconds before now."""
        name = labels.split("{")[0]
        with self.db() as db:
            row = db.execute(
                "INSERT INTO series(name, labels, last_seen) VALUES(?, ?, ?) RETURNING id",
                (name, labels, self.now * 1000),
            ).fetchone()[0]
            for begin, end, value in parts:
                db.executemany(
                    "INSERT INTO samples VALUES(?, ?, ?)",
                    ((t * 1000, row, value) for t in range(self.now - begin, self.now - end, step)),
                )

    def replay(self, *args):
        done = subprocess.run(
            [default_binary(), "rules", "replay", "--config", str(self.config), *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    def ago(self, text):
        """Seconds before the time of filling."""
        return self.now - calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


@pytest.fixture
def home(tmp_path):
    found = Home(tmp_path)
    found.start()
    yield found
    found.stop()


def fill_usual(home):
    home.stop()
    home.fill('test_lag{replica="r1"}', [
        (6 * HOUR, 3 * HOUR, 1), (3 * HOUR, 3 * HOUR - 20 * MINUTE, 50),
        (3 * HOUR - 20 * MINUTE, 2 * HOUR, 1), (2 * HOUR, 100 * MINUTE, 30),
        # the agent was down for 40 minutes, and it was still behind when it came back
        (HOUR, 50 * MINUTE, 40), (50 * MINUTE, 0, 1),
    ])  # fmt: skip


def test_firings_totals_and_gaps(home):
    fill_usual(home)
    done = home.replay("--since", "4h")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    text = done.stdout
    lines = text.splitlines()
    lag = lines.index("Lag (group lag)")
    first, second = lines[lag + 1].split(), lines[lag + 2].split()
    assert abs(home.ago(first[0]) - (3 * HOUR - 2 * MINUTE)) <= 20
    assert abs(home.ago(first[1]) - (3 * HOUR - 20 * MINUTE)) <= 20
    assert first[3:5] == ["peak", "50"]
    assert 'replica="r1",severity="page"' in lines[lag + 1]
    assert lines[lag + 1].endswith("lag of r1 is 50")
    # one alert over the gap, which is named beneath it: no end and no new alert
    assert abs(home.ago(second[0]) - (2 * HOUR - 2 * MINUTE)) <= 20
    assert abs(home.ago(second[1]) - 50 * MINUTE) <= 20
    assert second[3:5] == ["peak", "40"]
    assert "no data" in lines[lag + 3] and "nobody saw" in lines[lag + 3]
    gap = next(line for line in lines if line.startswith("no data "))
    assert abs(home.ago(gap.split()[2]) - 100 * MINUTE) <= 20
    assert abs(home.ago(gap.split()[4]) - HOUR) <= 20
    totals = next(line.split() for line in lines if line.startswith("Lag  "))
    assert totals[1] == "2"
    assert "never fired: Never, NeverToo" in lines
    assert "Recorded (group lag)" in lines


def test_json(home):
    fill_usual(home)
    done = home.replay("--since", "4h", "-o", "json")
    assert done.returncode == 0, done.stderr
    rules = {rule.get("alert", rule.get("record")): rule for rule in json.loads(done.stdout)}
    assert list(rules) == ["Lag", "lag:max", "Recorded", "Never", "NeverToo"]
    lag = rules["Lag"]
    assert lag["times"] == 2 and len(lag["firings"]) == 2
    assert abs(lag["seconds"] - sum(f["seconds"] for f in lag["firings"])) < 0.01
    assert [f["peak"] for f in lag["firings"]] == ["50", "40"]
    assert lag["firings"][0]["labels"] == {
        "alertname": "Lag", "replica": "r1", "severity": "page"
    }  # fmt: skip
    assert lag["firings"][0]["annotations"]["summary"] == "lag of r1 is 50"
    assert lag["firings"][0]["gaps"] == [] and len(lag["firings"][1]["gaps"]) == 1
    assert rules["Never"]["firings"] == [] and rules["Never"]["times"] == 0
    assert rules["lag:max"]["failures"] == 0


def test_beside_the_running_daemon(home):
    rules = home.folder / "up.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: Down, expr: db_up == 0}]}]\n")
    done = wait_until(
        lambda: (lambda d: d if "Down (group g)" in d.stdout else None)(
            home.replay(str(rules), "--since", "1m")
        ),
        30,
        "the alert of a node that does not answer",
    )
    assert done.returncode == 0
    line = done.stdout.splitlines()[done.stdout.splitlines().index("Down (group g)") + 1]
    assert "still firing" in line
    assert home.process.poll() is None


def test_rules_of_the_configuration_are_the_effective_ones(home):
    fill_usual(home)
    home.configure("rule_overrides: {Never: {disabled: true}, Lag: {threshold: 45}}\n")
    done = home.replay("--since", "4h")
    assert done.returncode == 0, done.stderr
    assert "never fired: NeverToo" in done.stdout.splitlines()
    assert next(line for line in done.stdout.splitlines() if line.startswith("Lag  ")).split()[1] == "1"


def test_exit_codes(home):
    home.stop()
    assert home.replay("--since", "x").returncode == 2
    assert home.replay("--since", "0s").returncode == 2
    assert home.replay("-o", "yaml").returncode == 2
    broken = home.folder / "broken.yml"
    broken.write_text("groups: [{name: g, rules: [{alert: A, expr: '1 +'}]}]\n")
    done = home.replay(str(broken))
    assert done.returncode == 3 and "broken.yml:1:" in done.stderr and done.stdout == ""
    assert home.replay(str(home.folder / "nosuch.yml")).returncode == 3
    with home.db() as db:
        db.execute("PRAGMA user_version = 99")
    assert home.replay().returncode == 7
    for path in home.state.glob("history.db*"):
        path.unlink()
    done = home.replay()
    assert done.returncode == 1 and "there is no file" in done.stderr
