"""Recipes: presets, what overrides them, what is refused; rates and weight decay by hand."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from svformer import PRESETS, InputError, SVFormer, SVFormerConfig
from svformer.common.cli import ArgumentParser
from svformer.training.optimise import cosine, make_optimizer, make_schedule, parameter_groups
from svformer.training.recipe import (
    AUGMENTATIONS,
    FINE_TUNING,
    RECIPES,
    Recipe,
    add_recipe_arguments,
    fine_tuning,
    overridden,
)

CONFIG = SVFormerConfig(
    num_classes=12, image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)


def parsed(*options: str) -> dict[str, Any]:
    parser = ArgumentParser()
    add_recipe_arguments(parser)
    return vars(parser.parse_args(options))


# Presets


def test_every_geometry_has_a_recipe() -> None:
    assert RECIPES.keys() == PRESETS.keys()


def test_the_recipe_of_the_network_that_ships() -> None:
    """Its figures in README.md come from exactly this."""
    recipe = RECIPES["tiny"]
    assert recipe == Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.peak_lr, recipe.weight_decay) == (40, 32, 4e-3, 0.02)
    assert (recipe.schedule, recipe.warm_up, recipe.gradient_norm, recipe.seed) == ("one_cycle", 0.2, 5.0, 6666)
    assert (recipe.augmentation, recipe.repeats, recipe.accumulate, recipe.ema) == (None, 1, 1, 0)
    assert not recipe.mixes


def test_the_recipe_of_the_paper() -> None:
    recipe = RECIPES["ucf101"]
    assert (recipe.epochs, recipe.batch_size, recipe.peak_lr, recipe.weight_decay) == (600, 64, 6e-3, 0.05)
    assert (recipe.schedule, recipe.warm_up * recipe.epochs, recipe.floor_lr) == ("cosine", 30, 1e-6)
    assert (recipe.label_smoothing, recipe.mixup, recipe.cutmix, recipe.repeats) == (0.1, 0.8, 1.0, 2)
    plan = recipe.augmentation
    assert plan is not None
    assert (plan.crop_area, plan.crop_aspect) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (plan.operations, plan.magnitude, plan.magnitude_std) == (2, 5, 0.25)
    assert (plan.colour_jitter, plan.erasing) == (0.4, 0.25)
    assert plan.source_size(224) == 256
    assert RECIPES["ntu60"] == recipe


def test_events_are_not_coloured() -> None:
    plan = RECIPES["dvs128_gesture"].augmentation
    assert plan is not None
    assert (plan.kind, plan.colour_jitter, plan.source_size(128)) == ("events", 0, 128)


def test_fine_tuning_takes_a_fifth_of_the_epochs_at_a_quarter_of_the_rate() -> None:
    assert Recipe(epochs=8, peak_lr=1e-3) == FINE_TUNING
    assert fine_tuning(Recipe(epochs=3)).epochs == 1


# Options


def test_without_options_the_recipe_is_the_presets() -> None:
    for recipe in RECIPES.values():
        assert overridden(recipe, parsed()) == recipe


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--epochs", "3", "--batch-size", "4", "--seed", "0"], {"epochs": 3, "batch_size": 4, "seed": 0}),
        (["--lr", "0.1", "--weight-decay", "0"], {"peak_lr": 0.1, "weight_decay": 0.0}),
        (["--mixup", "0", "--cutmix", "0"], {"mixup": 0.0, "cutmix": 0.0}),
        (["--augmentation", "none"], {"augmentation": None}),
        (["--augmentation", "events"], {"augmentation": AUGMENTATIONS["events"]}),
        (["--precision", "bf16", "--accumulate", "4"], {"precision": "bf16", "accumulate": 4}),
        (["--ema", "0.999", "--repeats", "1"], {"ema": 0.999, "repeats": 1}),
        (["--label-smoothing", "0.2", "--gradient-norm", "2"], {"label_smoothing": 0.2, "gradient_norm": 2.0}),
    ],
)
def test_an_option_changes_its_field_alone(options: list[str], changes: dict[str, Any]) -> None:
    recipe = RECIPES["ucf101"]
    assert overridden(recipe, parsed(*options)) == dataclasses.replace(recipe, **changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0, "batch_size": 8}, "0 epochs with batches of 8; allowed: 1 or more of both"),
        ({"epochs": -1, "batch_size": 8}, "-1 epochs with batches of 8; allowed"),
        ({"epochs": 1, "batch_size": 0}, "1 epochs with batches of 0; allowed"),
        ({"peak_lr": 0.0}, "peak_lr 0.0; allowed: above 0"),
        ({"peak_lr": math.nan}, "peak_lr nan; allowed: above 0"),
        ({"gradient_norm": -1.0}, "gradient_norm -1.0; allowed: above 0"),
        ({"weight_decay": -0.1}, r"weight_decay -0.1; allowed: 0 \(none\) or more"),
        ({"cutmix": -0.1}, r"cutmix -0.1; allowed: 0 \(none\) or more"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0; allowed: from 0 to below 1"),
        ({"ema": 1.0}, "ema 1.0; allowed: from 0 to below 1"),
        ({"seed": -1}, "seed -1; allowed: 0 or more"),
        ({"repeats": 0}, "repeats 0, accumulate 1; allowed: 1 or more of both"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**fields)


# The rate


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    recipe = Recipe(schedule="cosine", peak_lr=1.0, floor_lr=0.1, warm_up=0.2)
    rates = [cosine(recipe, step, 20) for step in range(21)]
    # 4 steps up from 0.1 by 0.9 / 4, then half a cosine over 16: half-way, after 8 of them, 0.1 + 0.9 / 2.
    assert rates[:5] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])
    assert rates[12] == pytest.approx(0.55)
    assert rates[8] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[20] == pytest.approx(0.1)


@given(steps=st.integers(20, 500), warm_up=st.floats(0.06, 0.9))
def test_the_rate_stays_between_floor_and_peak_and_turns_once(steps: int, warm_up: float) -> None:
    recipe = Recipe(schedule="cosine", warm_up=warm_up)
    rates = [cosine(recipe, step, steps) for step in range(steps + 1)]
    assert min(rates) == pytest.approx(recipe.floor_lr)
    assert max(rates) <= recipe.peak_lr * (1 + 1e-12)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_the_optimiser_takes_the_rate_of_the_schedule(schedule: Any) -> None:
    recipe = Recipe(schedule=schedule, peak_lr=1.0, floor_lr=0.1)
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.AdamW([parameter], lr=recipe.peak_lr)
    schedule_of_20 = make_schedule(optimizer, recipe, 20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule_of_20.step() if len(rates) < 20 else None
    if schedule == "cosine":
        assert rates == pytest.approx([cosine(recipe, step, 20) for step in range(20)])
    else:
        # torch's cycle starts at a 25th, is at the top after 20 % of the steps less one, and ends at 1 / 250,000.
        assert (rates[0], rates[3], rates[-1]) == pytest.approx((1 / 25, 1.0, 1 / 25e4))


# The optimiser


def test_only_kernels_and_matrices_decay() -> None:
    model = SVFormer(CONFIG)
    model.stem.conv.weight.requires_grad_(False)
    decayed, kept = parameter_groups(model, 0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[p] for p in decayed["params"] + kept["params"]} == set(names.values()) - {"stem.conv.weight"}
    assert {"head.fc.weight", "head.conv3d.weight", "down2.conv.weight"} <= {names[p] for p in decayed["params"]}
    assert {names[p].rsplit(".")[-1] for p in decayed["params"]} == {"weight"}
    kept_names = {names[p] for p in kept["params"]}
    assert {"head.plif.p.w", "stem.norm.weight", "stem.norm.bias", "head.fc.bias", "head.bn3d.weight"} <= kept_names

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for parameter in names:
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(model, Recipe(peak_lr=0.1, weight_decay=0.5)).step()
    torch.testing.assert_close(model.head.fc.weight.detach(), before["head.fc.weight"] * (1 - 0.1 * 0.5))
    for name in kept_names:
        assert torch.equal(model.state_dict()[name], before[name]), name
