"""How a network is tuned, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from svformer.common.terminal import counted


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """How a network is tuned.

    Attributes:
        epochs: How often every clip is seen.
        batch: Clips of one step.
        learning_rate: The highest of the schedule, as a share of a typical weight.
        seed: Of the order of the clips.
    """

    epochs: int
    batch: int = 16
    learning_rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch came to on the clips that choose the best; number 0 is the network before the first."""

    number: int
    same: float  # share of the clips with the prediction of the network in real numbers
    right: float | None  # share of those with a class that are predicted to be of it; None: none has one
    loss: float


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning came to."""

    clips: int  # that it was trained on
    checked: int  # that chose the best epoch
    apart: bool  # whether these were kept back, or are those that it was trained on
    best: Epoch
    epochs: list[Epoch]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made plain."""
        best, epochs = Epoch(**values["best"]), [Epoch(**epoch) for epoch in values["epochs"]]
        return cls(**{**values, "best": best, "epochs": epochs})

    def __str__(self) -> str:
        """What it came to, in a line."""
        kept = f"{counted(self.checked, 'clip')} kept back" if self.apart else "the same clips"
        trained = f"tuned on {counted(self.clips, 'clip')} in {counted(len(self.epochs) - 1, 'epoch')}"
        found = [f"predicted as in real numbers {_share(self.epochs[0].same)} -> {_share(self.best.same)}"]
        if self.best.right is not None and self.epochs[0].right is not None:
            found.insert(0, f"right {_share(self.epochs[0].right)} -> {_share(self.best.right)}")
        return f"{trained}, the best is number {self.best.number}; of {kept}: {', '.join(found)}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
