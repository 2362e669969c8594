"""Networks of integers in a NIR graph: read as they were written, and a graph that means the same in real numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings

import ints
from deploy.exchange.files import write_integers
from deploy.exchange.integers import graph_of, integers_of, same_networks
from deploy.ir.exact import exact_network
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.nodes import IntegerPart
from deploy.ir.populations.base import IntPopulation
from deploy.ir.populations.lif import IntLif
from hardware import ConvGeometry
from random_networks import Frames, int_networks
from svformer.common.errors import InputError


def graph(network: IntNetwork, dt_s: float = 1.0) -> nir.NIRGraph:
    shape = network.input.shape
    return graph_of(network, dt_s=dt_s, input_shape=shape[:1] if shape[1:] == (1, 1) else shape, metadata={})


def through_a_file(network: IntNetwork, folder: Path, dt_s: float = 1e-3) -> nir.NIRGraph:
    write_nir(graph(network, dt_s), folder / "integers.nir")
    return read_nir(folder / "integers.nir")


def mlp() -> IntNetwork:
    """Spikes to LIF neurons with a current that remembers, to integrators."""
    return ints.network(
        {
            "in": ints.entry((3, 1, 1)),
            "hidden": ints.lif(
                (2, 1, 1), threshold=[20, 30], decay=2048, current_decay=[1024, 4096], bias_mantissa=[5, -7]
            ),
            "out": ints.integrator((1, 1, 1), decay=512, bias_mantissa=9, bias_exponent=2),
        },
        ints.link("in", "hidden", ints.dense([[9, -4, 7], [3, 8, -2]], exponent=1)),
        ints.link("hidden", "out", ints.dense([[5, -3]], exponent=-1)),
        ints.link("hidden", "hidden", ints.dense([[0, -6], [-6, 0]]), delay=1),
        frames=6,
    )


def beyond_the_standard() -> IntNetwork:
    """A reset by subtraction, a potential that is sent and does not begin at 0: no standard node says either."""
    shape = (2, 1, 1)
    return ints.network(
        {
            "in": ints.entry(shape),
            "soft": ints.lif(shape, threshold=10, subtract=[10, 7], decay=100),
            "sum": ints.integrator(shape, start=[200, -60], decay=9),
        },
        *(ints.link("in", name, ints.dense([[9, 1], [-3, 8]])) for name in ("soft", "sum")),
        frames=4,
    )


@given(int_networks())
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[IntNetwork, Frames]
) -> None:
    network, clips = drawn
    path = tmp_path_factory.getbasetemp() / "drawn.nir"
    write_integers(network, path, dt_s=1e-3, input_shape=network.input.shape, metadata={})
    found = integers_of(read_nir(path))
    assert same_networks(replace(found, readout=network.readout), network)
    sent, again = run_integer(network, clips), run_integer(found, clips)
    assert all((sent[name] == again[name]).all() for name in network.populations)


def dyadic(population: IntPopulation) -> IntPopulation:
    """With leaks of a power of two, so that float64 holds every potential exactly, ties at thresholds included."""
    if isinstance(population, IntLif):
        return replace(population, decay=1 << (population.decay % 13))
    return population


@given(int_networks())
def test_the_graph_means_in_real_numbers_what_the_integers_are(drawn: tuple[IntNetwork, Frames]) -> None:
    """The interpreter of any NIR graph, which knows nothing of integers, against the network without rounding."""
    network, clips = drawn
    network = replace(network, populations={name: dyadic(p) for name, p in network.populations.items()})
    found = graph(network)
    if any(isinstance(node, IntegerPart) for node in found.nodes.values()):
        return
    shape = next(iter(found.inputs.values())).input_type["input"]
    signals = interpret(found, clips.reshape(*clips.shape[:2], *shape))
    expected = run_float(exact_network(network, in_units=True), clips)
    for name in network.receivers:
        np.testing.assert_allclose(signals[name].reshape(expected[name].shape), expected[name], rtol=1e-9, atol=1e-6)


def test_standard_nodes_hold_a_dense_network(tmp_path: Path) -> None:
    """Stock `nir.read` takes the file. By hand, of a time step of 1 ms: weights 9 x 2^1 = 18, -8, 14; the leak 2048 of
    4096 is tau = 2 ms; 1024 and 4096 are tau_syn = 4 and 1 ms; a bias of 5/64 is v_leak = 5/64 x 2; of 9 x 2^2 = 36/64
    in front of the integrator, that of the Affine.
    """
    network = mlp()
    write_nir(graph(network, 1e-3), tmp_path / "mlp.nir")
    nodes = nir.read(str(tmp_path / "mlp.nir"), type_check=False).nodes
    assert {type(node).__name__ for node in nodes.values()} == {
        *("Input", "Linear", "Affine", "CubaLIF", "LI", "Delay", "Output")
    }
    np.testing.assert_array_equal(nodes["hidden_from_in"].weight, [[18, -8, 14], [6, 16, -4]])
    hidden = nodes["hidden"]
    np.testing.assert_array_equal(hidden.v_threshold, [20, 30])
    np.testing.assert_allclose(hidden.tau_mem, 2e-3)
    np.testing.assert_allclose(hidden.tau_syn, [4e-3, 1e-3])
    np.testing.assert_allclose(hidden.v_leak, [5 / 64 * 2, -7 / 64 * 2])
    np.testing.assert_array_equal(nodes["out_from_hidden"].weight, [[2.5, -1.5]])
    np.testing.assert_array_equal(nodes["out_from_hidden"].bias, [36 / 64])
    assert same_networks(integers_of(read_nir(tmp_path / "mlp.nir")), network)


def test_lines_stay_lines(tmp_path: Path) -> None:
    """A clip [T, 2, 7] of a network of Conv1d enters as before."""
    geometry = ConvGeometry(in_shape=(2, 1, 7), out_channels=3, kernel=(1, 3), padding=(0, 1), stride=(1, 2))
    populations: dict[str, IntPopulation] = {"in": ints.entry((2, 1, 7)), "out": ints.lif((3, 1, 4), threshold=5)}
    network = ints.network(populations, ints.link("in", "out", ints.constant(geometry, 3)), frames=2)
    found = graph_of(network, dt_s=1.0, input_shape=(2, 7), metadata={})
    assert [type(node).__name__ for node in found.nodes.values()] == ["Input", "Conv1d", "LIF", "Output"]
    signals = interpret(found, np.ones((1, 2, 2, 7)))
    assert (signals["out"][:, :, :, np.newaxis] == run_integer(network, np.ones((1, 2, 2, 1, 7)))["out"]).all()


def test_real_values_enter_and_leave_through_scales() -> None:
    """A clip of 0.5 is 32 units of 1/64; what leaves is divided by the 8 units of the output."""
    network = ints.chain(1, inp=ints.entry(scale=64.0, high=64), out=ints.relay(scale=8.0))
    network = replace(network, connections=(ints.link("inp", "out", ints.same(exponent=-3)),))
    found = interpret(graph(network), np.full((1, 1, 1), 0.5))
    assert (found["inp_units"].item(), found["out"].item(), found["output"].item()) == (32, 4, 0.5)
    assert network.logits(run_integer(network, np.full((1, 1, 1, 1, 1), 0.5))).item() == 0.5


def test_neurons_that_begin_elsewhere_than_at_0_are_standard_nodes(tmp_path: Path) -> None:
    """Potentials are counted from where they begin, and a current that begins at S is a bias in front. By hand, of the
    first neuron: v begins at 640/64 = 10, so its threshold of 30 is 20 and its reset -10; u begins at -128/64 = -2 and
    loses a quarter, so -(-2)/4 = 0.5 enters, and 3 + -2 = 1 remain of the bias of 192/64 = 3: v_leak 1 x 2 - 10 = -8.
    """
    shape, rng = (2, 1, 1), np.random.default_rng(0)
    fields = {"decay": 2048, "current_decay": [1024, 2048], "bias_mantissa": [3, -1], "bias_exponent": 6}
    starts = {"start": [640, -320], "start_current": [-128, 192]}
    silent = {"silent": np.array([False, True]).reshape(shape)}
    network = ints.network(
        {
            "in": ints.entry(shape),
            "begun": replace(ints.lif(shape, threshold=[30, 131071], **fields, **starts), **silent),
        },
        ints.link("in", "begun", ints.dense([[20, -9], [13, 8]])),
        frames=12,
    )
    found = through_a_file(network, tmp_path, dt_s=1.0)
    assert {type(node).__name__ for node in nir.read(str(tmp_path / "integers.nir")).nodes.values()} == {
        *("Input", "Affine", "CubaLIF", "Output")
    }
    node = found.nodes["begun"]
    assert found.nodes["begun_from_in"].bias[0] == 0.5
    assert (node.v_threshold[0], node.v_reset[0], node.v_leak[0]) == (20, -10, -8)
    clips = rng.integers(0, 2, (3, 12, *shape)).astype(np.float64)
    expected = run_float(exact_network(network, in_units=True), clips)["begun"]
    assert expected.any()
    np.testing.assert_array_equal(interpret(found, clips[..., 0, 0])["begun"], expected[..., 0, 0])
    assert same_networks(integers_of(found), network)


def test_what_the_standard_cannot_say_is_refused_by_stock_readers(tmp_path: Path) -> None:
    network = beyond_the_standard()
    found = through_a_file(network, tmp_path)
    parts = {name for name, node in found.nodes.items() if isinstance(node, IntegerPart)}
    assert parts == {"soft", "sum"}
    assert same_networks(integers_of(found), network)
    with pytest.raises((AssertionError, KeyError)):
        nir.read(str(tmp_path / "integers.nir"))
    with pytest.raises(InputError, match="run by its integers alone"):
        interpret(found, np.ones((1, 4, 2)))


@settings(max_examples=20)
@given(int_networks())
def test_integers_last_for_clips_of_any_length(drawn: tuple[IntNetwork, Frames]) -> None:
    """T of the graph, which the clips decide, is that of the network; values of every time step fix it."""
    network, _ = drawn
    found = graph(network)
    found.metadata["T"] = network.frames + 3
    changing = any(a.ndim == 4 and len(a) > 1 for p in network.receivers.values() for a in [p.stored_bias])
    if changing or any(c.changes_with_time for c in network.connections):
        with pytest.raises(InputError, match="what broadcasts to"):
            integers_of(found)
    elif network.frames > 1:
        assert integers_of(found).frames == network.frames + 3


def put(group: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split("/")
    for folder in folders:
        group = group[folder]
    if value is None:
        del group[last]
    else:
        group[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 2, "version 2; allowed: 1"),
        ("order", '["in"]', "order does not name every population once"),
        ("order", None, "order missing"),
        ("output", "nowhere", "the output nowhere does not exist"),
        ("populations/hidden/kind", "IntGate", "populations/hidden: kind IntGate; allowed: IntInput, IntRelay"),
        ("populations/hidden/threshold", None, "populations/hidden: IntLif needs threshold"),
        ("populations/hidden/threshold", np.array([1.5]), "threshold: float64 of shape [1]; allowed: values of int64"),
        ("populations/hidden/threshold", np.full((1, 1, 1), 2**17), "hidden: threshold outside 0..131071"),
        ("populations/hidden/decay", np.full((1, 1, 1), 5000), "hidden: decay outside 0..4096"),
        ("populations/hidden/decay", np.full((5, 1, 1), 5), "decay of shape (5, 1, 1); allowed: what broadcasts to"),
        ("populations/hidden/colour", 1, "IntLif has no colour"),
        ("populations/in/low", 5, "low 5 is above high 1"),
        ("connections/00000/operation/mantissa", np.full((2, 3, 1, 1), 301), "weights of 10 bits; allowed: up to 8"),
        ("connections/00000/operation/exponent", 99, "an exponent of 99; allowed: -24 to 24"),
        ("connections/00000/source", "nowhere", "nowhere -> hidden: no such population"),
        ("connections/00000/delay", 63, "a delay of 63 time steps; allowed: 0 to 62"),
        ("connections/00000/operation/geometry/groups", 2, "groups must divide the channels"),
        ("populations/hidden/scale", -1.0, "scale -1.0; allowed: a positive number"),
        # sound integers, which the nodes contradict
        ("connections/00000/operation/exponent", 2, "nodes and integers contradict each other (hidden_from_in)"),
        ("populations/hidden/threshold", np.full((1, 1, 1), 7), "contradict each other (hidden)"),
    ],
)
def test_damaged_integers_are_refused_by_name(path: str, value: Any, message: str) -> None:
    found = graph(mlp())
    put(found.metadata["integer"], path, value)
    with pytest.raises(InputError) as caught:
        integers_of(found)
    assert message in str(caught.value)


def test_low_bits_need_the_weights_that_they_refine() -> None:
    """The first connection of a network refines nothing."""
    network = mlp()
    first, *others = network.connections
    with pytest.raises(InputError, match="refines what the connection before it is not"):
        integers_of(graph(replace(network, connections=(replace(first, refines=True), *others))))


def test_a_chip_form_has_no_file() -> None:
    with pytest.raises(ValueError, match="works in integers alone"):
        graph(ints.chain(2, a=ints.entry(), b=_gate()))


def _gate() -> IntPopulation:
    from deploy.ir.populations.gate import IntGate

    return IntGate(shape=(1, 1, 1), scale=1.0, threshold=3)
