"""After each step of the deployment a gate compares with the execution before; a mismatch names where it starts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import GateError

Signals = dict[str, NDArray[Any]]  # messages of every population, [N, T, C, H, W]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Values compared and values that differ; adds up over batches of clips."""

    compared: int = 0
    different: int = 0
    layers: int = 0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            compared=self.compared + other.compared,
            different=self.different + other.different,
            layers=max(self.layers, other.layers),
        )

    @property
    def share(self) -> float:
        """Share of the values that agree; 1.0 when nothing was compared."""
        return 1.0 - self.different / self.compared if self.compared else 1.0


def require_equal(
    expected: Signals, found: Signals, *, names: Iterable[str], between: str, clips: Sequence[int] | None = None
) -> Agreement:
    """Every value of every layer and time step must be the same; `clips` are the numbers of the clips in a message
    (default: their places here).

    Raises `GateError` that names the first layer (in order of execution), clip, time step and neuron that differ.
    """
    total = Agreement()
    for name in names:
        differs = expected[name] != found[name]
        if differs.any():
            raise GateError(
                f"{between} differ first in {_where(name, differs, clips)}: {_values(expected, found, name, differs)}"
            )
        total += Agreement(compared=differs.size, layers=total.layers + 1)
    return total


def _first(differs: NDArray[np.bool_]) -> tuple[int, ...]:
    """Index [clip, step, channel, y, x] of the first difference, the earliest time step first."""
    by_time = np.moveaxis(differs, 1, 0)
    step, clip, *neuron = (int(i) for i in np.unravel_index(int(by_time.argmax()), by_time.shape))
    return (clip, step, *neuron)


def _where(name: str, differs: NDArray[np.bool_], clips: Sequence[int] | None) -> str:
    clip, step, *neuron = _first(differs)
    number = clip if clips is None else clips[clip]
    count = int(differs.sum())
    return f"layer {name}, time step {step}, neuron {tuple(neuron)} of clip {number} ({count} values in all)"


def _values(expected: Signals, found: Signals, name: str, differs: NDArray[np.bool_]) -> str:
    index = _first(differs)
    return f"{expected[name][index]} and {found[name][index]}"


def agreement(expected: Signals, found: Signals, *, names: Iterable[str]) -> dict[str, Agreement]:
    """How many values of each layer agree, where a difference is allowed (quantisation)."""
    return {
        n: Agreement(compared=expected[n].size, different=int((expected[n] != found[n]).sum()), layers=1) for n in names
    }
