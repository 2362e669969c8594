"""Small spiking networks of published families, written from the formulas of their papers in plain PyTorch.

All have one neuron (`LIF`), one size (`Size`) and one input, frames [T, B, 3, H, W]; weights are random.
"""

from collections.abc import Callable

from torch import nn

from zoo_models.convolutional import ms_resnet, sew_resnet, spiking_vgg
from zoo_models.layers import Size, settle
from zoo_models.neuron import LIF, describe
from zoo_models.qkformer import QKFormer
from zoo_models.spike_driven import SpikeDrivenTransformer
from zoo_models.spikformer import Spikformer
from zoo_models.spikingformer import Spikingformer

FAMILIES: dict[str, Callable[[Size], nn.Module]] = {
    "Spikformer": Spikformer,
    "Spikingformer": Spikingformer,
    "SDT-v1": SpikeDrivenTransformer,
    "QKFormer": QKFormer,
    "SEW-ResNet": sew_resnet,
    "MS-ResNet": ms_resnet,
    "Spiking-VGG": spiking_vgg,
}

__all__ = ["FAMILIES", "LIF", "Size", "describe", "settle"]
