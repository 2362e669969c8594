"""The benchmark that sets families of spiking networks side by side: its models, and where its figures come from."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rich.console import Console

import deploy
from deploy.report.keys.report import Report

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAMILIES = ("Spikformer", "Spikingformer", "SDT-v1", "QKFormer", "SEW-ResNet", "MS-ResNet", "Spiking-VGG")
QUIET = Console(quiet=True)
TINY = {"image": 8, "frames": 2, "width": 16, "depth": 2, "heads": 2, "mlp_ratio": 1, "classes": 3}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("zoo")


@pytest.fixture
def models(benchmark: ModuleType) -> ModuleType:
    return importlib.import_module("zoo_models")


def test_the_neuron_by_hand(models: ModuleType) -> None:
    """Tau 2: v is 0.75, then 0.75 + (1.5 - 0.75) / 2 = 1.125 and fires, then 0 + 2 / 2 = 1, which is the threshold."""
    x_TBN = torch.tensor([1.5, 1.5, 2.0, 1.9]).reshape(4, 1, 1)
    assert models.LIF()(x_TBN).flatten().tolist() == [0, 1, 1, 0]


def test_all_families_are_there(models: ModuleType) -> None:
    assert tuple(models.FAMILIES) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_spike_of_a_family_is_in_its_graph(models: ModuleType, family: str) -> None:
    torch.manual_seed(0)
    size = models.Size(**TINY)
    x_TBCHW = torch.rand(2, 4, 3, 8, 8, dtype=torch.float64)
    model = models.settle(models.FAMILIES[family](size), x_TBCHW)
    assert model(x_TBCHW).shape == (2, 4, 3), "logits of every time step"
    imported = deploy.from_torch(model, x_TBCHW, axes="TBCHW", neurons={models.LIF: models.describe})
    assert len(imported.layers) == sum(isinstance(module, models.LIF) for module in model.modules())
    assert imported.check(x_TBCHW).ties == 0


def product(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Indices: t time, b clip, h head, i and j channels of a head, n and m tokens."""
    return 0.125 * np.einsum("tbhin,tbhim,tbhjm->tbhjn", q, k, v)


SUMS = {  # what the neurons behind attention receive
    ("spikformer", "SpikingSelfAttention", "attention"): product,
    ("spikingformer", "PreActivationAttention", "attention"): product,
    ("spike_driven", "SpikeDrivenAttention", "mask"): lambda q, k, v: np.einsum("tbhin,tbhin->tbhi", k, v),
    ("qkformer", "TokenAttention", "mask"): lambda q, k: np.einsum("tbhin->tbhn", q),
}


@pytest.mark.parametrize("of", SUMS, ids=lambda of: of[1])
def test_attention_is_the_sum_of_its_paper(models: ModuleType, of: tuple[str, str, str]) -> None:
    module, name, neurons = of
    torch.manual_seed(0)
    arguments = (8,) if name == "SpikeDrivenAttention" else (8, 2)
    attention = getattr(importlib.import_module(f"zoo_models.{module}"), name)(*arguments)
    x_TBCHW = 2 * torch.rand(3, 2, 8, 4, 4, dtype=torch.float64)
    attention = models.settle(attention, x_TBCHW)
    sent: dict[str, np.ndarray] = {}
    for letter in "qkv":
        if hasattr(attention, letter):
            getattr(attention, letter).register_forward_hook(
                lambda _, __, spikes, letter=letter: sent.update({letter: spikes.reshape(3, 2, 2, 4, 16).numpy()})
            )
    received: list[np.ndarray] = []
    getattr(attention, neurons).register_forward_pre_hook(lambda _, given: received.append(given[0].numpy()))
    with torch.no_grad():
        attention(x_TBCHW)
    expected = SUMS[of](**sent)
    assert expected.any()
    np.testing.assert_allclose(received[0].reshape(expected.shape), expected)


def test_a_dense_forward_by_hand(benchmark: ModuleType, models: ModuleType) -> None:
    """Two time steps of a 3x3 convolution of 3 to 4 channels on 8 x 8 pixels: 2 x 27 x 4 x 64 products."""
    layer = importlib.import_module("zoo_models.layers").conv_norm(3, 4).eval()
    assert importlib.import_module("zoo_measure").dense_macs(layer, torch.rand(2, 1, 3, 8, 8)) == 2 * 27 * 4 * 64


@pytest.mark.lava
def test_the_table_says_what_the_runs_found(benchmark: ModuleType, models: ModuleType, tmp_path: Path) -> None:
    size = models.Size(**TINY)
    found = benchmark.zoo(["Spikformer", "SDT-v1"], [8, 4], tmp_path, QUIET, size=size, limit=2)
    first, second = (Report.read(tmp_path / "Spikformer" / f"{bits}_bits" / "report.json") for bits in (8, 4))
    table = benchmark.table(found)
    row = {str(column.header): str(next(iter(column.cells))) for column in table.columns}
    assert row["family"] == "Spikformer"
    assert row["spikes"] == f"{first.totals.spikes:,.0f} / {second.totals.spikes:,.0f}"
    assert row["neurons"] == f"{first.network.neurons:,}"
    spiking = [layer for layer in first.layers if layer.rate is not None and layer.neurons]
    mean = sum(layer.rate * layer.neurons for layer in spiking if layer.rate is not None) / first.network.neurons
    assert found[0].deployed[0].rate == pytest.approx(mean)
    model = first.energy.models["loihi1"]
    assert model.mj_per_view is not None
    assert f"{model.mj_per_view:.3f}" in row["loihi1, all, mJ (stand-in)"]
    assert "%" in row["loihi1, all, mJ (stand-in)"]
    compared = sum(int(np.prod(layer.shape)) for layer in first.plan.layers) * size.frames
    assert row["Lava: messages that differ"].split(" / ")[0] == f"0 of {compared:,}"
    size_there = found[0].deployed[0].chip_form.size
    assert size_there is not None
    assert row["its cores"].split(" / ")[0] == str(size_there.cores)
    assert size_there.neurons > found[0].deployed[0].quantised.neurons, "coincidences, counts and gates"
    assert "PyTorch = NIR" in benchmark.proven(found[0])
    pooled = found[1].deployed[0]
    assert pooled.chip_form.size is not None, "a max pool of graded currents is made of gates"
    assert pooled.chip_form.size.neurons > pooled.quantised.neurons
    assert [list(column.cells)[1] for column in table.columns][-2].split(" / ")[0] == str(pooled.chip_form.size.cores)
    assert found[1].deployed[0].obstacles > 0
