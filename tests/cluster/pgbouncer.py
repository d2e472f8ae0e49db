"""PgBouncer before the primary, and the bounded load that goes through it."""

import os
import signal
import socket

from . import proc

CONFIG = """[databases]
app = host=127.0.0.1 port={upstream_port} dbname=app pool_size={app_pool}
other = host=127.0.0.1 port={upstream_port} dbname=other pool_size={other_pool}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {home}/users.txt
admin_users = postgres
stats_users = pgvigil
logfile = {log}
pool_mode = transaction
max_client_conn = 200
default_pool_size = {app_pool}
query_wait_timeout = {query_wait_timeout}
ignore_startup_parameters = extra_float_digits
{extra}
"""


class PgBouncer:
    """`app` and `other`: two databases of the primary, each with its pool."""

    def __init__(self, directory, port, upstream, *, app_pool, other_pool, query_wait_timeout, extra):
        self.name = "pgbouncer"
        self.home = directory
        self.port = port
        self.log = os.path.join(directory, "pgbouncer.log")
        self.process = None
        self._ini = os.path.join(directory, "pgbouncer.ini")
        self._options = {
            "app_pool": app_pool,
            "other_pool": other_pool,
            "query_wait_timeout": query_wait_timeout,
            "extra": extra,
        }
        proc.make_owned_dir(directory)
        users = '"postgres" ""\n"app" ""\n"pgvigil" ""\n'
        proc.write_owned(os.path.join(directory, "users.txt"), users)
        self.configure(upstream)

    def configure(self, upstream=None, **options):
        """Writes pgbouncer.ini anew with other values; reload() or start() makes it count."""
        if upstream is not None:
            self._options["upstream_port"] = upstream.port
        self._options.update(options)
        text = CONFIG.format(port=self.port, home=self.home, log=self.log, **self._options)
        proc.write_owned(self._ini, text)

    def conninfo(self, dbname="pgbouncer", user="pgvigil"):
        return f"host=127.0.0.1 port={self.port} dbname={dbname} user={user}"

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        if self.running():
            return
        # Its own log file is what the agent tails; stdout would only repeat it.
        program = proc.program("pgbouncer")
        self.process = proc.spawn([program, "-q", self._ini], home=self.home)
        proc.wait_until(self._accepts, 10, "pgbouncer accepts connections", 0.02)

    def _accepts(self):
        if not self.running():
            raise proc.Fatal(f"pgbouncer ended while starting:\n{proc.tail(self.log)}")
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def sigstop(self):
        self.process.send_signal(signal.SIGSTOP)

    def sigcont(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        proc.kill_tree(self.process, signal.SIGTERM)
        self.process = None

    def connect(self, dbname="app", user="app", **more):
        """A psycopg2 client connection through the pool."""
        import psycopg2  # pylint: disable=import-outside-toplevel

        more.setdefault("connect_timeout", 5)
        return psycopg2.connect(self.conninfo(dbname, user), **more)

    def show(self, what):
        """Rows of SHOW ... as dicts, by the admin user."""
        connection = self.connect("pgbouncer", "postgres")
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(f"show {what}")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
        finally:
            connection.close()


class Workload:
    """pgbench at a fixed rate for a bounded time, through PgBouncer; may be started again."""

    def __init__(self, directory, bouncer, tool, *, rate=50, clients=4, seconds=900):
        self.home = directory
        self.log = os.path.join(directory, "pgbench.log")
        self.rate = rate
        self.clients = clients
        self.seconds = seconds
        self.process = None
        self._bouncer = bouncer
        self._tool = tool

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, rate=None):
        self.stop()
        self.rate = rate or self.rate
        command = [self._tool, "-n", "-M", "simple", "-c", self.clients, "-R", self.rate]
        command += ["-T", self.seconds, "-h", "127.0.0.1", "-p", self._bouncer.port]
        self.process = proc.spawn(command + ["-U", "app", "app"], home=self.home, log=self.log)

    def stop(self):
        if self.process is None:
            return
        proc.kill_tree(self.process, signal.SIGINT, grace=2)
        self.process = None

    def finished(self):
        """True when the bound was reached."""
        return self.process is not None and self.process.poll() is not None


def fill_tables(tool, node):
    """pgbench's tables at scale 1, owned by the application role."""
    command = [tool, "-q", "-i", "-s", "1", "-h", "127.0.0.1", "-p", node.port, "-U", "app", "app"]
    proc.run(command, home=node.home)
