"""All time steps of a layer of LIF-box neurons in one call: the results of the step loop, without its memory traffic.

The loop over time runs inside compiled functions, `multistep_cpu` on a processor and `multistep_triton` on a GPU. The
forward pass stores the currents alone for the backward pass, which computes the potentials again. The step loop in
`neurons` is the definition, and remains in use for inputs that the compiled functions do not support: half precision
on a processor, torch.compile, torch's meta device. On a GPU, currents of half precision have potentials in float32.
"""

import functools
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from svformer.model import multistep_cpu


def takes(x: Tensor) -> bool:
    """Whether `lif_box` supports these currents [T, ...]. It does not while torch traces single operations."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    plain = type(x) is Tensor and x.layout == torch.strided and x.ndim > 0 and x.numel() > 0
    kernels = _kernels(x.device.type) if plain and not traced else None
    return kernels is not None and x.dtype in kernels.DTYPES


@functools.cache
def _kernels(device_type: str) -> ModuleType | None:
    """The module with the compiled functions for a kind of device; None where there is none.

    A GPU for which Triton cannot compile is reported once, as a `RuntimeWarning`.
    """
    if device_type == "cpu":
        return multistep_cpu
    if device_type != "cuda":
        return None
    try:
        from svformer.model import multistep_triton  # imported here: a machine without a GPU has no Triton

        multistep_triton.check(torch.device(device_type))
    except (ImportError, RuntimeError) as error:
        message = f"the neurons go step by step on this GPU, several times slower ({error}): install triton and gcc"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return None
    return multistep_triton


def number(value: Tensor | float, like: Tensor) -> Tensor:
    """The value as a scalar tensor on the device of the currents `like`, in the precision of their potentials."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return value.to(like.device, dtype) if isinstance(value, Tensor) else like.new_full((), value, dtype=dtype)


def lif_box(
    x: Tensor, decay: Tensor, threshold: Tensor, *, v_leak: float = 0.0, v_reset: float = 0.0, alpha: float = 2.0
) -> Tensor:
    """Currents [T, ...] -> spikes [T, ...] of 0 and 1, from rest (v = 0). At every time step

        v <- v + decay * (x + v_leak - v), a spike when v >= threshold, then v <- v_reset.

    `decay` and `threshold` are scalar tensors. `x`, `decay` and `threshold` get gradients: the arctangent surrogate
    gradient of slope `alpha` stands for the spike's (`neurons.ArctanSpike`), and the reset passes none. The precision
    of the currents is that of the spikes. Raises `RuntimeError` for a second derivative.
    """
    return _MultiStep.apply(x, decay, threshold, v_leak, v_reset, alpha)  # type: ignore[no-untyped-call]


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, decay: Tensor, threshold: Tensor, v_leak: float, v_reset: float, alpha: float
    ) -> Tensor:
        ctx.save_for_backward(x, decay, threshold)
        ctx.constants = v_leak, v_reset, alpha
        kernels = _kernels(x.device.type)
        assert kernels is not None
        return kernels.forward(x, decay, threshold, v_leak=v_leak, v_reset=v_reset)

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # not `once_differentiable`, which lets some second derivatives pass as zero
            raise RuntimeError("the multi-step neuron has no second derivative (create_graph); use `PLIF.step_loop`")
        x, decay, threshold = ctx.saved_tensors
        v_leak, v_reset, alpha = ctx.constants
        kernels = _kernels(x.device.type)
        assert kernels is not None
        of_x, of_decay, of_threshold = kernels.backward(
            x, grad_spikes, decay, threshold, v_leak=v_leak, v_reset=v_reset, alpha=alpha
        )
        return of_x, of_decay, of_threshold, None, None, None
