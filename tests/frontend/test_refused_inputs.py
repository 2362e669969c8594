"""What a user gets wrong around a model: one line each, and no traceback."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import deploy
from deploy.frontend.factory import load_model
from svformer.common.errors import InputError


class Gate(nn.Module):
    """Fires above 0.5, without memory."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0.5).to(x.dtype)


NEURON = deploy.Neuron(tau=1.0, threshold=0.5, fires_at="above")


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), Gate()).double().eval()


def example(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64)


def test_a_neuron_may_stand_for_all_modules_of_a_class() -> None:
    imported = deploy.from_torch(net(), example(2, 4), axes="BN", neurons={Gate: NEURON})
    assert imported.check(example(2, 4)).spikes_compared > 0


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (7, "neurons.Gate. is int; allowed: deploy.Neuron, deploy.Levels, or a function from a module to one"),
        (lambda module: 7, "neurons.Gate. gives int; allowed: deploy.Neuron"),
    ],
)
def test_what_is_no_neuron_is_refused(described: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        deploy.from_torch(net(), example(2, 4), axes="BN", neurons={Gate: described})


def test_an_input_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"does not run on an input of shape \[2, 5\], torch.float64: RuntimeError"):
        deploy.from_torch(net(), example(2, 5), axes="BN", neurons={Gate: NEURON})
    imported = deploy.from_torch(net(), example(2, 4), axes="BN", neurons={Gate: NEURON})
    with pytest.raises(InputError, match=r"does not run on an input of shape \[2, 4\], torch.float32"):
        imported.check(example(2, 4).float())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", r"build\(\) raised KeyError: 'x'"),
        (
            "return nn.Linear(2, 2), torch.ones(1, 2), [nn.Linear]",
            "returns neurons as list; allowed: {Class",
        ),
        ("return nn.Linear(2, 2), [1, 2]", r"returns list, no tensor; give one with --example FILE"),
        ("return nn.Linear(2, 2)", r"returns no example; give one with --example FILE"),
    ],
)
def test_what_a_factory_does_wrong_is_told(tmp_path: Path, body: str, message: str) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(f"import torch\nfrom torch import nn\n\n\ndef build():\n    {body}\n")
    with pytest.raises(InputError, match=message):
        load_model(f"{file}:build", weights=None, example=None)


def test_an_example_file_that_holds_no_tensor_is_named(tmp_path: Path) -> None:
    file, wrong = tmp_path / "right.py", tmp_path / "weights.pt"
    file.write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n    return nn.Linear(2, 2), torch.ones(1, 2)\n"
    )
    torch.save({"w": torch.ones(2)}, wrong)
    with pytest.raises(InputError, match=r"--example .*weights\.pt holds dict, no tensor"):
        load_model(f"{file}:build", weights=None, example=wrong)
    np.save(tmp_path / "x.npy", np.ones((1, 2)))
    assert load_model(f"{file}:build", weights=None, example=tmp_path / "x.npy").example.shape == (1, 2)
