"""Reshapes and permutations as an algebra of axes: what NumPy does to an array, without torch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.frontend.traced.axes import Axis, Refused, matched, new_dim, size_of, split, swapped
from deploy.frontend.traced.pairing import common_image, paired
from deploy.frontend.traced.signals import Image, Signal, fresh, viewed

SIZES = st.sampled_from([1, 2, 3, 4, 6, 8, 12])


def tensor_of(signal: Signal, node: np.ndarray) -> np.ndarray:
    """The tensor that a signal without time and clips is, made from its node's output [C, H, W]."""
    axes = signal.image.axes
    apart = node.reshape([axis.size for axis in axes])
    kept = [axis for axis in signal.axes if axis in axes]
    turned = apart.transpose([axes.index(axis) for axis in kept])
    spread = turned.reshape([axis.size if axis in axes else 1 for axis in signal.axes])
    full = np.broadcast_to(spread, [axis.size for axis in signal.axes])
    return full.reshape([size_of(dim) for dim in signal.dims])


@st.composite
def looks(draw: st.DrawFn) -> tuple[Signal, np.ndarray, np.ndarray]:
    """A signal behind a row of reshapes and permutations, its node's output, and the tensor that NumPy makes of it."""
    shape = draw(st.tuples(SIZES, SIZES, SIZES))
    image = Image.new(shape)
    signal = Signal(node="node", dims=image.parts, image=image)
    node = np.arange(math.prod(shape)).reshape(shape)
    tensor = node
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            order = draw(st.permutations(range(tensor.ndim)))
            signal = Signal(node="node", dims=tuple(signal.dims[i] for i in order), image=signal.image)
            tensor = tensor.transpose(order)
            continue
        new = regrouped(draw, tensor.shape)
        try:
            signal = viewed(signal, new)
        except Refused:
            continue  # it would have to go through an axis whose size it does not divide
        tensor = tensor.reshape(new)
    return signal, node, tensor


def regrouped(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Another shape of as many entries: a dimension is split by a divisor, or joined with its neighbour."""
    place = draw(st.integers(0, len(shape) - 1))
    if draw(st.booleans()) and place + 1 < len(shape):
        return (*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :])
    size = shape[place]
    outer = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    return (*shape[:place], outer, size // outer, *shape[place + 1 :])


@given(look=looks())
def test_views_and_permutations_are_those_of_numpy(look: tuple[Signal, np.ndarray, np.ndarray]) -> None:
    signal, node, tensor = look
    np.testing.assert_array_equal(tensor_of(signal, node), tensor)


@given(look=looks())
def test_new_axes_are_the_same_tensor(look: tuple[Signal, np.ndarray, np.ndarray]) -> None:
    signal, node, tensor = look
    other = fresh(signal)
    assert not set(other.axes) & set(signal.axes)
    np.testing.assert_array_equal(tensor_of(other, node), tensor)


@given(look=looks(), gone=st.sets(st.integers(0, 7)))
def test_two_tensors_that_meet_have_the_same_axes(look: tuple[Signal, np.ndarray, np.ndarray], gone: set[int]) -> None:
    """A tensor, and the same without some of its dimensions: broadcasting repeats the second along them."""
    x, node, tensor = look
    dropped = {axis for i in gone & set(range(len(x.dims))) for axis in x.dims[i]}
    left = Image(**{name: tuple(a for a in getattr(x.image, name) if a not in dropped) for name in PARTS})
    dims = tuple(() if i in gone else dim for i, dim in enumerate(x.dims))
    y = Signal(node="other", dims=dims, image=left)
    values = np.arange(size_of(left.axes)).reshape(left.shape)
    a, b = paired(x, fresh(y))
    assert a.dims == b.dims
    expected = tensor + tensor_of(y, values)
    np.testing.assert_array_equal(tensor_of(a, node) + tensor_of(b, values), expected)
    assert common_image(a.image, b.image) == a.image


PARTS = ("channels", "rows", "columns")


def test_a_dimension_is_split_and_the_swap_says_how() -> None:
    """24 entries as 4 x 6: the axis of 24 becomes two, those of 4 and 6."""
    (axis,) = new_dim(24)
    swap, rows = split((axis,), (4, 6))
    assert [size_of(row) for row in rows] == [4, 6]
    assert swapped((axis,), swap) == (*rows[0], *rows[1])


def test_an_axis_that_is_cut_twice_is_three() -> None:
    (axis,) = new_dim(24)
    swap, rows = split((axis,), (2, 3, 4))
    assert swapped((axis,), swap) == tuple(a for row in rows for a in row)
    assert [a.size for a in swapped((axis,), swap)] == [2, 3, 4]


def test_a_single_entry_has_no_axis() -> None:
    assert new_dim(1) == ()
    assert split((Axis(6),), (1, 6, 1))[1][0] == ()


@pytest.mark.parametrize(
    ("axes", "sizes", "said"),
    [
        ((Axis(6),), (4, 2), "a reshape mixes axes: 4 does not divide 6"),
        ((Axis(4), Axis(6)), (6, 4), "a reshape mixes axes"),
        ((Axis(4, "time"), Axis(2, "clips")), (2, 4), "a reshape cuts the axis of 4 time"),
    ],
)
def test_what_mixes_axes_is_refused(axes: tuple[Axis, ...], sizes: tuple[int, ...], said: str) -> None:
    with pytest.raises(Refused, match=said):
        split(axes, sizes)


def test_time_meets_nothing_but_time() -> None:
    with pytest.raises(Refused, match="an axis of 4 time meets one of 4"):
        matched((Axis(4, "time"),), (Axis(4),))
    with pytest.raises(Refused, match="axes that do not fit"):
        matched((Axis(4),), (Axis(2),))
