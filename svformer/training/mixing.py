"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899): pairs of clips of a batch, and their labels, are mixed."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from svformer.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How every clip of one step is mixed with its partner; one draw holds for the whole batch."""

    share: float  # weight of the clip itself, from 0 to 1; its partner has the rest
    box: tuple[slice, slice] | None  # CutMix: rows and columns taken from the partner; None, mixup: pixels are averaged


def draw_mix(recipe: Recipe, image_size: int, rng: np.random.Generator) -> Mix:
    """The mixture of one step; where the recipe has both kinds, a fair coin chooses."""
    cut = recipe.cutmix > 0 and (recipe.mixup == 0 or rng.random() < 0.5)
    alpha = recipe.cutmix if cut else recipe.mixup
    share = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(share=share, box=None)
    side = round(image_size * (1 - share) ** 0.5)
    rows, columns = (_span(int(rng.integers(image_size)), side, image_size) for _ in range(2))
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(share=1 - covered / image_size**2, box=(rows, columns))  # a box is cut at the border


def _span(centre: int, side: int, size: int) -> slice:
    return slice(max(0, centre - side // 2), min(size, centre - side // 2 + side))


def mixed(batch_BCTHW: Tensor, labels: Tensor, mix: Mix, *, classes: int, group: int) -> tuple[Tensor, Tensor]:
    """The mixed batch [B, C, T, H, W] and its targets, probabilities [B, K].

    In every `group` of consecutive clips the first is mixed with the last, the second with the last but one, and so on.
    A process that holds whole groups mixes its clips as one process with the whole batch would.
    """
    partner_BCTHW = _partners(batch_BCTHW, group)
    if mix.box is None:
        batch_BCTHW = mix.share * batch_BCTHW + (1 - mix.share) * partner_BCTHW
    else:
        batch_BCTHW = batch_BCTHW.clone()
        batch_BCTHW[..., *mix.box] = partner_BCTHW[..., *mix.box]
    targets = F.one_hot(labels, classes).to(batch_BCTHW.dtype)
    return batch_BCTHW, mix.share * targets + (1 - mix.share) * _partners(targets, group)


def _partners(tensor: Tensor, group: int) -> Tensor:
    return torch.flip(tensor.unflatten(0, (-1, group)), (1,)).flatten(0, 1)
