"""Memory of a run in huge pages, where the system has them: fewer entries of its page tables to look up.

Arrays are laid side by side into chunks, each of which lives as long as one of its arrays. What a run writes to
(`zeros`) is empty again in a process that is forked: nothing is copied there, page by page, at the first write.
"""

import contextlib
import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CHUNK = 1 << 26  # bytes
WORTH_IT = 1 << 16  # bytes; an array that is smaller is one like any other
LINE = 64  # bytes of a line of the cache, at which arrays begin
MADV_HUGEPAGE, MADV_WIPEONFORK = 14, 18  # <linux/mman.h>

Array = NDArray[Any]


class _Chunks:
    """Where the next array goes; `advice` says what the system should do with the memory, if it can."""

    def __init__(self, *advice: int) -> None:
        self.advice = advice
        self.chunk, self.used = memoryview(b""), 0

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < WORTH_IT:
            return np.zeros(shape, dtype)
        if self.used + size > len(self.chunk):
            self.chunk, self.used = self._new(max(CHUNK, size)), 0
        array: Array = np.ndarray(shape, dtype, buffer=self.chunk, offset=self.used)
        self.used += -(-size // LINE) * LINE
        return array

    def _new(self, size: int) -> memoryview:
        chunk = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for advice in self.advice:
            with contextlib.suppress(OSError):
                chunk.madvise(advice)
        return memoryview(chunk)


_written, _read = _Chunks(MADV_HUGEPAGE, MADV_WIPEONFORK), _Chunks(MADV_HUGEPAGE)


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Zeros to write to; zeros again in a process that is forked."""
    return _written.take(shape, dtype)


def constant(values: Array) -> Array:
    """A contiguous copy for what nobody writes to; forked processes share it."""
    array = _read.take(values.shape, values.dtype)
    array[...] = values
    return array
