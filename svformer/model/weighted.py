"""What the blocks of SVFormer are made of: neuron layers, norms, and connections whose weights may be rounded."""

from torch import Tensor, nn

from svformer.config import SVFormerConfig
from svformer.model.layers import Conv, TimeNorm
from svformer.model.neurons import PLIF
from svformer.model.qat import quantised_chain


def neuron(config: SVFormerConfig, *, thresholds: float = 1.0) -> PLIF | nn.ReLU:
    """A neuron layer of the geometry: `PLIF`, or ReLU where `config.activation` is "relu".

    It fires at `thresholds` times the threshold of the configuration.
    """
    if config.activation == "relu":
        return nn.ReLU()
    v_th = thresholds * config.threshold
    return PLIF(tau=config.initial_tau, v_th=v_th, fixed_point=config.weight_bits is not None)


def norm(channels: int, config: SVFormerConfig) -> TimeNorm:
    """A norm whose gain starts at tau times the threshold.

    A neuron integrates only 1 / tau of its input in one time step. With a gain of 1 it would hardly ever fire at the
    start of training, and so would not learn.
    """
    layer = TimeNorm(channels, frames=config.frames, mode=config.norm)
    if config.activation == "spiking":
        nn.init.constant_(layer.weight, config.initial_tau * config.threshold)
    return layer


class Weighted(nn.Module):
    """A block with weights, which are rounded to `config.weight_bits` bits where that is not None."""

    def __init__(self, config: SVFormerConfig) -> None:
        super().__init__()
        self.weight_bits = config.weight_bits

    def current(self, x: Tensor, *convs: Conv, norm: TimeNorm, base_step: float = 1.0) -> Tensor:
        """`norm(...convs[1](convs[0](x)))`, as one rounded connection with `weight_bits`; see `quantised_chain`."""
        if self.weight_bits is None:
            for conv in convs:
                x = conv(x)
            return norm(x)
        size, bits = x.shape[-1], self.weight_bits
        return quantised_chain(convs, norm, size=size, weight_bits=bits, base_step=base_step)(x)
