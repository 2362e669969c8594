"""Settings of all tests, and the networks that several of them run: a whole SVFormer, and small random networks."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

import graphs
from deploy.frontend.from_svformer import export
from svformer import SVFormer, SVFormerConfig

# How long an example takes to draw or to run depends on the machine, and no test of ours is about time. The examples
# are the same in every run, so that a change is to blame for what fails; other ones are drawn by
# `pytest --hypothesis-profile explore`.
UNTIMED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], print_blob=True
)
settings.register_profile("svformer", UNTIMED, derandomize=True, database=None)
settings.register_profile("explore", UNTIMED, derandomize=False)
settings.load_profile("svformer")

Frames = NDArray[Any]  # [N, T, C, H, W]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A float64 model, its NIR graph, and clips of real numbers."""

    model: SVFormer
    graph: nir.NIRGraph
    frames_NTCHW: Frames


SMALL = SVFormerConfig(
    num_classes=5, image_size=64, frames=4, embed_dims=(8, 12, 16, 24), depths=(1, 1, 2, 1), head_dim=8
)


@pytest.fixture(scope="session")
def exported() -> Exported:
    """An SVFormer with every kind of layer, with norms and time constants as training could leave them."""
    torch.manual_seed(1)
    model = SVFormer(SMALL)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.02, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            # q, k and v have to fire together for attention to send anything
            torch.nn.init.normal_(module.bias, 1.0 if name.endswith("attn.norm1") else 0.3, 0.3)
    for name, parameter in model.named_parameters():
        if name.endswith(".p.w"):
            torch.nn.init.normal_(parameter, 0, 0.5)
    model.double().eval()
    frames = np.random.default_rng(1).normal(size=(2, SMALL.frames, 3, 64, 64))
    return Exported(model=model, graph=export(model), frames_NTCHW=frames)


def _small_graph() -> nir.NIRGraph:
    """4 inputs, 5 neurons, 3 neurons."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": graphs.entry(4),
        "fc1": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.1),
        "hidden": graphs.lif(5, tau=5e-3, v_threshold=0.3),
        "fc2": nir.Linear(rng.normal(size=(3, 5)) * 1000),
        "out": graphs.integrate_and_fire(3, r=1.0),
        "output": graphs.result(3),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.nir, and 11 clips 00.npy, .. [6, 4], each with another number of spikes."""
    made = tmp_path_factory.mktemp("small")
    nir.write(str(made / "small.nir"), _small_graph())
    rng = np.random.default_rng(1)
    for i in range(11):
        np.save(made / f"{i:02}.npy", (rng.random((6, 4)) < 0.1 + 0.07 * i).astype(np.float32))
    return made
