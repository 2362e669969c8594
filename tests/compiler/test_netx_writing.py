"""Networks of integers as `.net` files of lava-dl: the layout by hand, and what a chain of layers cannot hold."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import graphs
import ints
from deploy.exchange.files import write_integers
from deploy.exchange.netx.holds import require_held
from deploy.exchange.netx.reading import read_net
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.machine import STATE_SHIFT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif
from deploy.passes.lowering import lower
from deploy.pipeline import deploy
from hardware import ConvGeometry
from svformer.common.errors import InputError

VECTOR = (3, 1, 1)


def write(network: IntNetwork, path: Path) -> Path:
    write_integers(network, path, dt_s=1e-3, input_shape=network.input.shape, metadata={})
    return path


def image() -> IntNetwork:
    """A convolution and a dense layer."""
    geometry = ConvGeometry(in_shape=(1, 4, 5), out_channels=2, kernel=(3, 2), stride=(1, 2), padding=(1, 0))
    dense = ConvGeometry(in_shape=geometry.out_shape, out_channels=3, kernel=geometry.out_shape[1:])
    rng = np.random.default_rng(0)
    per_channel = {"decay": [100, 2000], "threshold": [90, 60], "bias_mantissa": [5, -7], "bias_exponent": STATE_SHIFT}
    return ints.network(
        {
            "in": ints.entry((1, 4, 5)),
            "conv": ints.lif(geometry.out_shape, **per_channel),
            "dense": ints.lif((3, 1, 1), decay=50, current_decay=1000, threshold=300),
        },
        ints.link("in", "conv", ints.drawn(geometry, rng, 100)),
        ints.link("conv", "dense", ints.drawn(dense, rng, 127, exponent=1)),
        frames=9,
    )


def vectors(*between: tuple[str, Any], **neurons: Any) -> IntNetwork:
    """Two layers of three neurons; `between` are more connections, `neurons` parameters of the second."""
    populations: Any = {"in": ints.entry(VECTOR), "a": ints.lif(VECTOR, threshold=9)}
    populations["b"] = ints.lif(VECTOR, **{"threshold": 9, **neurons})
    weight = ints.dense(np.arange(-4, 5).reshape(3, 3))
    links = [ints.link("in", "a", weight), ints.link("a", "b", weight)]
    return ints.network(
        populations, *links, *(ints.link(source, "b", weight, **more) for source, more in between), frames=5
    )


def test_the_layout_of_a_file(tmp_path: Path) -> None:
    """As slayer lays it out: (C, H, W) everywhere, whole weights, biases and thresholds in their unit."""
    network = image()
    with h5py.File(write(network, tmp_path / "w.net")) as file:
        kinds = [file[f"layer/{i}/type"][0] for i in range(len(file["layer"]))]
        assert kinds == [b"input", b"conv", b"flatten", b"dense"]
        conv, dense = file["layer/1"], file["layer/3"]
        assert file["layer/0/shape"][()].tolist() == [1, 4, 5]
        assert {name: conv[name][()].tolist() for name in ("shape", "kernelSize", "stride", "padding", "groups")} == {
            "shape": [2, 4, 2],
            "kernelSize": [3, 2],
            "stride": [1, 2],
            "padding": [1, 0],
            "groups": 1,
        }
        assert conv["bias"][()].tolist() == [5, -7]
        assert conv["neuron/vDecay"][()].tolist() == [100, 2000]
        assert (conv["neuron/iDecay"][()], conv["neuron/type"][()], conv["neuron/refDelay"][()]) == (4096, b"CUBA", 1)
        operation = network.connections[1].operation
        assert isinstance(operation, IntConvolution)
        np.testing.assert_array_equal(dense["weight"][()], operation.mantissa.reshape(3, -1) * 2)
        assert (dense["neuron/iDecay"][()], dense["neuron/vThMant"][()]) == (1000, 300)
        assert "bias" not in dense


def test_what_is_read_sends_what_was_written(tmp_path: Path) -> None:
    network = image()
    found, shape = read_net(write(network, tmp_path / "w.net"))
    clip = np.random.default_rng(1).integers(0, 2, (1, 9, 1, 4, 5)).astype(np.float64)
    ours, theirs = run_integer(network, clip), run_integer(replace(found, frames=9), clip)
    assert (shape, list(theirs)) == ((1, 4, 5), ["in", "conv1", "dense3"])
    assert all((a == b).all() for a, b in zip(ours.values(), theirs.values(), strict=True))
    assert ours["dense"].any()


def test_delays_loops_identities_graded_inputs_and_integrators(tmp_path: Path) -> None:
    """Every connection of a dense layer has a delay of its own, where no synapse has two."""
    one, other = np.array([[5, 0, -3], [0, 2, 0], [1, 1, 0]]), np.array([[0, 9, 0], [4, 0, 4], [0, 0, 2]])
    network = ints.network(
        {
            "in": ints.entry(VECTOR, low=-3, high=7),
            "same": ints.lif(VECTOR, threshold=4),
            "late": ints.lif(VECTOR, threshold=3),
            "loop": ints.lif(VECTOR, threshold=2, decay=2000),
            "sum": ints.integrator(VECTOR, decay=300, current_decay=200, bias_mantissa=2, bias_exponent=STATE_SHIFT),
        },
        ints.link("in", "same", ints.same(VECTOR, multiplier=3, exponent=1)),
        ints.link("same", "late", ints.dense(one), delay=2),
        ints.link("same", "late", ints.dense(other, exponent=1), delay=5),
        ints.link("late", "loop", ints.dense(one)),
        ints.link("loop", "loop", ints.dense(-other), delay=1),
        ints.link("loop", "sum", ints.dense(other)),
        frames=20,
    )
    found, _ = read_net(write(network, tmp_path / "w.net"))
    assert [(c.source, c.target, c.delay) for c in found.connections if c.delay] == [
        *[("dense1", "dense2", 2), ("dense1", "dense2", 5), ("dense_rec3", "dense_rec3", 1)]
    ]
    assert (found.input.low, found.input.high) == (-3, 7)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (vectors(("in", {})), "b: hears in."),
        (vectors(("a", {"delay": 3})), "b: synapses with several delays each"),
        (vectors(("b", {"delay": 2})), "b: a loop other than a dense one, a time step late"),
        (vectors(subtract=3), "b: a reset by subtraction"),
        (vectors(start=3), "b: a start of a clip other than 0"),
        (vectors(bias_mantissa=3), "b: a bias that is no whole number of units"),
        (vectors(bias_mantissa=np.ones((5, 3, 1, 1)), bias_exponent=6), "b: a bias of every time step"),
        (
            vectors(("b", {"delay": 1}), bias_mantissa=1, bias_exponent=6),
            "b: spikes that biases cause before the first",
        ),
        (ints.chain(3, a=ints.entry(), b=ints.relay(), c=ints.lif()), "b: relay."),
        (ints.chain(3, a=ints.entry(), b=ints.integrator(), c=ints.lif()), "b: neurons that send their potential"),
        (ints.chain(3, a=ints.entry(scale=4.0), b=ints.lif()), "a: values in steps of 1/4"),
        (replace(vectors(), output="a"), "a: the result is not the last layer"),
    ],
)
def test_what_netx_cannot_hold_is_refused_by_layer(network: IntNetwork, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write(network, tmp_path / "w.net")
    assert message in str(caught.value)
    assert not (tmp_path / "w.net").exists()


@pytest.mark.parametrize(
    ("weight", "exponent", "message"),
    [
        (np.full((3, 3), 100), 2, "weights from 400 to 400; netx holds -128 to 127, or even ones from -256 to 254"),
        (np.zeros((3, 3)), 0, "weights that are all 0"),
        (np.ones((3, 3)), -1, "weights with an exponent of -1"),
    ],
)
def test_weights_that_no_synapse_holds(weight: Any, exponent: int, message: str) -> None:
    link = ints.link("a", "b", ints.dense(weight, exponent=exponent))
    network = ints.network({"a": ints.entry(VECTOR), "b": ints.lif(VECTOR)}, link, frames=2)
    with pytest.raises(InputError, match=message):
        require_held(network)


def test_all_layers_are_named_at_once() -> None:
    network = ints.chain(2, a=ints.entry(), b=ints.relay(), c=ints.lif(subtract=1), d=ints.relay())
    with pytest.raises(InputError, match=r"b: relay; c: a reset by subtraction; d: relay\. Allowed"):
        require_held(network)


def classifier() -> nir.NIRGraph:
    """An image, a convolution with biases, sums of 2 x 2, a dense layer with biases."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": graphs.entry(2, 6, 6),
        "conv": nir.Conv2d((6, 6), rng.normal(size=(3, 2, 3, 3)), 1, 1, 1, 1, rng.normal(size=3) * 0.1),
        "first": graphs.lif(3, 6, 6, tau=4e-3, v_threshold=0.8),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "second": graphs.lif(3, 3, 3, tau=3e-3, v_threshold=0.9),
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "dense": nir.Affine(rng.normal(size=(4, 27)) * 3, rng.normal(size=4)),
        "third": graphs.lif(4, tau=5e-3, v_threshold=0.7),
        "output": graphs.result(4),
    }
    return graphs.graph(nodes, list(itertools.pairwise(nodes)), T=30)


def test_a_network_is_quantised_into_what_netx_holds(tmp_path: Path) -> None:
    """Without the file its weights have exponents and its biases fractions; with it none, and hardly other spikes."""
    clips = (np.random.default_rng(1).random((3, 30, 2, 6, 6)) < 0.3).astype(np.float64)
    free = deploy(classifier(), clips, lambda line: None).integer
    with pytest.raises(InputError, match="first: a bias that is no whole number of units"):
        require_held(free)
    found = deploy(classifier(), clips, lambda line: None, for_netx=True)
    write(found.integer, tmp_path / "w.net")
    rates = [float(layer.rate or 0) for layer in found.fixed_point.layers]
    wanted = [float(layer.float_rate or 0) for layer in found.fixed_point.layers]
    np.testing.assert_allclose(rates, wanted, atol=0.02)
    assert all(isinstance(p, IntLif) for p in found.integer.receivers.values())


def test_a_form_that_netx_cannot_hold_is_refused_before_calibration() -> None:
    graph = classifier()
    graph.nodes["third"] = nir.CubaLI(**{name: np.ones(4) for name in ("tau_mem", "tau_syn", "r", "v_leak", "w_in")})
    with pytest.raises(InputError, match="third: a start of a clip other than 0"):
        require_held(lower(graph))
