"""Look at the potentials of a running network without keeping them all."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


class Watch:
    """Extremes of the potentials of every population of a run; `begin` is what `run_float` and `run_integer` take."""

    def __init__(self, begin: Callable[[str, int, int], Any], limit: int | None = None) -> None:
        self._begin, self._limit = begin, limit
        self.highest: dict[str, Values] = {}  # of every neuron, over clips and time steps
        self.lowest: dict[str, Values] = {}
        self._at_limit: dict[str, list[float]] = {}

    def begin(self, name: str, clips: int, frames: int) -> Any:
        running = self._begin(name, clips, frames)
        running.reached = lambda v: self._see(name, v)
        return running

    def saturated(self, name: str) -> float | None:
        """Share of potentials at the ends of a register of `limit`; None where a population has none."""
        return float(np.mean(self._at_limit[name])) if name in self._at_limit else None

    def _see(self, name: str, v: Values) -> None:
        highest, lowest = v.max(axis=0), v.min(axis=0)
        self.highest[name] = np.maximum(self.highest.get(name, highest), highest)
        self.lowest[name] = np.minimum(self.lowest.get(name, lowest), lowest)
        if self._limit is not None:
            self._at_limit.setdefault(name, []).append(float((np.abs(v) >= self._limit).mean()))
