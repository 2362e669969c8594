"""The benchmark that sets kinds of attention side by side: what it prints is what the reports of its runs say."""

import dataclasses
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console

from deploy.report.keys.report import Report
from svformer import SVFormer, SVFormerConfig
from svformer.common.errors import InputError
from svformer.data.choice import DatasetChoice
from svformer.data.procedural import CLASSES, generate
from svformer.networks.checkpoint import save_checkpoint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = SVFormerConfig(
    num_classes=len(CLASSES), image_size=32, frames=4, embed_dims=(4, 8, 8, 8), depths=(1, 1, 1, 1), head_dim=4
)
QUIET = Console(quiet=True)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("variants")


def saved(folder: Path, config: SVFormerConfig, seed: int, classes: tuple[str, ...] = CLASSES) -> Path:
    torch.manual_seed(seed)
    save_checkpoint(SVFormer(config), folder / "checkpoint.safetensors", notes={"classes": json.dumps(classes)})
    return folder


def test_seeds_of_an_attention_stand_together(benchmark: ModuleType, tmp_path: Path) -> None:
    root = generate(tmp_path / "clips", groups=3, clips_per_group=1, workers=1)
    sdsa = dataclasses.replace(SMALL, attention="sdsa")
    folders = [saved(tmp_path / name, config, seed) for name, config, seed in
               (("a", SMALL, 0), ("b", sdsa, 0), ("c", sdsa, 1))]  # fmt: skip
    found = benchmark.variants(folders, tmp_path / "out", QUIET, dataset=DatasetChoice(root=root), limit=2)
    assert [(v.attention, v.head_dim, len(v.trained)) for v in found] == [("qkv", 4, 1), ("sdsa", 4, 2)]
    report = Report.read(tmp_path / "out" / "b" / "report.json")
    first, size = found[1].trained[0], found[1].trained[0].size
    assert first.spikes == report.totals.spikes > 0
    assert first.deployed_top1 == report.accuracy.deployed_top1
    assert size.neurons == sum(part.neurons for part in report.mapping)
    assert 0 < size.delay_neurons < size.neurons
    assert size.chip_steps == report.clips[0].steps + report.plan.depth
    assert benchmark.measured_table(found).row_count == 2
    assert benchmark.size_table(found).row_count == 2, "nothing is said of a published geometry that was not asked for"


def test_networks_of_other_classes_are_refused(benchmark: ModuleType, tmp_path: Path) -> None:
    root = generate(tmp_path / "clips", groups=3, clips_per_group=1, workers=1)
    folder = saved(tmp_path / "a", SMALL, 0, tuple("abcdefghijkl"))
    with pytest.raises(InputError, match="give networks that were trained on the procedural set"):
        benchmark.variants([folder], tmp_path / "out", QUIET, dataset=DatasetChoice(root=root), limit=1)
