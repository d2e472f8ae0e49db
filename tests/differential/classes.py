"""How Prometheus 2.42 is known to differ from 3.x: rules that look at both answers of a case.

An answer is {labels: value}, or an error's text. A class is not a list of cases: a wrong answer of
this engine must not fall into one by its expression alone, so each rule says what the other
engine answers then.
"""

import math
import re

EPSILON = 1e-12
# Windows that are a millisecond longer change a rate by that much.
CLOSED_EPSILON = 1e-3
LOOKBACK_MS = 300000
SAME_LABELS = "vector cannot contain metrics with the same labelset"
NOT_SHOWN = (
    "rule result is not a vector or scalar",
    "unexpected result in StepInvariantExpr evaluation",
)


def near(a, b, epsilon=EPSILON):
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= epsilon * max(abs(a), abs(b))


def is_error(answer):
    return isinstance(answer, str)


def same(ours, theirs, epsilon=EPSILON):
    if is_error(ours) and is_error(theirs):
        # Series are listed in any order.
        return sorted(re.split(r"[\[\], ]+", ours)) == sorted(re.split(r"[\[\], ]+", theirs))
    if is_error(ours) or is_error(theirs):
        return False
    return ours.keys() == theirs.keys() and all(near(ours[k], theirs[k], epsilon) for k in ours)


def differing(case):
    """[(ours, theirs)] of the values that differ; None unless both have the same series."""
    if is_error(case.ours) or is_error(case.theirs) or case.ours.keys() != case.theirs.keys():
        return None
    pairs = [(case.ours[key], case.theirs[key]) for key in case.ours]
    return [pair for pair in pairs if not near(*pair)]


def nameless(answer):
    return {tuple(pair for pair in labels if pair[0] != "__name__"): v for labels, v in answer.items()}


# ---- the rules ----


def not_shown(case):
    return case.kind in ("string", "matrix") and is_error(case.theirs) and case.theirs.startswith(NOT_SHOWN)


def _refused(case, *texts):
    return is_error(case.theirs) and "parse error" in case.theirs and any(t in case.theirs for t in texts)


def duration_syntax(case):
    """Numbers as durations, arithmetic in brackets and behind offset."""
    # Its parser prints the token in front of a duration in a call as a comma.
    trailing = "trailing commas not allowed" if re.search(r", *\d+[smhdwy]", case.expr) else "\0"
    return _refused(case, "duration", "in subquery or range", trailing)


def new_function(case):
    return _refused(case, 'unknown function with name "first_over_time"') and "first_over_time" in case.expr


def open_windows(case):
    return (
        not is_error(case.closed)
        and not same(case.closed, case.ours)
        and same(case.closed, case.theirs, CLOSED_EPSILON)
    )


def histogram_fraction(case):
    return "histogram_fraction(" in case.expr and case.theirs == {} and case.ours != {}


def lone_infinity(case):
    """stddev of a lone Inf or NaN was 0."""
    pairs = differing(case)
    return (
        re.search(r"\bstd(dev|var)\b", case.expr)
        and pairs
        and all(math.isnan(ours) and theirs == 0 for ours, theirs in pairs)
    )


def name_removal(case):
    """Names go at the end now: series that were one before then are two, or are grouped by name."""
    if is_error(case.ours) or not re.search(r"\b(rate|increase)\(", case.expr):
        return False
    if case.theirs == SAME_LABELS:
        return True
    by_name = re.search(r"\bby *\(__name__\)", case.expr)
    return (
        by_name
        and not is_error(case.theirs)
        and near(sum(case.ours.values()), sum(case.theirs.values()))
    )


_SUM = re.compile(
    r"(?P<how>sum|avg)(?P<over>_over_time)?\((?P<name>\w+)"
    r'(?:\{(?P<label>\w+)="(?P<value>\w+)"\})?(?:\[(?P<range>\d+)m\])?\)$'
)


def compensated(values):
    """Neumaier's sum."""
    total = carry = 0.0
    for value in values:
        old, total = total, total + value
        carry += (old - total) + value if abs(old) >= abs(value) else (value - total) + old
    return total + carry


def compensated_sum(case):
    """What a sum or average of one selector gives with compensation; None if it is none."""
    match = _SUM.match(case.expr)
    if not match or bool(match["over"]) != bool(match["range"]):
        return None
    window = int(match["range"]) * 60000 if match["range"] else LOOKBACK_MS
    found = []
    for one in case.series:
        metric = one["metric"]
        if metric["__name__"] != match["name"] or metric.get(match["label"]) != match["value"]:
            continue
        inside = [float(v) for t, v in one["points"] if case.t - window < t <= case.t and v != "stale"]
        found += inside if match["over"] else inside[-1:]
    return compensated(found) / (len(found) if match["how"] == "avg" else 1) if found else None


def kahan_sum(case):
    """A plain sum loses the small addends beside large ones."""
    pairs = differing(case)
    wanted = compensated_sum(case) if pairs and len(pairs) == 1 else None
    return wanted is not None and near(pairs[0][0], wanted) and not near(pairs[0][1], wanted)


def atan2_name(case):
    return (
        "atan2" in case.expr
        and not is_error(case.theirs)
        and case.theirs.keys() != case.ours.keys()
        and same(nameless(case.theirs), case.ours)
    )


def dropped_duplicates(case):
    """Two matches were no error if the comparison dropped one of them."""
    return (
        is_error(case.ours)
        and case.ours.startswith("multiple matches for labels")
        and re.search(r"[<>]=?|[!=]=", case.expr)
        and not is_error(case.theirs)
        and len(case.theirs) <= 1
    )


def counter_at_zero(case):
    """The cut of a counter's line at zero comes after the choice between gap and half a gap; it was
    the other way round, so the line could be longer."""
    pairs = differing(case)
    return (
        re.match(r"(rate|increase)\(\w+\[\w+\]\)$", case.expr)
        and pairs
        and all(0 < ours < theirs < 2 * ours for ours, theirs in pairs)
    )


def error_words(case):
    """topk(NaN, ...) is an error on both sides."""
    return (case.ours, case.theirs) == ("Parameter value is NaN", "Scalar value NaN overflows int64")


RULES = [
    ("strings and range vectors, which unit tests do not show", not_shown),
    ("numbers and arithmetic as durations", duration_syntax),
    ("first_over_time", new_function),
    ("windows open on the left", open_windows),
    ("histogram_fraction of classic buckets", histogram_fraction),
    ("stddev and stdvar of a lone Inf or NaN", lone_infinity),
    ("delayed name removal", name_removal),
    ("Kahan sums", kahan_sum),
    ("atan2 that keeps its name", atan2_name),
    ("two matches where a comparison drops one", dropped_duplicates),
    ("extrapolation of a counter near zero", counter_at_zero),
    ("an error in other words", error_words),
]
SAME = "the same"


def classify(case):
    """SAME, the name of a class, or None."""
    if case.kind in ("vector", "scalar", "error") and same(case.ours, case.theirs):
        return SAME
    return next((name for name, rule in RULES if rule(case)), None)
