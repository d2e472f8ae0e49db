"""The whole test cluster: primary, replicas with slots, PgBouncer, load.

    with Cluster(replicas=2) as cluster:
        cluster.pause_replay("replica_1")

Starting takes a few seconds. Several clusters run at once without meeting: each has its own scratch
directory and ports. close() ends every process by its pid and removes the directory; it also runs
at exit, and after SIGTERM if proc.exit_on_signals() was called.
"""

import contextlib
import os
import shutil
import threading
import time

from . import proc
from .pgbouncer import PgBouncer, Workload, fill_tables
from .postgres import Node

MONITOR_PASSWORD = "vigil-test-password"

ROLES = f"""
create role app login;
create role pgvigil login connection limit 10 password '{MONITOR_PASSWORD}';
grant pg_monitor to pgvigil;
create database app owner app;
create database other owner app;
"""


class Cluster:
    """See the module's text. All waiting methods raise AssertionError when their time is up."""

    def __init__(
        self,
        replicas=2,
        *,
        pool=True,
        workload=True,
        rate=50,
        load_seconds=900,
        app_pool=20,
        other_pool=5,
        query_wait_timeout=120,
        pgbouncer_extra="",
        settings="",
        scram=False,
    ):
        self.scratch = None
        self.ports = proc.Ports()
        self.nodes = {}
        self.pool = None
        self.load = None
        self.password = MONITOR_PASSWORD if scram else None
        self._bin = proc.pg_bin()
        self._replicas = replicas
        self._settings = settings
        self._scram = scram
        self._load = {"rate": rate, "seconds": load_seconds} if workload and pool else None
        self._pool = {
            "app_pool": app_pool,
            "other_pool": other_pool,
            "query_wait_timeout": query_wait_timeout,
            "extra": pgbouncer_extra,
        }
        self._with_pool = pool

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exception):
        self.close()

    # ---- start and end ----

    def start(self):
        proc.register(self)
        try:
            self.scratch = proc.make_scratch()
            os.chmod(self.scratch, 0o755)
            primary = self._make_node("primary")
            primary.init()
            primary.start()
            self._fill(primary)
            self._start_replicas(primary)
            if self._with_pool:
                self._start_pool(primary)
            self.wait_streaming()
        except BaseException:
            self.close()
            raise
        return self

    def _make_node(self, name):
        home = os.path.join(self.scratch, name)
        port = self.ports.take()
        node = Node(
            name, home, port, bin_dir=self._bin, settings=self._settings, scram=self._scram
        )
        self.nodes[name] = node
        return node

    def _fill(self, primary):
        slots = [
            f"select pg_create_physical_replication_slot('{name}', true);"
            for name in self.replica_names()
        ]
        primary.psql(ROLES + "".join(slots), dbname="postgres")
        primary.psql("create extension pg_stat_statements; create table beat (t float8)")
        # Always one row: replay may be paused the moment that a heartbeat begins.
        primary.psql("insert into beat values (extract(epoch from now()))")
        if self._load:
            fill_tables(primary.tool("pgbench"), primary)

    def _start_replicas(self, primary):
        copies = []
        for name in self.replica_names():
            node = self._make_node(name)
            command = node.copy_command(primary)
            copies.append((node, proc.spawn(command, home=node.home, log=node.log)))
        for node, copy in copies:
            if copy.wait(120) != 0:
                raise RuntimeError(f"pg_basebackup of {node.name} failed:\n{proc.tail(node.log)}")
            node.become_replica_of(primary)
            node.start(wait=False)
        for node, _copy in copies:
            node.wait_ready()

    def _start_pool(self, primary):
        home = os.path.join(self.scratch, "pgbouncer")
        self.pool = PgBouncer(home, self.ports.take(), primary, **self._pool)
        self.pool.start()
        if self._load:
            self.load = Workload(home, self.pool, primary.tool("pgbench"), **self._load)
            self.load.start()

    def close(self):
        proc.unregister(self)
        if self.load:
            self.load.stop()
        if self.pool:
            self.pool.stop()
        for node in reversed(list(self.nodes.values())):
            node.stop("immediate")
        self.ports.release()
        if self.scratch:
            self.keep_logs()
            proc.remove_scratch(self.scratch)
            self.scratch = None

    def keep_logs(self):
        """Copies the servers' logs to PGVIGIL_KEEP_LOGS, if that is set."""
        folder = os.environ.get("PGVIGIL_KEEP_LOGS")
        if not folder or not os.path.isdir(self.scratch):
            return
        folder = os.path.join(folder, os.path.basename(self.scratch))
        os.makedirs(folder, exist_ok=True)
        for node in self.nodes.values():
            node.keep_logs(folder)
        if self.pool and os.path.exists(self.pool.log):
            shutil.copy(self.pool.log, folder)

    # ---- looking at it ----

    def replica_names(self):
        return [f"replica_{i + 1}" for i in range(self._replicas)]

    def __getitem__(self, name):
        return self.nodes[name]

    @property
    def primary(self):
        """The node named primary; after promote() it may not be the one that takes writes."""
        return self.nodes["primary"]

    @property
    def replicas(self):
        return [self.nodes[name] for name in self.replica_names()]

    def monitor_dsn(self, name, dbname="app"):
        dsn = self.nodes[name].conninfo(dbname, "pgvigil")
        return f"{dsn} password={self.password}" if self.password else dsn

    def wait_streaming(self, upstream="primary", count=None, deadline=30):
        """Until `count` (default: all) replicas stream from `upstream`."""
        count = self._replicas if count is None else count
        sql = "select count(*) from pg_stat_replication where state = 'streaming'"
        proc.wait_until(
            lambda: int(self.nodes[upstream].psql(sql)) >= count,
            deadline,
            f"{count} replicas stream from {upstream}",
        )

    def wait_caught_up(self, name, upstream="primary", deadline=30):
        """Until the replica has replayed what the upstream had written when this was called."""
        target = self.nodes[upstream].psql("select pg_current_wal_lsn()")
        sql = f"select pg_last_wal_replay_lsn() >= '{target}'::pg_lsn"
        proc.wait_until(
            lambda: self.nodes[name].psql(sql) == "t", deadline, f"{name} has replayed {target}"
        )

    # ---- doing things to it: a node's methods by its name ----

    def psql(self, name, sql, **more):
        return self.nodes[name].psql(sql, **more)

    def execute(self, name, sql, params=None, **more):
        return self.nodes[name].execute(sql, params, **more)

    def pause_replay(self, name):
        self.nodes[name].pause_replay()

    def resume_replay(self, name):
        self.nodes[name].resume_replay()

    def stop_receiver(self, name):
        self.nodes[name].stop_receiver()

    def start_receiver(self, name):
        self.nodes[name].start_receiver()

    def sigstop(self, name):
        self.nodes[name].sigstop()

    def sigcont(self, name):
        self.nodes[name].sigcont()

    def stop_node(self, name, mode="fast"):
        self.nodes[name].stop(mode)

    def start_node(self, name):
        self.nodes[name].start()

    def restart_node(self, name, mode="fast"):
        self.nodes[name].restart(mode)

    def promote(self, name):
        self.nodes[name].promote()

    def heal(self):
        """Undoes pauses, cuts, freezes and stops. Not a promotion: use a new cluster after one."""
        for node in self.nodes.values():
            node.sigcont()
            node.start()
        for node in self.replicas:
            if node.psql("select pg_get_wal_replay_pause_state()") != "not paused":
                node.resume_replay()
            if node.psql("select current_setting('primary_conninfo') = ''") == "t":
                node.start_receiver()
        if self.pool:
            self.pool.sigcont() if self.pool.running() else self.pool.start()
        if self.load and not self.load.running():
            self.load.start()
        self.wait_streaming()

    def heartbeat(self, period=0.1):
        """Ground truth of staleness, see Heartbeat."""
        return Heartbeat(self, period)


class Heartbeat:
    """Writes the time into a row of the primary every `period`, and reads how old it is elsewhere.

        with cluster.heartbeat() as beat:
            assert beat.lag("replica_1") < 1

    The true staleness lies in [lag - period - one round trip, lag]: the reading cannot be lower
    than the truth. It writes, so it is of no use for a test of an idle primary.
    """

    def __init__(self, cluster, period):
        self._cluster = cluster
        self._period = period
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._cluster.primary.execute("update beat set t = %s", (time.time(),))
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._end.set()
        self._thread.join(10)

    def _run(self):
        connection = None
        while not self._end.wait(self._period):
            try:
                if connection is None:
                    connection = self._cluster.primary.connect()
                    connection.autocommit = True
                connection.cursor().execute("update beat set t = %s", (time.time(),))
            except Exception:  # pylint: disable=broad-except
                connection = None  # the test stopped the primary: go on when it is back
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def lag(self, name):
        """Seconds by which the newest beat that the node shows is old."""
        beat = self._cluster[name].value("select t from beat")
        return time.time() - beat
