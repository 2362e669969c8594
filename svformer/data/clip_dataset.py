"""The base of all data sets: labelled clips on disk, each read as [T, C, size, size], and views of them.

Pixels are uint8, counts of events int16; `svformer.data.clips.normalise` makes the network's input of both.

A file that cannot be read is left out with one line on standard error, and counted; above a share of the data set
(1 % by default) the run fails.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from svformer.common.errors import InputError
from svformer.common.remarks import collecting
from svformer.data.choice import MAX_UNREADABLE
from svformer.data.clips import Sampling
from svformer.data.unreadable import OncePerFile, Unreadable, UnreadableError


class LabelledClip(Protocol):
    """One labelled clip on disk, and how it is read."""

    @property
    def path(self) -> Path:
        """The file that holds the clip."""
        ...

    @property
    def label(self) -> int:
        """Number of the class, from 0."""
        ...

    @property
    def name(self) -> str:
        """Unique in the data set: the path below the data set's folder, or the line in a list."""
        ...

    @property
    def channels(self) -> int:
        """C: 3 colours, or 2 polarities of events."""
        ...

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """Frames [T, channels, size, size], of whole pictures without a crop; `InputError` where they cannot be read.

        `start` is a fraction from 0 to 1 of the possible starts, `crop` of the possible positions of the square.
        """
        ...


class Options(TypedDict, total=False):
    """Keyword arguments that all data sets hand on to `ClipDataset`."""

    size: int
    sampling: Sampling | None
    seed: int
    max_unreadable: float


class ClipDataset(Dataset[tuple[Tensor, int]], ABC):
    """The training or held-out part of a data set: items are (clip [T, C, size, size], label).

    Held-out items are the middle view. Training items are views drawn from (seed, epoch, index, number of the repeat),
    so a run repeats exactly with any number of loader workers; call `set_epoch` before each epoch.

    Where a training clip cannot be read, the next one takes its place. A held-out clip that cannot be read raises
    `InputError`, and a batch of a `DataLoader` goes without it. `size` is in pixels, `max_unreadable` a share of the
    files.
    """

    def __init__(
        self,
        classes: Sequence[str],
        entries: Sequence[LabelledClip],
        *,
        train: bool,
        size: int = 224,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_unreadable: float = MAX_UNREADABLE,
    ) -> None:
        self.classes, self.entries = tuple(classes), tuple(entries)
        self.train, self.size, self.sampling, self.seed = train, size, sampling or Sampling(), seed
        self.whole = False  # whether training items are whole pictures, not squares
        self.unreadable = Unreadable(len(self.entries), max_unreadable)
        self._remarked = OncePerFile(len(self.entries))
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # loader workers see set_epoch

    @property
    def channels(self) -> int:
        """C of every clip: 3 colours, or 2 polarities."""
        return self.entries[0].channels

    def __len__(self) -> int:
        return len(self.entries)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random views the training items are."""
        self._epoch.fill_(epoch)

    def view(self, index: int, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """The clip at `start`, a fraction of the possible ones, cut at `crop`; raises `InputError` where unreadable."""
        with collecting() as remarks:
            clip_TCHW = self.entries[index].load(size=self.size, sampling=self.sampling, start=start, crop=crop)
        self._print_once(index, remarks)
        return clip_TCHW

    def _print_once(self, index: int, remarks: Sequence[str]) -> None:
        """Print remarks about a file, at its first time in all loader workers together."""
        if remarks and self._remarked.mark(index):
            print("\n".join(remarks), file=sys.stderr, flush=True)

    def fill_cache(self) -> None:
        """Keep clips in memory before they are asked for, where the data set was given room for some."""

    def random_clip(self, index: int, rng: np.random.Generator) -> Tensor:
        """The clip that training views are cut from; raises `InputError` where it cannot be read."""
        return self.view(index)

    @abstractmethod
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """A training view, [T, C, size, size], of a `random_clip`; whole pictures where `whole` is set."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        if not self.train:
            return self.view(index), self.entries[index].label
        (view_TCHW,), label = self.repeated(index, 1)
        return view_TCHW, label

    def repeated(self, index: int, repeats: int) -> tuple[list[Tensor], int]:
        """Training views of one clip, which is read once: the same times, each view drawn independently."""
        for step in range(len(self)):
            i = (index + step) % len(self)
            keys = ((self.seed, int(self._epoch), index, repeat) for repeat in range(repeats))
            rngs = [np.random.default_rng(key) for key in keys]
            try:
                clip_TCHW = self.random_clip(i, rngs[0])
                return [self.random_view(clip_TCHW, rng) for rng in rngs], self.entries[i].label
            except InputError as error:
                self.unreadable.add(i, error)
        raise UnreadableError(f"none of the {len(self)} training files can be read")

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """The readable items of a batch, for a `DataLoader`; raises `UnreadableError` where there is none."""
        if self.train:
            return [self[index] for index in indices]
        items = self.unreadable.readable(indices, self.__getitem__)
        if not items:
            raise UnreadableError(f"none of the {len(indices)} files of a batch can be read; choose larger batches")
        return items
