"""Neurons of several levels without memory: a thermometer of thresholds, whose spikes are added up.

Source: E-SpikeFormer (Yao et al., arXiv 2411.16061), whose neurons send `round(clip(x, 0, 4)) / 4`, and the four spikes
that a chip sends in the place of one such value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import nir
import numpy as np
from numpy.typing import ArrayLike

from deploy.frontend.traced.draft import Draft
from deploy.frontend.traced.neuron import Lay
from svformer.common.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Levels:
    """A layer of neurons without memory that send `step` times the number of thresholds that their input has reached.

    `fires_at` says what an input at a threshold does: it has reached it ("threshold"), it has not ("above"), or the
    result is the even one of the two ("even", as `torch.round` has it). Raises `InputError` for thresholds that do not
    rise.
    """

    thresholds: Sequence[float]  # of 1, 2, .. levels
    step: float = 1.0
    fires_at: Literal["threshold", "above", "even"] = "threshold"

    def __post_init__(self) -> None:
        found = np.asarray(self.thresholds, dtype=np.float64)
        if found.ndim != 1 or not found.size or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
            raise InputError(f"Levels: thresholds {self.thresholds}; allowed: numbers that rise")
        if self.fires_at not in ("threshold", "above", "even"):
            raise InputError(f"Levels: fires_at {self.fires_at!r}; allowed: 'threshold', 'above', 'even'")
        if not np.isfinite(self.step) or self.step <= 0:
            raise InputError(f"Levels: step {self.step}; allowed: above 0")

    def limits(self) -> list[float]:
        """What an input has to be above, level by level."""
        return [
            float(np.nextafter(limit, -np.inf)) if self._reaches(level) else float(limit)
            for level, limit in enumerate(self.thresholds, start=1)
        ]

    def _reaches(self, level: int) -> bool:
        return self.fires_at == "threshold" or (self.fires_at == "even" and level % 2 == 0)

    def require_node(self) -> None:
        """All of them have nodes."""

    def problem(self, sent: ArrayLike) -> str | None:
        """What a module sends that such neurons do not; None for nothing."""
        values = np.asarray(sent, dtype=np.float64)
        allowed = self.step * np.arange(len(self.thresholds) + 1)
        others = values[np.abs(values[:, None] - allowed).min(axis=1) > 1e-6 * self.step]
        return f"it sends {others[0]:g}, its levels are {', '.join(f'{v:g}' for v in allowed)}" if others.size else None

    def layer(self, draft: Draft, name: str, source: str, lay: Lay) -> str:
        """The nodes of such neurons behind a source: a layer of spikes for each level, and their sum."""
        shape = draft.shapes[source]
        nodes = tuple(
            draft.node(f"{name}.level{level}", nir.Threshold(np.full(shape, limit)), source, spiking=True, alone=True)
            for level, limit in enumerate(self.limits(), start=1)
        )
        if len(nodes) == 1 and self.step == 1:
            return nodes[0]
        total = draft.sum(f"{name}.sum", *nodes)
        found = total if self.step == 1 else draft.channelwise(name, total, self.step)
        draft.levels[found] = (nodes, self.step)
        return found
