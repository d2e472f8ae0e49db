"""Starts the agent beside a test cluster and looks at it as its users do: files, HTTP, stderr."""

import glob
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.parse

from . import proc, threads, yaml_text
from .metrics import Metrics

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_SANITIZER = re.compile(
    r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:"
)
_LINE = re.compile(r"^up (\d+)% lag=(\S+) until=(\d+) reason=(\S+)\s*$")


def default_binary():
    return os.environ.get("PGVIGIL_BIN") or os.path.join(REPO, "build", "san", "pgvigil")


class Reply:
    """An HTTP answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)


class HealthLine:
    """The line of a health file."""

    def __init__(self, text):
        match = _LINE.match(text)
        if not match:
            raise ValueError(f"not a health line: {text!r}")
        self.text = text
        self.weight = int(match[1])
        self.lag = match[2]
        self.until = int(match[3])
        self.reason = match[4]


class Agent:
    """`pgvigil run` with a generated configuration.

    config: keys of pgvigil.yaml over the generated ones; `gate` and `intervals` are merged one by
    one. rules: texts of rule files, or paths; default the shipped files. webhook: a URL.
    """

    def __init__(
        self,
        cluster,
        *,
        nodes=None,
        gate=None,
        intervals=None,
        rules=None,
        webhook=None,
        config=None,
        binary=None,
        env=None,
        foreground=False,
    ):
        binary = binary or default_binary()
        if not os.access(binary, os.X_OK):
            raise RuntimeError(f"no agent at '{binary}': build it, or set PGVIGIL_BIN")
        self.cluster = cluster
        self.process = None
        self.foreground = foreground
        self._env = {"ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1"}
        self._env.update(env or {})
        self._family = []
        self.port = cluster.ports.take()
        # The repository may lie where the servers' user cannot go, so all that it needs is copied.
        self.home = proc.make_scratch("pgvigil-agent-")
        os.chmod(self.home, 0o755)
        # OpenSSL's own clean-up at exit leaves a provider behind now and then (logins by SCRAM).
        suppressions = os.path.join(self.home, "lsan.supp")
        proc.write_owned(suppressions, "leak:libcrypto.so\n")
        self._env.setdefault("LSAN_OPTIONS", f"suppressions={suppressions}:print_suppressions=0")
        self.binary = os.path.join(self.home, "pgvigil")
        shutil.copy(binary, self.binary)
        os.chmod(self.binary, 0o755)
        self.state_dir = self._dir("state")
        self.health_dir = os.path.join(self._dir("run"), "health")
        proc.make_owned_dir(self.health_dir)
        self.config_path = os.path.join(self.home, "pgvigil.yaml")
        self.stderr_path = os.path.join(self.home, "stderr.log")
        rule_globs = self._copy_rules(rules)
        self.config = self._make_config(nodes, gate, intervals, rule_globs, webhook)
        self.config.update(config or {})
        self.write_config()
        proc.register(self)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_exception):
        self.close(check=kind is None)

    # ---- configuration ----

    def _dir(self, name):
        path = os.path.join(self.home, name)
        proc.make_owned_dir(path)
        return path

    def _copy_rules(self, rules):
        folder = self._dir("rules")
        if rules is None:
            rules = sorted(glob.glob(os.path.join(REPO, "rules", "*.yml")))
        for number, rule in enumerate(rules):
            if "\n" in rule:
                proc.write_owned(os.path.join(folder, f"test-{number}.yml"), rule)
                continue
            with open(rule, encoding="utf-8") as file:
                proc.write_owned(os.path.join(folder, os.path.basename(rule)), file.read())
        return [os.path.join(folder, "*.yml")] if rules else []

    def _make_config(self, nodes, gate, intervals, rules, webhook):
        names = nodes if nodes is not None else list(self.cluster.nodes)
        config = {
            "cluster": "test",
            "scope": "cluster",
            "listen": f"127.0.0.1:{self.port}",
            "state_dir": self.state_dir,
            "health_dir": self.health_dir,
            "nodes": [{"name": name, "dsn": self.cluster.monitor_dsn(name)} for name in names],
        }
        if self.cluster.pool:
            dsn = self.cluster.pool.conninfo()
            config["pools"] = [{"name": "app", "kind": "pgbouncer", "dsn": dsn}]
            config["logs"] = [{"pool": "app", "path": self.cluster.pool.log}]
        if gate:
            config["gate"] = dict(gate)
        if intervals:
            config["intervals"] = dict(intervals)
        config["rules"] = rules
        if webhook:
            config["notify"] = {"webhook": webhook}
        return config

    def write_config(self, text=None):
        """Writes self.config, or a text of the test's own; counts at the next start or reload."""
        text = yaml_text.dump(self.config) if text is None else text
        proc.write_owned(self.config_path, text, 0o600)

    # ---- life ----

    def start(self, wait=True, deadline=20):
        self.process = proc.spawn(
            [self.binary, "run", "--config", self.config_path],
            home=self.home,
            log=self.stderr_path,
            env=self._env,
            foreground=self.foreground,
        )
        if wait:
            self.wait_ready(deadline)
        return self

    def wait_ready(self, deadline=20):
        def ready():
            if self.process.poll() is not None:
                raise proc.Fatal(f"the agent ended with {self.process.returncode}:\n{self.stderr()}")
            return self.get("/-/ready").status == 200

        proc.wait_until(ready, deadline, "the agent is ready")

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, deadline=10):
        """SIGTERM; returns the exit code."""
        self._remember_family()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end within {deadline} s of SIGTERM") from None

    def kill(self):
        """SIGKILL: no good-bye; its guardian lives on."""
        self._remember_family()
        self.process.kill()
        self.process.wait()

    def restart(self, **more):
        self.stop()
        return self.start(**more)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def sigstop(self):
        """Freezes the agent, not its guardian."""
        self.process.send_signal(signal.SIGSTOP)

    def sigcont(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self, check=True):
        """Ends agent and guardian, keeps the log, removes the scratch directory. With check, a
        sanitizer's report on stderr is an AssertionError."""
        proc.unregister(self)
        self._remember_family()
        if self.process is not None:
            proc.kill_tree(self.process, signal.SIGTERM, grace=6)
        for pid, known in self._family:
            if proc.identity(pid) == known:
                proc.signal_quietly(pid, signal.SIGKILL)
        report = "" if self.foreground else self.sanitizer_report()
        self._keep_log()
        proc.remove_scratch(self.home)
        if check and report:
            raise AssertionError(f"sanitizer report of the agent:\n{report}")

    def _remember_family(self):
        """The guardian outlives the agent on purpose: know it before it is an orphan."""
        if self.running():
            family = [(pid, proc.identity(pid)) for pid in proc.descendants(self.pid)]
            self._family += [member for member in family if member[1]]

    def guardian_pid(self):
        """The child process of the agent, or of the one that was killed."""
        self._remember_family()
        alive = [pid for pid, known in self._family if proc.identity(pid) == known]
        return alive[-1] if alive else None

    # ---- threads ----

    def threads(self):
        """{tid: name}."""
        return threads.threads(self.pid)

    def freeze_threads(self, match):
        """`with agent.freeze_threads(lambda name: name != "gate"):` stops the others by id."""
        tids = [tid for tid, name in self.threads().items() if match(name)]
        return threads.frozen(self.pid, tids)

    # ---- what users see ----

    def get(self, path, timeout=5.0, method="GET", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def metrics(self):
        return Metrics(self.get("/metrics").text)

    def alerts(self, name=None):
        """Active alerts of /api/v1/alerts of that name; of any but Watchdog, which always fires."""
        found = self.get("/api/v1/alerts").json()["data"]["alerts"]

        def is_wanted(has):
            return has == name if name else has != "Watchdog"

        return [alert for alert in found if is_wanted(alert["labels"]["alertname"])]

    def query(self, expression):
        """Result of an instant query by the command line, as Prometheus gives it."""
        out = self.cli("query", expression, "-o", "json")
        return json.loads(out.stdout)["data"]["result"]

    def health(self, name):
        """HealthLine of a file such as "replica_1.read", or None if it is not there."""
        try:
            with open(os.path.join(self.health_dir, name), encoding="ascii") as file:
                return HealthLine(file.read())
        except FileNotFoundError:
            return None

    def health_files(self):
        """Names of the published files."""
        names = os.listdir(self.health_dir) if os.path.isdir(self.health_dir) else []
        return sorted(name for name in names if not name.startswith("."))

    def wait_files(self, *names, deadline=15):
        """Until exactly these files are published."""
        wanted = sorted(names)

        def same():
            have = self.health_files()
            if have != wanted:
                raise AssertionError(f"have {have}")
            return True

        proc.wait_until(same, deadline, f"health files are {wanted}", 0.02)

    def cli(self, *args, config=True, check=True, timeout=30):
        """Runs a subcommand of the same binary as the same user; a CompletedProcess."""
        command = [self.binary, *args] + (["--config", self.config_path] if config else [])
        done = proc.run_any(command, home=self.home, timeout=timeout, env=self._env)
        if check and done.returncode != 0:
            raise AssertionError(f"{args} ended with {done.returncode}: {done.stderr}")
        return done

    def stderr(self):
        try:
            with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def sanitizer_report(self):
        text = self.stderr()
        match = _SANITIZER.search(text)
        return text[max(0, match.start() - 200) : match.start() + 6000] if match else ""

    def _keep_log(self):
        folder = os.environ.get("PGVIGIL_KEEP_LOGS")
        if not folder or not os.path.exists(self.stderr_path):
            return
        os.makedirs(folder, exist_ok=True)
        test = re.sub(r"\W+", "_", os.environ.get("PYTEST_CURRENT_TEST", "agent").split(" ")[0])
        name = f"{test}.{os.path.basename(self.home)}.stderr"
        shutil.copy(self.stderr_path, os.path.join(folder, name))


def quote(text):
    """For query strings."""
    return urllib.parse.quote(text, safe="")
