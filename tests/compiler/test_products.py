"""Products of two signals and segments of vectors, from nodes of NIR to Lava: sums by hand, integers, bounds, files."""

from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
import ints
from deploy.engine.kernels import compile_kernel, variants
from deploy.engine.ranges import SPIKES, MessageRange
from deploy.exchange.stored import restored, stored
from deploy.execution.simulate import simulate
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.intervals import Interval
from deploy.ir.network import run_float
from deploy.ir.operations.identity import Junction
from deploy.ir.operations.product import IntProduct, SignalProduct
from deploy.ir.operations.segment import IntSegment, Segment
from deploy.ir.rounding import Rounding
from deploy.passes.lowering import lower
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from hardware import ChipError, OpCounts, ProductGeometry
from processes import HANG_S
from svformer.common.errors import InputError

Floats = NDArray[np.float64]
T = 3


def geometry(einsum: str, sizes: dict[str, int], out_shape: tuple[int, int, int]) -> ProductGeometry:
    """The geometry of `values,spikes->output` in the letters of np.einsum."""
    operands, output = einsum.split("->")
    left, right = operands.split(",")
    letters = {letter: i for i, letter in enumerate(dict.fromkeys(left + right))}
    rows = [tuple(letters[letter] for letter in row) for row in (left, right, output)]
    return ProductGeometry(
        sizes=tuple(sizes[letter] for letter in letters),
        left=rows[0],
        right=rows[1],
        output=rows[2],
        out_shape=out_shape,
    )


@pytest.mark.parametrize(
    ("einsum", "out_shape"),
    [
        ("hcm,hcn->hmn", (6, 5, 1)),  # k^T v of two heads, or the first product of DSSA
        ("hcm,hmn->hcn", (8, 5, 1)),  # .. and its second
        ("hcn,lhdn->hcd", (8, 7, 1)),  # with spikes of several levels, which are summed
        ("cn,cn->cn", (4, 5, 1)),  # a mask
        ("cn,n->c", (4, 1, 1)),
        ("cn,m->c", (4, 1, 1)),  # sums of both
        ("n,c->cn", (4, 5, 1)),
    ],
)
def test_it_is_einsum(einsum: str, out_shape: tuple[int, int, int]) -> None:
    sizes = {"h": 2, "c": 4, "m": 3, "n": 5, "d": 7, "l": 3}
    g = geometry(einsum, sizes, out_shape)
    rng = np.random.default_rng(0)
    left, right = ([sizes[letter] for letter in part] for part in einsum.split("->")[0].split(","))
    values, spikes = rng.integers(-99, 100, size=left), rng.integers(0, 2, size=right)
    found = IntProduct(geometry=g, multiplier=3, exponent=-1)(
        np.concatenate([values.ravel(), 64 * spikes.ravel()]).reshape(1, -1, 1, 1)
    )
    np.testing.assert_array_equal(found[0], (3 * np.einsum(einsum, values, spikes) >> 1).reshape(out_shape))
    assert g.dense_ops() == np.prod([sizes[letter] for letter in set(einsum) - set(",->")])


SMALL = geometry("cm,cn->mn", {"c": 2, "m": 2, "n": 3}, (2, 3, 1))
Rows = list[list[int]]


def product(rows: Rows, scale: float) -> SignalProduct:
    """Of input_shape, sizes, values, spikes, output and output_shape."""
    return SignalProduct(*map(np.array, rows), scale=scale)


def segment(input_shape: list[int], output_shape: list[int], first: int) -> Segment:
    return Segment(np.array(input_shape), np.array(output_shape), first)


ROWS = [[10], [2, 2, 3], [0, 1], [0, 2], [1, 2], [2, 3, 1]]
NODE = product(ROWS, 0.5)


def test_a_sum_by_hand() -> None:
    """Values [[1, -2], [3, 4]] of two channels, spikes [[1, 0, 1], [0, 0, 1]]: columns of weights are added up."""
    vector = np.array([1.0, -2, 3, 4, 1, 0, 1, 0, 0, 1]).reshape(1, 1, 10)
    np.testing.assert_array_equal(NODE.run(vector)[0, 0, :, :, 0], 0.5 * np.array([[1, 0, 4], [-2, 0, 2]]))
    messages = (64 * vector.astype(int)).reshape(1, 10, 1, 1)
    found = IntProduct(geometry=SMALL, multiplier=1, exponent=0)(messages)
    np.testing.assert_array_equal(found[0, :, :, 0], 64 * np.array([[1, 0, 4], [-2, 0, 2]]))


def test_a_segment_by_hand() -> None:
    node = segment([2, 1, 2], [7], 2)
    x = np.array([1.0, 2, 3, 4]).reshape(1, 1, 2, 1, 2)
    np.testing.assert_array_equal(node.run(x), [[[0, 0, 1, 2, 3, 4, 0]]])
    operation = IntSegment(in_shape=(2, 1, 2), out_shape=(7, 1, 1), first=2, multiplier=5, exponent=-1)
    np.testing.assert_array_equal(operation(x[0].astype(int)).ravel(), [0, 0, 2, 5, 7, 10, 0])
    spread = operation.sum_interval(Interval(low=np.array([-1.0, 2]), high=np.array([3.0, 4])))
    np.testing.assert_array_equal(spread.low, [0, 0, -5, -5, 0, 0, 0])
    np.testing.assert_array_equal(spread.high, [0, 0, 15, 15, 20, 20, 0])


@given(seed=st.integers(0, 10**6))
def test_bounds_hold_and_are_reached(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(-50, 50, size=(2, 10)), axis=0).astype(float)
    low[4:], high[4:] = 0, 1
    operation = IntProduct(geometry=SMALL, multiplier=-3, exponent=0)
    bound = operation.sum_interval(Interval(low=low, high=high))
    corner = np.where(rng.random(10) < 0.5, low, high)
    found = operation(corner.astype(int).reshape(1, 10, 1, 1))[0].reshape(2, 3)
    assert (found <= bound.high[:, None]).all()
    assert (found >= bound.low[:, None]).all()
    largest = np.maximum(-3 * low[:4], -3 * high[:4]).clip(min=0).reshape(2, 2).sum(axis=0)
    np.testing.assert_array_equal(bound.high, largest)  # every channel is one m


@pytest.mark.parametrize("messages", [SPIKES, MessageRange(low=-(2**20), high=2**20)])
def test_the_kernel_is_the_interpreter(messages: MessageRange) -> None:
    operation, rng = IntProduct(geometry=SMALL, multiplier=5, exponent=-2), np.random.default_rng(1)
    assert list(variants(operation, messages)) == ["float"]
    kernel = compile_kernel(operation, messages)
    for _ in range(3):
        sent = rng.integers(messages.low, messages.high + 1, size=(10, 1, 1)).astype(messages.dtype)
        np.testing.assert_array_equal(kernel(sent), operation(sent[None])[0])


def test_it_is_counted_as_attention_is() -> None:
    """Of spikes every pair that fired; of values every spike adds those that it meets, here two."""
    vector = np.array([1, 0, 1, 1, 1, 0, 1, 0, 0, 1]).reshape(1, 10, 1, 1)
    operation = IntProduct(geometry=SMALL, multiplier=1, exponent=0)
    found = operation.count(vector, binary=True, state_memory_bits=48)
    assert found.attention_coincidences == 1 + 1 + 2  # spikes at (0, 0), (0, 2), (1, 2) meet 1, 1 and 2 values
    assert found.dense_attention_ops == 2 * 2 * 3
    graded = operation.count(np.where(vector == 1, 7, 0), binary=False, state_memory_bits=48)
    assert (graded.attention_gated_adds, graded.attention_gated_adds_nonzero) == (3 * 2, 4)
    assert graded.attention_coincidences == OpCounts().attention_coincidences


def graph() -> nir.NIRGraph:
    """Currents times the spikes of neurons, element by element and summed over pixels, between two layers."""
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {
        "in": graphs.entry(2, 2, 2),
        "values": nir.Conv2d((2, 2), rng.normal(size=(3, 2, 1, 1)), 1, 0, 1, 1, rng.normal(size=3)),
        "current": nir.Conv2d((2, 2), rng.normal(size=(2, 2, 1, 1)), 1, 0, 1, 1, np.full(2, 0.3)),
        "spikes": nir.IF(*(np.full((2, 2, 2), value) for value in (1e3, 0.4, 0.0))),
        "segment0": segment([3, 2, 2], [20, 1, 1], 0),
        "segment1": segment([2, 2, 2], [20, 1, 1], 12),
        "vector": Junction(np.array([20, 1, 1])),
        "product": product([[20, 1, 1], [3, 4, 2], [0, 1], [2, 1], [0, 2], [3, 2, 1]], 0.7),
        "out": nir.IF(*(np.full((3, 2, 1), value) for value in (1e3, 0.5, 0.0))),
    }
    nodes["output"] = nir.Output(np.array([3, 2, 1]))
    edges = [("in", "values"), ("in", "current"), ("current", "spikes"), ("values", "segment0"), ("spikes", "segment1")]
    edges += [("segment0", "vector"), ("segment1", "vector"), ("vector", "product"), ("product", "out")]
    return graphs.graph(nodes, [*edges, ("out", "output")], T=T)


def clips() -> Floats:
    return np.random.default_rng(2).integers(0, 9, size=(4, T, 2, 2, 2)) / 8


def test_the_lowered_network_and_a_file_compute_the_same(tmp_path: Path) -> None:
    given, frames = graph(), clips()
    exact = interpret(given, frames)
    assert 0 < exact["out"].mean() < 1
    write_nir(given, tmp_path / "product.nir")
    for found in (given, read_nir(tmp_path / "product.nir")):
        network = lower(found)
        lowered = run_float(network, frames)
        np.testing.assert_array_equal(lowered["out"], exact["out"])
        np.testing.assert_array_equal(lowered["vector"][..., 0, 0], exact["vector"][..., 0, 0])


@pytest.mark.lava
def test_integers_are_close_and_lava_is_the_integers() -> None:
    frames = clips()
    network = lower(graph())
    integers = quantize(network, frames)
    (into,) = integers.into("out")
    assert isinstance(into.operation, IntProduct)
    exact, found = run_float(network, frames), simulate(integers, frames, backend="integer").signals
    assert (found["out"] == exact["out"]).mean() > 0.95
    scale = integers.populations["vector"].scale
    np.testing.assert_allclose(found["vector"][:, :, :12] / scale, exact["vector"][:, :, :12], atol=0.05)
    np.testing.assert_array_equal(found["vector"][:, :, 12:] / scale, found["spikes"].reshape(4, T, 8, 1, 1))
    on_lava = simulate(integers, frames, timeout_s=HANG_S).signals
    for name in found:
        np.testing.assert_array_equal(on_lava[name], found[name], err_msg=name)
    rows = obstacles(mapping(integers, schedule(integers)))
    assert any("product of two signals" in row for row in rows)


def test_integers_come_back_from_their_file_form() -> None:
    for operation in (
        IntProduct(geometry=SMALL, multiplier=3, exponent=-2),
        IntSegment(in_shape=(2, 1, 2), out_shape=(7, 1, 1), first=2),
    ):
        assert restored(stored(operation)) == operation


def test_a_spike_that_would_round_to_nothing_is_refused() -> None:
    network = lower(graph())
    (link,) = (c for c in network.into("vector") if c.source == "spikes")
    rounding = Rounding(factor=0.5, weight_bits=8, right_shift=False, mean_square=np.ones(2))
    with pytest.raises(InputError, match=r"a spike is 0\.5 units beside the values that it meets"):
        link.operation.rounded(rounding)


def test_other_values_than_spikes_are_refused() -> None:
    with pytest.raises(InputError, match="other values than 0 and 1 where it takes spikes"):
        NODE.run(np.full((1, 1, 10), 0.5))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: [9]}, r"input_shape \[9\]; allowed: 10"),
        ({4: [0, 0]}, "axes that occur twice"),
        ({5: [2, 2, 1]}, r"an output of \(2, 2, 1\), which its axes do not fill"),
        ({3: [0, 3]}, "not those of 3 sizes"),
    ],
)
def test_axes_that_make_no_product_are_refused(changed: dict[int, list[int]], message: str) -> None:
    with pytest.raises((ValueError, ChipError), match=message):
        product([changed.get(i, row) for i, row in enumerate(ROWS)], 0.5)


def test_a_factor_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="scale 0; allowed: a finite number other than 0"):
        product(ROWS, 0)


def test_a_segment_outside_of_its_image_is_refused() -> None:
    with pytest.raises(ValueError, match="places 5 to 9 of 8; allowed: those that are there"):
        segment([4], [8], 5)


def test_a_product_of_spikes_alone_is_exact_in_integers() -> None:
    """Messages of 0 and 1, a multiplier of one: coincidences are counted as they are."""
    sent = np.array([1, 0, 1, 1, 1, 0, 1, 0, 0, 1])
    operation = IntProduct(geometry=SMALL, multiplier=1, exponent=0)
    network = ints.network(
        {"in": ints.entry((10, 1, 1)), "lif": ints.lif((2, 3, 1))}, ints.link("in", "lif", operation), frames=1
    )
    assert network.into("lif")[0].operation(sent.reshape(1, 10, 1, 1)).sum() == 4
