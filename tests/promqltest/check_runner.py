"""Does the promqltest runner tell right from wrong? check_runner.py RUNNER [DATA_DIR]

Over the project's own files, and over copies of the shared data with wrong expectations. Ends with
the line `N passed, N failed, N skipped`.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own")
# Files whose cases are all stable: each wrong expectation must be noticed.
STABLE = ("literals.test", "name_label_dropping.test", "trig_functions.test")
WRONG = "987654.321"


def run(runner, *files):
    """Exit code, (passed, failed, skipped) of the closing line, and the whole output."""
    done = subprocess.run([runner, *files], capture_output=True, text=True, timeout=120, check=False)
    closing = re.match(r"(\d+) passed, (\d+) failed, (\d+) skipped$", done.stdout.splitlines()[-1])
    return done.returncode, tuple(int(number) for number in closing.groups()), done.stdout


def spoil(text):
    """The text with the last number of each eval's first expected line replaced, and how many."""
    lines = text.split("\n")
    changed = 0
    fresh = False
    for i, line in enumerate(lines):
        if line.strip().startswith("eval"):
            fresh = True
        elif not line.strip() or line.strip().startswith("#"):
            fresh = False
        elif fresh and not line.strip().startswith("expect"):
            lines[i] = re.sub(r"\S+\s*$", WRONG, line)
            fresh = False
            changed += 1
    return "\n".join(lines), changed


def check_spoiled(runner, path):
    """All wrong expectations of a copy fail, and nothing else does."""
    with open(path, encoding="utf-8") as file:
        text, changed = spoil(file.read())
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path))
        with open(copy, "w", encoding="utf-8") as file:
            file.write(text)
        code, (_, failed, skipped), out = run(runner, copy)
    assert changed > 0 and (code, failed, skipped) == (1, changed, 0), out


def check_good(runner):
    """Right expectations pass; the skipped cases are told with their class."""
    code, counts, out = run(runner, os.path.join(OWN, "good.test"))
    assert code == 0 and counts[1] == 0 and counts[2] == 3, out
    assert "3 skipped (2 native histogram, 1 experimental)" in out, out


def check_bad(runner):
    """Each command of the file but the load at its top is wrong."""
    path = os.path.join(OWN, "bad.test")
    with open(path, encoding="utf-8") as file:
        wrong = len(re.findall(r"^(?:eval|load|nonsense)", file.read(), re.MULTILINE)) - 1
    code, counts, out = run(runner, path)
    assert code == 1 and counts == (0, wrong, 0), out


def check_missing_file(runner):
    done = subprocess.run([runner, "/nonexistent.test"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 2, done.returncode


def main():
    runner = os.path.abspath(sys.argv[1])
    checks = [
        (check.__name__, lambda check=check: check(runner))
        for check in (check_good, check_bad, check_missing_file)
    ]
    for name in STABLE if len(sys.argv) > 2 else ():
        for path in glob.glob(os.path.join(sys.argv[2], name)):
            checks.append((f"spoiled {name}", lambda path=path: check_spoiled(runner, path)))
    failed = 0
    for name, check in checks:
        try:
            check()
            print(f"ok   {name}")
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"FAIL {name}\n{error}")
    print(f"{len(checks) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
