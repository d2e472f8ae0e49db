"""`make test`: builds, runs every test and ends with the line `N passed, N failed[, N skipped]`.

Stages: build (plain and with sanitizers), unit programs, fuzz seeds, PromQL conformance, the same
data in Prometheus 2.42, checks of the sources, end to end. Logs are in build/test-logs/. Exit code 1 if anything failed or nothing
ran. Arguments name stages or parts of file names: `tests/run.py unit`, `tests/run.py e2e gate`.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(REPO, "build", "test-logs")
SAN = os.path.join("build", "san")
PYTHON = sys.executable
JOBS = str(min(os.cpu_count() or 1, 4))
E2E_AT_ONCE = int(os.environ.get("PGVIGIL_TEST_JOBS", "3"))
PROGRAM_TIMEOUT = 300
FILE_TIMEOUT = 1500

TEST_PROGRAMS = ["make", "-k", "-j", JOBS, f"B={SAN}", "SAN=1", "unit-build", "fuzz-build"]
TEST_PROGRAMS.append(f"{SAN}/tests/promqltest")
# Prometheus' own PromQL tests; they lie beside the project, not in it.
PROMQLTEST_DIR = os.path.abspath(
    os.environ.get("PROMQLTEST_DIR")
    or os.path.join(os.path.dirname(REPO), "shared", "promqltest")
)

_PASSED = re.compile(r"^\[\s+PASSED\s+\] (\d+) test", re.MULTILINE)
_FAILED = re.compile(r"^\[\s+FAILED\s+\] (\d+) test", re.MULTILINE)
_SKIPPED = re.compile(r"^\[\s+SKIPPED\s+\] (\d+) test", re.MULTILINE)


class Totals:
    """Counts of the whole run."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, name, passed, failed, skipped, seconds, log=None):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        word = "FAIL" if failed else "ok"
        more = f", {failed} failed" if failed else ""
        more += f", {skipped} skipped" if skipped else ""
        print(f"{word:4} {name}: {passed} passed{more} ({seconds:.1f} s)", flush=True)
        if failed and log:
            print(indent(tail(log)), flush=True)


def tail(path, lines=60):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError as error:
        return str(error)


def indent(text):
    return "\n".join("     | " + line for line in text.rstrip("\n").split("\n"))


def log_path(name):
    return os.path.join(LOGS, re.sub(r"[^\w.-]+", "_", name) + ".log")


def run(command, log, timeout=None, env=None):
    """Exit code of a command with its output in a file; a timeout counts as 124."""
    with open(log, "wb") as out:
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=REPO,
                timeout=timeout,
                env=env,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            out.write(f"\nended after {timeout} s\n".encode())
            return 124


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


# ---- build ----


def build(totals):
    steps = [
        ("build", ["make", "-j", JOBS, "all"]),
        ("build with sanitizers", ["make", "-j", JOBS, f"B={SAN}", "SAN=1", f"{SAN}/pgvigil"]),
        ("build tests", TEST_PROGRAMS),
    ]
    if shutil.which("clang"):
        steps.append(("compile with clang", ["make", "-j", JOBS, "clang-check"]))
    for name, command in steps:
        began = time.monotonic()
        log = log_path(name)
        code = run(command, log)
        totals.add(name, int(code == 0), int(code != 0), 0, time.monotonic() - began, log)


# ---- unit programs and fuzz seeds ----


def unit(totals, only):
    root = os.path.join(REPO, "tests", "unit")
    sources = []
    for folder, _, names in os.walk(root):
        sources += [
            os.path.relpath(os.path.join(folder, name), root)[:-2]
            for name in names
            if name.startswith("test_") and name.endswith(".c")
        ]
    for name in sorted(sources):
        if only and not any(word in name for word in only):
            continue
        began = time.monotonic()
        log = log_path(f"unit/{name}")
        program = os.path.join(SAN, "tests", name)
        if not os.path.exists(os.path.join(REPO, program)):
            with open(log, "w", encoding="utf-8") as file:
                file.write("was not built\n")
            counts = (0, 1, 0)
        else:
            counts = count_cmocka(run([program], log, PROGRAM_TIMEOUT), read(log))
        totals.add(f"unit/{name}", *counts, time.monotonic() - began, log)


def count_cmocka(code, text):
    """(passed, failed, skipped) of a cmocka program, which may run several groups."""
    passed, failed, skipped = (
        sum(int(n) for n in pattern.findall(text)) for pattern in (_PASSED, _FAILED, _SKIPPED)
    )
    # A crash or a sanitizer's report ends the program without counting; so does a program that
    # runs nothing.
    if failed == 0 and (code != 0 or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


def fuzz_seeds(totals, only):
    folder = os.path.join(REPO, "tests", "fuzz")
    for file in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
        match = re.match(r"(fuzz_(\w+))\.c$", file)
        if not match or only and not any(word in file for word in only):
            continue
        began = time.monotonic()
        seeds = os.path.join("tests", "fuzz", "seeds", match[2])
        paths = sorted(
            os.path.join(top, name)
            for top, _, names in os.walk(os.path.join(REPO, seeds))
            for name in names
        )
        log = log_path(file)
        failed = replay(os.path.join(SAN, "fuzz", match[1]), paths, log)
        name = f"fuzz/{match[2]}"
        totals.add(name, len(paths) - failed, failed or int(not paths), 0, time.monotonic() - began, log)


def replay(program, paths, log):
    """How many inputs fail; one process for all unless one does."""
    if not os.path.exists(os.path.join(REPO, program)):
        with open(log, "w", encoding="utf-8") as file:
            file.write("was not built\n")
        return max(len(paths), 1)
    if run([program, *paths], log, PROGRAM_TIMEOUT) == 0:
        return 0
    return max(1, sum(run([program, path], log + ".one", 30) != 0 for path in paths))


# ---- PromQL conformance ----


def count_promqltest(text):
    """(passed, failed, skipped) of the closing line; no such line is a failure."""
    found = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.MULTILINE)
    return tuple(int(number) for number in found[-1]) if found else (0, 1, 0)


def promqltest(totals):
    """The runner's own files, then the shared ones. What is skipped there is outside of the
    engine (native histograms, experimental functions) and is told, but no skipped test."""
    program = os.path.join(SAN, "tests", "promqltest")
    if not os.path.exists(os.path.join(REPO, program)):
        totals.add("promqltest was not built", 0, 1, 0, 0)
        return
    began = time.monotonic()
    log = log_path("promqltest runner")
    code = run([PYTHON, "tests/promqltest/check_runner.py", program, PROMQLTEST_DIR], log, 300)
    passed, failed, skipped = count_promqltest(read(log))
    failed = failed or int(code != 0)
    totals.add("promqltest/runner", passed, failed, skipped, time.monotonic() - began, log)
    began = time.monotonic()
    files = sorted(glob.glob(os.path.join(PROMQLTEST_DIR, "*.test")))
    if not files:
        print(
            f"SKIP promqltest: no data at {PROMQLTEST_DIR}; PROMQLTEST_DIR says where it is",
            flush=True,
        )
        totals.skipped += 1
        return
    log = log_path("promqltest")
    code = run([program, *files], log, PROGRAM_TIMEOUT)
    passed, failed, skipped = count_promqltest(read(log))
    failed = failed or int(code != 0)
    name = f"promqltest ({skipped} native-histogram and experimental cases left out)"
    totals.add(name, passed, failed, 0, time.monotonic() - began, log)


# ---- the same data in Prometheus 2.42 ----


def differential(totals):
    """What differs for a known reason is told as a table in the log."""
    if not glob.glob(os.path.join(PROMQLTEST_DIR, "*.test")) or not shutil.which("promtool"):
        print(f"SKIP differential: no data at {PROMQLTEST_DIR}, or no promtool", flush=True)
        totals.skipped += 1
        return
    program = os.path.join(SAN, "tests", "promqltest")
    began = time.monotonic()
    log = log_path("differential")
    code = run([PYTHON, "tests/differential/run.py", program, PROMQLTEST_DIR], log, 300)
    passed, failed, _skipped = count_promqltest(read(log))
    failed = failed or int(code != 0)
    same = re.findall(r"^ *(\d+) the same$", read(log), re.MULTILINE)
    name = f"differential ({same[-1] if same else 'none'} the same in 2.42, others by class)"
    totals.add(name, passed, failed, 0, time.monotonic() - began, log)


# ---- checks of the sources and the shipped files ----


def checks(totals):
    commands = [
        (f"lint/{name}", [PYTHON, f"tests/lint/{name}.py"])
        for name in ("layers", "sizes", "banned")
    ]
    rules = sorted(
        os.path.join("rules", name)
        for name in os.listdir(os.path.join(REPO, "rules"))
        if name.endswith(".yml")
    )
    if rules and shutil.which("promtool"):
        commands.append(("promtool check rules", ["promtool", "check", "rules", *rules]))
    for name, command in commands:
        began = time.monotonic()
        log = log_path(name)
        code = run(command, log, PROGRAM_TIMEOUT)
        totals.add(name, int(code == 0), int(code != 0), 0, time.monotonic() - began, log)
    rule_tests(totals)


def rule_tests(totals):
    """The tests of the shipped rules, by Prometheus' tool and by ours: each check counts."""
    tools = [("pgvigil test-rules", [f"{SAN}/pgvigil", "test-rules"])]
    if shutil.which("promtool"):
        tools.append(("promtool test rules", ["promtool", "test", "rules"]))
    folder = os.path.join("rules", "tests")
    for name in sorted(os.listdir(os.path.join(REPO, folder))):
        path = os.path.join(folder, name)
        text = read(os.path.join(REPO, path))
        count = len(re.findall(r"\beval_time:", text))
        for tool, command in tools:
            began = time.monotonic()
            log = log_path(f"{tool} {path}")
            code = run([*command, path], log, PROGRAM_TIMEOUT)
            failed = len(re.findall(r"^ *(?:alertname|expr|rule): ", read(log), re.MULTILINE))
            failed = max(failed, int(code != 0 or count == 0))
            passed = max(0, count - failed)
            totals.add(f"{tool} {path}", passed, failed, 0, time.monotonic() - began, log)


# ---- end to end: files in parallel, those that measure time alone ----


class Job:
    """One file of tests/e2e under pytest."""

    def __init__(self, path):
        self.path = path
        self.name = "e2e/" + os.path.basename(path)
        self.log = log_path(self.name)
        self.xml = self.log[:-4] + ".xml"
        self.alone = re.search(r"^ALONE\s*=\s*True", read(path), re.MULTILINE) is not None
        self.began = None
        self.process = None

    def start(self):
        self.began = time.monotonic()
        command = [PYTHON, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider"]
        env = dict(os.environ)
        env["PGVIGIL_BIN"] = env.get("PGVIGIL_BIN") or os.path.join(REPO, SAN, "pgvigil")
        env["PGVIGIL_KEEP_LOGS"] = self.log[:-4]
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        os.makedirs(env["PGVIGIL_KEEP_LOGS"], exist_ok=True)
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                command + [f"--junitxml={self.xml}", self.path],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=REPO,
                env=env,
            )

    def done(self):
        if self.process.poll() is None and time.monotonic() - self.began > FILE_TIMEOUT:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.poll() is not None

    def report(self, totals):
        passed, failed, skipped = count_junit(self.xml)
        if failed == 0 and self.process.returncode != 0:
            failed = 1
        totals.add(self.name, passed, failed, skipped, time.monotonic() - self.began, self.log)


def count_junit(path):
    try:
        suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return 0, 1, 0
    numbers = [
        sum(int(suite.get(key, 0)) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    ]
    tests, bad, skipped = numbers[0], numbers[1] + numbers[2], numbers[3]
    return max(0, tests - bad - skipped), bad, skipped


def end_to_end(totals, only):
    folder = os.path.join(REPO, "tests", "e2e")
    paths = [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder) if os.path.isdir(folder) else [])
        if name.startswith("test_") and name.endswith(".py")
    ]
    jobs = [Job(path) for path in paths if not only or any(word in path for word in only)]
    together = [job for job in jobs if not job.alone]
    run_jobs(totals, together, E2E_AT_ONCE)
    run_jobs(totals, [job for job in jobs if job.alone], 1)


def run_jobs(totals, waiting, at_once):
    running = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(0.2)
            for job in [job for job in running if job.done()]:
                running.remove(job)
                job.report(totals)
    finally:
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()


STAGES = ("build", "unit", "fuzz", "promqltest", "differential", "checks", "e2e")


def main():
    os.environ.setdefault("ASAN_OPTIONS", "print_legend=0")
    stages = [word for word in sys.argv[1:] if word in STAGES] or list(STAGES)
    only = [word for word in sys.argv[1:] if word not in STAGES]
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    totals = Totals()
    if "build" in stages:
        build(totals)
    if "unit" in stages:
        unit(totals, only)
    if "fuzz" in stages:
        fuzz_seeds(totals, only)
    if "promqltest" in stages:
        promqltest(totals)
    if "differential" in stages:
        differential(totals)
    if "checks" in stages:
        checks(totals)
    if "e2e" in stages:
        end_to_end(totals, only)
    skipped = f", {totals.skipped} skipped" if totals.skipped else ""
    print(f"{totals.passed} passed, {totals.failed} failed{skipped}", flush=True)
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main())
