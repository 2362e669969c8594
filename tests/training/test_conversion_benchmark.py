"""Our conversion of a CNN beside SpikingJelly's: both begin with the same network, and measure the same."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from small_baselines import small_baseline
from svformer.baselines.tsm import TemporalShift
from svformer.common.cli import run_cli
from tensors import random_clips

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("conversion")


@torch.no_grad()
def test_all_frames_at_once_give_the_logits_of_the_network(conversion: ModuleType) -> None:
    model = small_baseline("tsm").float()
    assert isinstance(model, TemporalShift)
    clips = random_clips(model.config, 2).float()
    expected = model(clips)
    found = conversion.AllFrames(model).eval()(clips)
    torch.testing.assert_close(found, expected)


def test_shares_of_clips(conversion: ModuleType) -> None:
    """Four clips of classes 0 to 3: predicted 0, 1, 0, 0; the trained network says 0, 0, 0, 3."""
    clips = torch.zeros(4, 2, 3, 4, 4, dtype=torch.uint8)
    logits = {"found": torch.eye(4)[[0, 1, 0, 0]], "trained": torch.eye(4)[[0, 0, 0, 3]]}
    found = conversion.measured(lambda _: logits["found"], lambda _: logits["trained"], [(clips, torch.arange(4))])
    assert found == {"top1": 50.0, "same": 50.0, "clips": 4}


def test_a_folder_without_spikingjelly_is_one_line(
    conversion: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(conversion.main, ["none.safetensors", "--spikingjelly", str(tmp_path)]) == 2
    assert "no SpikingJelly there" in capsys.readouterr().err
