"""What the baselines without spikes do, counted, and the table of the paper's comparison."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from deploy.clips.files import from_files
from deploy.clips.source import InputFormat
from deploy.comparison.relu import run_relu
from small_baselines import small_baseline, small_config
from svformer import SVFormerConfig
from svformer.common.cli import run_cli
from svformer.config import Model
from svformer.data.procedural import CLASSES, generate
from svformer.networks import build
from svformer.networks.checkpoint import save_checkpoint
from svformer.networks.dense_counts import sizes
from svformer.pictures.trade_off import Point, best

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("model", "adds"),
    [
        ("tsm", 4 * (8 * 64 + 8 * 16 + 16 * 4 + 16)),
        ("r2plus1d", 4 * (8 * 64 + 8 * 16 + 16 * 4 + 16)),
        ("timesformer", 4 * 3 * 3 * 16 * 16),
    ],
)
def test_products_are_those_of_the_geometry(model: Model, adds: int, tmp_path: Path) -> None:
    """Padded products and attention as in `svformer.sizes`; one sum for a value of a block, in a transformer three."""
    network = small_baseline(model).float()
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32))
    wanted = InputFormat(frames=4, shape=(3, 32, 32))
    found = run_relu(network, from_files([tmp_path / "a.npy"]), wanted, classes=())
    expected = sizes(network.config)
    assert sum(layer.padded_macs for layer in found.layers) == expected.dense_macs
    assert sum(layer.dense_macs for layer in found.attention) == expected.attention_macs
    assert sum(layer.adds for layer in found.layers) == adds
    clip, dense = (run.per_clip(weight_bits=8, attention=True) for run in (found, found.dense()))
    assert 0 < clip.macs < dense.macs <= expected.dense_macs + expected.attention_macs


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("paper_table")


def saved(folder: Path, config: SVFormerConfig) -> Path:
    torch.manual_seed(0)
    changed = {**vars(config), "num_classes": len(CLASSES)}
    save_checkpoint(
        build(SVFormerConfig(**changed)), folder / "checkpoint.safetensors", {"classes": json.dumps(CLASSES)}
    )
    return folder


def test_the_table_takes_networks_and_keeps_what_it_measured(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of a network with spikes, one without (two rows) and its conversion, which is made."""
    root = generate(tmp_path / "clips", groups=3, clips_per_group=1, workers=1)
    folders = [f"{name}={saved(tmp_path / name, small_config(name))}" for name in ("tsm", "rsnn")]
    words = ["--root", root, "--networks", "tsm", "rsnn", "ann2snn", "--take", *folders, "--steps", 2, "--limit", 2]
    command = [*map(str, words), "--out", str(tmp_path / "out"), "--json"]
    assert run_cli(benchmark.main, command) == 0
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert [row["title"] for row in rows] == ["tsm (every product)", "tsm (zeros skipped)", "rsnn", "ann2snn_2"]
    dense, skipped, recurrent, converted = rows
    assert dense["macs"] > skipped["macs"] > 0 == skipped["synaptic_ops"]
    assert dense["deployed_top1"] is None
    assert min(recurrent["synaptic_ops"], converted["synaptic_ops"]) > 0
    assert converted["dense_macs"] == 2 * dense["dense_macs"] - 16 * len(CLASSES), "the classifier runs once"
    assert {row["counted_clips"] for row in rows} == {2}
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1
    assert (tmp_path / "out" / "table.png").stat().st_size > 1000
    kept = (tmp_path / "out" / "tsm" / "counted.json").stat().st_mtime_ns
    capsys.readouterr()
    again = [*command[: command.index("--networks") + 1], "tsm", *command[command.index("--take") :]]
    assert run_cli(benchmark.main, again) == 0
    assert (tmp_path / "out" / "tsm" / "counted.json").stat().st_mtime_ns == kept
    assert run_cli(benchmark.main, ["--root", str(root), "--take", "c3d=x"]) == 2
    assert run_cli(benchmark.main, ["--root", str(root), "--take", f"tsm={tmp_path}", "--networks", "tsm"]) == 2
    assert "allowed: NAME=DIR" in capsys.readouterr().err


def test_the_front_is_what_no_other_beats() -> None:
    points = [Point(name=n, energy_mj=e, accuracy=a) for n, e, a in
              (("a", 1, 0.5), ("b", 2, 0.4), ("c", 2, 0.7), ("d", 3, 0.7))]  # fmt: skip
    assert [point.name for point in best(points)] == ["a", "c"]
