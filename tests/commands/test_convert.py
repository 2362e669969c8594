"""The authors' checkpoint from the shell to ours."""

from pathlib import Path

import pytest
import torch

from svformer import load_checkpoint
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.convert import convert, describe, main

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "tiny_rgb.pyth"
needs_golden = pytest.mark.skipif(not GOLDEN.is_file(), reason="the shared golden files are not here")


@needs_golden
def test_a_converted_checkpoint_holds_the_same_weights(tmp_path: Path) -> None:
    target = tmp_path / "tiny.safetensors"
    said = describe(convert(GOLDEN, target, head_dim=16, force=False))
    assert "204,672 parameters, 7 classes, T = 16, 64 x 64 pixels, norm per_step" in said
    expected, found = load_checkpoint(GOLDEN, head_dim=16), load_checkpoint(target)
    assert found.config == expected.config
    for (name, a), b in zip(expected.state_dict().items(), found.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@needs_golden
def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    target = tmp_path / "tiny.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists; choose another --out, or --force"):
        convert(GOLDEN, target, head_dim=16, force=False)
    assert target.read_bytes() == b"precious"
    convert(GOLDEN, target, head_dim=16, force=True)
    assert load_checkpoint(target).config.num_classes == 7


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, out = str(tmp_path / "missing.pyth"), str(tmp_path / "out.safetensors")
    assert run_cli(main, [missing, "--out", out]) == 2
    assert "missing.pyth: no such checkpoint" in capsys.readouterr().err
    assert run_cli(main, [missing, "--out", out, "--head-dim", "0"]) == 2
    assert capsys.readouterr().err == "error: --head-dim 0; allowed: 1 or more\n"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        convert(tmp_path / "missing.pyth", tmp_path / "out.safetensors", head_dim=64, force=False)
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        convert(tmp_path / "missing.pyth", tmp_path / "out.pyth", head_dim=64, force=False)
    assert list(tmp_path.iterdir()) == []
