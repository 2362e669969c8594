"""The clips that a network is tuned on, as its input sends them, with the results and classes that they should have.

Legend: N clips, T time steps, (C, H, W) of the input, K classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deploy.ir.integer import as_images
from deploy.ir.types import Array, Frames, IntArray
from deploy.torch_network.network import IntegerNetwork, RealNetwork

Part = tuple[Frames, Sequence[int | None]]  # [n, T, *input shape], and the output of the class of each clip


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Clips as whole numbers, and the results of the network in real numbers."""

    sent: NDArray[Any]  # [N, T, C, H, W], in as few bytes as hold them
    wanted: Array  # [N, K]
    classes: NDArray[np.int64]  # [N], the output of the class of each clip; -1 where it is not known

    def __len__(self) -> int:
        return len(self.sent)

    def __getitem__(self, places: IntArray) -> "Examples":
        return Examples(sent=self.sent[places], wanted=self.wanted[places], classes=self.classes[places])

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """All three: float32, float32, int64."""
        return torch.as_tensor(self.sent).float(), torch.as_tensor(self.wanted).float(), torch.as_tensor(self.classes)


def examples(
    exact: RealNetwork, rounded: IntegerNetwork, parts: Iterable[Part], on_clips: Callable[[int], None]
) -> Examples:
    """The examples of clips that come in parts; `on_clips` hears how many are done."""
    sent, wanted, classes, done = list[NDArray[Any]](), list[Array](), list[int](), 0
    entry = rounded.network.input
    kind = np.min_scalar_type(-max(abs(entry.low), abs(entry.high), 1))
    for part, outputs in parts:
        frames = as_images(part, rounded.network)
        with torch.no_grad():
            wanted.append(exact.results(exact.sent(frames)).numpy())
        sent.append(entry.quantize(frames).astype(kind))
        classes += [-1 if output is None else output for output in outputs]
        on_clips(done := done + len(part))
    return Examples(sent=np.concatenate(sent), wanted=np.concatenate(wanted), classes=np.array(classes, np.int64))
