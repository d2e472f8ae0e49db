"""`pgvigil test-rules` beside `promtool test rules`: the same files, the same verdicts, the same
`got:` lines, for tests that pass and for tests that fail on purpose.

Where the two differ by design stands in DIFFERENT with the reason. Samples stand at whole minutes
and are looked at half a minute later, where Prometheus 2 and 3 mean the same windows.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster.agent import default_binary  # noqa: E402

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = sorted(glob.glob(os.path.join(REPO, "rules", "tests", "*.yml")))

RULES = """
groups:
- name: second
  rules:
  - {alert: Sum, expr: sum_of > 3}
- name: first
  interval: 7m
  rules:
  - alert: High
    expr: m > 2
    for: 2m
    labels: {severity: page, of: '{{ $labels.a }}'}
    annotations: {summary: 'is {{ $value }} in {{ $externalLabels.region }}', empty: ''}
  - {record: sum_of, expr: sum(m), labels: {extra: x}}
  - {alert: Kept, expr: m == 1, keep_firing_for: 3m}
  - {alert: Gone, expr: absent(m)}
  - {alert: Scalar, expr: 1}
  - {record: sub, expr: 'count_over_time(m{a="1"}[3m50s:])'}
  - {alert: Twice, expr: m > 100, labels: {tier: one}}
  - {alert: Twice, expr: m > 100, labels: {tier: two}}
"""

SERIES = """
  interval: 1m
  input_series:
  - {series: 'm{a="1"}', values: '0+1x20'}
  - {series: 'm{a="2"}', values: '3x9 stale _x5 1 _ 2'}
"""

HEAD = "rule_files: [rules.yml]\ngroup_eval_order: [first, second]\ntests:\n"


def alert(name, time, *expected):
    """A check of an alert; expected: (labels, annotations) in YAML's flow form."""
    alerts = ", ".join(f"{{exp_labels: {la}, exp_annotations: {an}}}" for la, an in expected)
    return f"  - {{eval_time: {time}, alertname: {name}, exp_alerts: [{alerts}]}}\n"


def expr(text, time, *expected):
    """A check of an expression; expected: (labels, value)."""
    samples = ", ".join(f"{{labels: '{la}', value: {value}}}" for la, value in expected)
    return f"  - {{expr: '{text}', eval_time: {time}, exp_samples: [{samples}]}}\n"


def alerts(*checks, series=SERIES, more=""):
    return HEAD + f"- name: t{more}{series}  alert_rule_test:\n" + "".join(checks)


def exprs(*checks, series=SERIES, more="", head=HEAD):
    return head + f"- name: t{more}{series}  promql_expr_test:\n" + "".join(checks)


def series(*pairs, interval="1m"):
    lines = "".join(f"  - {{series: '{name}', values: '{values}'}}\n" for name, values in pairs)
    return f"\n  interval: {interval}\n  input_series:\n{lines}"


HIGH2 = ("{severity: page, of: '2', a: '2'}", "{summary: 'is 3 in ', empty: ''}")

# name: (file, does it pass)
CASES = {
    # alerts
    "alert fires": (alerts(alert("High", "2m30s", HIGH2)), True),
    "alert is pending": (alerts(alert("High", "1m59s")), True),
    "alert pending is not firing": (alerts(alert("High", "1m30s", HIGH2)), False),
    "for has just passed": (alerts(alert("High", "2m", HIGH2)), True),
    "last step before the time counts": (alerts(alert("High", "2m59s", HIGH2)), True),
    "wrong label": (alerts(alert("High", "2m", ("{severity: no}", "{}"))), False),
    "missing annotation": (alerts(alert("High", "2m", (HIGH2[0], "{empty: ''}"))), False),
    "empty annotation is one": (alerts(alert("High", "2m", (HIGH2[0], "{summary: 'is 3 in '}"))), False),
    "empty label is not none": (alerts(alert("High", "2m", ("{severity: page, of: '2', a: '2', b: ''}", HIGH2[1]))), False),
    "alertname is implied": (alerts(alert("Scalar", "0s", ("{}", "{}"))), True),
    "alertname is overwritten": (alerts(alert("Scalar", "0s", ("{alertname: X}", "{}"))), True),
    "unknown alert": (alerts(alert("Nobody", "5m")), True),
    "unknown alert expected": (alerts(alert("Nobody", "5m", ("{}", "{}"))), False),
    "two alerts in any order": (alerts(alert("High", "6m30s", HIGH2, ("{severity: page, of: '1', a: '1'}", "{summary: 'is 6 in ', empty: ''}"))), True),
    "one of two": (alerts(alert("High", "6m30s", HIGH2)), False),
    "keep firing": (alerts(alert("Kept", "3m30s", ("{a: '1'}", "{}"))), True),
    "kept long enough": (alerts(alert("Kept", "5m30s")), True),
    "kept too long": (alerts(alert("Kept", "4m30s")), False),
    "absent before": (alerts(alert("Gone", "1m30s"), series=series(("m", "_x3 1x9"))), False),
    "absent after": (alerts(alert("Gone", "4m30s"), series=series(("m", "_x3 1x9"))), True),
    "stale ends": (alerts(alert("High", "10m30s", ("{severity: page, of: '1', a: '1'}", "{summary: 'is 10 in ', empty: ''}"))), True),
    "one name, two rules": (alerts(alert("Twice", "0s", ("{tier: two, a: x}", "{}"), ("{tier: one, a: x}", "{}")), series=series(("m{a=\"x\"}", "101"))), True),
    "several checks, some fail": (alerts(alert("Scalar", "5m"), alert("High", "1m"), alert("High", "3m"), alert("Sum", "1h30m5s", ("{z: q}", "{}"))), False),
    "order of groups": (alerts(alert("Sum", "1m", ("{extra: x}", "{}"))), True),
    "order of groups, turned": (alerts(alert("Sum", "1m", ("{extra: x}", "{}"))).replace("[first, second]", "[second, first]"), False),
    "external labels and URL": (alerts(alert("High", "2m", (HIGH2[0], "{summary: 'is 3 in eu', empty: ''}")), more="\n  external_labels: {region: eu}\n  external_url: http://x/y"), True),
    # expressions
    "samples in any order": (exprs(expr("m", "3m30s", ('m{a="2"}', 3), ('m{a="1"}', 3))), True),
    "one sample of two": (exprs(expr("m", "3m30s", ('m{a="2"}', 3))), False),
    "a name that is not there": (exprs(expr("m + 0", "3m30s", ('m{a="2"}', 3))), False),
    "recorded series": (exprs(expr("sum_of", "4m30s", ('sum_of{extra="x"}', 7))), True),
    "recorded at each step whatever the interval": (exprs(expr("count_over_time(sum_of[3m])", "6m30s", ('{extra="x"}', 3))), True),
    "ALERTS": (exprs(expr("ALERTS{alertname=\"High\"}", "3m30s", ('ALERTS{a="1",alertname="High",alertstate="pending",of="1",severity="page"}', 1), ('ALERTS{a="2",alertname="High",alertstate="firing",of="2",severity="page"}', 1))), True),
    "ALERTS_FOR_STATE": (exprs(expr("ALERTS_FOR_STATE{alertname=\"High\"}", "4m30s", ('ALERTS_FOR_STATE{a="1",alertname="High",of="1",severity="page"}', 180))), False),
    "all names": (exprs(expr('count by (__name__) ({__name__=~".+"})', "4m30s")), False),
    "scalar": (exprs(expr("1 + 1", "0s", ("{}", 2))), True),
    "scalar with no labels told": (exprs(expr("2", "0s", ("", 2))), True),
    "no result": (exprs(expr("m > 1000", "3m30s")), True),
    "string": (exprs(expr('"x"', "0s")), False),
    "range vector": (exprs(expr("m[5m]", "0s")), False),
    "bad expression": (exprs(expr("m +", "0s")), False),
    "bad expression among others": (exprs(expr("m[", "1m"), expr("1", "1m", ("", 2))), False),
    "exact floats": (exprs(expr("0.1 + 0.2", "0s", ("", 0.3))), False),
    "NaN never matches": (exprs(expr("NaN", "0s", ("", ".nan"))), False),
    "infinities": (exprs(expr("-1/0", "0s", ("", "-.inf"))), True),
    "printed floats": (exprs(*(expr(v, "0s") for v in ("1e21", "1e-7", "123456789", "0.1", "-0", "1/3", "-1/0", "5e-324"))), False),
    "Go reads numbers": (exprs(expr("8", "0s", ("", "010")), expr("1000", "0s", ("", "1_000")), expr("16", "0s", ("", "0x10"))), True),
    "samples behind the last step": (exprs(expr("m", "1m50s", ("m", 6)), series=series(("m", "0+1x99"), interval="10s")), True),
    "samples behind it, a later check": (exprs(expr("m", "1m50s", ("m", 11)), expr("m", "2m", ("m", 12)), series=series(("m", "0+1x99"), interval="10s")), True),
    "offset into the future": (exprs(expr("m offset -2m", "1m30s", ("m", 3)), expr("m", "4m", ("m", 4)), series=series(("m", "0+1x99"))), True),
    "a series twice, the last wins": (exprs(expr("m", "1m30s", ("m", 5)), series=series(("m", "0+1x99"), ("m", "5x9"))), True),
    "gaps": (exprs(expr("count_over_time(m[5m])", "4m30s", ("{}", 3)), series=series(("m", "1 _ _x1 2 3"))), True),
    "values of every form": (exprs(expr("m", "30s"), expr("m", "1m30s"), expr("m", "2m30s"), expr("m", "3m30s"), expr("m", "4m30s"), series=series(("m", "NaN Inf -Inf 1e3 -1.5"))), False),
    "series without a name": (exprs(expr('{a="b"}', "30s", ('{a="b"}', 1)), series=series(('{a="b"}', "1"))), True),
    "quotes in labels": (exprs(expr("m", "30s"), series='\n  interval: 1m\n  input_series:\n  - {series: "m{a=\'q\\\\\\"\\\\n\\u00e9\\u00a0\'}", values: "1"}\n'), False),
    "given and recorded": (exprs(expr('sum_of{extra="x"}', "1m30s", ('sum_of{extra="x"}', 4)), series=SERIES + "  - {series: 'sum_of{extra=\"x\"}', values: '_ 50'}\n"), False),
    "given and recorded alike": (exprs(expr('sum_of{extra="x"}', "1m30s", ('sum_of{extra="x"}', 4)), series=SERIES + "  - {series: 'sum_of{extra=\"x\"}', values: '_ 4'}\n"), True),
    "given and recorded at other times": (exprs(expr('sum_of{extra="x"}', "1m30s", ('sum_of{extra="x"}', 4)), series=SERIES.replace("  interval: 1m", "  interval: 40s") + "  - {series: 'sum_of{extra=\"x\"}', values: '_ 50'}\n"), True),
    "ALERTS are given": (alerts(alert("Scalar", "0s", ("{}", "{}")), series=series(('ALERTS{alertname="Scalar",alertstate="firing"}', "2"))), False),
    "steps of subqueries": (exprs(expr('count_over_time(m{a="1"}[2m:])', "4m15s", ('{a="1"}', 4)), head="evaluation_interval: 30s\n" + HEAD), True),
    "steps of subqueries in rules": (exprs(expr("sub", "5m45s", ('sub{a="1"}', 16)), head="evaluation_interval: 15s\n" + HEAD), True),
    # files
    "empty": ("", True),
    "no tests": ("rule_files: [rules.yml]\ntests: []\n", True),
    "no rules": ("tests:\n- name: t" + series(("m", "1x9")) + "  promql_expr_test:\n" + expr("m", "30s", ("m", 1)), True),
    "pattern of rule files": (alerts(alert("Scalar", "0s", ("{}", "{}"))).replace("rules.yml", "'r*.yml'"), True),
    "rule file that is not there": ("rule_files: [nosuch.yml]\ntests:\n- {}\n", True),
    "broken rule file": ("rule_files: [broken.yml]\ntests:\n- {}\n", False),
    "rule that fails": ("rule_files: [failing.yml]\ntests:\n- name: t" + SERIES + "  alert_rule_test:\n" + alert("High", "5m"), False),
    "unknown key": ("rules: []\n", False),
    "unknown key of a test": (HEAD + "- {nam: x}\n", False),
    "unknown key of a check": (HEAD + "- alert_rule_test: [{alert: x}]\n", False),
    "bad duration": ("evaluation_interval: 1x\n", False),
    "group twice in the order": ("group_eval_order: [a, a]\ntests: []\n", False),
    "alert without a name": (HEAD + "- alert_rule_test: [{eval_time: 1m}]\n", False),
    "bad values": (HEAD + "- input_series: [{series: m, values: '1 {a'}]\n", False),
    "bad value of a sample": (HEAD + "- promql_expr_test: [{expr: m, exp_samples: [{value: 'x'}]}]\n", False),
    "bad labels of a sample": (exprs(expr("m", "30s", ("m{", 1))), False),
    "anchors": ("tests:\n- &t\n  name: a" + series(("m", "1x9")) + "  promql_expr_test:\n" + expr("m", "30s", ("m", 1)) + "- *t\n", True),
}  # fmt: skip

# Files that only one of them takes, and why.
DIFFERENT = {
    "fuzzy_compare is of promtool 3.5": ("fuzzy_compare: true\ntests:\n- promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]\n", 1, 0),
    "start_timestamp is of promtool 3.9": ("tests:\n- start_timestamp: 3600\n  promql_expr_test: [{expr: time(), exp_samples: [{value: 3600}]}]\n", 1, 0),
    "without interval, samples of promtool 2 stand at one time": ("tests:\n- input_series: [{series: m, values: '0+1x9'}]\n  promql_expr_test: [{expr: m, eval_time: 90s, exp_samples: [{labels: m, value: 1}]}]\n", 1, 0),
    "windows are left-open since Prometheus 3": ("tests:\n- interval: 1m\n  input_series: [{series: m, values: '1x9'}]\n  promql_expr_test: [{expr: 'count_over_time(m[5m])', eval_time: 5m, exp_samples: [{value: 5}]}]\n", 1, 0),
    "native histograms are refused": ("tests:\n- interval: 1m\n  input_series: [{series: m, values: '{{schema:0 sum:1 count:1}}'}]\n", 1, 1),
}  # fmt: skip


def run(command, path):
    done = subprocess.run(
        [*command, os.path.basename(path)],
        cwd=os.path.dirname(path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Sanitizer" not in done.stderr, done.stderr
    return done


def promtool(path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    return run(["promtool", "test", "rules"], path)


def pgvigil(path):
    return run([default_binary(), "test-rules"], path)


def write(folder, text):
    (folder / "rules.yml").write_text(RULES)
    (folder / "broken.yml").write_text("groups: [{name: g, rules: [{alert: A, expr: '1 +'}]}]\n")
    (folder / "failing.yml").write_text(
        "groups: [{name: g, rules: [{record: r, expr: 'm + on () m'}, {alert: A, expr: m}]}]\n"
    )
    path = folder / "test.yml"
    path.write_text(text)
    return str(path)


def got_blocks(text):
    """The lines from each `got:` to the next check."""
    blocks, block = [], None
    for line in text.splitlines():
        if re.match(r" {8}got:", line):
            block = []
            blocks.append(block)
        elif not line.startswith(" " * 12):
            block = None
        if block is not None:
            block.append(line)
    return ["\n".join(lines) for lines in blocks]


@pytest.mark.parametrize("name", CASES)
def test_same_verdict_and_results(tmp_path, name):
    text, passes = CASES[name]
    path = write(tmp_path, text)
    theirs, ours = promtool(path), pgvigil(path)
    assert theirs.returncode == (0 if passes else 1), theirs.stderr
    assert ours.returncode == theirs.returncode, theirs.stderr + "\n---- ours ----\n" + ours.stderr
    assert got_blocks(ours.stderr) == got_blocks(theirs.stderr)
    heads = r"^    (?:alertname|expr|rule|name): .*?(?:, err:|,\s*$)"
    assert re.findall(heads, ours.stderr, re.M) == re.findall(heads, theirs.stderr, re.M)
    assert ("SUCCESS" in ours.stdout) == ("SUCCESS" in theirs.stdout) == passes
    assert ("FAILED" in ours.stderr) == ("FAILED" in theirs.stderr) == (not passes)
    if "err:" not in theirs.stderr and got_blocks(theirs.stderr):
        assert ours.stderr == theirs.stderr and ours.stdout == theirs.stdout


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_by_design(tmp_path, name):
    text, theirs, ours = DIFFERENT[name]
    path = write(tmp_path, text)
    if not name.startswith("native"):
        assert promtool(path).returncode == theirs
    done = pgvigil(path)
    assert done.returncode == ours, done.stderr
    if name.startswith("native"):
        assert "native histograms are not supported" in done.stderr


@pytest.mark.parametrize("path", SHIPPED, ids=os.path.basename)
def test_shipped_rules(path):
    theirs, ours = promtool(path), pgvigil(path)
    assert ours.returncode == theirs.returncode == 0, ours.stderr + theirs.stderr
    assert ours.stdout == theirs.stdout


def spoiled(text):
    """Shipped tests with wrong expectations: another label, another value."""
    text = re.sub(r"exp_labels:\n(\s+)", r"exp_labels:\n\1spoiled: x\n\1", text)
    text = text.replace("exp_labels: {", "exp_labels: {spoiled: x, ")
    return re.sub(r"(\bvalue: )[-.\w]+", r"\g<1>987654.321", text)


@pytest.mark.parametrize("path", SHIPPED, ids=os.path.basename)
def test_shipped_rules_with_wrong_expectations(tmp_path, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for name in glob.glob(os.path.join(REPO, "rules", "*.yml")):
        shutil.copy(name, tmp_path)
    (tmp_path / "tests").mkdir()
    copy = tmp_path / "tests" / "spoiled.yml"
    copy.write_text(spoiled(text))
    theirs, ours = promtool(str(copy)), pgvigil(str(copy))
    assert theirs.returncode == ours.returncode == 1
    assert got_blocks(theirs.stderr), theirs.stderr
    assert ours.stderr == theirs.stderr


# ---- the command line ----


def cli(*args, cwd=None):
    return subprocess.run(
        [default_binary(), "test-rules", *args],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


NAMED = "tests:\n" + "".join(
    f"- {{name: {name}, promql_expr_test: [{{expr: '1', exp_samples: [{{value: {value}}}]}}]}}\n"
    for name, value in (("lag is high", 1), ("lag is low", 2), ("pool", 3))
)


@pytest.mark.parametrize(
    ("runs", "failed"),
    [((), 2), (("lag",), 1), (("^lag is high$",), 0), (("high", "pool"), 1), (("(?i)POOL",), 1), (("x",), 0)],
)  # fmt: skip
def test_only_some_groups(tmp_path, runs, failed):
    (tmp_path / "t.yml").write_text(NAMED)
    args = [word for run in runs for word in ("--run", run)]
    done = cli("t.yml", *args, cwd=tmp_path)
    assert done.stderr.count("expr:") == failed
    assert done.returncode == int(failed > 0)


def test_every_file_is_run_and_every_failure_told(tmp_path):
    (tmp_path / "a.yml").write_text(NAMED)
    (tmp_path / "b.yml").write_text("foo: 1\nbar: 2\n")
    (tmp_path / "c.yml").write_text("")
    done = cli("a.yml", "b.yml", "c.yml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.split("\n")[:1] == ["Unit Testing:  a.yml"]
    assert done.stdout.count("Unit Testing:  ") == 3 and done.stdout.count("  SUCCESS") == 1
    assert done.stderr.count("expr:") == 2 and done.stderr.count("  FAILED:") == 2
    assert "b.yml:1:1: unknown key 'foo'\nb.yml:2:1: unknown key 'bar'\n" in done.stderr


def test_pipe(tmp_path):
    done = subprocess.run(
        [default_binary(), "test-rules", "/dev/stdin"],
        input=NAMED, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("expr:") == 2
    done = cli(str(tmp_path))
    assert done.returncode == 1 and "cannot be read: Is a directory" in done.stderr


def test_usage(tmp_path):
    assert cli().returncode == 2
    assert cli("--run", "(", os.devnull).returncode == 2
    done = cli("nosuch.yml", cwd=tmp_path)
    assert done.returncode == 1 and "there is no file 'nosuch.yml'" in done.stderr
