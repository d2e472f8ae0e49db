"""Writes plain data as YAML: block style at the top, flow style below; enough for pgvigil.yaml."""

import re

_PLAIN = re.compile(r"^[A-Za-z/][\w./*%-]*$|^\d+(ms|s|m|h|d|%|[KMG]iB|[kMG]B)$")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def dump(data):
    lines = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            lines.append(f"{key}:")
            lines += [f"  - {flow(item)}" for item in value]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def flow(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if value is True or value is False:
        return "true" if value else "false"
    if value is None or isinstance(value, (int, float)):
        return "null" if value is None else str(value)
    if _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
