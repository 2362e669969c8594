"""What all data sets are: labelled entries on disk, each read as a clip [T, C, size, size], and views of them.

Pixels are uint8, counts of events int16; `svformer.data.clips.normalise` makes the network's input of both.

A file that cannot be read is left out with one line on standard error, and counted; above a share of the data set
(1 % by default) the run fails.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from svformer.common.errors import InputError
from svformer.data.arguments import MAX_UNREADABLE
from svformer.data.clips import Sampling

Item = TypeVar("Item")


class LabelledClip(Protocol):
    """One labelled clip on disk, and how it is read."""

    @property
    def path(self) -> Path: ...

    @property
    def label(self) -> int: ...

    @property
    def name(self) -> str:
        """What tells it from all other entries: its place in the data set, or its line in a list."""
        ...

    @property
    def channels(self) -> int: ...

    def load(self, *, size: int, sampling: Sampling, start: float = 0.5, crop: float | None = 0.5) -> Tensor:
        """Frames [T, channels, size, size]; raises InputError where they cannot be read."""
        ...


class UnreadableError(InputError):
    """More files than allowed cannot be read."""

    def __init__(self, message: str) -> None:
        # What a worker of a data loader raises is raised again with the whole traceback for a message, our line last.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class Unreadable:
    """The files of a data set that turned out unreadable; shared with the workers of a data loader."""

    def __init__(self, files: int, allowed: float) -> None:
        if not 0 <= allowed <= 1:
            raise InputError(f"a share of {allowed:g} unreadable files; allowed: 0 (none) to 1 (all)")
        self.allowed = allowed
        self._found = torch.zeros(files, dtype=torch.bool)
        self._found.share_memory_()

    @property
    def count(self) -> int:
        return int(self._found.sum())

    def add(self, index: int, error: InputError) -> None:
        """Report a file once; raises UnreadableError when too many are unreadable, or all."""
        if self.allowed == 0:
            raise UnreadableError(str(error)) from error
        if self._found[index]:
            return
        self._found[index] = True
        print(f"left out: {error}", file=sys.stderr, flush=True)
        if self.count > self.allowed * len(self._found) or self._found.all():
            raise UnreadableError(
                f"{self}, more than the {100 * self.allowed:g} % that are allowed, the last: {error}; "
                "or allow more with --max-unreadable SHARE"
            )

    def __str__(self) -> str:
        return f"{self.count} of {len(self._found)} files cannot be read"


class Options(TypedDict, total=False):
    """How a data set is read; see `ClipDataset`."""

    size: int
    sampling: Sampling | None
    seed: int
    max_unreadable: float


class ClipDataset(Dataset[tuple[Tensor, int]], ABC):
    """The training or held-out part of a data set: items are (clip [T, C, size, size], label).

    Held-out items are the middle view. Training items are views drawn from (seed, epoch, index, number of the repeat),
    so a run repeats exactly with any number of loader workers; call `set_epoch` before each epoch.

    Of a training clip that cannot be read the next one takes the place. A held-out clip that cannot be read raises
    InputError, and a batch of a `DataLoader` goes without it.
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
        """A clip from `start`, a fraction of the possible ones, cut at `crop`; raises InputError where unreadable."""
        return self.entries[index].load(size=self.size, sampling=self.sampling, start=start, crop=crop)

    def random_clip(self, index: int, rng: np.random.Generator) -> Tensor:
        """What training views of a clip are cut from; raises InputError where it cannot be read."""
        return self.view(index)

    @abstractmethod
    def random_view(self, clip_TCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """A view for training, of a `random_clip`."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        if not self.train:
            return self.view(index), self.entries[index].label
        (view_TCHW,), label = self.repeated(index, 1)
        return view_TCHW, label

    def repeated(self, index: int, repeats: int) -> tuple[list[Tensor], int]:
        """Training views of one clip, which is read once: the same times, each view drawn on its own."""
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
        """What a `DataLoader` asks for a batch: the items that can be read."""
        return [self[index] for index in indices] if self.train else self.readable(indices, self.__getitem__)

    def readable(self, indices: Sequence[int], read: Callable[[int], Item]) -> list[Item]:
        """What `read` makes of these clips, without those that cannot be read; raises UnreadableError if none can."""
        items = list[Item]()
        for index in indices:
            try:
                items.append(read(index))
            except InputError as error:
                self.unreadable.add(index, error)
        if not items:
            raise UnreadableError(f"none of the {len(indices)} files of a batch can be read; choose larger batches")
        return items
