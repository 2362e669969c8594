"""The samples of a training step: clips, their order and their augmentation follow from seed, epoch and index alone.

So a run that is resumed in the middle of an epoch, or with other processes or loader workers, has the same samples.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from svformer.data.clip_dataset import ClipDataset
from svformer.data.loaders import batches
from svformer.training.augment import augmented
from svformer.training.recipe import Recipe

# The tiny network that ships was trained with seed 6666 and crops of seed 0; other seeds change the crops, too.
CROPS_OF_SEED_0 = Recipe.seed


class Key(NamedTuple):
    """One training sample: the number of the clip in the data set, and the epoch; both count from 0."""

    epoch: int
    clip: int


class Samples(Dataset[tuple[Tensor, int]]):
    """Training clips by `Key`: (uint8 or int16 [repeats, T, C, size, size], label).

    A clip is read once; each of its `repeats` samples is cut, mirrored and augmented independently. Making a `Samples`
    sets the data set's seed, and makes the data set return whole pictures where the augmentation crops them.
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
    """All indices from 0 to `clips` - 1, in the order of a `DataLoader` that shuffles with a generator of this seed."""
    generator = torch.Generator().manual_seed(seed)
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # the number that seeds a loader's workers
    order: list[int] = torch.randperm(clips, generator=generator).tolist()
    return order


def shares(batch: Sequence[int], *, parts: int, processes: int, rank: int) -> list[Sequence[int]]:
    """The share of one process in a batch: `parts` runs of consecutive indices, one for each accumulated part."""
    size = len(batch) // (parts * processes)
    starts = ((part * processes + rank) * size for part in range(parts))
    return [batch[start : start + size] for start in starts]


def epoch_loader(
    samples: Samples, epoch: int, *, first_step: int, processes: int, rank: int, workers: int, pin_memory: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of batches, from `first_step` of an epoch to its end: clips [B, T, C, size, size] and labels [B]."""
    recipe, data = samples.recipe, samples.data
    data.set_epoch(epoch)
    order = epoch_order(len(data), recipe.seed + epoch)
    parts = list[list[Key]]()
    for start in range(first_step * recipe.batch_size, len(data) - recipe.batch_size + 1, recipe.batch_size):
        batch = order[start : start + recipe.batch_size]
        mine = shares(batch, parts=recipe.accumulate, processes=processes, rank=rank)
        parts += [[Key(epoch, index) for index in part] for part in mine]
    loaded = batches(
        samples,
        batch_sampler=parts,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # the default generator is that of the program's random numbers
    )
    for clips, labels in loaded:
        yield clips.flatten(0, 1), labels.repeat_interleave(recipe.repeats)
