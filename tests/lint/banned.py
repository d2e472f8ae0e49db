"""Banned: unsafe calls, clocks asked outside their module, and marks of unfinished work.

base.h poisons some names for the compiler; this also sees code that does not include it, and what
cannot be poisoned because a system header uses it.
"""

import re
import sys

import csource

CALLS = (
    "strcpy strcat sprintf vsprintf strtok gmtime localtime ctime asctime atoi atol atoll atof gets "
    "alloca strncat system popen mktemp tmpnam tempnam setjmp longjmp bcopy"
).split()

# Time is a parameter everywhere else. The guardian has no loop, and only async-signal-safe calls;
# sql.c makes deadlines of condition variables.
CLOCKS = ("time", "clock_gettime", "gettimeofday", "uv_now", "uv_hrtime")
CLOCK_HOMES = ("agent/base/", "agent/gate/guardian.c", "agent/gate/lease.c", "agent/store/sql.c")

# Tests may run a program.
AGENT_ONLY = {"system", "popen"}

_CALL = re.compile(r"(?<![\w.>])(" + "|".join(CALLS) + r")\s*\(")
_CLOCK = re.compile(r"(?<![\w.>])(" + "|".join(CLOCKS) + r")\s*\(")
_MARK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def check(path):
    text = csource.read(path)
    code = csource.code(text)
    searches = [(_CALL, code, "banned call")]
    if path.startswith("agent/"):
        searches.append((_MARK, text, "unfinished"))
        if not path.startswith(CLOCK_HOMES):
            searches.append((_CLOCK, code, "asks a clock"))
    return [
        f"{path}:{where.count(chr(10), 0, match.start()) + 1}: {what}: {match[1]}"
        for pattern, where, what in searches
        for match in pattern.finditer(where)
        if path.startswith("agent/") or match[1] not in AGENT_ONLY
    ]


def main():
    paths = csource.files("agent/**/*.[ch]", "include/**/*.h", "tests/**/*.[ch]")
    findings = [finding for path in paths for finding in check(path)]
    return csource.finish("banned", findings, len(paths))


if __name__ == "__main__":
    sys.exit(main())
