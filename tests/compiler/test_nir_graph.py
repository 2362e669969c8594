"""NIR files: what is written comes back, what is damaged or unknown is refused in one line, and shapes by hand."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

import graphs
from deploy.ir.canonical import canonical
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.loops import late_edges
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import GainBias, Junction
from deploy.ir.shapes import infer_shapes
from graphs import entry
from svformer.common.errors import InputError

RNG = np.random.default_rng(0)


def graph(nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> nir.NIRGraph:
    return graphs.graph(nodes, edges, T=4, model="made by hand")


def chain(**nodes: nir.NIRNode) -> nir.NIRGraph:
    """Nodes one after the other, under their names."""
    names = list(nodes)
    return graph(nodes, list(itertools.pairwise(names)))


def conv(out: int, per_group: int, kernel: int | tuple[int, int] = 3, **fields: Any) -> nir.Conv2d:
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    options = {"input_shape": (5, 5), "stride": 1, "padding": 0, "dilation": 1, "groups": 1, **fields}
    weight, bias = RNG.normal(size=(out, per_group, *kernel)), RNG.normal(size=out)
    return nir.Conv2d(weight=weight, bias=bias, **options)


def lif(*shape: int) -> nir.LIF:
    tau, r, v_leak, v_threshold, v_reset = RNG.uniform(1, 2, size=(5, *shape))
    return nir.LIF(tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)


def every_node() -> nir.NIRGraph:
    """Every node type that can be executed, in a graph with a shortcut."""
    nodes = {
        "in": entry(2, 5, 5),
        "conv": conv(6, 1, padding=(1, 1), groups=2),
        "lif": lif(6, 5, 5),
        "attention": SpikingAttention(np.array([6, 5, 5]), heads=2, scale=0.5),
        "threshold": nir.Threshold(RNG.normal(size=(2, 5, 5))),
        "delay": nir.Delay(np.full((2, 5, 5), 2e-3)),
        "junction": Junction(np.array([2, 5, 5])),
        "gain_bias": GainBias(
            np.array([2, 5, 5]), gain=RNG.normal(size=(4, 2, 1, 1)), bias=RNG.normal(size=(1, 2, 5, 5))
        ),
        "flatten": nir.Flatten(np.array([2, 5, 5]), 0, -1),
        "affine": nir.Affine(RNG.normal(size=(4, 50)), RNG.normal(size=4)),
        "if": nir.IF(*RNG.normal(size=(3, 4))),
        "linear": nir.Linear(RNG.normal(size=(3, 4))),
        "scale": nir.Scale(RNG.normal(size=3)),
        "out": graphs.result(3),
    }
    names = [name for name in nodes if name != "delay"]
    edges = [*itertools.pairwise(names), ("in", "delay"), ("delay", "junction")]
    return graph(nodes, edges)


def test_everything_written_is_read_back(tmp_path: Path) -> None:
    written = every_node()
    write_nir(written, tmp_path / "x.nir")
    found = read_nir(tmp_path / "x.nir")
    assert found.metadata == written.metadata
    assert sorted(found.edges) == sorted(written.edges)
    assert found.nodes.keys() == written.nodes.keys()
    for name, node in written.nodes.items():
        assert type(found.nodes[name]) is type(node)
        np.testing.assert_equal(vars(found.nodes[name]), vars(node), err_msg=name)
    assert infer_shapes(found) == infer_shapes(written)


def test_a_file_of_plain_nir_nodes_is_read_as_stock_nir_reads_it(tmp_path: Path) -> None:
    stock = nir.NIRGraph.from_list(entry(2, 5, 5), conv(4, 2), lif(4, 3, 3))
    nir.write(tmp_path / "x.nir", stock)
    assert infer_shapes(read_nir(tmp_path / "x.nir"))["lif"] == (4, 3, 3)


@pytest.mark.parametrize(
    "node",
    [
        SpikingAttention(np.array([6, 2, 2]), heads=1, scale=1.0),
        Junction(np.array([6, 2, 2])),
        GainBias(np.array([6, 2, 2]), gain=np.ones((4, 6, 1, 1)), bias=np.zeros((1, 1, 1, 1))),
    ],
    ids=["attention", "junction", "gain_bias"],
)
@pytest.mark.parametrize("type_check", [True, False])
def test_stock_nir_refuses_our_nodes_rather_than_read_something_else(
    node: nir.NIRNode, type_check: bool, tmp_path: Path
) -> None:
    write_nir(chain(a=entry(6, 2, 2), b=node, c=nir.Output(node.output_type["output"])), tmp_path / "x.nir")
    with pytest.raises((AssertionError, ValueError, AttributeError)):  # nir names no error of its own for this
        nir.read(tmp_path / "x.nir", type_check=type_check)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    write_nir(every_node(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError):  # HDF5 cannot hold None
        write_nir(chain(a=entry(2, 5, 5), b=conv(4, 2, input_shape=None)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def refused(path: Path) -> str:
    """The line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_nir(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["Bogus", "read", "NIRNode", "ir"])
def test_unknown_node_types_are_named_all_of_them(kind: str, tmp_path: Path) -> None:
    """Also when `nir` has something else of that name."""
    write_nir(every_node(), tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        for name in ("lif", "scale"):
            del file[f"node/nodes/{name}/type"]
            file[f"node/nodes/{name}/type"] = kind
    assert f"unknown node types: {kind} (lif), {kind} (scale)" in refused(tmp_path / "x.nir")


@pytest.mark.parametrize("name", ["attention", "junction", "gain_bias"])
def test_another_version_of_our_nodes_is_refused(name: str, tmp_path: Path) -> None:
    write_nir(every_node(), tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        file[f"node/nodes/{name}/version"][()] = 2
    assert f"version 2 ({name})" in refused(tmp_path / "x.nir")


def remove(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        remove("node"),
        remove("node/nodes"),
        remove("node/edges"),
        remove("node/nodes/conv/type"),
        remove("node/nodes/conv/weight"),
        put("node", 1),
        put("node/nodes", 1),
        put("node/nodes/lif", 1),
        put("node/type", "LIF"),
        put("node/edges", [1, 2]),
        put("node/nodes/attention/heads", 4),
        put("node/nodes/lif/tau", np.ones((2, 5, 5))),
        put("node/nodes/conv/padding", "odd"),
    ],
)
def test_an_hdf5_file_that_holds_no_whole_graph_is_refused(change: Callable[[h5py.File], None], tmp_path: Path) -> None:
    write_nir(every_node(), tmp_path / "x.nir")
    with h5py.File(tmp_path / "x.nir", "a") as file:
        change(file)
    refused(tmp_path / "x.nir")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a NIR file, whatever its name",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"\0" * 64 + content[64:],
    ],
    ids=["empty", "text", "half", "one byte short", "no signature"],
)
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    write_nir(every_node(), path)
    path.write_bytes(damage(path.read_bytes()))
    assert "export it again" in refused(path)


def test_damaged_compressed_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    write_nir(every_node(), path)
    with h5py.File(path, "r") as file:
        chunk = file["node/nodes/affine/weight"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    assert "export it again" in refused(path)


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    assert "export_nir.py" in refused(tmp_path / "x.nir")
    assert "no such file" in refused(tmp_path)


def test_an_edge_to_nowhere_is_refused(tmp_path: Path) -> None:
    nodes = {"in": entry(2, 5, 5), "conv": conv(4, 2)}
    write_nir(graph(nodes, [("in", "conv"), ("conv", "nowhere")]), tmp_path / "x.nir")
    assert "edge conv -> nowhere names a node that does not exist" in refused(tmp_path / "x.nir")


def test_a_loop_without_a_neuron_or_a_delay_is_refused(tmp_path: Path) -> None:
    linear = {"a": nir.Scale(np.ones(3)), "b": nir.Threshold(np.ones(3))}
    nodes = {"in": entry(3), **linear, "out": graphs.result(3)}
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]
    write_nir(graph(nodes, edges), tmp_path / "x.nir")
    assert "a loop through a, b without a neuron or a delay" in refused(tmp_path / "x.nir")
    for breaks in (lif(3), nir.Delay(np.full(3, 1e-3))):
        write_nir(graph({**nodes, "b": breaks}, edges), tmp_path / "x.nir")
        assert infer_shapes(read_nir(tmp_path / "x.nir"))["out"] == (3,)
    write_nir(graph({**nodes, "b": nir.Delay(np.array([1e-3, 0.0, 1e-3]))}, edges), tmp_path / "x.nir")
    assert "without a neuron or a delay" in refused(tmp_path / "x.nir")


def late(*edges: tuple[str, str], **nodes: nir.NIRNode) -> dict[tuple[str, str], int]:
    """Late edges of a graph; nodes that are not given are neurons if their names are in capitals, else linear."""
    names = dict.fromkeys(name for edge in edges for name in edge)
    kinds = {name: lif(1) if name.isupper() else nir.Linear(np.ones((1, 1))) for name in names} | {"in": entry(1)}
    return late_edges(kinds | nodes, edges)


def test_which_edges_of_a_loop_are_late() -> None:
    """A layer that receives its own spikes, also through weights: only the edge behind the layer is late."""
    assert late(("in", "A"), ("A", "A")) == {("A", "A"): 1}
    assert late(("in", "A"), ("A", "w"), ("w", "A"), ("A", "B")) == {("A", "w"): 1}
    assert late(("in", "A"), ("A", "w"), ("w", "w2"), ("w2", "A")) == {("A", "w"): 1}
    # w also feeds B, which needs it at once: then the weighted value is late
    assert late(("in", "A"), ("A", "w"), ("w", "A"), ("w", "B")) == {("w", "A"): 1}
    # feedback over two layers: the one edge back, whatever order the edges are listed in
    feedback = [("in", "A"), ("A", "w"), ("w", "B"), ("B", "v"), ("v", "A"), ("B", "out")]
    assert late(*feedback) == late(*reversed(feedback)) == {("B", "v"): 1}
    # a loop inside a loop: A receives from itself and from B
    assert late(("in", "A"), ("A", "A"), ("A", "B"), ("B", "A")) == {("A", "A"): 1, ("B", "A"): 1}
    # two entrances: neither layer comes first
    assert late(("in", "A"), ("in", "B"), ("A", "B"), ("B", "A")) == {("A", "B"): 1, ("B", "A"): 1}
    # a delay is late enough
    assert late(("in", "A"), ("A", "d"), ("d", "A"), d=nir.Delay(np.array([1e-3]))) == {}
    assert late(("in", "A"), ("A", "d"), ("d", "A"), d=nir.Delay(np.array([0.0]))) == {("A", "d"): 1}


def test_all_nodes_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    nodes = {
        "in": entry(2, 5, 5),
        "lif": lif(3, 5, 5),  # takes 3 channels, gets 2
        "conv": conv(4, 3),  # takes 3 channels, gets 2
        "large": conv(4, 2, kernel=6),  # a kernel larger than the image
        "good": conv(4, 2),
        "sum": Junction(np.array([4, 3, 3])),  # (2, 5, 5) from in and (4, 3, 3) from good
        "alone": nir.SumPool2d(*(np.array([2, 2]) for _ in range(3))),
        "behind": lif(3),
        "after": lif(7),  # its input is unknown, so it is not blamed
        "pool": nir.SumPool2d(np.array([6, 2]), np.array([2, 2]), np.array([0, 0])),  # larger than the image
        "line": nir.Conv1d(5, RNG.normal(size=(4, 2, 3)), 1, 0, 1, 1, np.zeros(4)),  # takes no image
    }
    edges = [("in", name) for name in ("lif", "conv", "large", "good", "pool", "line", "sum")]
    edges += [("good", "sum"), ("conv", "after"), ("alone", "behind")]
    write_nir(graph(nodes, edges), tmp_path / "x.nir")
    message = refused(tmp_path / "x.nir")
    assert "lif: takes shape (3, 5, 5), found (2, 5, 5)" in message
    for blamed in ("conv: takes 3 channels", "large: ", "pool: ", "line: takes 2 channels of a line"):
        assert blamed in message
    assert "sum sums edges of different shapes [(2, 5, 5), (4, 3, 3)]" in message
    assert "alone (SumPool2d) has no input, and does not say what shape it takes" in message
    assert "good" not in message
    assert "after" not in message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (4, 3, 3)),  # 5 - 3 + 1
        ({"padding": "valid"}, (4, 3, 3)),
        ({"padding": "same"}, (4, 5, 5)),
        ({"padding": "same", "dilation": 2}, (4, 5, 5)),  # 2 on each side
        ({"padding": (1, 2)}, (4, 5, 7)),  # 5 + 2 * 2 - 3 + 1 = 7 columns
        ({"stride": (2, 1), "padding": 1}, (4, 3, 5)),  # (5 + 2 - 3) // 2 + 1 = 3 rows
        ({"dilation": 2}, (4, 1, 1)),  # spans 5
        ({"kernel": (1, 5)}, (4, 5, 1)),
        ({"kernel": (5, 1), "padding": "same"}, (4, 5, 5)),
        ({"kernel": 2, "padding": "same"}, (4, 5, 5)),  # one row more behind the image
        ({"kernel": 4, "dilation": 3, "padding": "same"}, (4, 5, 5)),
        ({"per_group": 1, "groups": 2}, (4, 3, 3)),  # stock nir takes this for one input channel
    ],
)
def test_shapes_of_convolutions(fields: dict[str, Any], expected: tuple[int, ...], tmp_path: Path) -> None:
    node = conv(4, fields.pop("per_group", 2), fields.pop("kernel", 3), **fields)
    write_nir(chain(a=entry(2, 5, 5), b=node), tmp_path / "x.nir")
    assert infer_shapes(read_nir(tmp_path / "x.nir"))["b"] == expected


def test_same_padding_with_a_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="padding 'same' with stride"):
        infer_shapes(chain(a=entry(2, 5, 5), b=conv(4, 2, padding="same", stride=2)))


def test_shapes_of_pooling_and_of_lines() -> None:
    pool = [np.array(values) for values in ((2, 3), (2, 1), (0, 1))]
    for node in (nir.SumPool2d(*pool), nir.AvgPool2d(*pool)):
        assert infer_shapes(chain(a=entry(2, 5, 6), b=node))["b"] == (2, 2, 6)
    line = nir.Conv1d(9, RNG.normal(size=(4, 2, 4)), 2, 1, 1, 1, np.zeros(4))
    assert infer_shapes(chain(a=entry(2, 9), b=line))["b"] == (4, 4)  # (9 + 2 - 4) // 2 + 1


def test_a_graph_inside_is_spliced_in() -> None:
    """Fan-in, fan-out, a loop around it, and two levels; the inner Input and Output are gone."""
    innermost = graph({"i": entry(3), "A": lif(3), "o": graphs.result(3)}, [("i", "A"), ("A", "o")])
    inner = graph(
        {"i": entry(3), "deep": innermost, "B": lif(3), "o": graphs.result(3)},
        [("i", "deep"), ("i", "B"), ("deep", "o"), ("B", "o")],
    )
    nodes = {"x": entry(3), "n": inner, "C": lif(3), "y": graphs.result(3)}
    found = canonical(graph(nodes, [("x", "n"), ("n", "C"), ("n", "n"), ("C", "y")]))
    assert sorted(found.nodes) == ["C", "n.B", "n.deep.A", "x", "y"]
    insides = ("n.B", "n.deep.A")
    expected = [("x", name) for name in insides] + [(name, "C") for name in insides] + [("C", "y")]
    assert sorted(found.edges) == sorted(expected + [(a, b) for a in insides for b in insides])
    with pytest.raises(ValueError, match="n: a graph inside needs one Input and one Output"):
        canonical(graph({"n": graph({"A": lif(3)}, [])}, []))


def test_the_batch_that_a_framework_traced_with_is_dropped() -> None:
    """Norse writes the shape of its example, batch included; NIR's dense layer takes a vector."""
    dense, out = nir.Linear(np.ones((4, 3))), graphs.result(7, 4)
    found = canonical(chain(a=entry(7, 3), b=dense, c=lif(4), d=out))
    assert infer_shapes(found) == {"a": (3,), "b": (4,), "c": (4,), "d": (4,)}
    found = canonical(chain(a=entry(1, 2, 5, 5), b=conv(4, 2), c=graphs.result(1, 4, 3, 3)))
    assert infer_shapes(found)["a"] == (2, 5, 5)
    kept = canonical(chain(a=entry(7, 3), b=lif(7, 3), c=graphs.result(7, 3)))
    assert infer_shapes(kept)["a"] == (7, 3)
    with pytest.raises(ValueError, match=r"c: takes shape \(7, 4\), found \(4,\)"):
        infer_shapes(canonical(chain(a=entry(7, 3), b=dense, c=lif(7, 4), d=out)))


def test_one_value_for_all_neurons_is_given_to_each() -> None:
    found = canonical(chain(a=entry(2, 5, 5), b=conv(4, 2, input_shape=None), c=lif(), d=lif(1), e=lif(1, 4, 3, 3)))
    assert infer_shapes(found)["e"] == (4, 3, 3)
    assert {name: found.nodes[name].tau.shape for name in "cde"} == dict.fromkeys("cde", (4, 3, 3))
    assert tuple(found.nodes["b"].input_shape) == (5, 5)


def test_torch_tensors_become_arrays() -> None:
    """As they are in a graph that norse has just made."""
    tensors = {name: torch.full((3,), value) for name, value in (("tau", 2e-3), ("r", 1.0), ("v_leak", 0.0))}
    found = canonical(chain(a=entry(3), b=nir.LI(**tensors)))
    assert isinstance(found.nodes["b"].tau, np.ndarray)


def test_attention_needs_channels_for_q_k_v_of_every_head() -> None:
    assert SpikingAttention(np.array([12, 2, 2]), heads=2, scale=1.0).output_type["output"].tolist() == [4, 2, 2]
    with pytest.raises(ValueError, match="12 channels are not q, k, v of 3 heads"):
        SpikingAttention(np.array([12, 2, 2]), heads=3, scale=1.0)


def test_flatten_joins_the_dimensions_that_it_names() -> None:
    for start, end, expected in [(0, -1, (24,)), (1, -1, (2, 12)), (0, 1, (6, 4)), (1, 1, (2, 3, 4))]:
        node = nir.Flatten(np.array([2, 3, 4]), start, end)
        assert infer_shapes(chain(a=entry(2, 3, 4), b=node))["b"] == expected
