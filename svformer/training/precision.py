"""Mixed precision: convolutions and products in bfloat16, norms and neurons in float32.

bfloat16 has 8 bits of mantissa: enough for weights times spikes, too few to compare a potential with its threshold.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from svformer.model.neurons import PLIF
from svformer.training.recipe import Precision


def keep_potentials_in_fp32(model: nn.Module) -> None:
    """Make the norms and neurons of a model convert their input to float32, in place."""
    for module in model.modules():
        if isinstance(module, (_BatchNorm, PLIF)):
            module.register_forward_pre_hook(_to_float)


def _to_float(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.float() if x.dtype == torch.bfloat16 else x for x in inputs)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Torch's context for a forward pass in this precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
