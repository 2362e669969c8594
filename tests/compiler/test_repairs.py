"""What files leave out or say in a dialect: read as they mean it, with a note; what means two things is refused."""

import itertools
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import graphs
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.repairs import repairs_of, spread
from deploy.ir.shapes import infer_shapes
from deploy.passes.from_nir import from_nir
from svformer.common.errors import InputError

Fields = dict[str, Any]
ONE, ENDS = np.ones, ("in", "out")


def written(path: Path, nodes: dict[str, Fields], **metadata: Any) -> Path:
    """A file as other writers make it: only what is given is in it; the nodes stand in a row."""
    names = list(nodes)
    with h5py.File(path, "w") as file:
        group = file.create_group("node")
        group["type"] = "NIRGraph"
        group["edges"] = np.array(list(itertools.pairwise(names)), dtype=h5py.string_dtype())
        for name, fields in nodes.items():
            for field, value in fields.items():
                group[f"nodes/{name}/{field}"] = value
        for key, value in metadata.items():
            group[f"metadata/{key}"] = value
    return path


def around(node: Fields, shape: tuple[int, ...], out: tuple[int, ...] | None = None) -> dict[str, Fields]:
    """A node between an Input and an Output."""
    ends = {
        "in": {"type": "Input", "shape": np.array(shape)},
        "out": {"type": "Output", "shape": np.array(out or shape)},
    }
    return {"in": ends["in"], "n": node, "out": ends["out"]}


def lif_fields(**fields: Any) -> Fields:
    return {"type": "LIF", "tau": 2e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.4, **fields}


def refused(path: Path) -> str:
    """The line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_nir(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},  # all scalars
        {"tau": np.full(2, 2e-3)},
        {"tau": np.full(1, 2e-3), "v_threshold": np.full(2, 0.4)},
        {"v_reset": 0.0, "r": ONE((2, 1, 1))},
        {"tau": np.full((2, 3, 3), 2e-3), "v_threshold": np.full((2, 1, 1), 0.4), "r": ONE(2)},
        {"tau": np.full((1, 2, 3, 3), 2e-3), "r": ONE((1, 2, 3, 3))},  # a batch of one
    ],
)
def test_parameters_of_any_mix_of_shapes_are_spread_to_what_arrives(fields: Fields, tmp_path: Path) -> None:
    """V <- v + (x - v) / 2 above 0.4: an input of 1 gives 0.5, a spike at once; 0.6 gives 0.3, then 0.45, a spike."""
    graph = read_nir(written(tmp_path / "x.nir", around(lif_fields(**fields), (2, 3, 3)), dt=1e-3))
    assert {values.shape for values in vars(graph.nodes["n"]).values() if isinstance(values, np.ndarray)} == {(2, 3, 3)}
    x = np.ones((1, 2, 2, 3, 3)) * np.array([1.0, 0.6])[:, None, None]
    spikes = interpret(graph, x)["n"]
    assert spikes[0, :, 0].min(axis=(1, 2)).tolist() == spikes[0, :, 0].max(axis=(1, 2)).tolist() == [1, 1]
    assert spikes[0, :, 1].min(axis=(1, 2)).tolist() == spikes[0, :, 1].max(axis=(1, 2)).tolist() == [0, 1]


def test_a_value_for_every_channel_is_that_of_its_channel() -> None:
    assert spread([1.0, 2.0], (2, 1, 3)).tolist() == [[[1, 1, 1]], [[2, 2, 2]]]
    assert spread([[[1.0]], [[2.0]]], (2, 1, 3)).tolist() == [[[1, 1, 1]], [[2, 2, 2]]]
    assert spread([[1.0, 2.0], [1.0, 2.0]], (2,)).tolist() == [1, 2]  # a batch, the same at every place
    assert spread([[1.0, 2.0], [1.0, 3.0]], (2,)) is None
    assert spread([1.0, 2.0, 3.0], (2, 1, 3)) is None  # one for every column is nothing that a layer has
    with pytest.raises(
        ValueError, match=r"2 values in front of \(2, 2, 2\): one for every channel, or .* write \[2, 1, 1\]"
    ):
        spread([1.0, 2.0], (2, 2, 2))


def test_parameters_that_do_not_go_together_name_the_node(tmp_path: Path) -> None:
    node = lif_fields(tau=np.full(2, 2e-3), r=ONE(3))
    message = refused(written(tmp_path / "x.nir", around(node, (2,))))
    assert "n (LIF): parameters of shapes that do not go together: tau [2], r [3]" in message


def counting(*shape: int, start: int, declared: tuple[int, ...] | None = None) -> nir.NIRGraph:
    """Input, Flatten, and a dense layer of all 24 values, whose only weight is that of the last."""
    nodes = {
        "in": graphs.entry(*shape),
        "flat": nir.Flatten(np.array(declared or shape), start, -1),
        "dense": nir.Linear(np.eye(24)[23:]),
        "out": graphs.result(1),
    }
    return graphs.chain(nodes, T=1)


@pytest.mark.parametrize(
    ("shape", "start", "declared", "taken"),
    [
        ((2, 3, 4), 0, None, (2, 3, 4)),
        ((2, 3, 4), 1, None, (2, 3, 4)),  # the dense layer tells
        ((1, 2, 3, 4), 1, None, (2, 3, 4)),  # the batch in Input, too
        ((5, 2, 3, 4), 1, None, (2, 3, 4)),
        ((2, 3, 4), 1, (0, 0, 0, 0), (2, 3, 4)),  # the batch in what Flatten says of itself
        ((1, 24), 1, None, (24,)),
        ((24,), 1, None, (24,)),
        ((1, 4, 6), 1, None, (1, 4, 6)),  # an image of one channel
    ],
)
def test_flatten_does_not_count_the_batch(
    shape: tuple[int, ...], start: int, declared: tuple[int, ...] | None, taken: tuple[int, ...]
) -> None:
    graph = counting(*shape, start=start, declared=declared)
    network = from_nir(graph)
    assert network.input.shape == ((*taken, 1, 1) if len(taken) == 1 else taken)
    assert interpret(graph, np.arange(24.0).reshape(1, 1, *taken))["dense"].tolist() == [[[23]]]
    assert any("flat: start_dim 1 counts a batch: read as 0" in note for note in network.notes) == (start == 1)
    assert any(note.startswith("in: the shape") for note in network.notes) == (taken != shape)


def test_a_flatten_beyond_its_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"flat: joins axis 5 of shape \(2, 3, 4\); allowed: -3 to 2"):
        infer_shapes(counting(2, 3, 4, start=5))


def test_the_input_of_a_layer_that_says_its_size_has_no_batch() -> None:
    """Also where a layer with one value for all stands between; a line of one channel that its neurons know stays."""
    nodes = {"in": graphs.entry(1, 6), "a": graphs.lif(), "b": graphs.lif(6), "out": graphs.result(1, 6)}
    assert from_nir(graphs.chain(nodes, T=1)).input.shape == (6, 1, 1)
    nodes = {"in": graphs.entry(1, 6), "b": graphs.lif(1, 6), "out": graphs.result(1, 6)}
    assert from_nir(graphs.chain(nodes, T=1)).input.shape == (1, 1, 6)


def conv_fields(**fields: Any) -> Fields:
    one = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(3)}
    return {"type": "Conv2d", "weight": ONE((3, 2, 3, 3)), **one, **fields}


def test_the_input_shape_of_a_convolution_may_hold_its_channels(tmp_path: Path) -> None:
    for size in ([5, 5], [2, 5, 5], [1, 2, 5, 5]):
        nodes = around(conv_fields(input_shape=np.array(size)), (2, 5, 5), (3, 3, 3))
        graph = read_nir(written(tmp_path / "x.nir", nodes))
        assert infer_shapes(graph)["n"] == (3, 3, 3)
        said = [f"n: input_shape {size} is read as [5, 5]"] if len(size) > 2 else []
        assert repairs_of(graph) == said
    message = refused(written(tmp_path / "x.nir", around(conv_fields(input_shape=np.array([3, 5, 5])), (2, 5, 5))))
    assert "n (Conv2d): input_shape: [3, 5, 5]; allowed: (H, W), or the 2 channels of the weights" in message


def test_a_file_of_one_node_is_a_graph_of_it(tmp_path: Path) -> None:
    nir.write(tmp_path / "x.nir", graphs.lif(3, v_threshold=0.4))
    graph = read_nir(tmp_path / "x.nir")
    assert (list(graph.nodes), list(graph.edges)) == (["input", "lif", "output"], [("input", "lif"), ("lif", "output")])
    assert repairs_of(graph) == ["the file holds a single LIF: an Input and an Output of [3] are put around it"]
    nir.write(tmp_path / "x.nir", nir.SumPool2d(*(np.array([2, 2]) for _ in range(3))))
    assert "a single SumPool2d that does not say what shape it takes" in refused(tmp_path / "x.nir")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ({"type": "LIF", "r": ONE(2), "v_leak": ONE(2)}, "n (LIF): the field tau is missing; n (LIF): the field v_thr"),
        (lif_fields(taus=1.0), "n (LIF): the field taus is unknown; allowed: tau, r, v_leak, v_threshold, v_reset"),
        (lif_fields(tau="fast"), "n (LIF): tau: the text 'fast'; allowed: real numbers"),
        (lif_fields(tau=ONE(2) * 1j), "n (LIF): tau: complex128 values; allowed: real numbers"),
        (lif_fields(tau=np.zeros(0)), "n (LIF): tau: no values"),
        (conv_fields(stride=0), "n (Conv2d): stride: 0; allowed: whole numbers from 1"),
        (conv_fields(padding="odd"), "n (Conv2d): padding: the text 'odd'; allowed: same or valid, or whole numbers"),
        (conv_fields(padding=[1, 1, 1]), "n (Conv2d): padding: [1, 1, 1]; allowed: 1 or 2 of them"),
        (conv_fields(weight=ONE((3, 2))), "n (Conv2d): weight: shape [3, 2]; allowed: 4 dimensions"),
        (conv_fields(bias=ONE(2)), "n (Conv2d): bias: shape [2]; allowed: [3], a value for every output"),
        (conv_fields(groups=2), "n (Conv2d): groups: 2; allowed: a divisor of the 3 outputs"),
        ({"type": "Linear", "weight": ONE(2)}, "n (Linear): weight: shape [2]; allowed: at least 2 dimensions"),
        ({"type": "Flatten", "start_dim": 0.5}, "n (Flatten): start_dim: 0.5; allowed: one whole number"),
        ({"weight": ONE((2, 2))}, "n: not a node; it has no type"),
        ({"if/type": "LIF"}, "n/if: a name with '/' is a folder in HDF5; rename the node"),
        ({"type": "Linear", "weight": ONE((2, 2)), "if/type": "LIF"}, "n/if: a name with '/' is a folder in HDF5"),
    ],
)
def test_a_node_that_cannot_be_is_named(node: Fields, reason: str, tmp_path: Path) -> None:
    assert reason in refused(written(tmp_path / "x.nir", around(node, (2, 5, 5))))


def test_every_field_of_every_node_may_be_damaged(tmp_path: Path) -> None:
    """Each field in turn is text, nothing, or a group: one line that names its node."""
    node_fields = {
        "n": lif_fields(),
        "c": conv_fields(),
        "d": {"type": "Affine", "weight": ONE((2, 2)), "bias": ONE(2)},
    }
    for name, fields in node_fields.items():
        for field in (field for field in fields if field != "type"):
            for damage in ("text", np.zeros(0), {"inside": 1}):
                fields_now = {key: value for key, value in fields.items() if key != field}
                fields_now |= {f"{field}/inside": 1} if isinstance(damage, dict) else {field: damage}
                nodes = around({}, (2, 5, 5))
                path = written(tmp_path / "x.nir", {"in": nodes["in"], name: fields_now, "out": nodes["out"]})
                assert f"{name} ({fields['type']}): {field}: " in refused(path), (name, field, damage)


def test_files_that_are_not_nir_say_what_they_are(tmp_path: Path) -> None:
    for held, reason in (
        ("layer/0/weight", "a network of lava-dl; give it with --net"),
        ("data", "HDF5 with data inside; allowed: what nir.write makes"),
    ):
        with h5py.File(tmp_path / "x.net", "w") as file:
            file[held] = ONE(3)
        assert f"not a NIR file but {reason}" in refused(tmp_path / "x.net")


def test_weights_that_stand_the_other_way_round_are_told(tmp_path: Path) -> None:
    nodes = around({"type": "Linear", "weight": ONE((3, 2))}, (3,), (2,))
    assert "its weights [3, 2] look like [inputs, outputs]" in refused(written(tmp_path / "x.nir", nodes))


def test_metadata_of_two_time_steps_are_refused() -> None:
    nodes = {"in": graphs.entry(2), "out": graphs.result(2)}
    with pytest.raises(InputError, match=r"dt is \[0.001, 0.002\]; allowed: a positive number"):
        from_nir(graphs.chain(nodes, T=1, dt=np.array([1e-3, 2e-3])))


def test_what_was_repaired_is_kept_in_the_file(tmp_path: Path) -> None:
    """A graph that is written and read again says the same of itself, once."""
    write_nir(counting(1, 24, start=1), tmp_path / "x.nir")
    read = read_nir(tmp_path / "x.nir")
    write_nir(read, tmp_path / "y.nir")
    assert repairs_of(read_nir(tmp_path / "y.nir")) == repairs_of(read) != []
