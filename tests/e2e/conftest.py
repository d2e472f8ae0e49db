"""Fixtures of the end-to-end tests.

A file says what it wants in module variables, all optional:
    CLUSTER = {"replicas": 2, "app_pool": 20}   arguments of Cluster; one cluster serves the file
    AGENT = {"gate": {"max_lag": "3s"}}         arguments of Agent for the fixture `agent`
    ALONE = True                                it measures times: tests/run.py runs it by itself
"""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cluster import Agent, Cluster, Receiver, proc  # noqa: E402


def pytest_configure():
    proc.exit_on_signals()


@pytest.fixture(scope="module")
def shared_cluster(request):
    """The cluster of the file as it is; use `cluster` in tests."""
    with Cluster(**getattr(request.module, "CLUSTER", {})) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster):
    """The cluster of the file; what the test paused, cut, froze or stopped is mended after it."""
    yield shared_cluster
    shared_cluster.heal()


@pytest.fixture
def receiver():
    """A webhook receiver of this test."""
    with Receiver() as found:
        yield found


@pytest.fixture
def make_agent(cluster):
    """Agent(cluster, ...) that is closed after the test; not started yet."""
    agents = []

    def make(**options):
        agents.append(Agent(cluster, **options))
        return agents[-1]

    yield make
    reports = []
    for agent in agents:
        try:
            agent.close()
        except AssertionError as error:
            reports.append(str(error))
    assert not reports, "\n".join(reports)


@pytest.fixture
def agent(request, make_agent, receiver):
    """A started agent with the module's AGENT options; its webhook is `receiver`."""
    options = {"webhook": receiver.url, **getattr(request.module, "AGENT", {})}
    return make_agent(**options).start()
