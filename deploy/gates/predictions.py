"""Whether rounding keeps the predictions of a network: clips run in real numbers and in integers, results compared.

Accuracy can stay while single predictions change; these say how many do, and how near the others are to it: by how
much the best class leads, beside what rounding changes in the difference of two classes.
"""

from dataclasses import dataclass, field

import numpy as np

from deploy.ir.integer import IntNetwork
from deploy.ir.network import Network
from deploy.ir.readout import read_out
from deploy.ir.types import Array, Signals
from svformer.common.terminal import counted

ENOUGH = 0.95  # share of clips with the same prediction, below which a run warns


@dataclass(frozen=True, kw_only=True)
class KeptPredictions:
    """Predictions in real numbers and in integers.

    Attributes:
        clips: Clips that were compared.
        same: Those with the same prediction.
        lead: Result of the best class less that of the second, median of the clips, in the unit of the float network;
            None for a network with one output.
        error: What rounding changes in the difference of two classes, root mean square; None as `lead`.
    """

    clips: int
    same: int
    lead: float | None = None
    error: float | None = None

    @property
    def share(self) -> float:
        """Share of clips with the same prediction."""
        return self.same / self.clips

    @property
    def enough(self) -> bool:
        """Whether as many predictions are kept as a user may rely on."""
        return self.share >= ENOUGH

    def __str__(self) -> str:
        kept = f"same prediction on {self.same:,} of {counted(self.clips, 'calibration clip')}"
        if self.lead is None or self.error is None:
            return kept
        return f"{kept}; the best class leads by {self.lead:.3g} (median), rounding changes that by {self.error:.3g}"


@dataclass(kw_only=True)
class Results:
    """Results of clips in both networks, collected part by part."""

    exact: Network
    rounded: IntNetwork
    wanted: list[Array] = field(default_factory=list)  # [clips, K] of the network in real numbers
    found: list[Array] = field(default_factory=list)  # the same of the integers, in its unit

    def add(self, exact: Signals, rounded: Signals) -> None:
        """Add what the outputs of both sent, [N, T, ..]."""
        self.wanted.append(read_out(exact[self.exact.output], self.exact.readout))
        self.found.append(self.rounded.logits(rounded))

    def kept(self) -> KeptPredictions:
        """What all clips come to."""
        wanted, found = np.concatenate(self.wanted), np.concatenate(self.found)
        clips, classes = wanted.shape
        same = int((wanted.argmax(axis=1) == found.argmax(axis=1)).sum())
        if classes < 2:
            return KeptPredictions(clips=clips, same=same)
        second, best = np.sort(wanted, axis=1)[:, -2:].T
        changed = found - wanted
        # The mean square over all pairs of classes is twice the variance over the classes.
        error = np.sqrt(2 * changed.var(axis=1, ddof=1).mean())
        return KeptPredictions(clips=clips, same=same, lead=float(np.median(best - second)), error=float(error))
