"""Potentials that stand exactly at a threshold: the interpreter and the lowered network decide alike, layer by layer.

Weights, inputs and factors are multiples of 1/8, as those of attention are, so sums stand at a threshold often.
"""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import Junction
from deploy.ir.operations.max_pool import MaxPool2d
from deploy.ir.populations.lif import Lif
from deploy.ir.soft_reset import SubtractLIF
from deploy.passes.lowering import lower
from deploy.passes.ties import threshold_in_unit

Floats = NDArray[np.float64]
T, CLIPS = 12, 2


def below(value: float) -> float:
    return float(np.nextafter(value, -np.inf))


def test_a_neuron_at_its_threshold_by_hand() -> None:
    """Tau of 1.5 steps, `v >= 0.5`: 0.75 makes v = 0.5 exactly, and fires at once, and again behind the reset."""
    nodes = {"in": graphs.entry(1), "lif": graphs.lif(1, tau=1.5e-3, v_threshold=below(0.5)), "out": graphs.result(1)}
    graph = graphs.chain(nodes, T=2)
    clip = np.full((1, 2, 1), 0.75)
    network = lower(graph)
    assert interpret(graph, clip)["lif"].ravel().tolist() == [1.0, 1.0]
    assert run_float(network, as_images(clip, network))["lif"].ravel().tolist() == [1.0, 1.0]


positive = st.floats(1e-6, 1e6)


@given(threshold=positive, tau=st.floats(1.0, 1e4), r=positive, reset=st.just(0.0) | st.floats(-10.0, 0.9))
def test_the_next_float_is_above_the_threshold(threshold: float, tau: float, r: float, reset: float) -> None:
    """In the step behind a reset the neuron decides by t as its own equation does, whatever the numbers are."""
    rate, limit = np.array([1 / tau]), np.array([max(threshold, 1.0)])

    def added(x: Floats) -> Floats:
        return rate * (r * x)

    t = threshold_in_unit(limit, np.array([reset]), rate * r, added)
    assert reset + added(t) <= limit < reset + added(np.nextafter(t, np.inf))


class Tied:
    """A random network of layers whose potentials are often exactly at a threshold."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, nir.NIRNode] = {"in": graphs.entry(4, 4, 4)}
        self.edges: list[tuple[str, str]] = []
        before, channels = "in", 4
        for _ in range(3):
            shortcut = self._add(Junction(np.array([6, 4, 4])), self._conv(before, channels, 6), *self._earlier(before))
            layer = self._add(self._neurons(6), self._pooled(shortcut))
            before, channels = self._attended(layer), 6
        out = self._add(nir.Flatten(np.array([6, 4, 4]), 0, -1), before)
        self._add(graphs.result(96), out)

    def graph(self) -> nir.NIRGraph:
        return graphs.graph(self.nodes, self.edges, T=T)

    def clips(self) -> Floats:
        return self.rng.integers(0, 3, size=(CLIPS, T, 4, 4, 4)) / 2

    def _add(self, node: nir.NIRNode, *sources: str) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def _earlier(self, before: str) -> list[str]:
        return [before] if before != "in" and self.rng.random() < 0.5 else []

    def _conv(self, source: str, channels: int, out: int) -> str:
        weight = self.rng.integers(-3, 5, size=(out, channels, 1, 1)) / 8
        bias = self.rng.integers(-1, 2, size=out) / 8
        return self._add(nir.Conv2d((4, 4), weight, 1, 0, 1, 1, bias), source)

    def _pooled(self, source: str) -> str:
        if self.rng.random() < 0.5:
            return source
        return self._add(MaxPool2d(np.array([6, 4, 4]), *map(np.array, ([3, 3], [1, 1], [1, 1]))), source)

    def _neurons(self, channels: int) -> nir.NIRNode:
        tau = float(self.rng.choice([1, 1.5, 2, 3, 4, 5, 8]))
        limit = float(self.rng.choice([1 / 8, 1 / 4, 1 / 2, 1]))
        shape, fires = (channels, 4, 4), below(limit) if self.rng.random() < 0.7 else limit
        if self.rng.random() < 0.3 and tau in (1, 2, 4, 8):  # elsewhere rounding of what is left decides
            values = {"tau": tau * 1e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": fires, "v_subtract": limit}
            return SubtractLIF(**graphs.filled(shape, **values))
        return graphs.lif(*shape, tau=tau * 1e-3, v_threshold=fires)

    def _attended(self, layer: str) -> str:
        if self.rng.random() < 0.5:
            return layer
        qkv = self._add(self._neurons(18), self._conv(layer, 6, 18))
        product = self._add(SpikingAttention(np.array([18, 4, 4]), 3, 0.125), qkv)
        return self._add(self._neurons(6), product)


@pytest.mark.parametrize("seed", range(40))
def test_interpreter_and_lowered_network_fire_alike(seed: int) -> None:
    case = Tied(seed)
    graph, frames = case.graph(), case.clips()
    network, expected = lower(graph), interpret(graph, frames)
    found = run_float(network, as_images(frames, network))
    for name in network.neuron_layers:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_those_networks_stand_at_their_thresholds() -> None:
    """Else the test above would show nothing: a hair off every threshold, and spikes change in most networks."""
    changed = 0
    for seed in range(20):
        case = Tied(seed)
        graph, frames = case.graph(), case.clips()
        network = lower(graph)
        before = run_float(network, frames)
        for name, lif in network.receivers.items():
            if isinstance(lif, Lif):
                network.populations[name] = replace(lif, threshold=lif.threshold * (1 + 1e-12))
        after = run_float(network, frames)
        changed += any((before[name] != after[name]).any() for name in network.neuron_layers)
    assert changed > 10
