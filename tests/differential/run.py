"""The PromQL acceptance data in Prometheus 2.42: run.py PROMQLTEST DIRECTORY.

Each stable case of the files goes through `promtool test rules` (a range query as an instant query
at each of its steps) and our answers (`promqltest --print`) are compared with what promtool got.
A case is the same, or it belongs to a class of classes.py, or it fails. The closing line counts.
"""

import collections
import glob
import json
import os
import subprocess
import sys

import classes
import unit_tests

# So many cases of the pinned files are the same, range queries among them: a change that moves
# right answers into a class is seen.
SAME_MIN = 600


class Case:
    """One expression at one time, in both engines."""

    def __init__(self, source, at, series):
        self.place = source["place"]
        self.is_range = source["range"]
        self.expr = source["expr"]
        self.t = at["t"]
        self.kind = at["open"].get("resultType", "error")
        self.ours = answer_of(at["open"])
        self.closed = answer_of(at["closed"])
        self.series = series
        self.theirs = None


def answer_of(result):
    if "error" in result:
        return result["error"]
    if result["resultType"] == "scalar":
        return {(): float(result["result"][1])}
    if result["resultType"] != "vector":
        return result["resultType"]
    return {tuple(sorted(s["metric"].items())): float(s["value"][1]) for s in result["result"]}


def our_answers(program, path):
    """[(series, [case line])]: the cases between two changes of what is loaded."""
    done = subprocess.run(
        [program, "--print", path], capture_output=True, text=True, timeout=120, check=True
    )
    parts = [([], [])]
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if "series" in entry:
            parts.append((entry["series"], []))
        else:
            entry["place"] = f"{os.path.basename(path)}:{entry['line']}"
            parts[-1][1].append(entry)
    return [part for part in parts if part[1]]


def ask_promtool(parts):
    """Cases with both answers, by the place of the expression."""
    groups, asked = [], []
    for series, sources in parts:
        cases = [Case(source, at, series) for source in sources for at in source["at"]]
        for case in cases:
            if not 0 <= case.t <= unit_tests.LAST_TIME_MS:
                raise unit_tests.Unfit(f"{case.place}: time {case.t}")
        groups.append(unit_tests.group(series, [(case.expr, case.t) for case in cases]))
        asked += cases + [None]  # the late query of each group
    for case, answer in zip(asked, unit_tests.ask(groups), strict=True):
        if case:
            case.theirs = answer
    return [case for case in asked if case]


def verdict(cases):
    """The class of an expression: the first that is not "the same"; None if one of its times fails."""
    found = [(case, classes.classify(case)) for case in cases]
    for case, name in found:
        if name is None:
            print(f"{case.place}: {case.expr} at {case.t / 1000:g} s")
            print(f"    ours   {case.ours}\n    theirs {case.theirs}")
            return None
    return next((name for _case, name in found if name != classes.SAME), classes.SAME)


def check_can_fail(cases):
    """A wrong value in place of one of ours is found, whatever the expression."""
    blind = 0
    for case in cases:
        if classes.classify(case) != classes.SAME or classes.is_error(case.ours) or not case.ours:
            continue
        right = case.ours
        wrong = {labels: (value + 1) * 1.5 if value == value else 0.5 for labels, value in right.items()}
        case.ours = case.closed = wrong
        if classes.classify(case) is not None and wrong != right:
            print(f"{case.place}: {case.expr}: a wrong answer would pass as {classes.classify(case)}")
            blind += 1
        case.ours = case.closed = right
    return blind


def main():
    program, folder = sys.argv[1:3]
    cases = []
    for path in sorted(glob.glob(os.path.join(folder, "*.test"))):
        cases += ask_promtool(our_answers(program, path))
    by_place = collections.defaultdict(list)
    for case in cases:
        by_place[case.place].append(case)
    verdicts = {place: verdict(group) for place, group in by_place.items()}
    table = collections.Counter(verdicts.values())
    failed = table.pop(None, 0)
    instants = [place for place, group in by_place.items() if not group[0].is_range]
    alike = sum(verdicts[place] == classes.SAME for place in instants)
    for name, count in table.most_common():
        print(f"{count:5} {name}")
    blind = check_can_fail(cases)
    few = table[classes.SAME] < SAME_MIN
    if few:
        print(f"only {table[classes.SAME]} cases are the same")
    failed += blind + few
    print(f"{len(by_place)} expressions at {len(cases)} times")
    print(f"{alike} of {len(instants)} instant queries are the same")
    print(f"{sum(table.values())} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
