"""Views of a clip: several times and places of one video, whose scores are averaged (arXiv 2406.15034, section 4.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from svformer.data.dataset import ClipDataset

Grid = tuple[int, int]  # temporal x spatial views

PAPER: Grid = (5, 3)
DEFAULT_VIEWS: dict[str, Grid] = {"ucf101": PAPER, "ntu60": PAPER}  # by data set; 1 x 1 for all others


def spread(count: int) -> list[float]:
    """Positions from 0 to 1, evenly spread; the middle where there is one."""
    return [0.5] if count == 1 else [i / (count - 1) for i in range(count)]


class Views(Dataset[tuple[Tensor, int]]):
    """All views of every clip of a data set: items are (clips [V, T, C, size, size], label).

    A clip that cannot be read is left out as the data set does it.
    """

    def __init__(self, data: ClipDataset, grid: Grid) -> None:
        temporal, spatial = grid
        self.data, self.places = data, [(start, crop) for start in spread(temporal) for crop in spread(spatial)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        clips = [self.data.view(index, start, crop) for start, crop in self.places]
        return torch.stack(clips), self.data.entries[index].label

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """What a `DataLoader` asks for a batch: the clips that can be read, which may be none."""
        return self.data.unreadable.readable(indices, self.__getitem__)


def collated(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor] | None:
    """A batch for a `DataLoader`; None of no items."""
    batch: tuple[Tensor, Tensor] | None = default_collate(items) if items else None
    return batch
