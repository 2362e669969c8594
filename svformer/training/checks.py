"""Checks that a recipe, its data, its network and the number of processes fit together."""

from svformer.common.errors import InputError
from svformer.config import SVFormerConfig
from svformer.data.clip_dataset import ClipDataset
from svformer.training.recipe import Recipe

VIDEO_CHANNELS = 3  # channels of a video; events have 2, the polarities


def check_fit(config: SVFormerConfig, data: ClipDataset, recipe: Recipe) -> None:
    """Raise `InputError` where network, data and recipe are of different kinds, and without a whole batch of clips."""
    if len(data) < recipe.batch_size:
        raise InputError(
            f"{len(data)} training clips are fewer than one batch of {recipe.batch_size}; "
            f"give more clips, or --batch-size {len(data)} or less"
        )
    if data.channels != config.in_channels:
        raise InputError(
            f"the network takes {config.in_channels} channels, the data have {data.channels}; choose a --preset for "
            f"{'videos' if data.channels == VIDEO_CHANNELS else 'events (dvs128_gesture, nmnist)'}"
        )
    kind = "video" if data.channels == VIDEO_CHANNELS else "events"
    if recipe.augmentation and recipe.augmentation.kind != kind:
        raise InputError(f"augmentation of {recipe.augmentation.kind}, but the data are {kind}; --augmentation {kind}")
    if recipe.precision != "fp32" and config.weight_bits is not None:
        raise InputError("weights of few bits are rounded in fp32; leave out --precision bf16")


def check_shares(recipe: Recipe, processes: int) -> None:
    """Raise `InputError` where a batch cannot be divided among processes and accumulated parts."""
    unit = processes * recipe.accumulate * recipe.clips_together
    if recipe.batch_size % unit:
        pairs = " and mixes its clips in pairs" if recipe.mixes else ""
        raise InputError(
            f"a batch of {recipe.batch_size} clips is divided by {processes} processes x {recipe.accumulate} "
            f"accumulated parts{pairs}; allowed: a multiple of {unit}"
        )
    if recipe.batch_size * recipe.repeats == recipe.accumulate:
        raise InputError("parts of one clip have no norm statistics; choose a larger --batch-size or less --accumulate")
