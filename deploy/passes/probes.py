"""Look at the potentials and spikes of a running network without keeping them all."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.passes.statistics import Count

Values = NDArray[Any]


class SpikeCounts:
    """Spikes of neuron layers in runs; `add` is what `on_population` of `run_float` and `run_integer` takes."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._counts = dict.fromkeys(layers, Count())

    def add(self, name: str, messages: Values) -> None:
        if name in self._counts:
            self._counts[name] += Count(found=int(messages.sum()), of=messages.size)

    @property
    def rates(self) -> dict[str, float]:
        """Spikes of a neuron in a time step, of every layer."""
        return {name: count.share for name, count in self._counts.items()}


class Watch:
    """Extremes of the potentials of every population of a run; `begin` is what `run_float` and `run_integer` take."""

    def __init__(self, begin: Callable[[str, int, int], Any], limit: int | None = None) -> None:
        self._begin, self._limit = begin, limit
        self.highest: dict[str, Values] = {}  # of every neuron, over clips and time steps
        self.lowest: dict[str, Values] = {}
        self._at_limit: dict[str, Count] = {}

    def begin(self, name: str, clips: int, frames: int) -> Any:
        running = self._begin(name, clips, frames)
        running.reached = lambda v: self._see(name, v)
        return running

    def saturated(self, name: str) -> float | None:
        """Share of potentials at the ends of a register of `limit`; None where a population has none."""
        return self._at_limit[name].share if name in self._at_limit else None

    def _see(self, name: str, v: Values) -> None:
        highest, lowest = v.max(axis=0), v.min(axis=0)
        self.highest[name] = np.maximum(self.highest.get(name, highest), highest)
        self.lowest[name] = np.minimum(self.lowest.get(name, lowest), lowest)
        if self._limit is not None:
            found = Count(found=int((np.abs(v) >= self._limit).sum()), of=v.size)
            self._at_limit[name] = self._at_limit.get(name, Count()) + found
