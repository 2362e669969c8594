"""Probes: they look at the potentials and spikes of a running network without keeping them all."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from deploy.ir.running import Begin, Running
from deploy.ir.types import IntArray, Values
from deploy.passes.statistics import Count


class SpikeCounts:
    """Spikes of neuron layers in runs; `add` is what `on_population` of `run_float` and `run_integer` takes.

    Attributes:
        by_channel: Spikes of every channel, [C], by layer.
    """

    def __init__(self, layers: Iterable[str]) -> None:
        self._counts = dict.fromkeys(layers, Count())
        self.by_channel: dict[str, IntArray] = {}

    def add(self, name: str, messages: Values) -> None:
        """Count the spikes of a population, [N, T, C, H, W]; other populations than the layers are left out."""
        if name in self._counts:
            found = messages.reshape(*messages.shape[:3], -1).sum(axis=(0, 1, 3)).astype(np.int64)
            self._counts[name] += Count(found=int(found.sum()), of=messages.size)
            self.by_channel[name] = self.by_channel.get(name, 0) + found

    @property
    def rates(self) -> dict[str, float]:
        """Spikes of a neuron in a time step, of every layer."""
        return {name: count.share for name, count in self._counts.items()}


class SpikeMatch:
    """Equal spikes of two runs of the same clips; their `add` are what `on_population` takes, one after the other."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._equal = dict.fromkeys(layers, Count())
        self._first: dict[str, NDArray[np.uint8]] = {}

    def add_first(self, name: str, messages: Values) -> None:
        """Keep the spikes of the first run, a bit each, until the second has them."""
        if name in self._equal:
            self._first[name] = np.packbits(messages != 0)

    def add_second(self, name: str, messages: Values) -> None:
        """Count those of the second run that are equal; [N, T, C, H, W] in both."""
        if name in self._equal:
            differ = int(np.bitwise_count(self._first.pop(name) ^ np.packbits(messages != 0)).sum())
            self._equal[name] += Count(found=messages.size - differ, of=messages.size)

    @property
    def shares(self) -> dict[str, float]:
        """Share of neurons and time steps that are equal, of every layer."""
        return {name: count.share for name, count in self._equal.items()}


class PotentialProbe:
    """Extremes of the potentials of every population; `begin` is what `run_float` and `run_integer` take.

    Attributes:
        highest: Largest potential of every neuron over clips and time steps, [C, H, W], by population.
        lowest: The smallest.
    """

    def __init__(self, begin: Begin, limit: int | None = None) -> None:
        self._begin, self._limit = begin, limit
        self.highest: dict[str, Values] = {}
        self.lowest: dict[str, Values] = {}
        self._at_limit: dict[str, Count] = {}

    def begin(self, name: str, clips: int, frames: int) -> Running:
        """A population that is watched while it runs."""
        running = self._begin(name, clips, frames)
        running.on_potential = lambda v: self._add(name, v)
        return running

    def saturated(self, name: str) -> float | None:
        """Share of potentials at the ends of a register of `limit`; None where a population has none."""
        return self._at_limit[name].share if name in self._at_limit else None

    def _add(self, name: str, v: Values) -> None:
        highest, lowest = v.max(axis=0), v.min(axis=0)
        self.highest[name] = np.maximum(self.highest.get(name, highest), highest)
        self.lowest[name] = np.minimum(self.lowest.get(name, lowest), lowest)
        if self._limit is not None:
            found = Count(found=int((np.abs(v) >= self._limit).sum()), of=v.size)
            self._at_limit[name] = self._at_limit.get(name, Count()) + found
