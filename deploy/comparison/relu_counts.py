"""What a network of real numbers does, layer by layer: products and memory, from hooks on its PyTorch modules.

Memory by the same model as for spiking networks (Lemaire et al. 2022): every layer has memories of its own, and nothing
is reused. A product fetches a weight and an activation (in attention two activations) and is summed in a register; an
output takes a bias and is stored once; a shortcut fetches two values and stores their sum. Activations have
`ACTIVATION_BITS`, as inference in 8-bit integers has them. ReLU, softmax, layer norms,
embeddings of places, and finding the zeros to skip are left out.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from deploy.ir.machine import BIAS_BITS
from hardware import ConvGeometry, OpCounts, count_connection, count_parameter_reads, count_state_accesses
from svformer.baselines import r2plus1d, tsm
from svformer.baselines.timesformer import DividedBlock
from svformer.model.attention import QkvAttention
from svformer.model.attention.product import SoftmaxProduct
from svformer.model.blocks import GlobalBlock, Head, LocalBlock
from svformer.model.layers import TemporalConv

ACTIVATION_BITS = 8
SHORTCUTS: dict[type[nn.Module], int] = {  # branches that a block adds
    LocalBlock: 2,
    GlobalBlock: 2,
    DividedBlock: 3,
    tsm.ResidualBlock: 1,
    r2plus1d.ResidualBlock: 1,
}


@dataclass(frozen=True, kw_only=True)
class Products:
    """One layer, all clips together; sizes of memories in values."""

    macs: int = 0  # with no activation of zero
    dense_macs: int = 0
    padded_macs: int = 0
    adds: int = 0  # additions of a shortcut
    weights: int = 0  # stored; 0: both factors are activations
    read_from: int = 0  # values of a frame that the layer takes
    written_to: int = 0  # values of a frame that the layer gives
    biases: int = 0  # stored
    outputs: int = 0  # values that it gave, in all

    def __add__(self, other: "Products") -> "Products":
        """The same layer in more clips."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _ADDED}
        return replace(other, **sums)

    def dense(self) -> "Products":
        """Every product done, zero or not, borders exact: what hardware without zero-skipping does."""
        return replace(self, macs=self.dense_macs)

    def counts(self, weight_bits: int) -> OpCounts:
        """Operations, and accesses to memories of weights that are `weight_bits` wide."""
        factors = 1 if self.weights else 2  # activations of a product
        reads = factors * self.macs + 2 * self.adds
        biases = self.outputs if self.biases else 0
        ops = OpCounts(
            macs=self.macs,
            products=self.macs,  # both factors have 8 bits at most
            relay_adds=self.adds,
            bias_adds=biases,
            weight_bits_read=self.macs * weight_bits if self.weights else 0,
            dense_macs=self.dense_macs if self.weights else 0,
            padded_macs=self.padded_macs,
            dense_attention_ops=0 if self.weights else self.dense_macs,
        )
        weights = self.macs if self.weights else 0
        return (
            ops
            + count_parameter_reads(weights, memory_bits=self.weights * weight_bits)
            + count_parameter_reads(biases, memory_bits=self.biases * BIAS_BITS)
            + count_state_accesses(reads=reads, writes=0, memory_bits=self.read_from * ACTIVATION_BITS)
            + count_state_accesses(reads=0, writes=self.outputs, memory_bits=self.written_to * ACTIVATION_BITS)
        )


_ADDED = ("macs", "dense_macs", "padded_macs", "adds", "outputs")


@dataclass
class ProductCounter:
    """Forward hooks that add up what passes."""

    layers: dict[Any, Products] = field(default_factory=dict)  # weighted layers and shortcuts
    attention: dict[Any, Products] = field(default_factory=dict)
    active: int = 0
    values: int = 0
    qkv: dict[nn.Module, list[Tensor]] = field(default_factory=dict)

    def convolution(self, module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = module.images(inputs[0]) if isinstance(module, TemporalConv) else inputs[0].flatten(0, 1)
        geometry = ConvGeometry(
            in_shape=(x.shape[1], x.shape[2], x.shape[3]),
            out_channels=module.out_channels,
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=_pair(module.padding),
            groups=module.groups,
        )
        counted = count_connection(x.numpy(), geometry, binary=False)
        outputs = geometry.out_channels * geometry.out_shape[1] * geometry.out_shape[2]
        self._add(
            module,
            macs=counted.macs,
            dense_macs=counted.dense_macs,
            padded_macs=counted.padded_macs,
            weights=geometry.weights,
            read_from=geometry.inputs,
            written_to=outputs,
            biases=geometry.out_channels,
            outputs=len(x) * outputs,
        )

    def linear(self, module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._dense_layer(module, inputs[0], module.out_features, outputs=module.out_features)

    def activation(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.active += int(output.count_nonzero())
        self.values += output.numel()

    def readout(self, head: Head, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The convolution over the whole clip covers its input once: each value has a weight for every channel it
        reaches.
        """
        channels = head.conv3d.out_channels
        self._dense_layer(head, output.flatten(2).transpose(0, 1), channels // head.conv3d.groups, outputs=channels)

    def shortcuts(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """A block adds its branches to what passes by them."""
        frame, sums = output[0, 0].numel(), SHORTCUTS[type(module)] * output.numel()
        self._add(module, adds=sums, read_from=frame, written_to=frame, outputs=sums)

    def product(self, module: SoftmaxProduct, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """`softmax(q k^T) v` of factors [.., tokens, d] that are no ReLU's: all products have two of them."""
        q = inputs[0]
        tokens, channels = q.shape[-2:]
        sequences = q.numel() // (tokens * channels)
        outputs = tokens * (tokens + channels)  # of a sequence: entries of the softmax, and sums of v
        self.attention[module] = self.attention.get(module, Products()) + Products(
            macs=int(q.count_nonzero()) * tokens + int(inputs[2].count_nonzero()) * tokens,
            dense_macs=module.macs(q),
            read_from=3 * tokens * channels,
            written_to=outputs,
            outputs=sequences * outputs,
        )

    def softmax(self, attn: QkvAttention, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Called for q, k and v in turn: `softmax(q k^T) v` when the three are there."""
        parts = self.qkv.setdefault(attn, [])
        parts.append(output.flatten(3))  # [T, B, C, N]
        if len(parts) < 3:
            return
        q, k, v = parts
        parts.clear()
        channels, tokens = q.shape[-2:]
        scores = attn.heads * tokens**2  # entries of a frame's softmax
        pairs = (q.count_nonzero(-1) * k.count_nonzero(-1)).sum()  # products of q k^T with two non-zero factors
        macs = int(pairs) + int(v.count_nonzero()) * tokens  # no entry of a softmax is zero
        frames = q.shape[0] * q.shape[1]
        self.attention[attn] = self.attention.get(attn, Products()) + Products(
            macs=macs,
            dense_macs=2 * q.numel() * tokens,
            read_from=3 * channels * tokens,
            written_to=scores + channels * tokens,
            outputs=frames * (scores + channels * tokens),
        )

    def _dense_layer(self, key: Any, x_BF: Tensor, fan_out: int, *, outputs: int) -> None:
        """A layer in which every value of x [B, ...] has `fan_out` weights; `outputs` of a clip."""
        clips, values = len(x_BF), x_BF[0].numel()
        self._add(
            key,
            macs=int(x_BF.count_nonzero()) * fan_out,
            dense_macs=x_BF.numel() * fan_out,
            padded_macs=x_BF.numel() * fan_out,
            weights=values * fan_out,
            read_from=values,
            written_to=outputs,
            biases=outputs,
            outputs=clips * outputs,
        )

    def _add(self, key: Any, **found: int) -> None:
        self.layers[key] = self.layers.get(key, Products()) + Products(**found)


def _pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


def attach(model: nn.Module, counter: ProductCounter) -> list[Any]:
    """Hook the counter to every layer of a network of real numbers; the handles remove it."""
    hooks: list[tuple[nn.Module, Callable[..., None]]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append((module, counter.convolution))
        elif isinstance(module, nn.Linear):
            hooks.append((module, counter.linear))
        elif isinstance(module, nn.ReLU):
            hooks.append((module, counter.activation))
        elif type(module) in SHORTCUTS:
            hooks.append((module, counter.shortcuts))
        elif isinstance(module, SoftmaxProduct):
            hooks.append((module, counter.product))
        elif isinstance(module, QkvAttention):
            hook = functools.partial(counter.softmax, module)
            hooks += [(part, hook) for part in (module.plif_q, module.plif_k, module.plif_v)]
        elif isinstance(module, Head):
            hooks.append((module.plif, functools.partial(counter.readout, module)))
    return [module.register_forward_hook(hook) for module, hook in hooks]
