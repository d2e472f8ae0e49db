"""One PostgreSQL server of the test cluster: primary or streaming replica."""

import os
import re
import select
import shutil
import signal
import time

from . import proc

# fsync and full_page_writes off: this data is thrown away, and several clusters share two cores.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{socket_dir}'
max_connections = 60
shared_buffers = 32MB
fsync = off
full_page_writes = off
jit = off
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = 64MB
max_wal_size = 512MB
hot_standby = on
hot_standby_feedback = off
wal_retrieve_retry_interval = 500ms
shared_preload_libraries = 'pg_stat_statements'
log_line_prefix = '%m [%p] %a '
{extra}
"""

HBA = """
local all all trust
{monitor}host all all 127.0.0.1/32 trust
local replication all trust
host replication all 127.0.0.1/32 trust
"""


class Node:
    """A server; `name` stays, its role may change (promote)."""

    def __init__(self, name, directory, port, *, bin_dir, settings="", scram=False):
        self.name = name
        self.port = port
        self.bin_dir = bin_dir
        self.home = directory
        self.data = os.path.join(directory, "data")
        self.log = os.path.join(directory, "postgres.log")
        self.process = None
        self.stopped = []  # pids under SIGSTOP
        self._settings = settings
        self._scram = scram

    def __repr__(self):
        return f"<{self.name} port {self.port}>"

    def conninfo(self, dbname="app", user="postgres", **more):
        words = {"host": "127.0.0.1", "port": self.port, "dbname": dbname, "user": user, **more}
        return " ".join(f"{key}={value}" for key, value in words.items())

    def tool(self, name):
        return proc.program(name, self.bin_dir)

    # ---- making it ----

    def init(self):
        proc.make_owned_dir(self.home, 0o755)
        proc.run(
            [self.tool("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
            + ["--locale=C", "--no-sync"],
            home=self.home,
        )
        conf = SETTINGS.format(socket_dir=self.home, extra=self._settings)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(conf)
        monitor = "host all pgvigil 127.0.0.1/32 scram-sha-256\n" if self._scram else ""
        proc.write_owned(os.path.join(self.data, "pg_hba.conf"), HBA.format(monitor=monitor), 0o600)
        self._own_settings("")

    def copy_command(self, upstream):
        """The pg_basebackup that makes this node a copy of `upstream`."""
        proc.make_owned_dir(self.home, 0o755)
        return [self.tool("pg_basebackup"), "-D", self.data, "-d"] + [
            upstream.conninfo("postgres"),
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
        ]

    def become_replica_of(self, upstream):
        """Settings and signal file of a standby, in a fresh copy. Its slot bears its name."""
        source = f"host=127.0.0.1 port={upstream.port} user=postgres application_name={self.name}"
        self._own_settings(f"primary_conninfo = '{source}'\nprimary_slot_name = '{self.name}'\n")
        proc.write_owned(os.path.join(self.data, "standby.signal"), "", 0o600)

    def _own_settings(self, text):
        """What differs from node to node; included last, so that a copy can simply replace it."""
        conf = os.path.join(self.data, "postgresql.conf")
        with open(conf, encoding="utf-8") as file:
            if "include = 'node.conf'" not in file.read():
                with open(conf, "a", encoding="utf-8") as more:
                    more.write("include = 'node.conf'\n")
        own = f"port = {self.port}\ncluster_name = '{self.name}'\n"
        own += f"unix_socket_directories = '{self.home}'\n{text}"
        proc.write_owned(os.path.join(self.data, "node.conf"), own, 0o600)

    # ---- life ----

    def start(self, wait=True):
        if self.running():
            return
        pid_file = os.path.join(self.data, "postmaster.pid")
        if os.path.exists(pid_file):
            os.unlink(pid_file)  # left by a killed server of ours; its pid may be anybody's now
        self.process = proc.spawn(
            [self.tool("postgres"), "-D", self.data], home=self.home, log=self.log
        )
        if wait:
            self.wait_ready()

    def wait_ready(self, deadline=30):
        proc.wait_until(self._ready, deadline, f"{self.name} accepts connections", 0.02)

    def _ready(self):
        if self.process.poll() is not None:
            raise proc.Fatal(f"{self.name} ended while starting:\n{proc.tail(self.log)}")
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
            lines = file.read().split("\n")
        return int(lines[0]) == self.process.pid and len(lines) > 7 and lines[7].strip() == "ready"

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, mode="fast"):
        """fast, immediate, or kill (SIGKILL to the postmaster)."""
        if not self.running():
            return
        number = {
            "fast": signal.SIGINT,
            "immediate": signal.SIGQUIT,
            "kill": signal.SIGKILL,
        }[mode]
        proc.kill_tree(self.process, number)
        self.process = None
        self.stopped = []

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def sigstop(self):
        """Freezes the server: it keeps its sockets open and answers nothing."""
        self.stopped = proc.stop_tree(self.process.pid)

    def sigcont(self):
        for pid in reversed(self.stopped):
            proc.signal_quietly(pid, signal.SIGCONT)
        self.stopped = []

    # ---- SQL ----

    def psql(self, sql, dbname="app", user="postgres", timeout=30):
        """Runs SQL with psql (no psycopg2 needed); returns unaligned rows as one text."""
        command = [self.tool("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d"]
        out = proc.run(
            command + [self.conninfo(dbname, user, connect_timeout=5)],
            home=self.home,
            stdin=sql,
            timeout=timeout,
        )
        return out.strip("\n")

    def connect(self, dbname="app", user="postgres", **more):
        """A blocking psycopg2 connection, for tests that hold a transaction or a lock."""
        import psycopg2  # pylint: disable=import-outside-toplevel

        more.setdefault("connect_timeout", 5)
        return psycopg2.connect(self.conninfo(dbname, user, **more))

    def execute(self, sql, params=None, *, dbname="app", user="postgres", timeout=10.0):
        """One statement on a connection of its own, in autocommit, with a deadline that also holds
        when the server is frozen. Returns the rows, or the row count if there are none."""
        import psycopg2  # pylint: disable=import-outside-toplevel

        end = time.monotonic() + timeout
        connection = psycopg2.connect(self.conninfo(dbname, user), async_=1)
        try:
            _wait(connection, end, self.name)
            cursor = connection.cursor()
            cursor.execute(sql, params)
            _wait(connection, end, self.name)
            return cursor.fetchall() if cursor.description else cursor.rowcount
        finally:
            connection.close()

    def value(self, sql, params=None, **more):
        """The first column of the first row."""
        return self.execute(sql, params, **more)[0][0]

    # ---- replication ----

    def in_recovery(self):
        return self.value("select pg_is_in_recovery()")

    def pause_replay(self):
        self.psql("select pg_wal_replay_pause()")
        paused = "select pg_get_wal_replay_pause_state()"
        proc.wait_until(lambda: self.psql(paused) == "paused", 10, f"{self.name} has paused replay")

    def resume_replay(self):
        self.psql("select pg_wal_replay_resume()")

    def stop_receiver(self):
        """Cuts the replica off from its upstream; it runs on and still serves old data. Not while
        replay is paused: the startup process that ends the receiver is the one that waits."""
        self._set_source("alter system set primary_conninfo = ''", 0)

    def start_receiver(self):
        self._set_source("alter system reset primary_conninfo", 1)

    def _set_source(self, change, receivers):
        self.psql(change)
        self.psql("select pg_reload_conf()")
        count = "select count(*) from pg_stat_wal_receiver where status = 'streaming'"
        if not receivers:
            count = "select count(*) from pg_stat_wal_receiver"
        what = f"{self.name} has {receivers} WAL receivers"
        proc.wait_until(lambda: self.psql(count) == str(receivers), 20, what)

    def promote(self):
        self.psql("select pg_promote(true, 30)", timeout=40)
        proc.wait_until(
            lambda: self.psql("select pg_is_in_recovery()") == "f", 30, f"{self.name} is promoted"
        )

    def follow(self, upstream):
        """Streams from another node from now on (cascades, and replicas after a failover)."""
        have = f"select 1 from pg_replication_slots where slot_name = '{self.name}'"
        if upstream.psql(have) != "1":
            upstream.psql(f"select pg_create_physical_replication_slot('{self.name}', true)")
        self.become_replica_of(upstream)
        if self.running():
            self.start_receiver()

    def keep_logs(self, folder):
        if os.path.exists(self.log):
            shutil.copy(self.log, os.path.join(folder, f"{self.name}.log"))

    def log_lines(self, pattern):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return [line for line in file if re.search(pattern, line)]


def _wait(connection, end, name):
    import psycopg2  # pylint: disable=import-outside-toplevel
    from psycopg2 import extensions  # pylint: disable=import-outside-toplevel

    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        left = end - time.monotonic()
        if left <= 0:
            raise psycopg2.OperationalError(f"{name}: no answer in time")
        fd = [connection.fileno()]
        read, write = (fd, []) if state == extensions.POLL_READ else ([], fd)
        select.select(read, write, [], left)
