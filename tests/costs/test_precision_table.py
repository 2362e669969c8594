"""The benchmark that says what rounding costs: slayer's rule by hand, cells that are measured once, and its table."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import nir
import numpy as np
import pytest
from rich.console import Console

import graphs
import reals
from deploy.clips.source import ClipSource
from deploy.ir.network import Network
from deploy.ir.operations.convolution import Convolution
from deploy.ir.populations.input import Input
from deploy.ir.populations.lif import Lif
from svformer.common.errors import InputError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUIET = Console(quiet=True)
T, INPUTS, CLASSES, CLIPS = 12, 4, 3, 10


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def slayer(load: Any) -> ModuleType:
    module: ModuleType = load("slayer_rounding")
    return module


# Slayer's rule


def test_weights_of_slayer_by_hand(slayer: ModuleType) -> None:
    """Steps of 2/64: 0.03 is 0.96 of them, 1/64 half of one, which goes to the even 0; 5 and -5 are clipped."""
    found = slayer.rounded_weights(np.array([0.03, 1 / 64, 5.0, -5.0]), 64)
    assert found.tolist() == [2 / 64, 0, 254 / 64, -256 / 64]


def test_thresholds_are_cut_off_and_decays_rounded(slayer: ModuleType) -> None:
    assert slayer.rounded_threshold(np.array([1.999 / 64, 0.5 / 64]), 64).tolist() == [1 / 64, 1 / 64]
    assert slayer.rounded_decay(np.array([0.5, 1.6 / 4096])).tolist() == [0.5, 2 / 4096]


def test_the_finest_scale_clips_nothing(slayer: ModuleType) -> None:
    """254 / 1.5 = 169, so 128; of 254 / 0.9 = 282 it is 256, at which 0.9 is 230."""
    assert [slayer.finest_scale(size) for size in (1.5, 0.9)] == [128, 256]


@pytest.mark.lava
def test_the_rule_is_lava_dls(slayer: ModuleType) -> None:
    import torch

    from deploy.lava_network.compat import load_lava_dl

    load_lava_dl()
    neurons = importlib.import_module("lava.lib.dl.slayer.neuron.cuba")
    values = np.random.default_rng(0).normal(0, 3, 500)
    for scale in (64, 32):
        theirs = neurons.Neuron(threshold=1.234, current_decay=1.0, voltage_decay=0.3, scale=scale)
        found = slayer.rounded_weights(values, scale)
        np.testing.assert_allclose(found, theirs.quantize_8bit(torch.as_tensor(values)).numpy())
        assert slayer.rounded_threshold(np.array(1.234), scale) == theirs.threshold
        assert slayer.rounded_decay(np.array(0.3)) * 4096 == theirs.cx_voltage_decay


def small() -> Network:
    weight = np.array([[0.03, 5.0]])
    return Network(
        populations={
            "input": Input(shape=(2, 1, 1)),
            "output": reals.lif((1, 1, 1), threshold=1.999, bias=0.03),
        },
        connections=(reals.link("input", "output", reals.dense(weight)),),
        output="output",
        frames=2,
        readout="count",
    )


def test_a_network_rounded_as_slayer_does(slayer: ModuleType) -> None:
    """At scale 64: 0.03 is 2/64, 5 is clipped to 254/64, 1.999 cut off to 127/64. At 32, which holds 5: 0, 5, 63/32."""
    for fits, weight, threshold in ((False, [2 / 64, 254 / 64], 127 / 64), (True, [0.0, 5.0], 63 / 32)):
        found = slayer.rounded_as_slayer(small(), fits=fits)
        operation, output = found.connections[0].operation, found.populations["output"]
        assert isinstance(operation, Convolution)
        assert isinstance(output, Lif)
        assert operation.weight.ravel().tolist() == weight
        assert output.threshold.ravel().tolist() == [threshold]
        assert output.bias.ravel().tolist() == [weight[0]]


# Rows


def test_rows_that_are_no_rows_are_refused(load: Any, tmp_path: Path) -> None:
    row_of, file = load("precision_networks").row_of, tmp_path / "checkpoint.safetensors"
    file.touch()
    for text, why in (
        ("resnet", "allowed: tiny"),
        (f"x={file},ucf", "DATASET of"),
        (f"x={file},ucf101", "no folder"),
        ("x=missing,procedural", "no such checkpoint"),
    ):
        with pytest.raises(InputError, match=why):
            row_of(text)
    row = row_of(f"mine={file},folder,{tmp_path}")
    assert (row.name, row.checkpoint, row.dataset.name, row.dataset.root) == ("mine", file, "folder", str(tmp_path))
    assert row_of("MS-ResNet").checkpoint is None


# Cells and the table


@pytest.fixture
def subject(load: Any, tmp_path: Path) -> Any:
    rng = np.random.default_rng(0)
    nodes = {
        "input": graphs.entry(INPUTS),
        "first": nir.Linear(rng.normal(size=(6, INPUTS))),
        "hidden": graphs.lif(6),
        "second": nir.Linear(rng.normal(size=(CLASSES, 6))),
        "lif": graphs.lif(CLASSES),
        "output": graphs.result(CLASSES),
    }
    clips = []
    for number in range(CLIPS):
        np.save(path := tmp_path / f"{number}.npy", (rng.random((T, INPUTS)) < 0.4).astype(np.float32))
        clips.append(ClipSource(path=path, label=str(number % CLASSES)))
    graph = graphs.chain(nodes, T=T)
    return load("precision_networks").Subject(graph=graph, clips=clips, calibration=clips[:4], examples=clips)


@pytest.fixture
def runner(load: Any, subject: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that runs rows, whose networks are all this one."""
    module: ModuleType = load("precision_run")
    monkeypatch.setattr(module, "subject", lambda row, out, **options: subject)
    return module


def settings(runner: ModuleType, *ways: str, tune: int = 1) -> Any:
    return runner.Settings(ways=ways, tune=tune, limit=CLIPS, examples=CLIPS, epochs=1)


def found_in(runner: ModuleType, folder: Path, wanted: Any) -> Any:
    row = runner.Row(name="small", dataset=None)
    return runner.run([row], wanted, runner.Store(folder / "table.json"), QUIET)


def test_cells_are_measured_once(runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings(runner, "8", "4_tuned", "slayer_fit")
    (first,) = found_in(runner, tmp_path, wanted)
    cell = first.cells["8"]
    assert cell.clips == CLIPS
    assert 0.8 < cell.spikes <= 1
    assert first.cells["4_tuned"].tuned.startswith("tuned on 10 clips in 1 epoch")
    assert len({cell.float_top1 for cell in first.cells.values()}) == 1, "the same clips in real numbers"
    stored = json.loads((tmp_path / "table.json").read_text())["cells"]
    assert [(entry["network"], entry["way"]) for entry in stored] == [("small", way) for way in wanted.ways]
    measured: list[str] = []

    def again(subject: Any, way: Any, epochs: int) -> Any:
        measured.append(way.title)
        return cell

    monkeypatch.setattr(runner, "measured", again)
    assert found_in(runner, tmp_path, wanted) == [first]
    assert measured == []
    found_in(runner, tmp_path, settings(runner, "8", "4_tuned", tune=2))
    assert measured == ["4 bits, tuned"], "other epochs of tuning"


def test_a_file_of_something_else_is_refused(runner: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"rows": []}')
    with pytest.raises(InputError, match="choose another --out"):
        runner.Store(tmp_path / "table.json")


def test_the_table_says_what_the_cells_say(runner: ModuleType, load: Any, tmp_path: Path) -> None:
    cell = load("precision_measure").Cell
    values = {"clips": 200, "float_top1": 0.9, "made_min": 1.0, "made_core_min": 0.5, "tuned": ""}
    cells = {
        "8": cell(top1=0.895, same=0.98, spikes=0.956, **values),
        "4": cell(top1=None, same=0.9, spikes=0.9, **values),
    }
    load("precision_shown").write([runner.Result(name="net", cells=cells)], tmp_path)
    heading, _, row = (tmp_path / "table.md").read_text().splitlines()
    assert heading.startswith("| network | test clips | float, % | 8 bits, % | 4 bits, % | same prediction, % |")
    assert row == "| net | 200 | 90.0 | 89.5 | – | 98.0 / 90.0 | 95.6 / 90.0 | 0.5 / 0.5 |"
    assert (tmp_path / "table.png").stat().st_size > 1000
