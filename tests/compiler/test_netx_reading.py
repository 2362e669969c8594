"""lava-dl's `.net` files, written here by hand: what they become, and what is refused; no Lava and no torch."""

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import graphs
from deploy.exchange.integers import holds_integers, integers_of
from deploy.exchange.netx.reading import graph_of_net, read_net
from deploy.ir.integer import run_integer
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif
from deploy.ir.storage import widest_weight_bits
from deploy.request import Request
from svformer.common.errors import InputError

CUBA = {"type": b"CUBA", "iDecay": 4096, "vDecay": 1024, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
INPUT = {"type": b"input", "shape": [3]}
DENSE = {"type": b"dense", "shape": [2], "weight": [[2.0, -4, 6], [8, 10, -256]], "neuron": CUBA}
IMAGE = {"type": b"input", "shape": [1, 4, 4]}
CONV = {
    "type": b"conv",
    "shape": [2, 3, 3],
    "weight": np.ones((2, 1, 2, 2)),
    "stride": 1,
    "padding": [0, 0],
    "dilation": [1, 1],
    "groups": 1,
    "neuron": CUBA,
}
POOL = {
    "type": b"pool",
    "shape": [1, 2, 2],
    "weight": np.full((1, 1, 2, 2), 64),
    "kernelSize": [2, 2],
    "stride": [2, 2],
    "padding": [0, 0],
    "dilation": [1, 1],
    "neuron": CUBA,
}
FLATTEN = {"type": b"flatten", "shape": [16, 1, 1]}


def net(folder: Path, *layers: dict[str, Any]) -> Path:
    path = folder / "network.net"
    with h5py.File(path, "w") as file:
        file.create_group("layer")
        for number, layer in enumerate(layers):
            write(file.create_group(f"layer/{number}"), layer)
    return path


def write(group: h5py.Group, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            write(group.create_group(key), value)
        else:
            group[key] = value


def test_a_dense_layer_by_hand(tmp_path: Path) -> None:
    """Weights share a factor of 2: mantissas 1 -2 3, 4 5 -128 of 8 bits and an exponent of 1. Inputs 1 0 1 give
    2 + 6 = 8 and 8 - 256 = -248; a bias of 70 makes 78 and -178, below 80; then 3/4 of 78 x 64, + 78 x 64: above.
    """
    network, shape = read_net(net(tmp_path, INPUT, DENSE | {"bias": [70, 70]}))
    assert (shape, network.output, network.readout) == ((3,), "dense1", "count")
    operation, neurons = network.connections[0].operation, network.populations["dense1"]
    assert isinstance(operation, IntConvolution)
    assert isinstance(neurons, IntLif)
    assert (operation.mantissa.ravel().tolist(), operation.exponent) == ([1, -2, 3, 4, 5, -128], 1)
    assert (widest_weight_bits(network), neurons.current_decay) == (8, None)
    assert (neurons.bias_mantissa.ravel().tolist(), neurons.bias_exponent) == ([70, 70], 6)
    clip = np.array([1.0, 0, 1]).reshape(1, 1, 3, 1, 1).repeat(2, axis=1)
    assert run_integer(network, clip)["dense1"][0, :, :, 0, 0].tolist() == [[0, 0], [1, 0]]


def test_an_image_is_flattened_channel_by_channel(tmp_path: Path) -> None:
    weight = np.zeros((1, 16))
    weight[0, 1 * 4 + 2] = 100  # row 1, column 2
    path = net(tmp_path, IMAGE, FLATTEN, DENSE | {"shape": [1], "weight": weight})
    clip = np.zeros((1, 1, 1, 4, 4))
    clip[..., 1, 2] = 1
    assert run_integer(read_net(path)[0], clip)["dense2"].item() == 1
    assert run_integer(read_net(path)[0], clip.swapaxes(3, 4))["dense2"].item() == 0


def test_the_graph_of_a_file_holds_its_integers_and_leaves_t_to_the_clips(tmp_path: Path) -> None:
    graph = graph_of_net(net(tmp_path, IMAGE, POOL, CONV | {"shape": [2, 1, 1]}))
    assert holds_integers(graph)
    assert "T" not in graph.metadata
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds == ["Input", "Conv2d", "LIF", "Flatten", "Linear", "LIF", "Output"]
    graph.metadata["T"] = 7
    assert integers_of(graph).frames == 7


def test_an_input_with_neurons_by_hand(tmp_path: Path) -> None:
    """0.5 is 16 steps of 1 / 32; times a weight of 48 of 64 it is 16 x 48 / 32 = 24 units of 64, twice in two steps
    without a leak 48: above 40. What is read runs from the graph, too.
    """
    neuron = CUBA | {"vDecay": 0, "vThMant": 40}
    path = net(tmp_path, INPUT | {"weight": [[48.0]], "neuron": neuron}, DENSE)
    graph = graph_of_net(path)
    graph.metadata["T"] = 2
    network = integers_of(graph)
    assert list(network.populations) == ["in", "input0", "dense1"]
    clip = np.array([0.5, 0, 3]).reshape(1, 1, 3, 1, 1).repeat(2, axis=1)
    assert run_integer(network, clip)["input0"][0, :, :, 0, 0].tolist() == [[0, 0, 1], [1, 0, 1]]


def test_a_layer_without_neurons_is_a_sum(tmp_path: Path) -> None:
    """What netx puts there: a current that forgets nothing, and a potential that is the current."""
    layer = {key: value for key, value in DENSE.items() if key != "neuron"}
    network, _ = read_net(net(tmp_path, INPUT, layer))
    clip = np.array([1.0, 1, 0]).reshape(1, 1, 3, 1, 1).repeat(3, axis=1)
    assert run_integer(network, clip)["dense1"][0, :, :, 0, 0].tolist() == [[-2, 18], [-4, 36], [-6, 54]]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        # what stock netx passes over without a word
        (
            [INPUT, {"type": b"residual"}, {"type": b"add"}],
            "layer 1 (residual): a type that is not run; allowed: input",
        ),
        ([INPUT, {"type": b"residual"}, {"type": b"add"}], "layer 2 (add): a type that is not run"),
        ([INPUT, DENSE | {"skip": 1}], "layer 1 (dense): skip cannot be run"),
        ([INPUT, DENSE | {"neuron": CUBA | {"gradedSpike": True}}], "graded spikes (gradedSpike)"),
        ([INPUT, DENSE | {"neuron": CUBA | {"refDelay": 3}}], "a refractory period (refDelay)"),
        ([INPUT, DENSE | {"neuron": CUBA | {"weight_exp": 2.0}}], "an exponent of the weights (weight_exp)"),
        ([INPUT, DENSE | {"weight": [[2.5, 0, 1], [1, 1, 1]]}], "weight is not whole; netx would cut it off"),
        ([INPUT, DENSE | {"bias": [0.7, 0]}], "bias is not whole"),
        ([INPUT, DENSE | {"weight": [[301, 0, 1], [1, 1, 1]]}], "weights from 0 to 301, which 8 bits and an exponent"),
        ([INPUT, DENSE | {"delay": [0, 63]}], "dense1: delays from 0 to 63 time steps; allowed: 0 to 62"),
        # what it fails at
        ([INPUT, DENSE | {"neuron": CUBA | {"type": b"ALIF"}}], "neurons of type ALIF; allowed: CUBA, LOIHI"),
        ([INPUT, DENSE | {"neuron": CUBA | {"type": b"SDNN"}}], "neurons of type SDNN"),
        ([INPUT, {"type": b"average", "shape": [1]}], "layer 1 (average): a type that is not run"),
        ([INPUT, DENSE | {"weight": {"real": [1], "imag": [1]}}], "weight is a group (imag, real)"),
        # what is damaged
        ([INPUT, {"type": b"dense", "shape": [2]}], "layer 1 (dense): weight missing"),
        ([INPUT, DENSE | {"neuron": {"type": b"CUBA"}}], "neuron/iDecay, vDecay, vThMant missing"),
        ([INPUT, DENSE | {"neuron": CUBA | {"vDecay": 5000}}], "neuron/vDecay outside 0..4096"),
        ([INPUT, DENSE | {"neuron": CUBA | {"vDecay": b"all"}}], "neuron/vDecay of |S3; allowed: whole numbers"),
        ([INPUT, DENSE | {"neuron": CUBA | {"vThMant": []}}], "neuron/vThMant of no values; allowed: whole numbers"),
        ([INPUT, DENSE | {"neuron": CUBA | {"iDecay": {"a": 1}}}], "neuron/iDecay of object; allowed: whole numbers"),
        ([INPUT, DENSE | {"neuron": CUBA | {"refDelay": b"long"}}], "neuron/refDelay of |S4; allowed: whole numbers"),
        ([INPUT, DENSE | {"bias": [np.inf, 0]}], "bias holds values that are not finite, or beyond 2^53"),
        ([INPUT, DENSE | {"bias": [1e300, 0]}], "bias holds values that are not finite, or beyond 2^53"),
        (
            [INPUT, DENSE | {"neuron": CUBA | {"vThMant": [80, 90, 70]}}],
            "3 values of vThMant; allowed: 1, or one for each",
        ),
        ([INPUT, DENSE | {"shape": [3]}], "dense1: weights of shape [2, 3] for what arrives; allowed: [3, 3, 1, 1]"),
        ([INPUT, DENSE, DENSE], "dense2: weights of shape [2, 3] for what arrives"),
        ([DENSE], "no input layer in front"),
        ([INPUT, DENSE, INPUT], "input2: an input behind the first layer"),
        ([], "no layers in it"),
        ([INPUT | {"shape": [2, 2, 2, 2]}, DENSE], "input0: shape [2, 2, 2, 2], range [0, 1]; allowed: channels, rows"),
        ([INPUT | {"range": [1]}, DENSE], "input0: shape [3], range [1]; allowed"),
        (
            [INPUT | {"bias": [[2.0]], "neuron": CUBA | {"iDecay": 9}}],
            "input0: a bias of the input goes into its current",
        ),
        ([IMAGE, DENSE], "dense1: takes a vector, put a flatten in front"),
        ([IMAGE, FLATTEN, CONV], "conv2: takes an image, found a vector"),
        ([IMAGE, CONV | {"shape": [2, 4, 4]}], "conv1: gives (2, 3, 3), its shape says (2, 4, 4)"),
        ([IMAGE, CONV | {"groups": 3}], "groups must divide the channels"),
        ([IMAGE, CONV | {"delay": [1, 2, 3]}], "delays of shape [3]; allowed: one for each of 2 channels"),
        ([IMAGE, POOL | {"stride": [1, 1]}], "pooling windows that overlap"),
        ([INPUT, DENSE | {"neuron": CUBA | {"vThMant": 262143}}, DENSE], "neurons that never fire (vThMant 262143)"),
    ],
)
def test_what_cannot_be_run_is_refused_by_layer(tmp_path: Path, layers: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_net(net(tmp_path, *layers))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shape_is_the_same_in_any_arrangement(tmp_path: Path) -> None:
    for shape in (3, [3], [[3]]):
        assert read_net(net(tmp_path, INPUT | {"shape": shape}, DENSE))[1] == (3,)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.net").write_text("layer")
    with h5py.File(tmp_path / "other.net", "w") as file:
        file["node"] = 1
    for name, message in (
        ("missing", "no such file"),
        ("text", "not a readable .net"),
        ("other", "not a network of lav"),
    ):
        with pytest.raises(InputError, match=message):
            read_net(tmp_path / f"{name}.net")


def test_what_would_change_integers_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="--nir and --net are both given"):
        Request(nir="a.nir", net="b.net")
    with pytest.raises(InputError, match=r"--weight-bits, --reset: b\.net holds integers"):
        Request(net="b.net", weight_bits=4, reset="subtract")


def test_a_nir_file_is_told_where_it_belongs(tmp_path: Path) -> None:
    nir.write(str(tmp_path / "a.net"), graphs.chain({"input": graphs.entry(2), "output": graphs.result(2)}))
    with pytest.raises(InputError, match=r"a\.net: not a network of lava-dl but a NIR file; give it with --nir"):
        graph_of_net(tmp_path / "a.net")
