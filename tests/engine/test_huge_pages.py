"""Arrays side by side in chunks: none overlaps another, and what is written to is empty again in a forked process."""

import multiprocessing
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy.engine.arena import CHUNK, LINE, WORTH_IT, constant, zeros

LARGE = WORTH_IT  # bytes


@given(sizes=st.lists(st.sampled_from([1, WORTH_IT - 1, WORTH_IT, WORTH_IT + 5, CHUNK // 3]), min_size=2, max_size=6))
def test_no_array_overlaps_another(sizes: list[int]) -> None:
    """Each is filled with a number of its own, and has it when all are filled."""
    arrays = [zeros((size,), np.uint8) for size in sizes]
    for array in arrays:
        assert not array.any()
        assert array.size < WORTH_IT or array.ctypes.data % LINE == 0
    for number, array in enumerate(arrays, 1):
        array[:] = number
    assert [int(array.min()) for array in arrays] == [int(array.max()) for array in arrays]
    assert [int(array[0]) for array in arrays] == list(range(1, len(arrays) + 1))


def test_an_array_larger_than_a_chunk() -> None:
    values = np.arange(CHUNK // 4 + 7, dtype=np.int32)
    np.testing.assert_array_equal(constant(values), values)


def test_a_constant_is_contiguous_and_a_copy() -> None:
    values = np.arange(2 * LARGE, dtype=np.int8).reshape(2, -1)
    found = constant(values.T)
    np.testing.assert_array_equal(found, values.T)
    assert found.flags.c_contiguous
    values[:] = 0
    assert found.any()


KEPT: list[Any] = []  # reaches a process by the fork, not by a message


def _sums() -> list[int]:
    return [int(array.sum()) for array in KEPT]


def test_in_a_forked_process_zeros_are_zeros_and_constants_are_there() -> None:
    KEPT[:] = zeros((LARGE,), np.uint8), constant(np.full(LARGE, 3, np.uint8))
    KEPT[0][:] = 1
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_sums) == [0, 3 * LARGE]
    assert _sums() == [LARGE, 3 * LARGE]
