"""What a run of many clips leaves: sums that add, taken clip by clip, so that no clip has to stay in memory.

Clips are independent, and sums are added in the order of the clips: how many run at the same time changes no bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.ir.types import Values


@dataclass(frozen=True, kw_only=True)
class MessageSums:
    """Sums over what a population sent in `steps` time steps of some clips."""

    total: Values  # of every neuron, [C, H, W]
    squares: Values  # of every channel, [C]
    steps: int

    @classmethod
    def of(cls, messages_TCHW: Values) -> "MessageSums":
        """The sums of one clip."""
        return cls(
            total=messages_TCHW.sum(axis=0),
            squares=np.square(messages_TCHW).sum(axis=(0, 2, 3)),
            steps=len(messages_TCHW),
        )

    def __add__(self, other: "MessageSums") -> "MessageSums":
        return MessageSums(
            total=self.total + other.total, squares=self.squares + other.squares, steps=self.steps + other.steps
        )

    @property
    def mean(self) -> Values:
        """Mean message of every neuron, [C, H, W]."""
        return self.total / self.steps

    @property
    def mean_square(self) -> Values:
        """Mean square of the messages of every channel, [C]."""
        return self.squares / (self.steps * self.total[0].size)


@dataclass(frozen=True, kw_only=True)
class Count:
    """`found` of `of` values: spikes of neurons and time steps, potentials at the end of their register."""

    found: int = 0
    of: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(found=self.found + other.found, of=self.of + other.of)

    @property
    def share(self) -> float:
        """Found values per value, from 0 to 1."""
        return self.found / self.of


def chunks(frames_NTCHW: Values, at_once: int | None) -> Iterator[Values]:
    """The clips in chunks of at most `at_once` (None: all)."""
    size = at_once or max(1, len(frames_NTCHW))
    for first in range(0, len(frames_NTCHW), size):
        yield frames_NTCHW[first : first + size]
