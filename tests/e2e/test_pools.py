"""PgBouncer driven past its size: what the agent says is what PgBouncer and its clients saw."""

import threading
import time

import psycopg2
import pytest

from cluster import wait_until

CLUSTER = {"replicas": 0, "workload": False, "app_pool": 4, "other_pool": 2}
AGENT = {"intervals": {"pools": "1s"}}
REASONS = {"timeout", "refused", "login_timeout", "server_login"}


class Clients:
    """Clients that hold a server connection each, and clients that wait for one."""

    def __init__(self, pool):
        self.pool = pool
        self.holders = []
        self.waiters = []

    def hold(self, count, dbname="app"):
        for _ in range(count):
            connection = self.pool.connect(dbname)
            connection.cursor().execute("select 1")  # the transaction stays open
            self.holders.append(connection)

    def wait(self, count, dbname="app"):
        """Each asks in a thread of its own and gets an answer when a holder goes."""
        for _ in range(count):
            thread = threading.Thread(target=self._ask, args=(dbname,), daemon=True)
            thread.start()
            self.waiters.append(thread)

    def _ask(self, dbname):
        connection = self.pool.connect(dbname)
        try:
            connection.cursor().execute("select 1")
        except psycopg2.Error:
            pass  # sent away: the test looks for it in the metrics
        finally:
            connection.close()

    def let_go(self):
        for connection in self.holders:
            connection.close()
        self.holders = []
        for thread in self.waiters:
            thread.join(20)
        self.waiters = []


@pytest.fixture(name="clients")
def _clients(cluster):
    found = Clients(cluster.pool)
    yield found
    found.let_go()


def seen(agent, database):
    """(active, idle, waiting, utilization, wait time) of a database's pool."""
    metrics = agent.metrics()
    labels = {"pool": "app", "database": database, "user": "app"}
    size = [
        metrics.value("db_connection_pool_size", state=state, **labels)
        for state in ("active", "idle", "waiting")
    ]
    return (
        *size,
        metrics.value("db_connection_pool_utilization", **labels),
        metrics.value("db_connection_pool_wait_time_seconds", **labels),
    )


def wait_pool(agent, database, active, waiting, utilization):
    def same():
        have = seen(agent, database)
        if (have[0], have[2]) != (active, waiting) or abs(have[3] - utilization) > 1e-9:
            raise AssertionError(f"have {have}")
        return True

    wait_until(same, 10, f"{database}: {active} active, {waiting} waiting, {utilization} busy")


def setting(pool, key):
    return next(row["value"] for row in pool.show("config") if row["key"] == key)


def test_point_7_full_pool_beside_an_idle_one(cluster, agent, receiver, clients):
    clients.hold(1, "other")
    clients.hold(3)
    wait_pool(agent, "app", 3, 0, 0.75)
    metrics = agent.metrics()
    labels = {"pool": "app", "user": "app"}
    assert metrics.value("db_connection_pool_max", database="app", **labels) == 4
    assert metrics.value("db_connection_pool_max", database="other", **labels) == 2
    assert seen(agent, "app")[4] < 1
    waited = metrics.value("db_connection_pool_wait_seconds_total", pool="app", database="app")

    clients.hold(1)
    clients.wait(3)
    began = time.monotonic()
    wait_pool(agent, "app", 4, 3, 1.0)
    fired = receiver.wait_alert("PoolExhausted", database="app", user="app", deadline=15)
    took = time.monotonic() - began
    assert 4.5 <= took <= 5 + 1 + 1 + 1.5, f"fired after {took:.1f} s of waiting"
    assert fired["labels"]["severity"] == "critical" and fired["labels"]["pool"] == "app"
    early = receiver.wait_alert("PoolWaitTimeHigh", database="app")
    assert early["startsAt"] < fired["startsAt"]

    # the longest wait is PgBouncer's own figure, at most one poll old
    own = [row for row in cluster.pool.show("pools") if row["database"] == "app"][0]
    truth = own["maxwait"] + own["maxwait_us"] / 1e6
    wait = seen(agent, "app")[4]
    assert truth - 2 <= wait <= truth + 2, f"{wait} s, PgBouncer says {truth} s"

    # the other database has room, and is not told to be full by the sum of both
    assert seen(agent, "other")[:4] == (1, 0, 0, 0.5)
    assert not receiver.alerts("PoolExhausted", database="other")
    assert not receiver.alerts("PoolWaitTimeHigh", database="other")

    clients.let_go()
    wait_pool(agent, "app", 0, 0, 0.0)
    total = "db_connection_pool_wait_seconds_total"
    after = wait_until(
        lambda: agent.metrics().value(total, pool="app", database="app") - waited > 14
        and agent.metrics().value(total, pool="app", database="app") - waited,
        5,
        "three clients have waited 5 s each",
    )
    assert after < 3 * (time.monotonic() - began)
    wait_until(lambda: seen(agent, "app")[4] < 1, 10, "the wait time is over")
    line = [row for row in agent.cli("status").stdout.splitlines() if row.startswith("app ")]
    assert len(line) == 2, "one row for each database"


def test_point_7_clients_that_were_sent_away_are_counted(cluster, agent, receiver, clients):
    counts = wait_until(
        lambda: agent.metrics().samples("db_connection_pool_errors_total"), 10, "errors by reason"
    )
    assert {labels["reason"] for labels, _value in counts} == REASONS
    assert all(value == 0 for _labels, value in counts), counts

    cluster.pool.configure(query_wait_timeout=1)
    cluster.pool.reload()
    wait_until(lambda: setting(cluster.pool, "query_wait_timeout") == "1", 5, "the new timeout")
    try:
        clients.hold(2, "other")
        clients.wait(2, "other")

        def errors():
            return agent.metrics().value(
                "db_connection_pool_errors_total", pool="app", reason="timeout"
            )

        wait_until(lambda: errors() == 2, 10, "two timeouts")
        fired = receiver.wait_alert("PoolExhausted", pool="app", deadline=10)
        assert "database" not in fired["labels"], "the log's count is per pool"
        with open(cluster.pool.log, encoding="utf-8") as log:
            assert log.read().count("query_wait_timeout") >= 2
        assert errors() == 2
    finally:
        cluster.pool.configure(query_wait_timeout=120)
        cluster.pool.reload()


def test_refused_clients_are_counted(cluster, agent):
    cluster.pool.configure(extra="max_client_conn = 5")
    cluster.pool.reload()
    connections = []
    try:
        with pytest.raises(psycopg2.OperationalError):
            for _ in range(12):
                connections.append(cluster.pool.connect())
        wait_until(
            lambda: agent.metrics().value(
                "db_connection_pool_errors_total", pool="app", reason="refused"
            )
            >= 1,
            10,
            "the refused client is counted",
        )
    finally:
        for connection in connections:
            connection.close()
        cluster.pool.configure(extra="")
        cluster.pool.reload()


def test_pooler_that_is_gone_has_no_figures_and_comes_back(cluster, agent):
    def present():
        return "db_connection_pool_utilization" in agent.metrics()

    def failing():
        return agent.metrics().value(
            "pgvigil_collector_failing", target="app", collector="pools"
        )

    cluster.pool.connect().close()
    wait_until(present, 10, "figures of the pool")
    cluster.pool.stop()
    wait_until(lambda: not present() and failing() == 1, 15, "no figures, and that is told")
    assert agent.alerts() == [], "missing figures are no alert"
    told = [line for line in agent.stderr().splitlines() if "target=app role=console" in line]
    assert sum("session failed" in line for line in told) in (1, 2), told
    cluster.pool.start()
    cluster.pool.connect().close()
    wait_until(lambda: present() and failing() == 0, 40, "figures are back")


def test_log_that_cannot_be_read_gives_no_counts(cluster, make_agent):
    agent = make_agent(intervals={"pools": "1s"})
    agent.config["logs"][0]["path"] = cluster.pool.log + ".missing"
    agent.write_config()
    agent.start()
    wait_until(lambda: "db_connection_pool_max" in agent.metrics(), 10, "figures of the pool")
    assert "db_connection_pool_errors_total" not in agent.metrics(), "unread is not 0"
    assert f"path={cluster.pool.log}.missing" in agent.stderr()
