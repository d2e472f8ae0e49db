"""Two hours of samples as an agent would have written them, for two evaluators to agree on.

Each metric has series whose values cross what the rules look for: healthy phases, a lag spike, an
exhausted pool, restarts that set counters back, series that end and come again. Samples stand 3 s
behind multiples of 15 s, so that neither whole minutes nor a query at :07 or :30 meets one at the
left edge of a window, where Prometheus 2 and 3 differ.
"""

import random

STEP_MS = 15000
COUNT = 480
GRID_MS = 3000

GAP = None

BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]
# Labels that the prefix of a recorded series' name may list.
LEVELS = ["cluster", "node", "replica", "pool", "database", "user", "query_type", "query_id", "le"]


def phases(*parts):
    """Values by phase: (share of the time, value or (low, high) or GAP)."""

    def values(rng):
        out = []
        for share, value in parts:
            for _ in range(round(share * COUNT)):
                out.append(rng.uniform(*value) if isinstance(value, tuple) else value)
        return (out + [out[-1]] * COUNT)[:COUNT]

    return values


def steady(value):
    return phases((1, value))


def counter(*parts, start=1e6, restarts=()):
    """A counter whose steps are `parts`; it begins again at 0 at each share of restarts."""

    def values(rng):
        steps = phases(*parts)(rng)
        back = {round(share * COUNT) for share in restarts}
        out, now = [], start
        for i, step in enumerate(steps):
            now = 0 if i in back else now
            out.append(step if step is GAP else now)
            now += step or 0
        return out

    return values


def ended(values, *spans):
    """Without the samples of the spans. No stale markers: OpenMetrics text cannot carry them."""

    def cut(rng):
        out = values(rng)
        for begin, end in spans:
            first, last = round(begin * COUNT), round(end * COUNT)
            out[first:last] = [GAP] * (last - first)
        return out

    return cut


def buckets(labels, rate):
    """Cumulative buckets of a histogram; the share below each bound drifts."""
    made = []
    for k, bound in enumerate([*BUCKETS, None]):
        share = (k + 1) / (len(BUCKETS) + 1)
        name = "+Inf" if bound is None else f"{bound:g}"
        steps = counter(
            (0.4, rate * share**2), (0.3, rate * share**0.2), (0.3, rate * share), restarts=(0.55,)
        )
        made.append(({**labels, "le": name}, steps))
    return made


def node(name):
    return {"cluster": "main", "node": name}


def replica(name):
    return {"cluster": "main", "replica": name}


def each_node(values):
    return [(node(name), values) for name in ("pg1", "pg2", "pg3")]


def per_cluster(values, other=steady(0)):
    return [({"cluster": "main"}, values), ({"cluster": "other"}, other)]


def flag(on=(0.3, 0.1)):
    """0, then 1 for a while, then 0."""
    return phases((on[0], 0), (on[1], 1), (1 - sum(on), 0))


APP = {"cluster": "main", "pool": "app", "database": "app", "user": "web"}
BATCH = {"cluster": "main", "pool": "app", "database": "batch", "user": "job"}
EXHAUSTED = phases((0.3, (0.2, 0.6)), (0.05, (0.91, 0.94)), (0.1, (0.955, 0.99)), (0.1, 1), (0.45, (0.3, 0.92)))

SERIES = {
    "db_connection_pool_utilization": [(APP, EXHAUSTED), (BATCH, ended(EXHAUSTED, (0.2, 0.35)))],
    "db_connection_pool_wait_time_seconds": [
        (APP, phases((0.45, (0, 0.2)), (0.1, (4, 9)), (0.45, (0, 2)))),
        (BATCH, phases((0.6, 0), (0.4, (0.5, 1.5)))),
    ],
    "db_connection_pool_errors_total": [
        ({"cluster": "main", "pool": "app", "reason": "timeout"}, counter((0.4, 0), (0.2, (0, 3)), (0.4, 0))),
        ({"cluster": "main", "pool": "app", "reason": "refused"}, counter((1, (0, 1)), restarts=(0.3, 0.7))),
    ],
    "db_connection_pool_wait_seconds_total": [({"cluster": "main", "pool": "app"}, counter((1, (0, 40))))],
    "db_connection_pool_queries_total": [
        ({"cluster": "main", "pool": "app"}, counter((1, (500, 900)), restarts=(0.6,)))
    ],
    "db_connection_pool_wait_time_seconds_bucket": buckets({"cluster": "main", "pool": "api"}, 40),
    "db_replication_lag_seconds": [
        (replica("pg2"), phases((0.3, (0, 0.05)), (0.1, (40, 70)), (0.2, (100, 300)), (0.4, (0, 1)))),
        (replica("pg3"), ended(phases((0.5, 0), (0.5, (3600, 3700))), (0.2, 0.23), (0.7, 0.9))),
    ],
    "db_replica_expected_delay_seconds": [(replica("pg2"), steady(0)), (replica("pg3"), steady(3600))],
    "db_replica_health": [(replica("pg2"), steady(1)), (replica("pg3"), phases((0.7, 1), (0.2, 0), (0.1, 1)))],
    "db_replica_streaming": [
        (replica("pg2"), phases((0.8, 1), (0.1, 0), (0.1, 1))),
        (replica("pg3"), phases((0.7, 1), (0.3, 0))),
    ],
    "db_replica_healthy_seconds_total": [
        (replica("pg2"), counter((1, 15))),
        (replica("pg3"), counter((0.7, 15), (0.2, 0), (0.1, 15), restarts=(0.5,))),
    ],
    "db_replica_observed_seconds_total": [
        (replica("pg2"), counter((1, 15))),
        (replica("pg3"), counter((1, 15), restarts=(0.5,))),
    ],
    "db_reads_on_primary": per_cluster(flag((0.4, 0.2)), phases((0.5, 0), (0.5, GAP))),
    "db_split_brain": per_cluster(flag()),
    "db_replicas": per_cluster(steady(2), steady(1)),
    "db_replicas_fresh": per_cluster(phases((0.3, 2), (0.4, 1), (0.2, 0), (0.1, 2)), steady(1)),
    "db_replicas_min_fresh": per_cluster(steady(1), steady(1)),
    "db_up": [
        (node("pg1"), phases((0.8, 1), (0.1, 0), (0.1, 1))),
        (node("pg2"), steady(1)),
        (node("pg3"), ended(steady(1), (0.7, 0.9))),
        ({"cluster": "other", "node": "px"}, phases((0.6, 1), (0.4, 0))),
    ],
    "db_node_role": [
        ({**node(name), "role": role}, steady(float(role == ("primary" if name == "pg1" else "replica"))))
        for name in ("pg1", "pg2", "pg3")
        for role in ("primary", "replica", "unknown")
    ]
    + [({"cluster": "other", "node": "px", "role": "primary"}, steady(1))],
    "db_node_unobservable": [
        ({**node("pg1"), "role": "primary", "reason": "login"}, flag((0.2, 0.2))),
        ({**node("pg2"), "role": "replica", "reason": "grant"}, flag((0.5, 0.3))),
        ({**node("pg3"), "role": "unknown", "reason": "name"}, flag((0.3, 0.5))),
        ({**node("px"), "cluster": "other", "role": "unknown"}, flag((0.1, 0.1))),
    ],
    "db_primary_unseen": per_cluster(flag((0.5, 0.2))),
    "db_slow_queries_total": [
        ({**node("pg1"), "threshold": "100ms"}, counter((0.3, (0, 1)), (0.2, (3, 8)), (0.5, 0), restarts=(0.8,))),
        ({**node("pg1"), "threshold": "1s"}, counter((1, (0, 0.2)))),
        ({**node("pg2"), "threshold": "100ms"}, counter((0.6, 0), (0.4, (2, 4)))),
    ],
    "db_transactions_total": [
        ({**node(name), "database": "app", "outcome": outcome}, counter((0.5, rate), (0.5, (0, rate)), restarts=(0.6,)))
        for name in ("pg1", "pg2")
        for outcome, rate in (("commit", 1500), ("rollback", 20))
    ],
    "db_query_duration_seconds_bucket": [
        series
        for kind, rate in (("simple_lookup", 400), ("search", 60), ("recommendation", 30), ("feature_batch", 5))
        for series in buckets({**node("pg1"), "query_type": kind}, rate)
    ],
    "db_statements_seconds_total": [
        ({**node("pg1"), "query_id": str(k)}, counter((1, (0, k)), restarts=(0.5,))) for k in range(1, 31)
    ],
    "db_statements_calls_total": [
        ({**node("pg1"), "query_id": str(k)}, counter((1, (0, 31 - k)), restarts=(0.5,))) for k in range(1, 31)
    ],
    "db_slot_retained_bytes": [({**node("pg1"), "slot": "pg3"}, phases((0.5, (0, 1e9)), (0.5, (1e10, 3e10))))],
    "db_slot_lost": [({**node("pg1"), "slot": "pg3"}, flag((0.8, 0.1)))],
    "db_connections": [
        ({**node(name), "state": state}, phases((0.4, (1, 20)), (0.2, (30, 60)), (0.4, (1, 20))))
        for name in ("pg1", "pg2", "pg3")
        for state in ("active", "idle")
    ],
    "db_connections_max": each_node(steady(97)),
    "db_longest_idle_in_transaction_seconds": each_node(phases((0.5, 0), (0.3, (0, 2000)), (0.2, 0))),
    "db_xid_age": [
        ({**node(name), "database": "app"}, phases((0.7, (1e8, 2e8)), (0.3, (1.1e9, 1.2e9)))) for name in ("pg1", "pg2")
    ],
    "db_archive_failures_total": each_node(counter((0.5, 0), (0.1, 1), (0.4, 0))),
    "db_required_index": [
        ({**node("pg1"), "index": name}, values) for name, values in (("orders_pkey", steady(1)), ("orders_at", flag()))
    ],
    "db_partition_ahead_seconds": [({**node("pg1"), "table": "orders"}, phases((0.4, 5e6), (0.4, 1e6), (0.2, 1e5)))],
    "db_partition_default_rows": [({**node("pg1"), "table": "orders"}, phases((0.5, 0), (0.5, 12)))],
    "db_partition_expired": [({**node("pg1"), "table": "orders"}, phases((0.7, 0), (0.3, 2)))],
    "db_nplus1_suspects": [(node("pg1"), phases((0.9, 0), (0.1, 3)))],
    "pgvigil_alert_firing": [
        ({"cluster": "main", "alertname": "ReplicationLagWarning", "severity": "warning", "replica": "pg2"}, flag((0.4, 0.3))),
        ({"cluster": "main", "alertname": "PoolExhausted", "severity": "critical", "pool": "app"}, flag((0.5, 0.1))),
    ],
    "pgvigil_outbox_oldest_seconds": [({"cluster": "main"}, phases((0.6, 0), (0.2, (0, 400)), (0.2, 0)))],
    # of the 5 minutes of each sample; a day of observed time is needed before it counts
    "cluster_replica:db_replica_observed_seconds:increase5m": [(replica("pg2"), steady(300)), (replica("pg3"), steady(300))],
    "cluster_replica:db_replica_healthy_seconds:increase5m": [
        (replica("pg2"), steady(300)),
        (replica("pg3"), phases((0.7, 300), (0.2, 0), (0.1, 300))),
    ],
    "pgvigil_build_info": [({"cluster": "main", "version": "1.2.3"}, steady(1))],
}


def recorded(name):
    """Series of a recording rule: the prefix of its name tells the labels."""
    prefix = name.split(":")[0]
    labels = {}
    for level in sorted(LEVELS, key=len, reverse=True):
        padded = f"_{prefix}_"
        if f"_{level}_" in padded:
            labels[level] = "app"
            prefix = padded.replace(f"_{level}_", "_").strip("_")
    kinds = [{}]
    if "query_type" in labels:
        kinds = [{"query_type": kind} for kind in ("simple_lookup", "search", "recommendation", "feature_batch")]
    if labels.pop("le", None):
        return [s for kind in kinds for s in buckets({**labels, **kind}, 40)]
    values = phases((0.5, (0.0005, 0.004)), (0.5, (250, 300)))
    return [({**labels, **kind}, values) for kind in kinds]


def series_of(name):
    """Series of a metric; one that is not in the table gets a value that comes and goes, by node."""
    if name in SERIES:
        return SERIES[name]
    if ":" in name:
        return recorded(name)
    if name.endswith("_total"):
        return each_node(counter((0.5, 0), (0.5, (0, 5)), restarts=(0.9,)))
    return each_node(ended(phases((0.5, 0), (0.5, 1)), (0.2, 0.4)))


def make(names, start_ms):
    """[(labels with __name__, [(t, value)])]; start_ms is a whole minute."""
    out = []
    for name in sorted(names):
        for labels, values in series_of(name):
            rng = random.Random(f"{name}{sorted(labels.items())}")
            points = [
                (start_ms + GRID_MS + i * STEP_MS, value)
                for i, value in enumerate(values(rng))
                if value is not GAP
            ]
            out.append(({"__name__": name, **labels}, points))
    return out
