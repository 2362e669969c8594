"""The loop over time of a layer of LIF-box neurons as Triton kernels for a GPU: forward and backward.

A program computes one block of neurons over all time steps, with their potentials in registers. The operations are
those of `neurons.plif_step` and of its gradient in the same order, without fused multiply-add and with division rounded
to nearest. The backward pass goes through time twice: forward to compute the potentials again, which it leaves in the
array for the gradients of the currents, and back. The gradients of decay and threshold are summed block by block, so
two runs give the same digits.

Currents, spikes and gradients may be of half precision; potentials are then float32. No call waits for the GPU.

The kernels were written on a machine without a GPU: they were run in Triton's interpreter, against the step loop, and
compiled for sm_80 and sm_90 without being run there (both: `make test-triton`). CUDA builds of torch include Triton.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from svformer.model.multistep_cpu import as_rows

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
BLOCK = 512  # neurons of a program: four for each thread, since one access of 16 bytes moves four float32
WARPS = 4


def forward(x: Tensor, decay: Tensor, threshold: Tensor, *, v_leak: float, v_reset: float) -> Tensor:
    """Spikes [T, ...] of currents [T, ...]."""
    x_TBM, spikes = as_rows(x), x.new_empty(x.shape)
    with torch.cuda.device_of(x):
        _forward[_grid(x_TBM)](
            *(x_TBM, spikes, decay, threshold, *_geometry(x_TBM)),
            **_constants(x, v_leak, v_reset),
        )
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
    half = x.dtype in (torch.bfloat16, torch.float16)
    potentials = x.new_empty(x.shape, dtype=torch.float32) if half else grad_x
    sums = x.new_empty((_grid(x_TBM)[0], 2), dtype=torch.float64)  # one row for each program
    with torch.cuda.device_of(x):
        _backward[_grid(x_TBM)](
            *(x_TBM, grad_spikes.contiguous(), grad_x, potentials, sums, decay, threshold, *_geometry(x_TBM)),
            **_constants(x, v_leak, v_reset),
            HEIGHT=alpha / 2,
            SLOPE=math.pi / 2 * alpha,
        )
    of_decay, of_threshold = sums.sum(0)
    return grad_x, of_decay.to(decay.dtype), of_threshold.to(threshold.dtype)


def check(device: torch.device) -> None:
    """Run one neuron; raises `RuntimeError` where nothing can be compiled (Triton needs a C compiler at run time)."""
    one = torch.ones((), device=device)
    forward(torch.ones(1, 1, device=device), one, one, v_leak=0.0, v_reset=0.0)


def _grid(x_TBM: Tensor) -> tuple[int]:
    return (x_TBM.shape[1] * triton.cdiv(x_TBM.shape[2], BLOCK),)


def _geometry(x_TBM: Tensor) -> tuple[int, ...]:
    """Time steps, rows, neurons of a row, and the distances in memory to the next time step and to the next row."""
    return (*x_TBM.shape, *x_TBM.stride()[:2])


def _constants(x: Tensor, v_leak: float, v_reset: float) -> dict[str, object]:
    """Constants that are compiled into the kernels: as an argument, a Python number would be rounded to float32."""
    state = tl.float64 if x.dtype == torch.float64 else tl.float32
    block = {"BLOCK": BLOCK, "num_warps": WARPS, "enable_fp_fusion": False}
    return {"LEAK": v_leak, "RESET": v_reset, "STATE": state, **block}


# Kernels. The arguments `steps`, `batch`, `width`, `step`, `jump` are those of `_geometry`.


@triton.jit
def _forward(
    x, spikes, decay, threshold, steps, batch, width, step, jump,
    LEAK: tl.constexpr, RESET: tl.constexpr, STATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, column = _place(width, BLOCK)
    there = column < width
    x += row * jump + column
    spikes += row * width + column
    a, height = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    v = tl.zeros((BLOCK,), STATE)
    for _ in range(steps):
        charged = v + a * (tl.load(x, mask=there, other=0.0).to(STATE) + LEAK - v)
        fired = charged >= height
        tl.store(spikes, fired.to(STATE), mask=there)
        v = tl.where(fired, RESET, charged)
        x += step
        spikes += batch * width


@triton.jit
def _backward(
    x, grad, grad_x, potentials, sums, decay, threshold, steps, batch, width, step, jump,
    LEAK: tl.constexpr, RESET: tl.constexpr, STATE: tl.constexpr, BLOCK: tl.constexpr,
    HEIGHT: tl.constexpr, SLOPE: tl.constexpr,
):  # fmt: skip
    """`potentials` may be `grad_x` itself: those of a step are read before its gradients are written."""
    row, column = _place(width, BLOCK)
    there = column < width
    x += row * jump + column
    potentials += row * width + column
    grad += row * width + column
    grad_x += row * width + column
    a, height = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    charged = tl.zeros((BLOCK,), STATE)
    v = charged
    for _ in range(steps):
        charged = v + a * (tl.load(x, mask=there, other=0.0).to(STATE) + LEAK - v)
        tl.store(potentials, charged, mask=there)
        v = tl.where(charged >= height, RESET, charged)
        x += step
        potentials += batch * width
        grad += batch * width
        grad_x += batch * width

    tl.debug_barrier()  # from here on all threads of the program see the potentials
    grad_v = tl.zeros((BLOCK,), STATE)  # the gradient of the potential after a step, which the next step starts from
    of_decay, of_threshold = grad_v, grad_v
    for i in range(steps):
        x -= step
        potentials -= batch * width
        grad -= batch * width
        grad_x -= batch * width
        earlier = there & (i + 1 < steps)
        before = tl.load(potentials - batch * width, mask=earlier, other=0.0)
        v = tl.where(earlier & (before >= height), RESET, before)
        drive = tl.load(x, mask=there, other=0.0).to(STATE) + LEAK - v
        slope = SLOPE * (charged - height)
        of_spike = _divided(tl.load(grad, mask=there, other=0.0).to(STATE) * HEIGHT, 1.0 + slope * slope)
        of_charged = of_spike + tl.where(charged >= height, 0.0, grad_v)
        of_x = a * of_charged
        tl.store(grad_x, of_x, mask=there)
        grad_v = of_charged - of_x
        of_decay += of_charged * drive
        of_threshold -= of_spike
        charged = before
    program = tl.program_id(0).to(tl.int64)
    tl.store(sums + 2 * program, tl.sum(of_decay))
    tl.store(sums + 2 * program + 1, tl.sum(of_threshold))


@triton.jit
def _place(width, BLOCK: tl.constexpr):
    """The row and the columns of a program's neurons."""
    program, blocks_of_a_row = tl.program_id(0), tl.cdiv(width, BLOCK)
    column = program % blocks_of_a_row * BLOCK + tl.arange(0, BLOCK)
    return (program // blocks_of_a_row).to(tl.int64), column


@triton.jit
def _divided(a, b):
    """The quotient rounded to nearest, as in torch; Triton's own division of float32 is not."""
    if a.dtype == tl.float32:
        return tl.div_rn(a, b)
    return a / b
