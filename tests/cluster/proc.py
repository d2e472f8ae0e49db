"""Processes, ports and scratch directories of a test cluster.

Servers never run as root: when we are root, everything that we start runs as `nobody` through
setpriv. Each child asks the kernel for SIGKILL when the thread that started it dies, so nothing
outlives us, not even a kill -9 of ours; that is also why only the main thread may start one.
"""

import atexit
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PORT_FIRST = 12000
PORT_END = 32768  # ephemeral ports begin here: a client connection could take one of ours

_open_things = []  # what atexit closes, newest first


class Fatal(RuntimeError):
    """Waiting longer is of no use: what we wait for has ended."""


def unprivileged_user():
    """(uid, gid) for servers when we are root, else None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _prefix():
    command = ["setpriv", "--pdeathsig", "KILL"]
    user = unprivileged_user()
    if user:
        command += [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
    return command + ["--"]


def environment(home, extra=None):
    """A small environment of known content: no PG* variables of the caller."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": str(home)}
    for name, value in os.environ.items():
        if name.startswith(("ASAN_", "UBSAN_", "LSAN_", "TSAN_", "PGVIGIL_")) or name == "TZ":
            env[name] = value
    env.update(extra or {})
    return env


def spawn(command, *, home, log=None, env=None, foreground=False):
    """Starts a server process. Its output goes to the file `log`, or to ours if foreground."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("servers must be started by the main thread: they die with their thread")
    out = None if foreground else open(log, "ab", buffering=0) if log else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            _prefix() + [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=None if foreground else subprocess.STDOUT,
            env=environment(home, env),
            cwd=str(home),
            start_new_session=True,  # Ctrl-C is for us; we stop the others in order
        )
    finally:
        if hasattr(out, "close"):
            out.close()


def run_any(command, *, home, timeout=60, stdin=None, env=None):
    """Runs a short command as the unprivileged user; its CompletedProcess, whatever its exit code."""
    return subprocess.run(
        _prefix() + [str(part) for part in command],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
        env=environment(home, env),
        cwd=str(home),
        check=False,
    )


def run(command, **more):
    """Runs a short command as the unprivileged user and returns its output; raises when it fails."""
    done = run_any(command, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def tail(path, lines=30):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except OSError as error:
        return f"({error})"


def wait_until(condition, deadline=10.0, what="condition", interval=0.05):
    """Polls until condition() is true and returns its value; AssertionError after `deadline` s.

    An exception of the condition counts as "not yet" and is told when time is up.
    """
    end = time.monotonic() + deadline
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except Fatal:
            raise
        except Exception as error:  # pylint: disable=broad-except
            last = error
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline} s: {what} (last: {last!r})")
        time.sleep(interval)


# ---- process trees ----


def _stat(pid):
    """(ppid, state, start time) of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[0], int(fields[19])


def identity(pid):
    """Something that tells a process from a later one with the same pid, or None if it is gone."""
    stat = _stat(pid)
    return (pid, stat[2]) if stat and stat[1] != "Z" else None


def descendants(pid):
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat:
                children.setdefault(stat[0], []).append(int(name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def signal_quietly(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def stop_tree(pid):
    """SIGSTOPs a process and all below it: the parent first, so that it starts no new ones."""
    signal_quietly(pid, signal.SIGSTOP)
    stopped = [pid]
    for child in descendants(pid):
        signal_quietly(child, signal.SIGSTOP)
        stopped.append(child)
    return stopped


def kill_tree(process, number=signal.SIGTERM, grace=5.0):
    """Ends a child and all below it: `number` first, SIGKILL to whatever is left after `grace`."""
    if process is None:
        return
    below = [identity(pid) for pid in descendants(process.pid)]
    for known in below:
        if known:
            signal_quietly(known[0], signal.SIGCONT)
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    end = time.monotonic() + 1.0
    left = [known for known in below if known and identity(known[0]) == known]
    while left and time.monotonic() < end:
        time.sleep(0.01)
        left = [known for known in left if identity(known[0]) == known]
    for known in left:
        signal_quietly(known[0], signal.SIGKILL)


# ---- ports ----


class Ports:
    """Free loopback ports, ours until release().

    Two clusters that start at once could both find a port free before either binds it, so each
    port is also claimed by an abstract socket: the kernel drops that with the process, there is no
    lock file to go stale.
    """

    def __init__(self):
        self._claims = []

    def take(self):
        for _ in range(500):
            port = random.randrange(PORT_FIRST, PORT_END)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0pgvigil-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
            finally:
                probe.close()
            self._claims.append(claim)
            return port
        raise RuntimeError("no free port found")

    def release(self):
        for claim in self._claims:
            claim.close()
        self._claims = []


# ---- scratch directories and the end ----


def make_scratch(prefix="pgvigil-"):
    """A new directory that the servers' user owns. Short: socket paths must fit into 107 bytes."""
    base = os.environ.get("TMPDIR") or "/tmp"
    if len(base) > 40 or not os.stat(base).st_mode & 0o001:
        base = "/tmp"
    path = tempfile.mkdtemp(prefix=prefix, dir=base)
    own(path)
    return path


def own(path):
    user = unprivileged_user()
    if user:
        os.chown(path, *user)


def write_owned(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    own(path)


def make_owned_dir(path, mode=0o755):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)
    own(path)


def remove_scratch(path):
    # A server that is just dying may still write a file: try again, then leave it.
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.exists(path):
            return
        time.sleep(0.1)


def register(thing):
    """thing.close() is called at exit, unless unregister() came first."""
    _open_things.append(thing)


def unregister(thing):
    if thing in _open_things:
        _open_things.remove(thing)


@atexit.register
def close_all():
    while _open_things:
        _open_things.pop().close()


def exit_on_signals():
    """SIGTERM and SIGHUP become SystemExit, so that `finally` and atexit run."""

    def handler(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGHUP, handler)


def pg_bin():
    """The folder of PostgreSQL's programs: PG_BIN, else the newest that is installed."""
    if os.environ.get("PG_BIN"):
        return os.environ["PG_BIN"]
    found = []
    for root in ("/usr/lib/postgresql", "/usr"):
        if root == "/usr":
            candidates = [("0", "/usr/bin"), ("0", "/usr/local/pgsql/bin")]
        else:
            names = os.listdir(root) if os.path.isdir(root) else []
            candidates = [(name, f"{root}/{name}/bin") for name in names if re.match(r"\d+$", name)]
        found += [
            (int(version), path)
            for version, path in candidates
            if os.path.exists(f"{path}/postgres") and os.path.exists(f"{path}/initdb")
        ]
    if not found:
        raise RuntimeError("no PostgreSQL server found: install it (make deps) or set PG_BIN")
    return max(found)[1]


def program(name, *places):
    for place in places + ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"):
        if os.access(f"{place}/{name}", os.X_OK):
            return f"{place}/{name}"
    raise RuntimeError(f"{name} is not installed: run make deps")
