"""Sizes: no function over 80 lines, cyclomatic 15, nesting 4 or 6 parameters; no file over 800 lines.

Cyclomatic counts if, for, while, switch, &&, || and ?; the cases of a switch are one decision. Files
whose names end in _table.c or _data.c are tables of data and may be long. Of tests only lengths count,
and not that of main, which is a table of cases. --stats prints percentiles.

A breach with a reason is said in the comment above the function: `lint-ok parameters: the library's
signature` (lines, cyclomatic, nesting or parameters).
"""

import re
import statistics
import sys

import csource

LINES_MAX = 80
CYCLOMATIC_MAX = 15
NESTING_MAX = 4
PARAMETERS_MAX = 6
FILE_MAX = 800


def excused(text, function, what):
    """Is there `lint-ok <what>: reason` in the comment above the function?"""
    lines = text.split("\n")[: function.first_line - 1]
    above = []
    while lines and lines[-1].lstrip().startswith(("/*", "*", "//")):
        above.append(lines.pop())
    return re.search(rf"lint-ok {what.split()[0]}: \S", "\n".join(above)) is not None


def check_function(path, text, function):
    limits = [
        ("lines", function.lines, LINES_MAX),
        ("cyclomatic complexity", function.cyclomatic, CYCLOMATIC_MAX),
        ("nesting", function.nesting, NESTING_MAX),
        ("parameters", function.parameters, PARAMETERS_MAX),
    ]
    if path.startswith("tests"):
        limits = limits[:1] if function.name != "main" else []
    return [
        f"{path}:{function.first_line}: '{function.name}' has {what} {value}, more than {limit}"
        for what, value, limit in limits
        if value > limit and not excused(text, function, what)
    ]


def main():
    findings, lengths, file_lengths = [], [], []
    for path in csource.files("agent/**/*.[ch]", "include/**/*.h", "tests/**/*.[ch]"):
        text = csource.read(path)
        count = text.count("\n")
        file_lengths.append(count)
        if count > FILE_MAX and not re.search(r"_(table|data)\.[ch]$", path):
            findings.append(f"{path}:1: {count} lines, more than {FILE_MAX}")
        for function in csource.functions(text):
            if not path.startswith("tests"):
                lengths.append(function.lines)
            findings += check_function(path, text, function)
    if "--stats" in sys.argv and lengths:
        p95 = sorted(lengths)[int(len(lengths) * 0.95)]
        print(f"{len(lengths)} functions: median {statistics.median(lengths)}, p95 {p95}")
        print(f"{len(file_lengths)} files: median {statistics.median(file_lengths)}")
    return csource.finish("sizes", findings, len(file_lengths) + len(lengths))


if __name__ == "__main__":
    sys.exit(main())
