"""Parameters, neurons and dense operations of one clip in a geometry, from shapes alone (torch's meta device)."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from svformer.config import SVFormerConfig
from svformer.model.attention import SelfAttention
from svformer.model.attention.product import SoftmaxProduct
from svformer.model.neurons import SpikingLayer
from svformer.model.svformer import SVFormer
from svformer.networks import build

Convolution = (nn.Conv2d, nn.Conv3d, nn.Linear)
Norm = (nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts for one clip, summed over its time steps where nothing else is said."""

    parameters: int  # trainable ones, without the running statistics of norms
    neurons: int  # spiking neurons, which are the same in every time step
    dense_macs: int  # multiply-accumulates of convolutions and linear layers: padding is counted, biases are not
    attention_macs: int  # multiply-accumulates of attention's products and counts, in the order of the configuration
    norm_elements: int  # values that batch norms scale and shift


class _Counter:
    def __init__(self) -> None:
        self.neurons = self.dense_macs = self.attention_macs = self.norm_elements = 0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, Convolution):
            self.dense_macs += output.numel() * math.prod(module.weight.shape[1:])
        elif isinstance(module, Norm):
            self.norm_elements += output.numel()
        elif isinstance(module, SpikingLayer):
            self.neurons += output[0].numel()
        elif isinstance(module, SoftmaxProduct):
            self.attention_macs += module.macs(inputs[0])
        elif isinstance(module, SelfAttention):
            frames, clips, channels = output.shape[:3]
            self.attention_macs += frames * clips * module.macs(channels, output[0, 0, 0].numel())


def sizes(config: SVFormerConfig) -> Sizes:
    """The counts of a geometry; rounded weights (`weight_bits`) change none of them."""
    config = dataclasses.replace(config, weight_bits=None)
    with torch.device("meta"):
        model = build(config).eval()
        clip = torch.empty(1, config.in_channels, config.frames, config.image_size, config.image_size)
    counter = _Counter()
    for module in model.modules():
        if isinstance(module, (*Convolution, *Norm, SpikingLayer, SelfAttention, SoftmaxProduct)):
            module.register_forward_hook(counter)
    with torch.no_grad():
        model(clip)
    # The readout is called as a function and has no hook: one output position, so one product for every weight.
    if isinstance(model, SVFormer):
        counter.dense_macs += model.head.conv3d.weight.numel()
    return Sizes(
        parameters=sum(p.numel() for p in model.parameters()),
        neurons=counter.neurons,
        dense_macs=counter.dense_macs,
        attention_macs=counter.attention_macs,
        norm_elements=counter.norm_elements,
    )
