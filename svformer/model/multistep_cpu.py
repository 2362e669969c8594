"""The loop over time of a layer of LIF-box neurons, compiled for the processor by numba: forward and backward.

A neuron's time steps depend on each other, but neurons do not. So the layer is cut into blocks; a block goes through
all time steps while its potentials stay in the cache, and threads share the blocks. Every operation is that of
`neurons.plif_step` and of its gradient, in the same order: spikes and gradients of the currents are equal to the last
bit. The gradients of decay and threshold are sums over the layer, in another order.

The threads are those of torch (OpenMP). They spin for a while after each operation, so a second pool of threads finds
the cores occupied: two such threads were measured to be slower than one. As with every operation of torch, a forked
process can use one thread only (`torch.set_num_threads(1)`, which the workers of a DataLoader call).
"""

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64)
BLOCK = 8192  # neurons, a power of two: long enough to stream, short enough for the cache
WORTH_A_THREAD = 2**18  # values: computing these takes longer than starting a thread
OPENMP = ctypes.CDLL(None)  # the library that torch has loaded; GCC compiles `#pragma omp parallel` to GOMP_parallel
OPENMP_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

Array = npt.NDArray[Any]


class TimeRows(NamedTuple):
    """A tensor [T, B, M] whose M values are adjacent in memory: row (t, b) begins at `flat[t * step + b * jump]`."""

    flat: Array
    step: int
    jump: int

    @classmethod
    def of(cls, x_TBM: Tensor) -> "TimeRows":
        """The memory of a tensor whose last axis is contiguous, without a copy."""
        (steps, batch, width), (step, jump, _) = x_TBM.shape, x_TBM.stride()
        span = (steps - 1) * step + (batch - 1) * jump + width
        return cls(x_TBM.detach().as_strided((span,), (1,)).numpy(), step, jump)


class Cell(NamedTuple):
    """The constants of a layer, in the precision of its currents."""

    decay: Any  # share of the distance to the input that a potential covers in one time step
    threshold: Any
    leak: Any
    reset: Any
    height: Any  # the surrogate gradient at the threshold, alpha / 2
    slope: Any  # pi / 2 * alpha
    one: Any


def _cell(decay: Tensor, threshold: Tensor, leak: float, reset: float, alpha: float, dtype: torch.dtype) -> Cell:
    number = np.float64 if dtype == torch.float64 else np.float32
    return Cell(*map(number, (decay.item(), threshold.item(), leak, reset, alpha / 2, math.pi / 2 * alpha, 1.0)))


def forward(x: Tensor, decay: Tensor, threshold: Tensor, *, v_leak: float, v_reset: float) -> Tensor:
    """Spikes [T, ...] of currents [T, ...]."""
    x_TBM, spikes = as_rows(x), x.new_empty(x.shape)
    cell = _cell(decay, threshold, v_leak, v_reset, 0.0, x.dtype)
    rows = TimeRows.of(x_TBM), TimeRows.of(spikes.view(x_TBM.shape))
    steps, _, width = x_TBM.shape
    _in_threads(lambda first, last: _forward(*rows, steps, width, cell, first, last), x_TBM)
    return spikes


def backward(
    x: Tensor,
    grad_spikes: Tensor,
    decay: Tensor,
    threshold: Tensor,
    *,
    v_leak: float,
    v_reset: float,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to the currents [T, ...], the decay and the threshold, from that of the spikes."""
    x_TBM, grad_x = as_rows(x), x.new_empty(x.shape)
    cell = _cell(decay, threshold, v_leak, v_reset, alpha, x.dtype)
    like_x = (tensor.view(x_TBM.shape) for tensor in (grad_spikes.contiguous(), grad_x))
    rows = [TimeRows.of(tensor) for tensor in (x_TBM, *like_x)]
    sums = np.empty((_blocks(x_TBM), 2))  # one row for each block, so that the number of threads changes no digit
    steps, _, width = x_TBM.shape
    _in_threads(lambda first, last: _backward(*rows, sums, steps, width, cell, first, last), x_TBM)
    of_decay, of_threshold = torch.from_numpy(sums.sum(0))
    return grad_x, of_decay.to(decay.dtype), of_threshold.to(threshold.dtype)


def as_rows(x: Tensor) -> Tensor:
    """[T, ...] as [T, B, M], without a copy where a time step, or each of its B clips, is contiguous in memory."""
    if x.ndim > 2 and not x.is_contiguous() and x[0, 0].is_contiguous():
        return x.flatten(2)
    return x.contiguous().view(x.shape[0], 1, -1)


def _blocks(x_TBM: Tensor) -> int:
    return x_TBM.shape[1] * math.ceil(x_TBM.shape[2] / BLOCK)


# Threads


def _in_threads(kernel: Callable[[int, int], None], x_TBM: Tensor) -> None:
    """Call `kernel(first, last)` for ranges of blocks, in as many of torch's threads as torch would use."""
    blocks = _blocks(x_TBM)
    threads = min(torch.get_num_threads(), blocks, x_TBM.numel() // WORTH_A_THREAD)
    if threads < 2 or not hasattr(OPENMP, "GOMP_parallel"):
        kernel(0, blocks)
        return
    errors: list[BaseException] = []

    def in_one_thread(_: None) -> None:
        thread, team = OPENMP.omp_get_thread_num(), OPENMP.omp_get_num_threads()
        try:
            kernel(blocks * thread // team, blocks * (thread + 1) // team)
        except BaseException as error:  # noqa: BLE001 (OpenMP cannot hand it on, so it is raised below)
            errors.append(error)

    OPENMP.GOMP_parallel(OPENMP_BODY(in_one_thread), None, threads, 0)
    if errors:
        raise errors[0]


# Kernels


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled by numba; its code is stored on disk for the next process where a folder can be written."""
    compiled = functools.partial(numba.njit, nogil=True, error_model="numpy")  # divisions do not check for zero
    try:
        return compiled(function, cache=True)
    except RuntimeError:  # numba's "cannot cache function"
        return compiled(function)


@_compiled
def _forward(x: TimeRows, spikes: TimeRows, steps: int, width: int, cell: Cell, first: int, last: int) -> None:
    v = np.empty(BLOCK, x.flat.dtype)
    for block in range(first, last):
        v[:] = 0
        for t in range(steps):
            _fire(_piece(x, t, block, width), _piece(spikes, t, block, width), v, cell)


@_compiled
def _backward(
    x: TimeRows,
    grad: TimeRows,
    grad_x: TimeRows,
    sums: Array,
    steps: int,
    width: int,
    cell: Cell,
    first: int,
    last: int,
) -> None:
    """Go forward again, which leaves the potentials in `grad_x`, then back, which replaces them by gradients."""
    dtype = x.flat.dtype
    drive, v = np.empty((steps, BLOCK), dtype), np.empty(BLOCK, dtype)
    of_decay, of_threshold = np.empty(BLOCK, dtype), np.empty(BLOCK, dtype)
    for block in range(first, last):
        v[:], of_decay[:], of_threshold[:] = 0, 0, 0
        for t in range(steps):
            _charge(_piece(x, t, block, width), _piece(grad_x, t, block, width), drive[t], v, cell)
        v[:] = 0
        for t in range(steps - 1, -1, -1):
            pieces = _piece(grad, t, block, width), _piece(grad_x, t, block, width)
            _step_back(*pieces, drive[t], v, of_decay, of_threshold, cell)
        sums[block] = _total(of_decay), _total(of_threshold)


@_compiled
def _piece(rows: TimeRows, t: int, block: int, width: int) -> Array:
    """The values of a block of neurons in time step t."""
    blocks_of_a_row = -(-width // BLOCK)
    row = t * rows.step + block // blocks_of_a_row * rows.jump
    start = block % blocks_of_a_row * BLOCK
    return rows.flat[row + start : row + min(start + BLOCK, width)]


@_compiled
def _fire(x: Array, spikes: Array, v: Array, cell: Cell) -> None:
    for i in range(x.size):
        charged = v[i] + cell.decay * (x[i] + cell.leak - v[i])
        fired = charged >= cell.threshold
        spikes[i] = fired
        v[i] = cell.reset if fired else charged


@_compiled
def _charge(x: Array, charged: Array, drive: Array, v: Array, cell: Cell) -> None:
    """One time step as in `_fire`; stores potentials and driving forces for the way back instead of spikes."""
    for i in range(x.size):
        drive[i] = x[i] + cell.leak - v[i]
        charged[i] = v[i] + cell.decay * drive[i]
        v[i] = cell.reset if charged[i] >= cell.threshold else charged[i]


@_compiled
def _step_back(
    grad: Array, charged: Array, drive: Array, grad_v: Array, of_decay: Array, of_threshold: Array, cell: Cell
) -> None:
    """One time step backwards: replaces the potentials `charged` by the gradients of the currents.

    `grad_v` is the gradient of the potential after the step, which the next step starts from; it becomes that of the
    potential before the step.
    """
    nothing = cell.one - cell.one
    for i in range(grad.size):
        slope = cell.slope * (charged[i] - cell.threshold)
        of_spike = grad[i] * cell.height / (cell.one + slope * slope)
        of_charged = of_spike + (nothing if charged[i] >= cell.threshold else grad_v[i])
        charged[i] = cell.decay * of_charged
        grad_v[i] = of_charged - charged[i]
        of_decay[i] += of_charged * drive[i]
        of_threshold[i] -= of_spike


@_compiled
def _total(values: Array) -> Any:
    """The sum by repeated halving: its rounding error grows with the logarithm of the number of values."""
    width = values.size // 2
    while width:
        for i in range(width):
            values[i] += values[i + width]
        width //= 2
    return values[0]
