"""Views of a clip: several times and places of one video, whose scores are averaged (arXiv 2406.15034, section 4.1)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from svformer.data.clip_dataset import ClipDataset

ViewGrid = tuple[int, int]  # temporal x spatial views

PAPER: ViewGrid = (5, 3)
DEFAULT_VIEWS: dict[str, ViewGrid] = {"ucf101": PAPER, "ntu60": PAPER}  # by data set; 1 x 1 for all others


def evenly_spaced(count: int) -> list[float]:
    """Positions from 0 to 1; a single one lies in the middle."""
    return [0.5] if count == 1 else [i / (count - 1) for i in range(count)]


class Views(Dataset[tuple[Tensor, int]]):
    """All views of every clip of a data set: items are (clips [V, T, C, size, size], label).

    A batch of a `DataLoader` goes without the clips that cannot be read; the data set counts and reports them.
    """

    def __init__(self, data: ClipDataset, grid: ViewGrid) -> None:
        temporal, spatial = grid
        self.data = data
        self.positions = list(itertools.product(evenly_spaced(temporal), evenly_spaced(spatial)))  # (start, crop)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        clips = [self.data.view(index, start, crop) for start, crop in self.positions]
        return torch.stack(clips), self.data.entries[index].label

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """The readable items of a batch, for a `DataLoader`; there may be none."""
        return self.data.unreadable.readable(indices, self.__getitem__)


def collated(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor] | None:
    """Clips and labels of a batch, stacked, for a `DataLoader`; None without items."""
    batch: tuple[Tensor, Tensor] | None = default_collate(items) if items else None
    return batch
