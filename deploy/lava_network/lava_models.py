"""The process models that Lava runs its own processes with on a CPU: Lava's, but for Conv.

Lava's model of Conv leaves out the exponent of the weights, which a chip has, and keeps the number of groups in 8 bits,
in which numpy 2 raises for every layer of 128 channels or more (`channels % groups`). The model here computes with
Lava's own convolution and mends these two.
"""

from typing import Any

import numpy as np
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.conv.models import AbstractPyConvModel, PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.graded.models import PyGradedVecModelFixed
from lava.proc.graded.process import GradedVec
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.proc.sparse.process import Sparse
from numpy.typing import NDArray

from deploy.ir.operations.base import shifted
from deploy.lava_network.blocks import registered
from deploy.lava_network.endpoints import ENDS
from deploy.lava_network.library.spiking_attention import SpikingAttention, SpikingAttentionModel


class _ConvModel(AbstractPyConvModel):
    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    a_buf: NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    weight: NDArray[Any] = LavaPyType(np.ndarray, np.int32, precision=8)
    groups: NDArray[Any] = LavaPyType(np.ndarray, np.int32)

    def clamp_precision(self, x: NDArray[Any]) -> NDArray[Any]:
        """A sum in 24 bits, as Lava does it, then times the exponent."""
        return shifted(PyConvModelFixed.clamp_precision(self, x), int(self.weight_exp[0]))


LAVA_MODELS: dict[type, type] = {
    **ENDS,
    Conv: registered(_ConvModel, Conv),
    Sparse: PySparseModelBitAcc,
    LIF: PyLifModelBitAcc,
    LIFReset: PyLifResetModelBitAcc,
    GradedVec: PyGradedVecModelFixed,
    SpikingAttention: SpikingAttentionModel,
}
