"""CPU time and memory of processes that are not ours, from the kernel."""

import contextlib
import math
import os
import time

from cluster import proc


def cpu_seconds(*pids):
    """CPU time of whole processes, threads that have ended included, to the nanosecond."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime_ns((~pid << 3) | 2)  # what clock_getcpuclockid() makes
    return total / 1e9


def tree(pid):
    return [pid, *proc.descendants(pid)]


class Memory:
    """Sums over processes, in MiB."""

    def __init__(self, *pids):
        self.rss = self.pss = self.anonymous = 0.0
        for pid in pids:
            self._add(pid)

    def _add(self, pid):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            found = {}
            for line in file.read().splitlines()[1:]:
                words = line.split()
                found[words[0].rstrip(":")] = int(words[1]) / 1024
        self.rss += found["Rss"]
        self.pss += found["Pss"]
        self.anonymous += found["Anonymous"]


def percentile(values, share):
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def load_average():
    return os.getloadavg()[0]
