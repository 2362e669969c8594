"""`export_nir.py --model`: a model of the user's own becomes a file that `run_lava.py` runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deploy import export_nir, read_nir, run_lava
from svformer.common.cli import run_cli

NET = """
import norse.torch as norse
import torch
from torch import nn

import deploy
import helper


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 12), nn.Linear(12, 3)
        p = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(300.0), v_th=torch.tensor(0.3))
        self.cell, self.own = norse.LIFBoxCell(p=p), helper.Gate()

    def forward(self, x):
        state, out = None, []
        for frame in x:
            spikes, state = self.cell(6 * self.fc1(frame), state)
            out.append(self.own(2 * self.fc2(spikes)))
        return torch.stack(out)


def build():
    torch.manual_seed(0)
    example = torch.rand(5, 2, 6, generator=torch.Generator().manual_seed(1))
    return Net(), example, {helper.Gate: lambda module: deploy.Neuron(tau=1.0, threshold=0.1)}


def bare():
    return build()[0]


def nothing():
    return 3
"""
HELPER = """
from torch import nn


class Gate(nn.Module):
    def forward(self, x):
        return (x >= 0.1).to(x)
"""
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users_net.py").write_text(NET)
    (tmp_path / "helper.py").write_text(HELPER)
    return tmp_path


def export(*arguments: object) -> int:
    return run_cli(export_nir.main, [*map(str, arguments)])


def test_the_file_of_a_model_runs(folder: Path, capsys: Capture) -> None:
    """Written with every spike equal, read, lowered, and run on a clip in integers."""
    out = folder / "mine.nir"
    assert export("--model", f"{folder}/users_net.py:build", "--axes", "TBN", "--out", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["spikes_compared"] == 2 * 5 * (12 + 3)
    assert said["output_error"] == 0
    assert set(read_nir(out).nodes) == {"input", "fc1", "cell", "fc2", "own", "output"}
    np.save(folder / "clip.npy", np.random.default_rng(0).random((5, 6, 1, 1)).astype(np.float32))
    run = ["--nir", out, "--clip", folder / "clip.npy", "--backend", "integer", "--out", folder / "run"]
    assert run_cli(run_lava.main, [*map(str, run)]) == 0
    assert (folder / "run" / "report.json").is_file()


def test_a_module_is_found_from_where_the_command_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(folder)
    assert export("--model", "users_net:build", "--axes", "TBN", "--out", "a.nir") == 0
    assert "differ at ties, outputs within" in capsys.readouterr().out


def test_weights_and_an_example_come_from_files(folder: Path) -> None:
    """The weights of a safetensors file and of a checkpoint of a parallel model are the same network."""
    torch.manual_seed(3)
    weights = {"fc1.weight": torch.rand(12, 6), "fc1.bias": torch.rand(12)}
    weights |= {"fc2.weight": torch.rand(3, 12), "fc2.bias": torch.rand(3)}
    save_file(weights, folder / "a.safetensors")
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}, "epoch": 3}, folder / "a.pt")
    np.save(folder / "x.npy", np.random.default_rng(0).random((5, 2, 6)).astype(np.float32))
    for name in ("a.safetensors", "a.pt"):
        given = ("--weights", folder / name, "--example", folder / "x.npy", "--axes", "TBN", "--force")
        assert export("--model", f"{folder}/users_net.py:build", *given, "--out", folder / f"{name}.nir") == 0
    assert (folder / "a.safetensors.nir").read_bytes() == (folder / "a.pt.nir").read_bytes()
    np.testing.assert_allclose(read_nir(folder / "a.pt.nir").nodes["fc2"].bias, 2 * weights["fc2.bias"], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "users_net:build"], "--model without --axes; add what the axes of its input are"),
        (["--axes", "TBN"], "--axes is for --model; leave it out, or add it"),
        (["--model", "a:b", "--axes", "TBN", "--portable"], "are for an SVFormer; leave them out with --model"),
        (["--model", "users_net", "--axes", "TBN"], "allowed: MODULE:FUNCTION or FILE.py:FUNCTION"),
        (["--model", "no_such_net:build", "--axes", "TBN"], "no such module here or among the installed ones"),
        (["--model", "none.py:build", "--axes", "TBN"], "none.py: no such file"),
        (["--model", "users_net:absent", "--axes", "TBN"], "users_net has no function absent"),
        (["--model", "users_net:nothing", "--axes", "TBN"], "returns int; allowed: a torch.nn.Module"),
        (["--model", "users_net:bare", "--axes", "TBN"], "returns no example; give one with --example FILE"),
        (["--model", "users_net:build", "--axes", "TBN", "--weights", "w.pt"], "w.pt: no such file"),
        (["--model", "users_net:build", "--axes", "TBN", "--weights", "bad.pt"], "not readable as numbers alone"),
        (
            ["--model", "users_net:build", "--axes", "TBN", "--weights", "other.pt"],
            "of another model: 4 missing",
        ),
        (["--model", "users_net:build", "--axes", "TBN", "--weights", "wide.pt"], "size mismatch for fc1.weight"),
        (["--model", "users_net:build", "--axes", "TBN", "--example", "bad.npy"], "bad.npy: not a readable array"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.pt").write_bytes(b"no tensors")
    (folder / "bad.npy").write_bytes(b"no array")
    torch.save({"other": torch.ones(1)}, "other.pt")
    shapes = {"fc1.weight": (12, 7), "fc1.bias": (12,), "fc2.weight": (3, 12), "fc2.bias": (3,)}
    torch.save({name: torch.ones(shape) for name, shape in shapes.items()}, "wide.pt")
    assert export(*arguments, "--out", "out.nir") == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert not Path("out.nir").exists()
