"""What a training step sees: which clips, in which order, augmented how; all of it follows from seed, epoch and index.

A run that is resumed in the middle of an epoch, or goes on with other processes or loader workers, sees the same.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svformer.common.errors import InputError
from svformer.data.clip_dataset import ClipDataset
from svformer.training.augment import augmented
from svformer.training.recipe import Recipe

# The tiny network that ships was trained with seed 6666 and crops of seed 0. Every other seed gives other crops, too.
CROPS_OF_SEED_0 = Recipe.seed


class Key(NamedTuple):
    """Which item of a data set, in which epoch."""

    epoch: int
    clip: int


class Samples(Dataset[tuple[Tensor, int]]):
    """Training clips by `Key`: (uint8 or int16 [repeats, T, C, size, size], label).

    A clip is read once; its `repeats` samples are cut, mirrored and augmented each on its own. Opening a `Samples` sets
    the data set's seed, and has it give whole pictures where the augmentation crops them.
    """

    def __init__(self, data: ClipDataset, recipe: Recipe, *, size: int) -> None:
        data.seed = recipe.seed ^ CROPS_OF_SEED_0
        data.whole = recipe.augmentation is not None and recipe.augmentation.crop_area is not None
        self.data, self.recipe, self.size = data, recipe, size

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        views, label = self.data.repeated(key.clip, self.recipe.repeats)
        plan = self.recipe.augmentation
        if plan is not None:
            draws = (np.random.default_rng((self.recipe.seed, *key, repeat)) for repeat in range(len(views)))
            views = [augmented(view, plan, size=self.size, rng=rng) for view, rng in zip(views, draws, strict=True)]
        return torch.stack(views), label


def epoch_order(clips: int, seed: int) -> list[int]:
    """All indices once, in the order of a `DataLoader` that shuffles with a generator of this seed."""
    generator = torch.Generator().manual_seed(seed)
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # the number that seeds a loader's workers
    order: list[int] = torch.randperm(clips, generator=generator).tolist()
    return order


def shares(batch: Sequence[int], *, parts: int, processes: int, rank: int) -> list[Sequence[int]]:
    """What one process takes of a batch: `parts` runs of neighbours, one for each part that is accumulated."""
    size = len(batch) // (parts * processes)
    starts = ((part * processes + rank) * size for part in range(parts))
    return [batch[start : start + size] for start in starts]


def check_shares(recipe: Recipe, processes: int) -> None:
    """Raise `InputError` where a batch cannot be divided."""
    unit = processes * recipe.accumulate * recipe.clips_together
    if recipe.batch_size % unit:
        pairs = " and mixes its clips in pairs" if recipe.mixes else ""
        raise InputError(
            f"a batch of {recipe.batch_size} clips is divided by {processes} processes x {recipe.accumulate} "
            f"accumulated parts{pairs}; allowed: a multiple of {unit}"
        )
    if recipe.batch_size * recipe.repeats == recipe.accumulate:
        raise InputError("parts of one clip have no norm statistics; choose a larger --batch-size or less --accumulate")


def epoch_loader(
    samples: Samples, epoch: int, *, first_step: int, processes: int, rank: int, workers: int, pin_memory: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of batches from a step of an epoch on: clips [B, T, C, size, size] and labels [B]."""
    recipe, data = samples.recipe, samples.data
    data.set_epoch(epoch)
    order = epoch_order(len(data), recipe.seed + epoch)
    parts = list[list[Key]]()
    for start in range(first_step * recipe.batch_size, len(data) - recipe.batch_size + 1, recipe.batch_size):
        batch = order[start : start + recipe.batch_size]
        mine = shares(batch, parts=recipe.accumulate, processes=processes, rank=rank)
        parts += [[Key(epoch, index) for index in part] for part in mine]
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        samples,  # type: ignore[arg-type]  # items become batches
        batch_sampler=parts,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # the default one would draw from the program's random numbers
    )
    for clips, labels in loader:
        yield clips.flatten(0, 1), labels.repeat_interleave(recipe.repeats)
