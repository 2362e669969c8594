"""Graphs of other frameworks: what norse, snnTorch, SpikingJelly and older versions of nir write runs here as there."""

import json
import zipfile
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import graphs
from deploy import run_lava
from deploy.execution.simulate import simulate
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from svformer.common.cli import run_cli

# norse and snnTorch use a function of nirtorch that nirtorch has replaced.
pytestmark = pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph is being deprecated:DeprecationWarning")

FRAMEWORKS = Path(__file__).parents[1] / "fixtures" / "frameworks.zip"
DT_S = {"snntorch_leaky": 1e-4, "snntorch_recurrent": 1e-4, "snntorch_conv": 1e-4, "spikingjelly": 1e-3}
NORSE_DT_S = 1e-6  # norse writes tau = dt / tau_inv, dt times too short: its steps of 1e-3 s are 1e-6 s of such a graph

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frameworks")
    with zipfile.ZipFile(FRAMEWORKS) as archive:
        archive.extractall(folder)
    return folder


def recording(path: Path) -> tuple[Floats, dict[str, NDArray[np.bool_]]]:
    """Input and spikes, [N, T, neurons]."""
    nodes = {name: node.observables for name, node in nir.read_data(str(path)).nodes.items()}
    (entry,) = (observables["signal"].data for observables in nodes.values() if "signal" in observables)
    return entry.astype(np.float64), {name: o["spikes"].data for name, o in nodes.items() if "spikes" in o}


@pytest.mark.parametrize("name", DT_S)
def test_recorded_spikes_are_ours(name: str, files: Path) -> None:
    """Every spike of every layer in real numbers; in integers at least 94 % of each layer, and as many in all."""
    graph = read_nir(files / f"{name}.nir")
    x, recorded = recording(files / f"{name}.h5")
    (entry,) = graph.inputs
    frames = x.reshape(*x.shape[:2], *graph.nodes[entry].input_type["input"])
    graph.metadata |= {"dt": DT_S[name], "T": x.shape[1]}
    exact, network = interpret(graph, frames), lower(graph)
    lowered = run_float(network, as_images(frames, network))
    integers = simulate(quantize(network, frames), frames, backend="integer").signals
    assert len(recorded) >= 2
    for layer, expected in recorded.items():
        assert 0 < expected.mean() < 0.5
        np.testing.assert_array_equal(exact[layer].reshape(expected.shape), expected, err_msg=layer)
        np.testing.assert_array_equal(lowered[layer].reshape(expected.shape), expected, err_msg=layer)
        found = integers[layer].reshape(expected.shape)
        assert (found == expected).mean() > 0.94, layer
        assert found.sum() == pytest.approx(expected.sum(), rel=0.15, abs=3), layer


@pytest.mark.parametrize("name", ["nir_1_0_6", "nir_1_0_7", "nir_1_0_6_line", "nir_1_0_7_line"])
def test_files_of_older_versions_are_read(name: str, files: Path) -> None:
    """All primitives; both versions wrote the same graph, and the lowered network gives what the graph gives."""
    graph = read_nir(files / f"{name}.nir")
    kinds = {type(node).__name__ for node in graph.nodes.values()}
    if "line" in name:
        assert kinds == {"Input", "Conv1d", "LIF", "Output"}
    else:
        lines = {"Affine", "Linear", "Scale", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay", "Threshold"}
        assert kinds == lines | {"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Input", "Output"}
    shape = graph.nodes["input"].input_type["input"]
    frames = np.random.default_rng(0).normal(size=(2, 12, *shape))
    expected = interpret(graph, frames)
    other = read_nir(files / f"{name.replace('1_0_6', '1_0_7')}.nir")
    for node, signal in interpret(other, frames).items():
        np.testing.assert_array_equal(signal, expected[node])
    for network in (from_nir(graph), lower(graph)):
        found = run_float(network, as_images(frames, network))
        for node in network.populations:
            np.testing.assert_allclose(found[node].reshape(expected[node].shape), expected[node], atol=1e-9)


@pytest.mark.parametrize("name", ["nir_1_0_6", "snntorch_recurrent", "spikingjelly"])
def test_what_we_write_of_standard_nodes_stock_nir_reads(name: str, files: Path, tmp_path: Path) -> None:
    """Graphs inside spliced in, shapes filled in; 1.0.6 and 1.0.7 read it too (tried by hand, fixtures/README.md)."""
    graph = read_nir(files / f"{name}.nir")
    write_nir(graph, tmp_path / "ours.nir")
    stock = nir.read(tmp_path / "ours.nir")
    assert {n: type(node) for n, node in stock.nodes.items()} == {n: type(node) for n, node in graph.nodes.items()}
    assert sorted(stock.edges) == sorted(graph.edges)


def full(shape: int | tuple[int, ...], **values: float) -> dict[str, torch.Tensor]:
    return {name: torch.full((shape,) if isinstance(shape, int) else shape, value) for name, value in values.items()}


def lif_box(shape: int | tuple[int, ...], leak: float = 0.0) -> torch.nn.Module:
    return norse.LIFBoxCell(p=norse.LIFBoxParameters(**full(shape, tau_mem_inv=100.0, v_th=0.3, v_leak=leak)))


def li_box(shape: int | tuple[int, ...], leak: float = 0.0) -> torch.nn.Module:
    return norse.LIBoxCell(p=norse.LIBoxParameters(**full(shape, tau_mem_inv=50.0, v_leak=leak)))


def iaf(shape: int) -> torch.nn.Module:
    return norse.IAFCell(norse.IAFParameters(**full(shape, v_th=1.0, v_reset=0.0)))


def run_norse(model: torch.nn.Module, frames: Floats) -> Floats:
    """What a norse model gives, in float64, from the states that it begins with."""
    model, state, sent = model.double(), None, []
    for t in range(frames.shape[1]):
        out, state = model(torch.from_numpy(frames[:, t]), state)
        sent.append(out.detach().numpy())
    return np.stack(sent, axis=1)


# layers, shape of the example that norse traces (batch in front), time step of the graph
NORSE = {
    "lif and li": (
        lambda: [torch.nn.Linear(3, 30), lif_box(30), torch.nn.Linear(30, 5), li_box(5)],
        (7, 3),
        NORSE_DT_S,
    ),
    "leak potentials": (
        lambda: [torch.nn.Linear(3, 30), lif_box(30, 0.1), torch.nn.Linear(30, 5), li_box(5, 0.2)],
        (1, 3),
        NORSE_DT_S,
    ),
    "iaf": (lambda: [torch.nn.Linear(3, 30), iaf(30)], (3,), 1.0),  # norse's IAF adds its input as it is
    "convolutions": (
        lambda: [
            torch.nn.Conv2d(2, 4, 3),
            lif_box((4, 6, 6)),
            torch.nn.Conv2d(4, 3, 3, stride=2, padding=1),
            li_box((3, 3, 3)),
        ],
        (1, 2, 8, 8),
        NORSE_DT_S,
    ),
}


@pytest.mark.parametrize("name", NORSE)
def test_norses_graphs_are_norse(name: str) -> None:
    """`norse.to_nir` of the installed norse; the graph still holds torch tensors, and shapes with a batch."""
    torch.manual_seed(0)
    layers, example, dt_s = NORSE[name]
    model = norse.SequentialState(*layers())
    graph = norse.to_nir(model, torch.randn(*example))
    shape = example[1:] if len(example) > 1 else example
    frames = np.random.default_rng(0).normal(0, 2, size=(3, 30, *shape))
    expected = run_norse(model, frames)
    found = interpret(graphs.with_dt(graph, dt_s), frames)
    np.testing.assert_allclose(found["output"], expected, atol=1e-6)  # the file has tau in float32
    assert 0 < found["1"].mean() < 0.5
    network = lower(graph, dt_s=dt_s, frames=30)
    integers = quantize(network, frames)
    fired = simulate(integers, frames, backend="integer").signals["1"]
    assert (fired.reshape(found["1"].shape) == found["1"]).mean() > 0.98


def test_norses_reset_by_subtraction_is_not_in_its_files() -> None:
    """`norse.to_nir` writes nothing of `reset_method`; said beside the file, every spike is norse's."""
    subtracting = {"v_th": 0.3, "v_leak": 0.0, "v_reset": 0.0, "tau_mem_inv": 300.0}
    parameters = norse.LIFBoxParameters(**full(12, **subtracting), reset_method=norse.functional.reset.reset_subtract)
    model = norse.SequentialState(torch.nn.Linear(6, 12), norse.LIFBoxCell(p=parameters))
    graph = norse.to_nir(model, torch.randn(1, 6))
    frames = np.random.default_rng(0).uniform(0, 3, size=(2, 40, 6))
    expected = run_norse(model, frames)
    (name,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.LIF))
    as_written = interpret(graphs.with_dt(graph, NORSE_DT_S), frames)[name]
    graph.metadata["reset"] = "subtract"
    found = interpret(graphs.with_dt(graph, NORSE_DT_S), frames)[name]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert expected.sum() > 50
    assert (as_written.reshape(expected.shape) != expected).any()


def test_a_graph_of_norse_survives_a_file(tmp_path: Path) -> None:
    """Stock nir refuses to read it back, for its batch dimension."""
    model = norse.SequentialState(torch.nn.Linear(3, 4), lif_box(4))
    nir.write(tmp_path / "norse.nir", norse.to_nir(model, torch.randn(7, 3)))
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "norse.nir")
    frames = np.random.default_rng(0).normal(0, 2, size=(2, 20, 3))
    found = interpret(graphs.with_dt(read_nir(tmp_path / "norse.nir"), NORSE_DT_S), frames)["output"]
    np.testing.assert_array_equal(found, run_norse(model, frames))


def test_a_norse_lif_cell_needs_its_spikes_weighed() -> None:
    """Norse adds a spike to the current as it is; its exporter leaves w_in at 1, where NIR means w_in dt / tau_syn."""
    torch.manual_seed(0)
    parameters = full(20, tau_syn_inv=200.0, tau_mem_inv=100.0, v_leak=0.0, v_th=0.3, v_reset=0.0)
    model = norse.SequentialState(torch.nn.Linear(3, 20), norse.LIFCell(norse.LIFParameters(**parameters)))
    graph = norse.to_nir(model, torch.randn(1, 3))
    frames = np.random.default_rng(0).normal(0, 1, size=(3, 30, 3))
    expected = run_norse(model, frames)
    assert (interpret(graphs.with_dt(graph, NORSE_DT_S), frames)["output"] != expected).any()
    neurons = graph.nodes["1"]
    neurons.w_in = np.asarray(neurons.tau_syn) / NORSE_DT_S
    np.testing.assert_array_equal(interpret(graphs.with_dt(graph, NORSE_DT_S), frames)["output"], expected)


def test_the_installed_snntorch_too() -> None:
    """Only where it is installed: it is no requirement, and pip would bring a torch of its own."""
    snn = pytest.importorskip(
        "snntorch", reason="snnTorch is not installed; its files in tests/fixtures are read instead"
    )
    from snntorch.export_nir import export_to_nir

    options: dict[str, Any] = {"beta": torch.full((12,), 0.9), "threshold": torch.ones(12)}
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 12), snn.Leaky(**options, init_hidden=True, reset_mechanism="zero", reset_delay=False)
    )
    graph = export_to_nir(net, torch.randn(1, 4), ignore_dims=[0])
    frames = np.random.default_rng(0).normal(0, 3, size=(2, 20, 4)).astype(np.float32)
    with torch.no_grad():
        expected = np.stack([net(torch.from_numpy(frames[:, t])).numpy() for t in range(20)], axis=1)
    np.testing.assert_array_equal(interpret(graphs.with_dt(graph, 1e-4), frames)["output"], expected)


@pytest.mark.lava
def test_a_recording_is_input_and_reference(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recurrent network of snnTorch from the shell, on Lava, compared with what snnTorch fired."""
    network, spikes = files / "snntorch_recurrent.nir", files / "snntorch_recurrent.h5"
    options = ["--nir", network, "--clip", spikes, "--reference", spikes, "--timeout", 600, "--json", "--out", tmp_path]
    assert run_cli(run_lava.main, [*map(str, options)]) == 0, capsys.readouterr().err
    report = json.loads(capsys.readouterr().out)
    assert report["parity"]["integer_vs_lava"]["bit_exact"] is True
    assert report["network"]["dt_s"] == 1e-4  # of the recording
    assert [clip["source"] for clip in report["clips"]] == ["snntorch_recurrent.h5#0", "snntorch_recurrent.h5#1"]
    compared = report["reference"]
    assert {layer["name"]: layer["float_match"] for layer in compared["layers"]} == {
        "1.lif": 1.0,
        "3": 1.0,
        "5.lif": 1.0,
    }
    assert all(layer["deployed_match"] > 0.94 for layer in compared["layers"])
    assert sum(layer["compared"] for layer in compared["layers"]) == 2 * 24 * (16 + 12 + 8)
    assert compared["unmatched"] == []
    assert "closes a loop: late by 1 time step" in " ".join(report["network"]["notes"])
