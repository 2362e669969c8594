"""The optimiser (AdamW) and the schedule of its learning rate."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from svformer.common.errors import InputError
from svformer.training.recipe import Recipe


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only, none on 1-D parameters (norms, biases, time constants)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over all trainable parameters; `make_schedule` sets its rate before every step."""
    return torch.optim.AdamW(parameter_groups(model, recipe.weight_decay), lr=recipe.peak_lr)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The learning rate of each of `steps` steps; raises `InputError` where it has too few steps to rise and fall."""
    if steps * recipe.warm_up <= 1:
        raise InputError(
            f"{steps} steps are too few for a rate that rises for {recipe.warm_up:.0%} of them; allowed: "
            f"{int(1 / recipe.warm_up) + 1} or more, by more --epochs, a smaller --batch-size or more clips"
        )
    if recipe.schedule == "one_cycle":
        return OneCycleLR(optimizer, max_lr=recipe.peak_lr, total_steps=steps, pct_start=recipe.warm_up)
    return LambdaLR(optimizer, lambda step: cosine(recipe, step, steps) / recipe.peak_lr)


def cosine(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of a step: a line from floor to peak, then half a cosine back (arXiv 1608.03983, eq. 5)."""
    rising = recipe.warm_up * steps
    height = recipe.peak_lr - recipe.floor_lr
    if step < rising:
        return recipe.floor_lr + height * step / rising
    return recipe.floor_lr + height * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
