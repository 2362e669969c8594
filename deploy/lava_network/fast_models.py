"""Fast process models for Lava's own processes, bit for bit those of Lava: Conv, LIF and LIFReset, with their ports.

    process.run(condition=RunSteps(num_steps=100), run_cfg=FastLoihi2SimCfg())

Any Lava network of fixed-point processes can take them so, with no other change. Conv also has what Lava's CPU model
leaves out: the exponent of its weights, and more than 127 groups or (with numpy 2) channels (`lava_models`).
"""

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.models import AbstractPyConvModel
from lava.proc.conv.process import Conv
from lava.proc.conv.utils import signed_clamp
from lava.proc.lif.process import LIF, LIFReset
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deploy.engine.ranges import exact_type
from deploy.engine.simd import jit
from deploy.ir.machine import DECAY_BITS, DECAY_ONE, STATE_BITS, STATE_LIMIT, STATE_SHIFT
from deploy.ir.operations.base import shifted
from deploy.lava_network import compat
from deploy.lava_network.blocks import registered
from deploy.lava_network.lava_models import LAVA_MODELS

Array = NDArray[Any]
OF_GROUPS = "yxgp,gpo->yxgo"
LOWEST, HIGHEST = np.int64(1 - STATE_LIMIT), np.int64(STATE_LIMIT - 1)


class FastLoihi2SimCfg(Loihi2SimCfg):
    """Lava's run configuration for simulations of Loihi 2, with the models of this module where they are faster.

    Everything else is run by the models that Lava has for the tag "fixed_pt".
    """

    def __init__(self) -> None:
        super().__init__(select_tag="fixed_pt", exception_proc_model_map=compat.ModelMap(FAST_MODELS))


class _FastConv(AbstractPyConvModel):
    """Lava's Conv as one matrix product of the unrolled windows."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    a_buf: Array = LavaPyType(np.ndarray, np.int32, precision=24)
    weight: Array = LavaPyType(np.ndarray, np.int32, precision=8)
    kernel_size: Array = LavaPyType(np.ndarray, np.int32)
    stride: Array = LavaPyType(np.ndarray, np.int32)
    padding: Array = LavaPyType(np.ndarray, np.int32)
    dilation: Array = LavaPyType(np.ndarray, np.int32)
    groups: Array = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        self.a_out.send(self.a_buf)
        received = self.s_in.recv()
        x = received if self.num_message_bits.item() > 0 else received.astype(bool)
        self.a_buf = self._convolved(x) if x.any() else np.zeros_like(self.a_buf)

    def _convolved(self, x: Array) -> Array:
        """[rows, columns, channels] -> [rows, columns, outputs]."""
        groups = int(self.groups[0])
        kernel = self.weight[:, ::-1, ::-1].reshape(groups, len(self.weight) // groups, -1)  # [g, o, taps x channels]
        worst = int(np.abs(x).max()) * int(np.abs(kernel, dtype=np.int64).sum(axis=-1).max())
        exact = exact_type(worst)
        windows: Array = self._windows(x.astype(exact)).reshape(*self.a_buf.shape[:2], groups, -1)
        weights: Array = kernel.astype(exact).swapaxes(1, 2)
        total = np.einsum(OF_GROUPS, windows, weights, optimize=True)
        clamped = signed_clamp(total.reshape(self.a_buf.shape).astype(np.int64), bits=STATE_BITS)
        return shifted(clamped, int(self.weight_exp[0])).astype(np.int32)

    def _windows(self, x: Array) -> Array:
        """[rows, columns, groups, kernel rows, kernel columns, channels of a group] of what each output sees."""
        padded = np.pad(x, ((self.padding[0],) * 2, (self.padding[1],) * 2, (0, 0)))
        spans = tuple(int(d * (k - 1) + 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        every = sliding_window_view(padded, spans, axis=(0, 1))  # type: ignore[call-overload]  # numpy takes two axes
        seen = every[:: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]
        rows, columns, channels, *kernel = seen.shape
        groups = int(self.groups[0])
        return seen.reshape(rows, columns, groups, channels // groups, *kernel).transpose(0, 1, 2, 4, 5, 3)


class _FastLif(PyLoihiProcessModel):
    """Lava's LIF in one pass over its neurons."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: Array = LavaPyType(np.ndarray, np.int32, precision=24)
    v: Array = LavaPyType(np.ndarray, np.int32, precision=24)
    du: Any = LavaPyType(int, np.uint16, precision=12)
    dv: Any = LavaPyType(int, np.uint16, precision=12)
    bias_mant: Array = LavaPyType(np.ndarray, np.int16, precision=13)
    bias_exp: Array = LavaPyType(np.ndarray, np.int16, precision=3)
    vth: Any = LavaPyType(int, np.int32, precision=17)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.interval = proc_params.get("reset_interval")
        self.offset = proc_params.get("reset_offset", 0) % (self.interval or 1)

    def run_spk(self) -> None:
        received = self.a_in.recv()
        if self.interval and self.time_step % self.interval == self.offset:
            self.u[:] = self.v[:] = 0
        spikes = np.empty(self.v.shape, np.int32)
        flat = [np.broadcast_to(p, self.v.shape).reshape(-1) for p in (self.du, self.dv, self.vth)]
        bias = [np.broadcast_to(p, self.v.shape).reshape(-1) for p in (self.bias_mant, self.bias_exp)]
        _fire(received.reshape(-1), *flat, *bias, self.u.reshape(-1), self.v.reshape(-1), spikes.reshape(-1))
        self.s_out.send(spikes)


class _FastLifReset(_FastLif):
    """The same with its states set to 0 in every interval."""


@jit
def _fire(
    current: Array, du: Array, dv: Array, vth: Array, mantissa: Array, exponent: Array, u: Array, v: Array, out: Array
) -> None:
    """A time step of Lava's PyLifModelBitAcc for every neuron; see `deploy.ir.populations.membrane`."""
    for i in range(v.size):
        kept = (abs(np.int64(u[i])) * (DECAY_ONE - np.int64(du[i]) - 1)) >> DECAY_BITS
        charged = np.int32(np.int32(kept if u[i] >= 0 else -kept) + np.int32(np.int64(current[i]) << STATE_SHIFT))
        wrapped = np.int32(charged - 2 * STATE_LIMIT) if charged > STATE_LIMIT else charged
        if wrapped <= -STATE_LIMIT:
            wrapped = np.int32(charged + 2 * STATE_LIMIT)
        u[i] = wrapped
        held = (abs(np.int64(v[i])) * (DECAY_ONE - np.int64(dv[i]))) >> DECAY_BITS
        power = np.int64(exponent[i])
        bias = np.int64(mantissa[i]) << power if power >= 0 else np.int64(mantissa[i]) >> -power
        potential = (held if v[i] >= 0 else -held) + np.int64(wrapped) + bias
        potential = min(max(potential, LOWEST), HIGHEST)
        fires = potential > (np.int64(vth[i]) << STATE_SHIFT)
        out[i] = fires
        v[i] = 0 if fires else potential


def _compiled() -> None:
    """Compile before a process is forked, so that every model has it."""
    one, short = np.zeros(1, np.int32), np.zeros(1, np.int16)
    _fire(one, one, one, one, short, short, one.copy(), one.copy(), one.copy())


_compiled()

FAST_MODELS: dict[type, type] = {
    **LAVA_MODELS,
    Conv: registered(_FastConv, Conv),
    LIF: registered(type("FastLif", (_FastLif,), {}), LIF),
    LIFReset: registered(_FastLifReset, LIFReset),
}
