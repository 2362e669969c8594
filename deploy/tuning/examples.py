"""The clips that a network is tuned on, as its input sends them, with the results that they should have.

Legend: N clips, T time steps, (C, H, W) of the input, K classes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deploy.ir.integer import as_images
from deploy.ir.types import Array, Frames, IntArray
from deploy.torch_network.network import IntegerNetwork, RealNetwork


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Clips as whole numbers, and the results of the network in real numbers."""

    sent: NDArray[Any]  # [N, T, C, H, W], in as few bytes as hold them
    wanted: Array  # [N, K]

    def __len__(self) -> int:
        return len(self.sent)

    def __getitem__(self, places: IntArray) -> "Examples":
        return Examples(sent=self.sent[places], wanted=self.wanted[places])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Both as float32."""
        return torch.as_tensor(self.sent).float(), torch.as_tensor(self.wanted).float()


def examples(
    exact: RealNetwork, rounded: IntegerNetwork, parts: Iterable[Frames], on_clips: Callable[[int], None]
) -> Examples:
    """The examples of clips that come in parts [n, T, *input shape]; `on_clips` hears how many are done."""
    sent, wanted, done = list[NDArray[Any]](), list[Array](), 0
    entry = rounded.network.input
    kind = np.min_scalar_type(-max(abs(entry.low), abs(entry.high), 1))
    for part in parts:
        frames = as_images(part, rounded.network)
        with torch.no_grad():
            wanted.append(exact.results(exact.sent(frames)).numpy())
        sent.append(entry.quantize(frames).astype(kind))
        on_clips(done := done + len(part))
    return Examples(sent=np.concatenate(sent), wanted=np.concatenate(wanted))
