"""Instant queries through `promtool test rules`: writes the unit test file, reads the answers.

promtool compares, but its verdict is of no use here (floats must be the same to the bit, NaN is
never right): each query expects a series that cannot be, so that promtool prints what it got.
"""

import json
import math
import os
import re
import subprocess
import tempfile

# Also the step of subqueries that name none, which is 1m in the data's own language.
TICK_MS = 60000
# promtool walks to the last time tick by tick; a year takes a second.
LAST_TIME_MS = 2 * 366 * 86400000
ITEMS_MAX = 200000
NEVER = [{"labels": '{never="there"}', "value": 0}]

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SAMPLE = re.compile(rf"(\{{(?:[a-zA-Z_]\w*={_QUOTED}(?:, )?)*\}}) ([^\s,]+)(?:, |$)")
_LABEL = re.compile(rf"([a-zA-Z_]\w*)=({_QUOTED})")
_EXPR = re.compile(rf"^    expr: ({_QUOTED}), time: (\w+),(?: err: (.*))?$")


class Unfit(Exception):
    """Something that promtool's unit tests cannot express."""


def duration(ms):
    return f"{ms // 1000}s{ms % 1000}ms" if ms % 1000 else f"{ms // 1000}s"


# ---- writing ----


def interval_of(series):
    """The interval that all points are multiples of."""
    step = 0
    for one in series:
        for t, _value in one["points"]:
            step = math.gcd(step, t)
    return step or TICK_MS


def items(points, interval):
    """Points as the list of items that promtool reads; gaps are named."""
    out = []
    at = 0
    for t, value in points:
        gap = t // interval - at
        if gap:
            out.append(f"_x{gap}")
        out.append(value.replace("+Inf", "Inf"))
        at = t // interval + 1
    if at > ITEMS_MAX:
        raise Unfit("too many items")
    return " ".join(out)


def series_name(metric):
    for name in metric:
        if not re.fullmatch(r"[a-zA-Z_]\w*", name):
            raise Unfit("name that is no classic one")
    labels = dict(metric)
    name = labels.pop("__name__", "")
    if not re.fullmatch(r"[a-zA-Z_:][\w:]*", name):
        raise Unfit("name that is no classic one")
    inner = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items())
    return f"{name}{{{inner}}}"


def group(series, queries):
    """One test group: the series, and a query for each (expression, time)."""
    interval = interval_of(series)
    inputs = [
        {"series": series_name(one["metric"]), "values": items(one["points"], interval)}
        for one in series
        if one["points"]
    ]
    tests = [
        {"expr": expr, "eval_time": duration(t), "exp_samples": NEVER} for expr, t in queries
    ]
    # What is loaded after the last tick before the last query is not there: one query is late.
    last = max([t for _expr, t in queries] + [one["points"][-1][0] for one in series if one["points"]])
    tests.append({"expr": "vector(0)", "eval_time": duration(last + 2 * TICK_MS), "exp_samples": NEVER})
    return {"interval": duration(interval), "input_series": inputs, "promql_expr_test": tests}


# ---- reading ----


_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def go_string(quoted):
    """A text as Go's %q prints it; a byte that is no text becomes U+FFFD, as in our JSON."""

    def one(match):
        word = match[1]
        if word[0] == "x":
            code = int(word[1:], 16)
            return chr(code) if code < 0x80 else "\ufffd"
        if word[0] in "uU":
            return chr(int(word[1:], 16))
        return _LETTERS.get(word, word)

    return _ESCAPE.sub(one, quoted[1:-1])


def samples(text):
    """{labels: value} of what stands behind `got: `."""
    found = {}
    at = 0
    while text != "nil" and at < len(text):
        match = _SAMPLE.match(text, at)
        if not match:
            raise ValueError(f"cannot read: {text[at:]}")
        labels = tuple(sorted((name, go_string(value)) for name, value in _LABEL.findall(match[1])))
        found[labels] = float(match[2])
        at = match.end()
    return found


def read_answers(output):
    """In the order of the queries: (expression, {labels: value} or an error's text)."""
    answers = []
    lines = output.split("\n")
    for i, line in enumerate(lines):
        match = _EXPR.match(line)
        if match and match[3] is not None:
            answers.append((go_string(match[1]), match[3]))
        elif match:
            got = lines[i + 2].strip()
            if not got.startswith("got: "):
                raise ValueError(f"no answer behind: {line}")
            answers.append((go_string(match[1]), samples(got[5:])))
    return answers


def ask(groups):
    """Answers of promtool to all queries of the groups, in their order."""
    queries = [test["expr"] for one in groups for test in one["promql_expr_test"]]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "queries.yml")
        with open(path, "w", encoding="utf-8") as file:
            # JSON is YAML.
            json.dump({"evaluation_interval": duration(TICK_MS), "tests": groups}, file)
        done = subprocess.run(
            ["promtool", "test", "rules", path], capture_output=True, timeout=300, check=False
        )
    output = (done.stdout + done.stderr).decode(errors="replace")
    answers = read_answers(output)
    if [expr for expr, _answer in answers] != queries:
        raise ValueError(f"{len(answers)} answers to {len(queries)} queries:\n{output[-2000:]}")
    return [answer for _expr, answer in answers]
