"""A permutation of axes, from its node to Lava: all of it follows from deploy/ir/operations/permutation.py."""

from pathlib import Path

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import graphs
from deploy.exchange.stored import restored, stored
from deploy.execution.simulate import simulate
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import interpret
from deploy.ir.intervals import Interval
from deploy.ir.network import run_float
from deploy.ir.operations.permutation import IntPermutation, Permutation
from deploy.passes.lowering import lower
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.pipeline import quantize
from processes import HANG_S
from svformer.common.errors import InputError

T = 3


def permutation(*rows: list[int]) -> Permutation:
    """Of input_shape, sizes, order and output_shape."""
    return Permutation(*map(np.array, rows))


TURNED = permutation([2, 3, 2], [2, 3, 2], [1, 0, 2], [3, 2, 2])


def test_by_hand() -> None:
    """Two channels of 3 x 2 pixels become three of 2 x 2: the rows of an image are channels now."""
    x = np.arange(12.0).reshape(1, 1, 2, 3, 2)
    expected = [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]
    np.testing.assert_array_equal(TURNED.run(x)[0, 0], expected)
    operation = IntPermutation(
        in_shape=(2, 3, 2), out_shape=(3, 2, 2), sizes=(2, 3, 2), order=(1, 0, 2), multiplier=3, exponent=-1
    )
    np.testing.assert_array_equal(operation(x[0].astype(int))[0], 3 * np.array(expected, int) >> 1)
    bound = operation.sum_interval(Interval(low=np.array([-1.0, 2]), high=np.array([1.0, 5])))
    np.testing.assert_array_equal(bound.low, 3 * [-3])  # every channel of the output has values of both
    np.testing.assert_array_equal(bound.high, 3 * [15])
    places = operation.geometry.places
    assert places is not None
    np.testing.assert_array_equal(np.array(expected).ravel()[places], np.arange(12))  # where each value arrives
    counted = operation.count(x[0].astype(int), binary=False, state_memory_bits=0)
    assert (counted.relay_adds, counted.macs, counted.synaptic_ops) == (11, 0, 0)  # one value is zero


@given(data=st.data())
def test_it_is_a_transposition_of_numpy(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    order = data.draw(st.permutations(range(len(sizes))))
    total = int(np.prod(sizes))
    node = permutation([total], sizes, list(order), [total])
    x = np.arange(total, dtype=float)
    np.testing.assert_array_equal(node.run(x[None, None])[0, 0], x.reshape(sizes).transpose(order).ravel())
    back = permutation([total], [sizes[i] for i in order], np.argsort(order).tolist(), [total])
    np.testing.assert_array_equal(back.run(node.run(x[None, None]))[0, 0], x)


def graph() -> nir.NIRGraph:
    """Spikes and currents meet as tokens, [4 pixels, 3 channels], whose 3 x 3 neighbours are added up."""
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {
        "in": graphs.entry(2, 2, 2),
        "current": nir.Conv2d((2, 2), rng.normal(size=(3, 2, 1, 1)), 1, 0, 1, 1, rng.normal(size=3)),
        "spikes": nir.IF(*(np.full((3, 2, 2), value) for value in (1e3, 0.4, 0.0))),
        "tokens": permutation([3, 2, 2], [3, 4], [1, 0], [1, 4, 3]),
        "neighbours": nir.Conv2d((4, 3), np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1)),
        "out": nir.IF(*(np.full((1, 4, 3), value) for value in (1e3, 12.0, 0.0))),
        "output": nir.Output(np.array([1, 4, 3])),
    }
    edges = [("in", "current"), ("current", "spikes"), ("current", "tokens"), ("spikes", "tokens")]
    edges += [("tokens", "neighbours"), ("neighbours", "out"), ("out", "output")]
    return graphs.graph(nodes, edges, T=T)


def clips() -> NDArray[np.float64]:
    return np.random.default_rng(2).integers(0, 9, size=(4, T, 2, 2, 2)) / 8


def test_the_lowered_network_and_a_file_compute_the_same(tmp_path: Path) -> None:
    given, frames = graph(), clips()
    exact = interpret(given, frames)
    assert 0 < exact["out"].mean() < 1
    write_nir(given, tmp_path / "tokens.nir")
    for found in (given, read_nir(tmp_path / "tokens.nir")):
        np.testing.assert_array_equal(run_float(lower(found), frames)["out"], exact["out"])


@pytest.mark.lava
def test_lava_is_the_integers() -> None:
    frames = clips()
    network = lower(graph())
    integers = quantize(network, frames)
    found = simulate(integers, frames, backend="integer").signals
    assert (found["out"] == run_float(network, frames)["out"]).mean() > 0.95
    on_lava = simulate(integers, frames, timeout_s=HANG_S).signals
    for name in found:
        np.testing.assert_array_equal(on_lava[name], found[name], err_msg=name)
    assert not any("permutation" in row for row in obstacles(mapping(integers, schedule(integers))))


def test_integers_come_back_from_their_file_form() -> None:
    operation = IntPermutation(in_shape=(2, 3, 1), out_shape=(3, 2, 1), sizes=(2, 3), order=(1, 0), multiplier=5)
    assert restored(stored(operation)) == operation


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([6], [2, 3], [1, 1], [6]), r"order \[1, 1\]; allowed: each of the 2 axes once, counted from 0"),
        (([6], [2, 3], [1], [6]), r"order \[1\]; allowed: each of the 2 axes once"),
        (([6], [2, 2], [1, 0], [4]), r"input_shape \[6\]; allowed: as many values as the axes \[2, 2\] have"),
        (([4], [2, 2], [1, 0], [2, 3]), r"output_shape \[2, 3\]; allowed: as many values"),
    ],
)
def test_axes_that_are_no_permutation_are_refused(rows: tuple[list[int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permutation(*rows)


def test_a_damaged_field_is_told_by_its_type_in_the_class(tmp_path: Path) -> None:
    """No list of fields names those of this node."""
    damaged = graph()
    damaged.nodes["tokens"].sizes = np.array([0, 4])
    damaged.nodes["tokens"].order = np.array([0.5, 0])
    write_nir(damaged, tmp_path / "damaged.nir")
    with pytest.raises(InputError) as caught:
        read_nir(tmp_path / "damaged.nir")
    assert "tokens (Permutation): sizes: [0, 4]; allowed: whole numbers from 1" in str(caught.value)
    assert "tokens (Permutation): order: [0.5, 0.0]; allowed: whole numbers from 0" in str(caught.value)
