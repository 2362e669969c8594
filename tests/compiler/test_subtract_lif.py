"""The node SubtractLIF: its spikes by hand, snnTorch's equations, files, and what nothing else changes of it."""

import itertools
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from numpy.typing import NDArray

import graphs
from deploy.execution.simulate import simulate
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.populations.lif import Lif
from deploy.ir.soft_reset import SubtractLIF
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from graphs import DT_S
from processes import HANG_S
from svformer.common.errors import InputError

Floats = NDArray[np.float64]
T = 40


def node(*shape: int, **fields: Any) -> SubtractLIF:
    values = {"tau": 2e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_subtract": 1.0, **fields}
    return SubtractLIF(**graphs.filled(shape, **values))


def spikes(neurons: SubtractLIF, clip: list[float], **metadata: Any) -> list[int]:
    alone = graphs.chain({"in": graphs.entry(1), "lif": neurons, "out": graphs.result(1)}, T=len(clip), **metadata)
    frames = np.reshape(clip, (1, len(clip), 1))
    expected = interpret(alone, frames)["lif"]
    for network in (from_nir(alone), lower(alone)):
        np.testing.assert_array_equal(run_float(network, as_images(frames, network))["lif"].ravel(), expected.ravel())
    return expected.ravel().astype(int).tolist()


def test_by_hand() -> None:
    """Tau of two steps: v = x / 2 + v / 2. 5 makes 2.5, a spike leaves 1.5; then 0.75; 0.9 makes 0.825; 1.8 makes
    1.3125, a spike leaves 0.3125. A reset to 0 would leave nothing after the first: no spike at 1.8 / 2 + 0.45 / 2.
    """
    assert spikes(node(1), [5.0, 0.0, 0.9, 1.8]) == [1, 0, 0, 1]
    assert graphs.run(graphs.lif(1), np.reshape([5.0, 0.0, 0.9, 1.2], (1, 4, 1))).ravel().tolist() == [1, 0, 0, 0]


def test_what_is_subtracted_is_not_the_threshold() -> None:
    """Without a leak and a threshold a hair below 1: fires at 1, and loses 1 (2.5: 1.5, 0.5), or 2 (2.5: 0.5)."""
    below, forever = float(np.nextafter(1.0, 0.0)), {"tau": np.inf, "r": np.inf}
    assert spikes(node(1, v_threshold=below, **forever), [1.0, 2.5, 0.0, 0.5]) == [1, 1, 1, 1]
    assert spikes(node(1, v_threshold=below, v_subtract=2.0, **forever), [1.0, 3.5, 0.0, 0.5]) == [1, 1, 0, 1]


@pytest.mark.parametrize("tau_s", [2e-3, 1.5e-3, np.inf])
def test_a_leak_potential_and_a_start_at_rest(tau_s: float) -> None:
    """From v_leak on, with an IF as the limit of no leak; what an own loop of the equation says."""
    x = np.random.default_rng(0).normal(0.6, 1.5, size=T)
    found = spikes(node(1, tau=tau_s, r=1.0 if np.isfinite(tau_s) else np.inf, v_leak=0.2), x.tolist())
    v, expected = 0.2, []
    for value in x:
        v += 1e-3 / tau_s * (0.2 - v + value) if np.isfinite(tau_s) else value
        expected.append(int(v > 1))
        v -= expected[-1]
    assert found == expected
    assert 3 < sum(found) < T


@pytest.mark.parametrize("mechanism", ["subtract", "subtract late"])
def test_snntorchs_synaptic(mechanism: str) -> None:
    """Syn <- alpha syn + x, mem <- beta mem + syn - reset: with the spike of the same step, or the one before it, which
    comes behind the decay and so takes theta / beta here.
    """
    alpha, beta, theta, rng = 0.8, 0.7, 1.0, np.random.default_rng(1)
    x = rng.uniform(0, 0.6, size=T)
    neurons = node(
        1,
        tau_syn=DT_S / (1 - alpha),
        w_in=1 / (1 - alpha),
        tau=DT_S / (1 - beta),
        r=1 / (1 - beta),
        v_threshold=theta,
        v_subtract=theta if mechanism == "subtract" else theta / beta,
    )
    found = spikes(neurons, x.tolist())
    syn = mem = 0.0
    expected, spike = [], 0
    for value in x:
        syn = alpha * syn + value
        mem = beta * mem + syn - (theta * spike if mechanism == "subtract late" else 0.0)
        spike = int(mem > theta)
        mem -= theta * spike if mechanism == "subtract" else 0.0
        expected.append(spike)
    assert found == expected
    assert 5 < sum(found) < T


def test_metadata_of_a_dialect_change_nothing_of_it() -> None:
    clip = np.random.default_rng(2).uniform(0, 3, size=T).tolist()
    plain = spikes(node(1, v_subtract=1.3), clip)
    for said in ({"dialect": "snntorch"}, {"dialect": "sinabs"}, {"reset": "value"}, {"decay": "exponential"}):
        assert spikes(node(1, v_subtract=1.3), clip, **said) == plain


def layered(seed: int) -> tuple[nir.NIRGraph, Floats]:
    """Two layers, one with a current that has memory, and a loop of the first to itself."""
    rng = np.random.default_rng(seed)
    nodes = {
        "in": graphs.entry(4),
        "a": nir.Linear(rng.normal(0, 1.5, size=(8, 4))),
        "first": node(8, tau=rng.uniform(1e-3, 6e-3, size=8), v_threshold=0.6, v_subtract=rng.uniform(0.3, 1, size=8)),
        "b": nir.Affine(rng.normal(0, 0.8, size=(6, 8)), rng.normal(0, 0.1, size=6)),
        "second": node(6, tau=3e-3, tau_syn=2e-3, w_in=3.0, v_threshold=0.4, v_subtract=0.4, v_leak=0.1),
        "out": graphs.result(6),
    }
    back = {"back": nir.Linear(rng.normal(0, 0.2, size=(8, 8)))}
    edges = [*itertools.pairwise(nodes), ("first", "back"), ("back", "first")]
    return graphs.graph(nodes | back, edges, T=T), rng.uniform(0, 1.5, size=(3, T, 4))


@pytest.mark.parametrize("seed", range(6))
def test_interpreter_lowered_network_and_integers(seed: int) -> None:
    graph, frames = layered(seed)
    network, expected = lower(graph), interpret(graph, frames)
    found = run_float(network, as_images(frames, network))
    integers = simulate(quantize(network, frames), frames, backend="integer").signals
    for name in ("first", "second"):
        np.testing.assert_array_equal(found[name].reshape(expected[name].shape), expected[name], err_msg=name)
        assert 0.01 < expected[name].mean() < 0.9
        assert (integers[name].reshape(expected[name].shape) == expected[name]).mean() > 0.95
    assert all(p.subtract is not None for p in network.populations.values() if isinstance(p, Lif))


@pytest.mark.lava
def test_lava_is_the_integers_bit_for_bit_and_the_chip_names_what_it_lacks() -> None:
    graph, frames = layered(0)
    integers = quantize(lower(graph), frames)
    expected = simulate(integers, frames, backend="integer").signals
    found = simulate(integers, frames, backend="lava", timeout_s=HANG_S).signals
    for name, signal in expected.items():
        np.testing.assert_array_equal(found[name], signal, err_msg=name)
    told = obstacles(mapping(integers, schedule(integers)))
    assert "first (LIF neurons): a reset by subtraction" in told


@pytest.mark.parametrize("current", [{}, {"tau_syn": 3e-3, "w_in": 2.0}])
def test_a_file_holds_it_in_mixed_shapes(current: dict[str, float], tmp_path: Path) -> None:
    """One value for all, or one for each: what arrives says the shape. Stock NIR refuses the file."""
    neurons = node(1, v_threshold=0.4, **current)
    nodes = {"in": graphs.entry(3), "scale": nir.Scale(np.ones(3)), "lif": neurons, "out": graphs.result(3)}
    graph, frames = graphs.chain(nodes, T=T), np.random.default_rng(0).uniform(0, 2, size=(1, T, 3))
    write_nir(graph, tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        fields = file["node/nodes/lif"]
        assert ("tau_syn" in fields) == bool(current)
        del fields["tau"]
        fields["tau"] = np.full(3, 2e-3)
    found = interpret(read_nir(tmp_path / "x.nir"), frames)["lif"]
    np.testing.assert_array_equal(found, graphs.run(node(3, v_threshold=0.4, **current), frames))
    assert found.any()
    with pytest.raises((AssertionError, KeyError)):
        nir.read(tmp_path / "x.nir")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"v_subtract": np.array([1.0, 0.0])},
            r"lif \(SubtractLIF\): SubtractLIF: v_subtract down to 0; allowed: above",
        ),
        ({"v_subtract": None}, r"lif \(SubtractLIF\): the field v_subtract is missing"),
        ({"w_in": np.ones(2)}, "tau_syn and w_in come together, or not at all"),
        ({"v_reset": np.zeros(2)}, "the field v_reset is unknown"),
        ({"version": 3}, r"SubtractLIF version 3 \(lif\)"),
    ],
)
def test_damaged_nodes_are_refused_by_name(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    graph = graphs.chain({"in": graphs.entry(2), "lif": node(2), "out": graphs.result(2)})
    write_nir(graph, tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        for name, value in fields.items():
            file["node/nodes/lif"].pop(name, None)
            if value is not None:
                file[f"node/nodes/lif/{name}"] = value
    with pytest.raises(InputError, match=told):
        read_nir(tmp_path / "x.nir")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tau": 0.5e-3}, "tau is shorter than one time step"),
        ({"tau": -1e-3}, "tau down to -0.001 s"),
        ({"v_threshold": 0.0}, "a threshold that is not above the reset potential"),
        ({"v_subtract": np.inf}, "v_subtract with values that are not finite"),
    ],
)
def test_what_has_no_counterpart_is_refused(fields: dict[str, float], told: str) -> None:
    graph = graphs.chain({"in": graphs.entry(2), "lif": node(2, **fields), "out": graphs.result(2)}, T=T)
    with pytest.raises(InputError, match=told):
        lower(graph)
