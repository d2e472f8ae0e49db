"""One node without replicas is no fallback: reads are on the primary because that is how it is."""

from cluster import wait_until

CLUSTER = {"replicas": 0}


def test_point_2_single_node_has_reads_and_nothing_fires(agent):
    agent.wait_files("primary.read")
    line = agent.health("primary.read")
    assert line.reason == "no_replicas"
    metrics = wait_until(
        lambda: "db_reads_on_primary" in agent.metrics() and agent.metrics(), 10, "cluster metrics"
    )
    assert metrics.value("db_reads_on_primary", cluster="test") == 0
    assert agent.get("/primary").status == 200
    assert agent.get("/read-only").status == 200
    assert agent.alerts() == []
