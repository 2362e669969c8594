"""Random NIR graphs of all primitives and nodes of ours: interpreter = network = lowered, integers close, Lava too."""

import nir
import numpy as np
import pytest
from numpy.typing import NDArray

import graphs
from deploy.execution.simulate import simulate
from deploy.ir.contracts import check_integer, check_network
from deploy.ir.integer import as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import Network, run_float
from deploy.ir.operations.identity import GainBias
from deploy.ir.operations.max_pool import MaxPool2d
from deploy.ir.populations.lif import IntLif
from deploy.ir.shapes import infer_shapes
from deploy.ir.soft_reset import SubtractLIF
from deploy.passes.from_nir import from_nir
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from graphs import DT_S
from processes import HANG_S

STEPS, CLIPS = 10, 3
Shape = tuple[int, ...]
Floats = NDArray[np.float64]


class Builder:
    """A graph that grows at random, node by node, from one input."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shape = [(5,), (3, 7), (2, 6, 5)][seed % 3]
        self.nodes: dict[str, nir.NIRNode] = {"in": nir.Input(np.array(shape))}
        self.shapes: dict[str, Shape] = {"in": shape}
        self.edges: list[tuple[str, str]] = []

    def graph(self, size: int) -> nir.NIRGraph:
        name = "in"
        for _ in range(size):
            name = self._grow(name)
        name = self._add(nir.Flatten(None, 0, -1), name) if len(self.shapes[name]) > 1 else name
        name = self._add(nir.Affine(self._normal(4, *self.shapes[name]), self._normal(4)), name)
        self._add(graphs.result(4), name)
        return graphs.graph(self.nodes, self.edges, T=STEPS)

    def clips(self) -> Floats:
        return self.rng.normal(0.5, 1.5, size=(CLIPS, STEPS, *self.shapes["in"]))

    def _grow(self, name: str) -> str:
        shape = self.shapes[name]
        choices = [self._layer, self._layer, self._elementwise, self._recurrent, self._shortcut]
        choices += {1: [self._dense], 2: [self._line], 3: [self._image, self._image]}[len(shape)]
        return choices[self.rng.integers(len(choices))](name)

    def _add(self, node: nir.NIRNode, *sources: str) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        if not isinstance(node, nir.Output):
            probe = {"in": nir.Input(np.array(self.shapes[sources[0]])), "node": node}
            self.shapes[name] = infer_shapes(nir.NIRGraph(probe, [("in", "node")], type_check=False))["node"]
        return name

    def _normal(self, *shape: int) -> Floats:
        """Weights that keep a signal about as large as it is."""
        return self.rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), size=shape)

    def _values(self, low: float, high: float, shape: Shape) -> Floats:
        """One value for all neurons, or one for each."""
        size = shape if self.rng.random() < 0.5 else (1,) * len(shape)
        return np.broadcast_to(self.rng.uniform(low, high, size=size), shape).copy()

    def _layer(self, name: str) -> str:
        return self._add(self._neurons(self.shapes[name]), name)

    def _neurons(self, shape: Shape) -> nir.NIRNode:
        tau, tau_syn = (self._values(1, 8, shape) * DT_S for _ in range(2))
        leak, w_in = self._values(-0.1, 0.1, shape) * self.rng.integers(2), self._values(2, 6, shape)
        r, sign = self._values(1, 3, shape), self.rng.choice([-1.0, 1.0, 1.0])
        fires = {"v_threshold": self._values(0.2, 0.8, shape), "v_reset": self._values(-0.3, 0.1, shape)}
        kinds = [
            nir.LIF(tau=tau, r=r * sign, v_leak=leak, **fires),
            nir.IF(r=r / 2 / DT_S, **fires),
            nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=w_in, **fires),
            nir.Threshold(self._values(-0.2, 0.8, shape)),
            nir.LI(tau=tau, r=r, v_leak=leak),
            nir.I(r=r / 3 / DT_S),
            nir.CubaLI(tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=w_in / 3),
            self._subtracting(tau, r, leak, {"tau_syn": tau_syn, "w_in": w_in}),
        ]
        return kinds[self.rng.integers(len(kinds))]

    def _subtracting(self, tau: Floats, r: Floats, leak: Floats, current: dict[str, Floats]) -> SubtractLIF:
        amounts = {"v_threshold": self._values(0.2, 0.8, tau.shape), "v_subtract": self._values(0.2, 0.8, tau.shape)}
        return SubtractLIF(tau, r, leak, **amounts, **current if self.rng.random() < 0.5 else {})

    def _elementwise(self, name: str) -> str:
        shape = self.shapes[name]
        delay = nir.Delay(self.rng.integers(0, 3, size=shape if self.rng.random() < 0.3 else 1) * DT_S)
        if delay.delay.size == 1:
            delay = nir.Delay(np.full(shape, delay.delay.item()))
        steps = (STEPS if self.rng.random() < 0.7 else 1, *(shape[:1] if self.rng.random() < 0.7 else shape))
        by_step = steps + (1,) * (1 + len(shape) - len(steps))
        gain, bias = self.rng.uniform(0.3, 1.5, size=by_step), self.rng.normal(0, 0.3, size=by_step)
        norm = GainBias(np.array(shape), gain=gain, bias=bias)
        return self._add([nir.Scale(self._values(0.3, 1.5, shape)), delay, norm][self.rng.integers(3)], name)

    def _recurrent(self, name: str) -> str:
        """Spiking neurons that receive their own spikes, directly, through weights or after a delay."""
        shape = self.shapes[name]
        node = self._neurons(shape)
        while not isinstance(node, (nir.LIF, nir.IF, nir.CubaLIF, SubtractLIF)):
            node = self._neurons(shape)
        layer = self._add(node, name)
        back = layer
        for _ in range(self.rng.integers(0, 3)):
            steps = np.full(shape, self.rng.integers(1, 3) * DT_S)
            back = self._add(
                nir.Delay(steps) if self.rng.random() < 0.5 else nir.Scale(self._values(-1, 1, shape)), back
            )
        self.edges.append((back, layer))
        return layer

    def _shortcut(self, name: str) -> str:
        """A sum with any earlier signal of the same shape."""
        same = [other for other, shape in self.shapes.items() if shape == self.shapes[name]]
        return self._add(nir.Scale(np.ones(self.shapes[name])), name, same[self.rng.integers(len(same))])

    def _dense(self, name: str) -> str:
        size, out = self.shapes[name][0], int(self.rng.integers(3, 9))
        bias = nir.Affine(self._normal(out, size), self._normal(out)) if self.rng.random() < 0.5 else None
        return self._add(bias or nir.Linear(self._normal(out, size)), name)

    def _line(self, name: str) -> str:
        channels, length = self.shapes[name]
        if self.rng.random() < 0.3 or length < 4:
            return self._add(nir.Flatten(None, 0, -1), name)
        padding = ["same", "valid", 1, 2][self.rng.integers(4)]
        stride = 1 if padding == "same" else int(self.rng.integers(1, 3))
        weight = self._normal(4, channels, int(self.rng.integers(1, 4)))
        return self._add(nir.Conv1d(length, weight, stride, padding, 1, 1, self._normal(4)), name)

    def _image(self, name: str) -> str:
        channels, height, width = self.shapes[name]
        kind = self.rng.integers(4) if min(height, width) > 2 else 0
        if kind == 0:
            return self._add(nir.Flatten(None, 0, -1), name)
        if kind == 1:
            sizes = np.array([2, 2]), self.rng.integers(1, 3, size=2), self.rng.integers(0, 2, size=2)
            pools = [nir.SumPool2d(*sizes), nir.AvgPool2d(*sizes), MaxPool2d(np.array(self.shapes[name]), *sizes)]
            return self._add(pools[self.rng.integers(3)], name)
        groups = int(self.rng.choice([g for g in (1, 2, channels) if channels % g == 0]))
        kernel = np.minimum(self.rng.integers(1, 4, size=2), (height, width)).tolist()
        padding = ["same", "valid", (1, 0)][self.rng.integers(3)]
        stride = (1, 1) if padding == "same" else (1, 2)
        weight = self._normal(
            2 * groups, channels // groups, *(min(k, s) for k, s in zip(kernel, (height, width), strict=True))
        )
        return self._add(
            nir.Conv2d((height, width), weight, stride, padding, 1, groups, self._normal(2 * groups)), name
        )


def random_graph(seed: int) -> tuple[nir.NIRGraph, Floats]:
    builder = Builder(seed)
    return builder.graph(int(builder.rng.integers(2, 8))), builder.clips()


def compare(network: Network, frames: Floats, expected: dict[str, Floats], *, moved: bool = False) -> None:
    """Every population sends what its node says; with `moved`, a relay that same number less at all time steps."""
    found = run_float(network, as_images(frames, network))
    for name, population in network.populations.items():
        signal = found[name].reshape(expected[name].shape)
        if moved and population.kind == "relay" and name != network.output:
            signal = signal + (expected[name] - signal)[:1, :1]
        np.testing.assert_allclose(signal, expected[name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(60))
def test_graph_network_and_lowered_network_are_the_same(seed: int) -> None:
    graph, frames = random_graph(seed)
    expected = interpret(graph, frames)
    network = from_nir(graph)
    check_network(network, after="from_nir")
    assert set(network.populations) == set(graph.nodes)
    compare(network, frames, expected)
    compare(lower(graph), frames, expected, moved=True)


@pytest.mark.parametrize("seed", range(60))
def test_a_clip_has_the_same_signals_alone_and_among_others(seed: int) -> None:
    """Bit for bit, so that what calibration finds does not depend on how many clips run at the same time."""
    graph, frames = random_graph(seed)
    network = lower(graph)
    together, clip = (run_float(network, as_images(x, network)) for x in (frames, frames[-1:]))
    expected, alone = (interpret(graph, x) for x in (frames, frames[-1:]))
    for name in network.populations:
        np.testing.assert_array_equal(together[name][-1:], clip[name], err_msg=name)
    for name in graph.nodes:
        np.testing.assert_array_equal(expected[name][-1:], alone[name], err_msg=name)


@pytest.mark.parametrize("first_seed", range(0, 60, 20))
def test_integers_keep_the_spikes(first_seed: int) -> None:
    """8-bit weights, 12-bit decays, recurrence included: at least 94 % in every layer of every graph, 99 % on average.

    Graded values of layers without neurons in front are off by rounding alone, below 2 % on average; integrators
    behind each other share one scale, which the last of them limits for all.
    """
    matches, errors = [], []
    for seed in range(first_seed, first_seed + 20):
        graph, frames = random_graph(seed)
        network = lower(graph)
        integers = quantize(network, frames)
        check_integer(integers, after="quantize")
        exact = run_float(network, as_images(frames, network))
        found = simulate(integers, frames, backend="integer").signals
        for name, population in integers.populations.items():
            if isinstance(population, IntLif):
                matches.append(float((found[name] == exact[name]).mean()))
            elif not any(integers.spiking(before) for before in ancestors(network, name)):
                errors.append(rms(found[name] / population.scale - exact[name]) / max(rms(exact[name]), 1e-3))
    assert min(matches) > 0.94
    assert np.mean(matches) > 0.99
    assert np.mean(errors) < 0.02
    assert max(errors) < 0.15


def ancestors(network: Network, name: str) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        new = {c.source for c in network.into(waiting.pop())} - found
        found |= new
        waiting += new
    return found


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def feedback() -> tuple[nir.NIRGraph, Floats]:
    """Two layers in a loop: the second sends to the first after two time steps, and both send to themselves."""
    builder = Builder(0)
    first = builder._add(builder._neurons((5,)), "in")
    builder.nodes[first] = graphs.lif(5, tau=3e-3, r=3.0)
    dense = builder._add(nir.Linear(builder._normal(5, 5) * 2), first)
    second = builder._add(builder.nodes[first], dense)
    back = builder._add(nir.Delay(np.full(5, 2 * DT_S)), builder._add(nir.Linear(builder._normal(5, 5)), second))
    builder.edges += [(back, first), (first, first), (second, second)]
    builder._add(graphs.result(5), second)
    return graphs.graph(builder.nodes, builder.edges, T=STEPS), builder.clips()


@pytest.mark.lava
@pytest.mark.parametrize("seed", [7, 19, 22, 33, None])
def test_lava_is_the_integers_bit_for_bit(seed: int | None) -> None:
    """Integrators, currents with memory, potentials that do not begin at 0, and loops, clips back to back."""
    graph, frames = feedback() if seed is None else random_graph(seed)
    integers = quantize(lower(graph), frames)
    assert any(connection.source == connection.target for connection in integers.connections)
    expected = simulate(integers, frames, backend="integer").signals
    found = simulate(integers, frames, backend="lava", timeout_s=HANG_S).signals
    for name, signal in expected.items():
        np.testing.assert_array_equal(found[name], signal, err_msg=name)
    assert all(0 < expected[n].mean() < 1 for n, p in integers.populations.items() if isinstance(p, IntLif))
