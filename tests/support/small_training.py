"""The smallest training that means something: 24 clips of 12 classes, 3 steps an epoch."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from svformer import PRESETS, SVFormer, SVFormerConfig
from svformer import train as train_module
from svformer.common.cli import run_cli
from svformer.data.clips import Sampling
from svformer.data.procedural import CLASSES
from svformer.data.ucf101 import Ucf101
from svformer.training.recipe import RECIPES, Recipe
from svformer.training.trainer import Trainer

CONFIG = SVFormerConfig(
    num_classes=len(CLASSES), image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
)
RECIPE = Recipe(epochs=2, batch_size=8)
EVERYTHING = dataclasses.replace(RECIPES["ucf101"], epochs=2, warm_up=0.4, batch_size=8, accumulate=2, ema=0.5)


def open_data(root: Path) -> Ucf101:
    return Ucf101(root, train=True, size=32, sampling=Sampling(frames=CONFIG.frames), cache=True)


def new_trainer(
    data: Ucf101,
    recipe: Recipe = RECIPE,
    *,
    config: SVFormerConfig = CONFIG,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **options: Any,
) -> Trainer:
    """A model with the weights of this seed, and its trainer."""
    torch.manual_seed(seed)
    return Trainer(SVFormer(config).to(dtype), data, recipe, **options)


def assert_equal_state(found: nn.Module, expected: nn.Module) -> None:
    """The same weights, bit for bit."""
    state: dict[str, Tensor] = found.state_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(state[name], tensor), name


def run_main(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path, *arguments: str) -> int:
    """The command on these clips with the small geometry as the preset; returns its exit code."""
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(CONFIG, num_classes=3))  # the data has the last word
    options = ["--dataset", "ucf101", "--root", str(root), "--out", str(out), "--batch-size", "8", "--device", "cpu"]
    return run_cli(train_module.main, [*options, *arguments])
