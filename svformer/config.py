"""The geometry of an SVFormer: one frozen value that model, checkpoints and export share, and presets of it."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from svformer.common.errors import InputError

Norm = Literal["shared", "per_step"]
Attention = Literal["qkv", "sdsa", "qkta"]
AttentionOrder = Literal["kv_first", "qk_first"]
Activation = Literal["spiking", "relu"]
Model = Literal["svformer", "tsm", "r2plus1d", "timesformer", "rsnn", "ann2snn"]
Stages = tuple[int, int, int, int]

STEM_KERNEL, STEM_STRIDE, STEM_PADDING = 6, 4, 1
DOWN_KERNEL, DOWN_STRIDE, DOWN_PADDING = 4, 2, 1
ACTIVATIONS: dict[Model, Activation] = {  # of the networks that SVFormer is compared with (svformer/baselines/)
    "tsm": "relu",
    "r2plus1d": "relu",
    "timesformer": "relu",
    "rsnn": "spiking",
    "ann2snn": "spiking",
}
CONVERTED: Model = "ann2snn"  # from a trained "tsm" (svformer.ann2snn); all others are trained
TRAINED: tuple[Model, ...] = tuple(model for model in get_args(Model) if model != CONVERTED)
WEIGHT_BITS = range(2, 9)  # sign included: with 1 bit the weight 0 alone is left, and Loihi stores 8 bits


def _conv_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


@dataclass(frozen=True, kw_only=True)
class SVFormerConfig:
    """Architecture of arXiv 2406.15034, section 3; one frame of the clip is one time step.

    Raises `InputError` when the geometry cannot be built, with all rules that it breaks.
    """

    num_classes: int
    in_channels: int = 3
    frames: int = 16  # T, time steps
    image_size: int = 224  # pixels, height = width
    embed_dims: Stages = (128, 256, 384, 512)  # channels of the four stages
    depths: Stages = (1, 1, 3, 1)  # blocks of the four stages
    head_dim: int = 64  # channels of one attention head
    mlp_ratio: int = 2  # hidden width of an MLP divided by its stage's width
    norm: Norm = "shared"  # statistics that all time steps share, or as in the paper a set for every time step
    threshold: float = 1.0  # membrane potential at which a neuron fires
    initial_tau: float = 2.0  # membrane time constant at the start of training, in time steps
    local_neurons: bool = False  # whether neurons (and norms) lie between the three convolutions of a local block
    attention: Attention = "qkv"  # q (k^T v), spike-driven self-attention or Q-K token attention (model/attention/)
    attention_order: AttentionOrder = "kv_first"  # of "qkv": q (k^T v) or (q k^T) v: equal results, other counts
    activation: Activation = "spiking"  # "relu": the ANN counterpart, ReLU for every neuron and softmax attention
    weight_bits: int | None = None  # weights, decays and thresholds are rounded to those of a chip (qat.py); None: real
    model: Model = "svformer"  # or a network that it is compared with, of these widths and depths (svformer/baselines/)
    steps_per_frame: int = 1  # time steps that model "ann2snn" sees a frame; all others see each once

    def __post_init__(self) -> None:
        problems = [rule for holds, rule in self._rules() if not holds]
        if problems:
            raise InputError(f"this geometry cannot be built: {'; '.join(problems)}")

    def _rules(self) -> list[tuple[bool, str]]:
        sizes = (*self.embed_dims, *self.depths, self.head_dim, self.mlp_ratio)
        counts = (self.num_classes, self.in_channels, self.frames, self.image_size, *sizes)
        order, bits = self.attention_order, self.weight_bits
        return [
            (
                len(self.embed_dims) == len(self.depths) == 4,
                f"four stages are needed, found embed_dims={self.embed_dims}, depths={self.depths}",
            ),
            (
                all(type(n) is int and n >= 1 for n in counts),  # not True
                "every count, size and width must be a whole number of at least 1",
            ),
            (
                self.head_dim >= 1 and all(width % self.head_dim == 0 for width in self.embed_dims[2:]),
                f"head_dim={self.head_dim} must divide the widths of stages 3 and 4, {self.embed_dims[2:]}",
            ),
            (
                all(width % 2 == 0 for width in self.embed_dims[3:]),
                f"the last width must be even (the head pairs its channels), found embed_dims={self.embed_dims}",
            ),
            (self.norm in get_args(Norm), f"norm must be 'shared' or 'per_step', found {self.norm!r}"),
            (0 < self.threshold < math.inf, f"threshold must be positive, found {self.threshold}"),
            (1 < self.initial_tau < math.inf, f"initial_tau must be above 1 time step, found {self.initial_tau}"),
            (
                self.image_size >= 32 and self.image_size % 32 == 0,
                f"image_size must be a multiple of 32 (four halvings after a stride of 4), found {self.image_size}",
            ),
            (isinstance(self.local_neurons, bool), f"local_neurons must be true or false, found {self.local_neurons}"),
            (
                self.attention in get_args(Attention),
                f"attention must be 'qkv', 'sdsa' or 'qkta', found {self.attention!r}",
            ),
            (
                self.attention == "qkv" or order == "kv_first" or self.activation == "relu",
                f"attention_order={order!r} belongs to attention='qkv', found {self.attention!r}",
            ),
            (
                self.attention == "qkv" or self.activation == "spiking",
                f"attention={self.attention!r} has no counterpart without spikes; activation must be 'spiking', "
                f"found {self.activation!r}",
            ),
            (order in get_args(AttentionOrder), f"attention_order must be 'kv_first' or 'qk_first', found {order!r}"),
            (
                self.activation in get_args(Activation),
                f"activation must be 'spiking' or 'relu', found {self.activation!r}",
            ),
            (
                self.activation != "relu" or order == "qk_first",
                f"activation='relu' has softmax attention, which needs attention_order='qk_first', found {order!r}",
            ),
            (
                bits is None or (isinstance(bits, int) and bits in WEIGHT_BITS),
                f"weight_bits must be {WEIGHT_BITS[0]} to {WEIGHT_BITS[-1]}, or none for real weights, found {bits}",
            ),
            (
                bits is None or (self.norm, self.activation) == ("shared", "spiking"),
                f"weight_bits needs norm='shared' and activation='spiking', found {self.norm!r}, {self.activation!r}",
            ),
            (self.model in get_args(Model), f"model must be {', '.join(get_args(Model))}, found {self.model!r}"),
            (
                self.activation == ACTIVATIONS.get(self.model, self.activation),
                f"model={self.model!r} has its own activation, {ACTIVATIONS.get(self.model)!r}, found "
                f"{self.activation!r}",
            ),
            (
                isinstance(self.steps_per_frame, int)
                and self.steps_per_frame >= 1
                and (self.steps_per_frame == 1 or self.model == CONVERTED),
                f"steps_per_frame must be 1, or more with model={CONVERTED!r}, found {self.steps_per_frame!r}, "
                f"{self.model!r}",
            ),
            (
                self.model not in ("tsm", CONVERTED) or min(self.embed_dims) >= 4,
                f"model={self.model!r} shifts one channel in four; every width must be 4 or more, found "
                f"embed_dims={self.embed_dims}",
            ),
            (
                self.model == "svformer"
                or (self.norm, self.attention, self.local_neurons, bits) == ("shared", "qkv", False, None),
                f"norm, attention, local_neurons and weight_bits are choices of model='svformer', found {self.model!r}",
            ),
        ]

    @property
    def stage_sizes(self) -> Stages:
        """Height (= width) of the feature maps of the four stages, in pixels."""
        first = _conv_size(self.image_size, STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        sizes = [first]
        for _ in range(3):
            sizes.append(_conv_size(sizes[-1], DOWN_KERNEL, DOWN_STRIDE, DOWN_PADDING))
        return (sizes[0], sizes[1], sizes[2], sizes[3])

    def to_json(self) -> str:
        """The geometry as a JSON object, one key for each field."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SVFormerConfig":
        """Inverse of `to_json`; raises `InputError` on unknown or missing fields."""
        try:
            fields: dict[str, Any] = json.loads(text)
            for name in ("embed_dims", "depths"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"not an SVFormer configuration: {error}") from error


PRESETS: dict[str, SVFormerConfig] = {
    # A narrow network with every kind of layer of the paper, about 0.2 M parameters.
    "tiny": SVFormerConfig(
        num_classes=12, image_size=64, embed_dims=(16, 32, 48, 64), depths=(1, 1, 1, 1), head_dim=16
    ),
    # The same with attention that a Loihi 2 holds in few neurons: heads of one channel.
    "chip": SVFormerConfig(num_classes=12, image_size=64, embed_dims=(16, 32, 48, 64), depths=(1, 1, 1, 1), head_dim=1),
    # The published network (13.8 M parameters), with the norm that a chip can store.
    "ucf101": SVFormerConfig(num_classes=101),
    "ntu60": SVFormerConfig(num_classes=60),
    # Events counted in frames of two polarities on the sensor's 128 x 128 pixels.
    "dvs128_gesture": SVFormerConfig(num_classes=11, in_channels=2, image_size=128),
    # The tiny network on events of N-MNIST's 34 x 34 pixels without their border.
    "nmnist": SVFormerConfig(
        num_classes=10, in_channels=2, image_size=32, embed_dims=(16, 32, 48, 64), depths=(1, 1, 1, 1), head_dim=16
    ),
}
