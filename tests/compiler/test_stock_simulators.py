"""Stock simulators, unmodified, run portable files and fire our spikes, layer by layer.

The model's weights are quarters and its time constant two steps, so sums are exact in float32, too, and many
potentials stand exactly at the threshold: nothing is a matter of rounding, every spike has to be the same.
"""

import contextlib
import functools
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import pytest
import torch
from norse.torch.utils.import_nir import _import_norse_module
from numpy.typing import NDArray

import ints
from deploy.exchange.files import write_integers
from deploy.frontend.from_svformer import export
from deploy.frontend.portable import portable
from deploy.gates.export import check_export
from deploy.ir.exact import exact_network
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from hardware import ConvGeometry
from svformer import SVFormer, SVFormerConfig

RECORDINGS = Path(__file__).parents[1] / "fixtures" / "portable.zip"
CONFIG = SVFormerConfig(
    num_classes=2, image_size=64, frames=4, embed_dims=(4, 4, 4, 8), depths=(1, 1, 1, 1), head_dim=4
)
SNNTORCH_DT_S = 1e-4  # fixed in snnTorch
DT_S = 2.0**-10  # norse takes 1 / tau in float32 and multiplies by dt: of 1e-3 x 500 it makes 0.49999997
Simulator = Callable[..., tuple[torch.Tensor, Any]]


@pytest.fixture(scope="module")
def model() -> SVFormer:
    torch.manual_seed(3)
    model = SVFormer(CONFIG)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)):
            module.weight.data = torch.randint_like(module.weight, -2, 4) / 4
            module.bias.data = torch.randint_like(module.bias, -1, 2) / 4
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            torch.nn.init.ones_(module.weight)
            torch.nn.init.constant_(module.bias, 1.0 if name.endswith("attn.norm1") else 0.25)
            module.eps = 0.0
    return model.double().eval()


@pytest.fixture(scope="module")
def frames() -> NDArray[np.float64]:
    shape = (2, CONFIG.frames, 3, CONFIG.image_size, CONFIG.image_size)
    return np.random.default_rng(0).integers(-4, 5, size=shape) / 4


def fired(net: Simulator, graph: nir.NIRGraph, frames: NDArray[np.float64], dtype: torch.dtype) -> dict[str, Any]:
    """Spikes of all LIF nodes [N, T, C, H, W], in a torch module made of the graph; torch has "_" for a dot."""
    neurons = (nir.LIF, nir.CubaLIF)
    sent: dict[str, list[Any]] = {name: [] for name, node in graph.nodes.items() if isinstance(node, neurons)}
    for name, steps in sent.items():

        def keep(module: Any, args: Any, out: Any, steps: list[Any] = steps) -> None:
            steps.append((out[0] if isinstance(out, tuple) else out).detach().numpy().copy())

        net.get_submodule(name.replace(".", "_")).register_forward_hook(keep)  # type: ignore[attr-defined]
    state = None
    with torch.no_grad():
        for t in range(frames.shape[1]):
            _, state = net(torch.from_numpy(frames[:, t]).to(dtype), state)
    return {name: np.stack(steps, axis=1) for name, steps in sent.items()}


def norse_network(graph: nir.NIRGraph, dtype: torch.dtype) -> Any:
    """Norse's own nodes, put together by nirtorch (its own `from_nir` sends the last of several edges twice)."""
    imported = functools.partial(_import_norse_module, dt=float(graph.metadata["dt"]))
    return nirtorch.nir_to_torch(graph, dict.fromkeys((nir.Conv2d, nir.LIF, nir.CubaLIF), imported), dtype=dtype)


def snntorch_network(graph: nir.NIRGraph, dtype: torch.dtype) -> Any:
    importer = pytest.importorskip("snntorch.import_nir", reason="snnTorch is not installed: no requirement of ours")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every layer that it scales
        return importer.import_from_nir(graph)


def spikingjelly_network(graph: nir.NIRGraph, dtype: torch.dtype) -> Any:
    reason = "SpikingJelly is not installed: no requirement of ours"
    importer = pytest.importorskip("spikingjelly.activation_based.nir_exchange", reason=reason)
    return importer.import_from_nir(graph, dt=float(graph.metadata["dt"]), dtype=dtype)


def test_a_stock_simulator_runs_the_nodes_of_a_file_of_integers(tmp_path: Path) -> None:
    """norse, on what stock nir reads: the spikes of the same integers without rounding. Leaks are powers of two, so
    float64 holds all potentials exactly. norse takes `r` of a LIF for 1, which it is of neurons without memory alone;
    that of a CubaLIF it takes as it is.
    """
    first = ConvGeometry(in_shape=(2, 5, 5), out_channels=3, kernel=(3, 3), padding=(1, 1), stride=(2, 2))
    second = ConvGeometry(in_shape=first.out_shape, out_channels=3, kernel=(2, 2))
    rng = np.random.default_rng(0)
    network = ints.network(
        {
            "in": ints.entry((2, 5, 5)),
            "first": ints.lif(first.out_shape, threshold=150, bias_mantissa=[640, -128, 0]),
            "second": ints.lif(second.out_shape, threshold=[90, 70, 60], decay=1024, current_decay=2048),
        },
        ints.link("in", "first", ints.drawn(first, rng, 100)),
        ints.link("first", "second", ints.drawn(second, rng, 100, exponent=1)),
        frames=20,
    )
    write_integers(network, tmp_path / "integers.nir", dt_s=DT_S, input_shape=(2, 5, 5), metadata={})
    stock = nir.read(tmp_path / "integers.nir")
    frames = rng.integers(0, 2, (2, 20, 2, 5, 5)).astype(np.float64)
    found = fired(norse_network(stock, torch.float64), stock, frames, torch.float64)
    expected = run_float(exact_network(network, in_units=True), frames)
    for name in ("first", "second"):
        assert 0.05 < expected[name].mean() < 0.95
        np.testing.assert_array_equal(found[name], expected[name])


SIMULATORS = {
    "norse, float32": (norse_network, torch.float32, DT_S),
    "norse, float64": (norse_network, torch.float64, DT_S),
    "snnTorch": (snntorch_network, torch.float32, SNNTORCH_DT_S),
    "SpikingJelly": (spikingjelly_network, torch.float32, DT_S),
}


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_stock_simulator_fires_our_spikes(
    name: str, model: SVFormer, frames: NDArray[np.float64], tmp_path: Path
) -> None:
    """The file as stock nir reads it; every neuron layer of the model and all neurons that attention is made of."""
    network, dtype, dt_s = SIMULATORS[name]
    graph = portable(export(model), dt_s=dt_s)
    assert check_export(model, graph, frames).ties == 0
    write_nir(graph, tmp_path / "portable.nir")
    stock = nir.read(tmp_path / "portable.nir")
    found = fired(network(stock, dtype), stock, frames, dtype)
    expected = interpret(read_nir(tmp_path / "portable.nir"), frames)
    assert len(found) > 25
    for layer, spikes in found.items():
        np.testing.assert_array_equal(spikes, expected[layer], err_msg=layer)
    model_layers = [layer for layer in found if ".attention." not in layer]
    assert all(0.01 < found[layer].mean() < 0.99 for layer in model_layers)
    assert any(found[layer].any() for layer in found if ".at_least_" in layer)


@pytest.mark.parametrize("name", ["snntorch", "spikingjelly"])
def test_recorded_spikes_are_ours(name: str, tmp_path: Path) -> None:
    """What simulators fired that are not installed here: tests/fixtures/README.md says how it was recorded."""
    with zipfile.ZipFile(RECORDINGS) as archive:
        archive.extractall(tmp_path)
    nodes = {n: data.observables for n, data in nir.read_data(str(tmp_path / f"portable_{name}.h5")).nodes.items()}
    graph = read_nir(tmp_path / "portable.nir")
    signal = nodes.pop("input")["signal"].data
    expected = interpret(graph, signal.reshape(*signal.shape[:2], *graph.nodes["input"].input_type["input"]))
    assert nodes.keys() == {layer for layer, node in graph.nodes.items() if isinstance(node, nir.LIF)}
    for layer, observables in nodes.items():
        recorded = observables["spikes"].data
        np.testing.assert_array_equal(recorded, expected[layer].reshape(recorded.shape), err_msg=layer)


def test_potentials_stand_at_the_threshold(model: SVFormer, frames: NDArray[np.float64]) -> None:
    """So the comparisons above are about ties, too: v >= 1 has to fire, and v = 1 occurs."""
    signals = interpret(portable(export(model)), frames)
    current, v = signals["stem.conv"], 0.0
    ties = 0
    for t in range(CONFIG.frames):
        v = v + (current[:, t] - v) / 2
        ties += int((v == 1).sum())
        v = np.where(v >= 1, 0.0, v)
    assert ties > 10
