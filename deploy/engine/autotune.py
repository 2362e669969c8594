"""Which of several equal kernels is the fastest: measured on this machine, as a line over the number of spikes.

What takes long to measure is kept in the user's cache folder, for the same processor, libraries and kernels.
"""

import contextlib
import functools
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import llvmlite.binding
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from deploy.engine.ranges import MessageRange
from deploy.ir.types import Shape
from svformer.common.cache import cache_folder
from svformer.common.digest import source_digest
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.provenance import library_versions

Array = NDArray[Any]

RATES = (0.02, 0.2)  # firing rates at which a line is measured
REPEATS = 3  # after one that warms up; the fastest counts
WORTH_KEEPING_NS = 100_000  # a call that is shorter is measured again by every process that needs it


class Kernel(Protocol):
    """Messages [C, H, W] -> currents [O, H', W'], which the next call may overwrite."""

    by_spike: bool  # whether the work depends on the spikes

    def __call__(self, messages: Array) -> Array: ...


class Cost(NamedTuple):
    """Nanoseconds of a call, and of every spike."""

    call: float
    spike: float

    def of(self, spikes: int) -> float:
        return self.call + self.spike * spikes


class Autotuned:
    """For spikes: the kernel whose line is lowest at the number of spikes of this time step."""

    by_spike = True

    def __init__(self, kernels: dict[str, tuple[Kernel, Cost]], out_shape: Shape) -> None:
        self.kernels = kernels
        self.silence = np.zeros(out_shape, np.int16)

    def __call__(self, messages: Array) -> Array:
        spikes = int(np.count_nonzero(messages.view(np.bool_) if messages.dtype == np.int8 else messages))
        return self.kernels[self.name_at(spikes)][0](messages) if spikes else self.silence

    def name_at(self, spikes: int) -> str:
        return cheapest({name: cost for name, (_, cost) in self.kernels.items()}, spikes)


def cheapest(costs: dict[str, Cost], spikes: int) -> str:
    return min(costs, key=lambda name: costs[name].of(spikes))


def never_slowest(costs: dict[str, Cost], most_spikes: int) -> list[str]:
    """The kernels that are the fastest for some number of spikes."""
    return list(dict.fromkeys(cheapest(costs, spikes) for spikes in np.linspace(0, most_spikes, 101)))


class CostTable:
    """Costs that are known in this process, at first those that earlier ones have left in a file."""

    def __init__(self, file: Path, *, worth_keeping_ns: float = WORTH_KEEPING_NS) -> None:
        self.file, self.worth_keeping_ns = file, worth_keeping_ns
        self.costs = _read(file)

    def cost_of(self, key: str, make: Callable[[], Kernel], messages: MessageRange, shape: Shape) -> Cost:
        """Cost of a kernel for messages [C, H, W] of this range; it is made and measured only if it is not known."""
        if key not in self.costs:
            self.costs[key] = _measure(make(), messages, shape)
            if self.costs[key].call >= self.worth_keeping_ns:
                self._store(key)
        return self.costs[key]

    def _store(self, key: str) -> None:
        """Where nothing can be written, the next process measures again."""
        with contextlib.suppress(OSError, InputError), atomic_path(self.file) as temporary:
            temporary.write_text(json.dumps(_read(self.file) | {key: self.costs[key]}, indent=0))


def _read(file: Path) -> dict[str, Cost]:
    try:
        return {key: Cost(*map(float, cost)) for key, cost in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing measured yet, or no file of ours: measure


def cost_of(key: str, make: Callable[[], Kernel], messages: MessageRange, shape: Shape) -> Cost:
    """Cost of a kernel on this machine, from the user's cache if it was measured before."""
    return _table().cost_of(key, make, messages, shape)


@functools.cache
def _table() -> CostTable:
    return CostTable(cache_folder() / f"kernels-{_machine()}.json")


def _measure(kernel: Kernel, messages: MessageRange, shape: Shape) -> Cost:
    rng = np.random.default_rng(0)
    if not kernel.by_spike:
        values = rng.integers(messages.low, messages.high + 1, size=shape).astype(messages.dtype)
        return Cost(fastest_ns(lambda: kernel(values)), 0.0)
    few, many = ((rng.random(shape) < rate).astype(np.int8) for rate in RATES)
    few_ns, many_ns = (fastest_ns(functools.partial(kernel, spikes)) for spikes in (few, many))
    spike = max(0.0, many_ns - few_ns) / max(1, int(many.sum()) - int(few.sum()))
    return Cost(max(0.0, few_ns - spike * int(few.sum())), spike)


def fastest_ns(work: Callable[[], object]) -> float:
    """CPU time of one thread, as a Lava process has: what else the machine does is not counted."""
    with one_thread():
        work()
        return min(_call_ns(work) for _ in range(REPEATS))


def _call_ns(work: Callable[[], object]) -> float:
    started_ns = time.thread_time_ns()
    work()
    return time.thread_time_ns() - started_ns


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """NumPy's and torch's own threads, one: for work that has threads of its own, or is timed."""
    threads = torch.get_num_threads()
    with _thread_pools().limit(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@functools.cache
def _machine() -> str:
    """Changes with the processor, the libraries and the kernels."""
    host = llvmlite.binding
    processor = platform.machine(), host.get_host_cpu_name(), host.get_host_cpu_features().flatten()
    libraries = library_versions(("llvmlite", "numba", "numpy", "torch"))
    parts = (*processor, json.dumps(libraries), source_digest(Path(__file__).parent))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
