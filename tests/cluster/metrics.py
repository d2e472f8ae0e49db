"""Reads a page in the Prometheus text format."""

import re

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE = {"n": "\n", "\\": "\\", '"': '"'}


class Metrics:
    """All samples of a page: {name: [(labels, value), ...]}; a malformed line raises."""

    def __init__(self, text):
        self.text = text
        self.families = {}
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _LINE.match(line)
            if not match:
                raise ValueError(f"not a sample: {line!r}")
            name, labels, value = match.groups()
            self.families.setdefault(name, []).append((_labels(labels or "", line), float(value)))

    def samples(self, name, **labels):
        """[(labels, value)] of the series that have these labels."""
        return [
            (have, value)
            for have, value in self.families.get(name, [])
            if all(have.get(key) == wanted for key, wanted in labels.items())
        ]

    def value(self, name, **labels):
        """The one value; None if there is no such series, ValueError if there are several."""
        found = self.samples(name, **labels)
        if len(found) > 1:
            raise ValueError(f"{len(found)} series of {name} {labels}: {found}")
        return found[0][1] if found else None

    def total(self, name, **labels):
        return sum(value for _, value in self.samples(name, **labels))

    def __contains__(self, name):
        return name in self.families


def _labels(text, line):
    labels, end = {}, 0
    for match in _LABEL.finditer(text):
        if match.start() != end:
            raise ValueError(f"bad labels: {line!r}")
        end = match.end()
        labels[match[1]] = re.sub(r"\\(.)", lambda m: _ESCAPE.get(m[1], m[0]), match[2])
    if end != len(text):
        raise ValueError(f"bad labels: {line!r}")
    return labels
