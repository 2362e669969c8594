"""The twin without spikes (`activation="relu"`): accuracy and multiply-accumulates, counted in PyTorch.

It has graded activations and a softmax, so it is not deployed; it is what a spiking network has to be cheaper than.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deploy.inputs import ClipSource, InputFormat, batches
from hardware import ConvGeometry, OpCounts, count_connection
from svformer.blocks import Attention, Head
from svformer.model import SVFormer

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class TwinRun:
    """Counts of all clips together; `macs` are those with a non-zero activation.

    Attention is apart: weighted layers alone, what papers report, leave it out for spiking networks, too.
    """

    clips: int
    top1: float | None
    counts: OpCounts
    attention: OpCounts
    activity: float  # share of activations behind a ReLU that are not zero
    weights: int

    def dense(self) -> "TwinRun":
        """Every product done, zero or not, borders exact: what hardware without zero-skipping does."""
        return dataclasses.replace(
            self,
            counts=dataclasses.replace(self.counts, macs=self.counts.dense_macs),
            attention=dataclasses.replace(self.attention, macs=self.attention.dense_attention_ops),
        )

    def per_clip(self, *, weight_bits: int, attention: bool) -> OpCounts:
        """Counts of the mean clip, where each product with a weight fetches one of `weight_bits`."""
        total = dataclasses.replace(self.counts, weight_bits_read=self.counts.macs * weight_bits)
        total = total + self.attention if attention else total
        return OpCounts(**{name: round(value / self.clips) for name, value in dataclasses.asdict(total).items()})


class _Counter:
    """Forward hooks that add up what passes."""

    def __init__(self) -> None:
        self.counts = self.attention_counts = OpCounts()
        self.active = self.values = 0
        self.qkv: dict[nn.Module, list[Tensor]] = {}

    def convolution(self, module: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].flatten(0, 1)
        geometry = ConvGeometry(
            in_shape=(x.shape[1], x.shape[2], x.shape[3]),
            out_channels=module.out_channels,
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=_pair(module.padding),
            groups=module.groups,
        )
        self.counts += count_connection(x.numpy(), geometry, binary=False)

    def linear(self, module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._products(inputs[0], module.out_features)

    def activation(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.active += int(output.count_nonzero())
        self.values += output.numel()

    def readout(self, head: Head, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The convolution over the whole clip covers its input once: each value has a weight for every channel it
        reaches.
        """
        self._products(output, head.conv3d.out_channels // head.conv3d.groups)

    def attention(self, attn: Attention, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Called for q, k and v in turn: `softmax(q k^T) v` when the three are there."""
        parts = self.qkv.setdefault(attn, [])
        parts.append(output.flatten(3))  # [T, B, C, N]
        if len(parts) < 3:
            return
        q, k, v = parts
        parts.clear()
        tokens = q.shape[-1]
        pairs = (q.count_nonzero(-1) * k.count_nonzero(-1)).sum()  # products of q k^T with two non-zero factors
        macs = int(pairs) + int(v.count_nonzero()) * tokens  # no entry of a softmax is zero
        self.attention_counts += OpCounts(macs=macs, dense_attention_ops=2 * q.numel() * tokens)

    def _products(self, x: Tensor, fan_out: int) -> None:
        macs, dense = int(x.count_nonzero()) * fan_out, x.numel() * fan_out
        self.counts += OpCounts(macs=macs, dense_macs=dense, padded_macs=dense)


def _pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


def run_twin(
    model: SVFormer,
    clips: Sequence[ClipSource],
    wanted: InputFormat,
    *,
    classes: Sequence[str],
    on_clips: Callable[[float], None] = lambda clips: None,
) -> TwinRun:
    """Run clips through a twin in PyTorch, float32."""
    counter, right, known, done = _Counter(), 0, 0, 0
    handles = _watch(model, counter)
    try:
        for part, frames in batches(clips, wanted, BATCH):
            with torch.no_grad():
                best = model(torch.from_numpy(frames).transpose(1, 2)).argmax(1).tolist()
            labelled = [(b, classes.index(c.label)) for b, c in zip(best, part, strict=True) if c.label in classes]
            right, known = right + sum(b == label for b, label in labelled), known + len(labelled)
            done += len(part)
            on_clips(done)
    finally:
        for handle in handles:
            handle.remove()
    return TwinRun(
        clips=len(clips),
        top1=right / known if known else None,
        counts=counter.counts,
        attention=counter.attention_counts,
        activity=counter.active / counter.values,
        weights=sum(math.prod(p.shape) for p in model.parameters() if p.ndim > 1),
    )


def _watch(model: SVFormer, counter: _Counter) -> list[Any]:
    handles: list[Any] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(counter.convolution))
        elif isinstance(module, nn.Linear):
            handles.append(module.register_forward_hook(counter.linear))
        elif isinstance(module, nn.ReLU):
            handles.append(module.register_forward_hook(counter.activation))
        elif isinstance(module, Attention):
            hook = functools.partial(counter.attention, module)
            handles += [part.register_forward_hook(hook) for part in (module.plif_q, module.plif_k, module.plif_v)]
        elif isinstance(module, Head):
            handles.append(module.plif.register_forward_hook(functools.partial(counter.readout, module)))
    return handles
