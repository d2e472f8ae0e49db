"""The peers, as Debian ships them: postgres_exporter, Prometheus, Alertmanager.

pgbouncer_exporter is missing: Debian's dies at start on Debian's own PgBouncer.
"""

import http.client
import os

from cluster import proc, yaml_text

EXPORTER = "prometheus-postgres-exporter"
APPLICATION = "bench_exporter"
LAG_RULE = "PeerLag"

# The exporter has no lag in seconds of its own; this is the query that people give it.
LAG_QUERY = """bench_replication:
  query: "select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 0) as lag
    where pg_is_in_recovery()"
  metrics:
    - lag: {usage: "GAUGE", description: "Age of the last replayed commit."}
"""


def get(port, path="/metrics", timeout=10.0):
    """Status and body; OSError if there is no answer in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Server:
    """A process of a peer, with its scratch directory and port."""

    def __init__(self, ports, name):
        self.port = ports.take()
        self.home = proc.make_scratch(f"pgvigil-bench-{name}-")
        os.chmod(self.home, 0o755)
        proc.own(self.home)
        self.log = os.path.join(self.home, "log")
        self.process = None
        proc.register(self)

    def run(self, command, ready, env=None):
        self.process = proc.spawn(command, home=self.home, log=self.log, env=env)
        proc.wait_until(lambda: self._answers(ready), 20, f"{command[0]} answers", 0.1)
        return self

    def _answers(self, path):
        if self.process.poll() is not None:
            raise proc.Fatal(f"the peer has ended:\n{proc.tail(self.log)}")
        return get(self.port, path)[0] == 200

    def write(self, name, text):
        path = os.path.join(self.home, name)
        proc.write_owned(path, text)
        return path

    @property
    def pid(self):
        return self.process.pid

    def close(self):
        proc.unregister(self)
        proc.kill_tree(self.process)
        proc.remove_scratch(self.home)


def start_exporter(cluster, name, *, lag=False):
    """postgres_exporter on one node; with `lag` it has one query beside its own."""
    server = Server(cluster.ports, "exporter")
    dsn = cluster.monitor_dsn(name) + f" sslmode=disable application_name={APPLICATION}"
    command = [proc.program(EXPORTER), f"--web.listen-address=127.0.0.1:{server.port}"]
    if lag:
        command.append(f"--extend.query-path={server.write('queries.yaml', LAG_QUERY)}")
    return server.run(command, "/", {"DATA_SOURCE_NAME": dsn})


def _start_alertmanager(cluster, webhook):
    server = Server(cluster.ports, "alertmanager")
    route = {"receiver": "hook", "group_wait": "0s", "group_interval": "5s", "group_by": ["..."]}
    receivers = [{"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}]
    path = server.write("am.yml", yaml_text.dump({"route": route, "receivers": receivers}))
    return server.run(
        [
            proc.program("prometheus-alertmanager"),
            f"--config.file={path}",
            f"--storage.path={server.home}/data",
            f"--web.listen-address=127.0.0.1:{server.port}",
            "--cluster.listen-address=",
        ],
        "/-/ready",
    )


def _start_prometheus(cluster, exporters, alertmanager, threshold):
    server = Server(cluster.ports, "prometheus")
    rule = {"alert": LAG_RULE, "expr": f"bench_replication_lag > {threshold}"}
    groups = [{"name": "lag", "rules": [rule]}]
    rules = server.write("rules.yml", yaml_text.dump({"groups": groups}))
    targets = [f"127.0.0.1:{exporter.port}" for exporter in exporters]
    manager = [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [rules],
        "scrape_configs": [{"job_name": "postgres", "static_configs": [{"targets": targets}]}],
        "alerting": {"alertmanagers": [{"static_configs": manager}]},
    }
    return server.run(
        [
            proc.program("prometheus"),
            f"--config.file={server.write('prometheus.yml', yaml_text.dump(config))}",
            f"--storage.tsdb.path={server.home}/data",
            f"--web.listen-address=127.0.0.1:{server.port}",
        ],
        "/-/ready",
    )


class Stack:
    """An exporter for each node, Prometheus and Alertmanager: scrape and evaluation each 5 s."""

    def __init__(self, cluster, webhook, threshold):
        self.exporters = {name: start_exporter(cluster, name, lag=True) for name in cluster.nodes}
        self.alertmanager = _start_alertmanager(cluster, webhook)
        exporters = list(self.exporters.values())
        self.prometheus = _start_prometheus(cluster, exporters, self.alertmanager, threshold)
        self._all = [*exporters, self.alertmanager, self.prometheus]

    @property
    def pids(self):
        return [server.pid for server in self._all]

    def close(self):
        for server in reversed(self._all):
            server.close()
