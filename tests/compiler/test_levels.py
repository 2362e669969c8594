"""Neurons of several levels without memory: a sum of thresholds, which needs no node of its own."""

import itertools

import nir
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import graphs
from deploy.execution.simulate import simulate
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from processes import HANG_S

LEVELS, T = 4, 3
Floats = NDArray[np.float64]


def below(value: float) -> float:
    return float(np.nextafter(value, -np.inf))


# round(clip(x, 0, 4)), halves to even: 0.5 is 0, 1.5 and 2.5 are 2, 3.5 is 4
THRESHOLDS = (0.5, below(1.5), 2.5, below(3.5))


def thermometer(weight: Floats, behind: Floats) -> nir.NIRGraph:
    """Weights, a Threshold for each level, and weights that take the sum of their spikes, in quarters."""
    nodes: dict[str, nir.NIRNode] = {"in": graphs.entry(weight.shape[1]), "before": nir.Linear(weight)}
    levels = {f"level{k}": nir.Threshold(np.full(len(weight), limit)) for k, limit in enumerate(THRESHOLDS)}
    nodes |= levels | {"behind": nir.Linear(behind / LEVELS), "out": graphs.result(len(behind))}
    edges = [("in", "before"), ("behind", "out")]
    edges += itertools.chain.from_iterable([("before", level), (level, "behind")] for level in levels)
    return graphs.graph(nodes, edges, T=T)


def rounded(x: Floats) -> Floats:
    return np.asarray(torch.round(torch.clip(torch.from_numpy(x), 0, LEVELS)).numpy())


def test_it_rounds_as_the_neuron_does_halves_included() -> None:
    """Every eighth from -1 to 5, ties among them: the sum of the spikes is the level."""
    x = np.arange(-1, 5.125, 0.125)
    graph = thermometer(np.eye(len(x)), np.eye(len(x)))
    frames = np.tile(x, (1, T, 1))
    network = lower(graph)
    for found in (interpret(graph, frames)["out"], run_float(network, frames[..., None, None])[network.output]):
        np.testing.assert_array_equal(LEVELS * found.reshape(frames.shape), rounded(frames))


@pytest.mark.lava
def test_levels_of_a_network_in_integers_and_on_lava() -> None:
    """Weights and inputs on a grid: every level is that of the real numbers, and Lava sends what the integers are."""
    rng = np.random.default_rng(0)
    graph = thermometer(rng.integers(-4, 8, size=(6, 5)) / 8, rng.integers(-8, 9, size=(3, 6)) / 8)
    frames = rng.integers(0, 5, size=(2, T, 5)) / 2
    integers = quantize(lower(graph), frames)
    expected = simulate(integers, frames, backend="integer").signals
    levels = sum(expected[f"level{k}"].astype(int) for k in range(LEVELS))
    np.testing.assert_array_equal(levels.reshape(2, T, 6), rounded(interpret(graph, frames)["before"]))
    assert set(np.unique(levels)) == {0, 1, 2, 3, 4}
    found = simulate(integers, frames, backend="lava", timeout_s=HANG_S).signals
    for name, signal in expected.items():
        np.testing.assert_array_equal(found[name], signal, err_msg=name)
