"""A scratch PostgreSQL cluster with PgBouncer and load, an agent beside it, and a webhook receiver.

Used by `make run`, by the end-to-end tests and by the benchmarks. Only the standard library is
needed to start it; psycopg2 is imported when a test asks for a connection.
"""

from .agent import Agent
from .cluster import Cluster
from . import proc
from .proc import wait_until
from .receiver import Receiver

__all__ = ["Agent", "Cluster", "Receiver", "wait_until"]
