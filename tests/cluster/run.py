"""`make run`: a scratch cluster under light load, the agent in the foreground, and what to try.

Ends, and removes everything, with Ctrl-C, SIGTERM, or when the agent ends. SIGUSR1 mends what was
paused, stopped or frozen.
"""

import argparse
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster import proc  # noqa: E402 pylint: disable=wrong-import-position
from cluster.agent import REPO  # noqa: E402 pylint: disable=wrong-import-position
from cluster import Agent, Cluster, Receiver  # noqa: E402 pylint: disable=wrong-import-position

MAX_LAG = "10s"
POOL = 10
LOAD_SECONDS = 4 * 3600  # the load is bounded even if nobody ends this

TEXT = """
  page         http://127.0.0.1:{port}/
  metrics      http://127.0.0.1:{port}/metrics
  alerts       http://127.0.0.1:{port}/api/v1/alerts
  for routers  http://127.0.0.1:{port}/replica?node=replica_1   (200 or 503)
  health files {health}
  config       {config}

  PostgreSQL {nodes}; PgBouncer {pool}, pool of {size}; {rate} transactions a second
  A replica leaves routing at {max_lag} of lag. Webhooks of alerts are printed here.

Three things to try, in another terminal:

1. Pause replay on a replica: after {max_lag} its file goes, its check answers 503, alerts follow.
     {psql} -h 127.0.0.1 -p {replica_1} -U postgres -c 'select pg_wal_replay_pause()' postgres
     while sleep 1; do date; grep . {health}/*.read; done
     {psql} -h 127.0.0.1 -p {replica_1} -U postgres -c 'select pg_wal_replay_resume()' postgres

2. Drive the pool past its size for a minute: utilisation, waiting clients, PoolExhausted.
     {pgbench} -n -c 30 -T 60 -h 127.0.0.1 -p {pool} -U app -f {slow} app

3. Stop a replica: ReplicaDown. Then start it again.
     kill -INT {replica_2_pid}
     kill -USR1 {pid}     (mends everything that is paused, stopped or frozen)

Ctrl-C ends all of it.
"""


def print_alerts(request):
    for alert in request.alerts:
        labels = alert.get("labels", {})
        about = " ".join(f"{k}={v}" for k, v in sorted(labels.items()) if k != "alertname")
        print(f"webhook: {alert.get('status')} {labels.get('alertname')} {about}", flush=True)


def print_help(cluster, agent):
    primary = cluster.primary
    slow = os.path.join(cluster.scratch, "slow.sql")
    proc.write_owned(slow, "select pg_sleep(8);\n")
    print(
        TEXT.format(
            port=agent.port,
            health=agent.health_dir,
            config=agent.config_path,
            nodes=", ".join(f"{node.name} {node.port}" for node in cluster.nodes.values()),
            pool=cluster.pool.port,
            size=POOL,
            rate=cluster.load.rate,
            max_lag=MAX_LAG,
            psql=primary.tool("psql"),
            pgbench=primary.tool("pgbench"),
            slow=slow,
            replica_1=cluster["replica_1"].port,
            replica_2_pid=cluster["replica_2"].process.pid,
            pid=os.getpid(),
        ),
        flush=True,
    )


def watch(cluster, agent, until):
    """Until the agent ends (returns its code) or `until` (0)."""
    mend = []
    signal.signal(signal.SIGUSR1, lambda *_: mend.append(True))
    while time.monotonic() < until:
        code = agent.process.poll()
        if code is not None:
            print(f"the agent ended with {code}", file=sys.stderr)
            return code if code > 0 else 1
        if mend:
            mend.clear()
            try:
                cluster.heal()
                print("mended: everything runs", flush=True)
            except (AssertionError, RuntimeError, SystemExit) as error:
                print(f"not mended: {error}", file=sys.stderr)
        time.sleep(0.2)
    return 0


def demo(binary, seconds):
    print("starting PostgreSQL (primary, 2 replicas), PgBouncer and a light load ...", flush=True)
    began = time.monotonic()
    receiver = Receiver(on_request=print_alerts)
    with Cluster(replicas=2, app_pool=POOL, load_seconds=LOAD_SECONDS) as cluster:
        agent = Agent(
            cluster,
            gate={"max_lag": MAX_LAG, "hold": "5s"},
            webhook=receiver.url,
            binary=binary,
            foreground=True,
        )
        try:
            agent.start()
            print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
            print_help(cluster, agent)
            until = time.monotonic() + (seconds or float("inf"))
            return watch(cluster, agent, until)
        finally:
            # From here on a second Ctrl-C must not leave half of it behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("stopping everything ...", flush=True)
            agent.close(check=False)
            receiver.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=os.path.join(REPO, "build", "pgvigil"))
    parser.add_argument("--config", help="watch what this file names; no scratch cluster")
    parser.add_argument("--seconds", type=float, help="end by itself after this time")
    args = parser.parse_args()
    if args.config:
        os.execv(args.binary, [args.binary, "run", "--config", args.config])
    proc.exit_on_signals()
    try:
        return demo(args.binary, args.seconds)
    except KeyboardInterrupt:
        return 0
    except (AssertionError, RuntimeError, OSError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
