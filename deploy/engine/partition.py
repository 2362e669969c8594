"""Which populations share a process: neighbours in the order of the network, cut where the work is as even as can be.

All processes work at the same time, so a time step takes as long as the busiest of them. Messages between two are
copied, messages within one are not; its threads share what there is to do. The work is measured at the start of a run.
"""

import os
from collections.abc import Mapping

import numpy as np

from deploy.engine.autotune import fastest_ns
from deploy.engine.kernels import Messages
from deploy.engine.layers import Entry, Layer, Layers
from deploy.engine.ranges import message_range
from deploy.ir.integer import IntNetwork
from deploy.ir.populations.base import IntPopulation

RATE = 0.1  # of the spikes that the work is measured with
WORTH_A_THREAD_NS = 1_000_000  # of a time step: less is done before a second thread has woken up


def place(work: Mapping[str, float], processes: int) -> list[list[str]]:
    """Cut the populations into `processes` runs (at most one each) whose largest sum of work is as small as can be."""
    names, sums = list(work), np.concatenate([[0.0], np.cumsum(list(work.values()))])
    largest, cuts = list(sums), list[list[int]]()  # of the first n populations, and where the last of their runs begins
    for run in range(1, min(processes, len(names))):
        before = largest
        bests = [np.maximum(before[run:n], sums[n] - sums[run:n]) for n in range(run + 1, len(sums))]
        largest = [np.inf] * (run + 1) + [float(best.min()) for best in bests]
        cuts.append([0] * (run + 1) + [run + int(best.argmin()) for best in bests])
    runs: list[list[str]] = []
    for starts in reversed(cuts):
        start = starts[len(names)]
        runs.insert(0, names[start:])
        names = names[:start]
    return [names, *runs]


def threads_for(work_ns: float, cores: int) -> int:
    """Threads of a process whose time step takes `work_ns` of CPU time; at most one on each of the `cores`."""
    return max(1, min(cores, int(work_ns / WORTH_A_THREAD_NS)))


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measured_work(network: IntNetwork, layers: Layers) -> dict[str, float]:
    """CPU time of a time step of every population, ns."""
    rng = np.random.default_rng(0)
    return {name: _measured(network, layer, rng) for name, layer in layers.items()}


def _measured(network: IntNetwork, layer: Entry | Layer, rng: np.random.Generator) -> float:
    if isinstance(layer, Entry):
        return 0.0
    messages = [_likely(network.populations[source], rng) for source in layer.sources]
    return fastest_ns(lambda: layer.warm_up(messages))


def _likely(population: IntPopulation, rng: np.random.Generator) -> Messages:
    """Spikes at a usual rate, or any graded messages."""
    limits = message_range(population)
    if limits.are_spikes:
        return (rng.random(population.shape) < RATE).astype(np.int8)
    return rng.integers(limits.low, limits.high + 1, size=population.shape, dtype=np.int32)
