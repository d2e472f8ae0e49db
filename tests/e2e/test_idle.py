"""An idle primary and one bulk transaction: nothing visible is missing, so nothing happens."""

import threading
import time

IDLE = 90
CLUSTER = {"replicas": 2, "pool": False}
AGENT = {"gate": {"max_lag": "3s", "hold": "3s"}}
ROWS = 150_000


class Watch:
    """Looks at lag, files and alerts all the while, from a thread of its own."""

    def __init__(self, agent):
        self.agent = agent
        self.lags = []  # (seconds since the start, replica, lag)
        self.wrong = []
        self._began = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._end.set()
        self._thread.join(10)

    def _run(self):
        while not self._end.wait(0.2):
            try:
                self._look()
            except Exception as error:  # pylint: disable=broad-except
                self.wrong.append(repr(error))

    def _look(self):
        at = time.monotonic() - self._began
        metrics = self.agent.metrics()
        for name in ("replica_1", "replica_2"):
            self.lags.append((at, name, metrics.value("db_replication_lag_seconds", replica=name)))
        files = self.agent.health_files()
        if files != ["replica_1.read", "replica_2.read"]:
            self.wrong.append(f"after {at:.1f} s the files are {files}")
        if self.agent.alerts():
            self.wrong.append(f"after {at:.1f} s: {self.agent.alerts()}")


def bulk_transaction(cluster):
    """Rows in two parts, over a time in which replicas replay WAL that shows nothing yet."""
    connection = cluster.primary.connect()
    try:
        cursor = connection.cursor()
        cursor.execute("create table bulk (id int, filler text)")
        for _part in range(2):
            cursor.execute(
                "insert into bulk select g, repeat('x', 60) from generate_series(1, %s) g", (ROWS,)
            )
            cursor.execute("select pg_sleep(3)")
        connection.commit()
    finally:
        connection.close()


def test_point_3_idle_primary_and_bulk_transaction_are_no_lag(cluster, agent, receiver):
    agent.wait_files("replica_1.read", "replica_2.read")
    flips = agent.stderr().count(" flip ")
    with Watch(agent) as watch:
        time.sleep(IDLE)  # the span itself is what is tested
        cluster.execute("primary", "checkpoint")
        bulk_transaction(cluster)
        for name in ("replica_1", "replica_2"):
            cluster.wait_caught_up(name)
            assert cluster[name].value("select count(*) from bulk") == 2 * ROWS
        time.sleep(3)  # what comes late would come now
    assert not watch.wrong, watch.wrong[:5]
    assert len(watch.lags) > 2 * IDLE
    assert all(lag is not None for _at, _name, lag in watch.lags)
    worst = max(watch.lags, key=lambda seen: seen[2])
    assert worst[2] < 2, f"lag of {worst[1]} was {worst[2]} s after {worst[0]:.0f} s"
    assert agent.stderr().count(" flip ") == flips
    assert receiver.requests == []
