"""A deployment can stop after each of its steps, shows what it has, and writes nothing."""

from pathlib import Path

import nir
import numpy as np
import pytest

import deploy
import graphs
from deploy import run_lava
from deploy.passes.defaults import STEP_NAMES
from deploy.pipeline import STEPS
from deploy.report.draft import COLUMNS
from svformer.assets import DEMO_CLIPS
from svformer.common.cli import run_cli

FOUND_BY = {
    "rates": "rate",
    "lowered": "lower",
    "calibration": "calibrate",
    "integer": "quantize",
    "fused": "form",
    "plan": "schedule",
}


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run_cli(run_lava.main, [*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_steps_of_the_command_line_are_those_that_run() -> None:
    assert tuple(STEPS) == STEP_NAMES == tuple(COLUMNS)


@pytest.mark.parametrize("last", ["read", "lower", "prove"])
def test_a_draft_has_what_the_steps_so_far_found_and_no_more(last: str) -> None:
    made = deploy.draft(deploy.Request(clips=sorted(DEMO_CLIPS.rglob("*.avi"))[:1]), last)  # type: ignore[arg-type]
    done = STEP_NAMES[: STEP_NAMES.index(last) + 1]  # type: ignore[arg-type]
    assert {name for name in FOUND_BY if hasattr(made, name)} == {n for n, step in FOUND_BY.items() if step in done}


def test_lowering_shows_every_pass_and_every_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--stop-after", "lower", "--out", tmp_path / "out")
    for name in ("from_nir", "merge_linear_chains", "split_relays", "stage3.block0.attn.plif_qkv", "16 delays to 15"):
        assert name in text
    assert "fullest register" not in text
    assert not list(tmp_path.iterdir())


def test_the_last_step_shows_what_all_steps_found(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--stop-after", STEP_NAMES[-1])
    for heading in (heading for columns in COLUMNS.values() for heading in columns):
        assert heading in text


def test_the_chip_form_shows_what_it_adds(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--form", "chip", "--stop-after", "form")
    for name in ("stage3.block0.attn.coincidences", "gate", "always", "constant"):
        assert name in text
    assert "stage3.block0.attn.gates" not in shown(capsys, "--form", "chip", "--stop-after", "compare")


@pytest.mark.parametrize("also", ["--json", "--estimate"])
def test_a_draft_is_neither_a_report_nor_an_estimate(also: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(run_lava.main, ["--stop-after", "lower", also]) == 2
    assert "allowed" in capsys.readouterr().err


@pytest.fixture
def small(tmp_path: Path) -> list[object]:
    """A file of two dense layers of neurons, and a clip for it."""
    rng = np.random.default_rng(0)
    nodes = {"in": graphs.entry(4), "first": nir.Linear(rng.normal(0, 1, (6, 4))), "a": graphs.lif(6)}
    nodes |= {"second": nir.Linear(rng.normal(0.2, 1, (3, 6))), "b": graphs.lif(3), "out": graphs.result(3)}
    deploy.write_nir(graphs.chain(nodes), tmp_path / "small.nir")
    np.save(tmp_path / "clip.npy", rng.random((8, 4)))
    return ["--nir", tmp_path / "small.nir", "--clip", tmp_path / "clip.npy", "--out", tmp_path / "out"]


def test_why_shows_what_each_part_costs_and_writes_nothing(
    small: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *small, "--why")
    for expected in ("everything, in integers", "all but this", "weights", "thresholds", "leaks", "input"):
        assert expected in text
    assert not (tmp_path / "out").exists()


def test_fine_layers_are_said(small: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, *small, "--fine-layers", 1, "--stop-after", "quantize")
    assert "two synapses for each of 24 weights of 42: those of a" in text


def test_more_fine_layers_than_there_are_is_said(small: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, *small, "--fine-layers", 9, "--stop-after", "quantize")
    assert "; 9 layers were asked for, no other has weights that are rounded" in text


@pytest.mark.parametrize("also", [["--why", "--json"], ["--why", "--estimate"], ["--fine-layers", "0"]])
def test_why_is_no_report_and_fine_layers_are_some(also: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(run_lava.main, also) == 2
    assert "allowed" in capsys.readouterr().err
