"""SVFormer -> NIR graph: float, norms that all time steps share folded into the convolutions before them.

Node names are the layer names of the model. What has no home in NIR (DESIGN):
- attention `q (k^T v)` is one `SpikingAttention` node behind one LIF node of 3C channels, which holds the neurons of q,
  k and v (NIR allows a time constant for every neuron, so three layers side by side are one node); the other kinds of
  attention are nodes of the standard alone (attention.py);
- a shortcut meets its branch at a `Junction`;
- the concatenation in front of the head needs no node: neurons are elementwise and the readout's groups are pairs of
  channels, so local path and stage 4 keep neurons and readout convolutions of their own until they are summed;
- a model trained with N-bit weights (svformer.model.qat) is written as it was trained: chains merged, weights on their
  grid, and a `GainBias` node for a bias that differs at the border of the image;
- a norm of its own for every time step (`norm="per_step"`) is a `GainBias` node behind its convolution;
- the temporal convolution is T delayed 2-D convolutions, summed when the last frame arrives.
"""

from dataclasses import dataclass, replace

import nir
import numpy as np
from torch import nn

from deploy.frontend.attention import attention
from deploy.frontend.builder import DT_S, Builder, folded_norm, values_of
from deploy.frontend.standard import Values
from deploy.ir.model import SVFORMER
from deploy.ir.operations.identity import Junction
from svformer.common.errors import InputError
from svformer.model.attention import SelfAttention
from svformer.model.blocks import Down, GlobalBlock, LocalBlock, LocalMixer, Mlp
from svformer.model.qat import StoredConnection, quantised_classifier, quantised_readout
from svformer.model.svformer import SVFormer


def export(model: SVFormer) -> nir.NIRGraph:
    """The NIR graph of a model in evaluation mode; its metadata hold dt (seconds), T and versions.

    Raises `InputError` for a twin without spiking neurons.
    """
    if model.config.activation != "spiking":
        raise InputError("this model has activation='relu' and no spikes to export; allowed: activation='spiking'")
    return _Exporter(model).graph()


class _Exporter(Builder):
    """A walk through the model from its input to the logits."""

    model: SVFormer

    def graph(self) -> nir.NIRGraph:
        model, size = self.model, self.config.image_size
        x = self.add("input", nir.Input(np.array([self.config.in_channels, size, size])))
        x = self.current(x, model.stem.conv, norm=model.stem.norm, base_step=model.stem.base_step)
        x = self._down(self._stage(x, model.stage1), model.down2)
        x = self._down(self._stage(x, model.stage2), model.down3)
        path = model.localpath
        local = self.current(self.neurons(x, path.plif), path.dwconv, path.pwconv, norm=path.norm)
        x = self._down(self._stage(x, model.stage3), model.down4)
        self._head(local, self._stage(x, model.stage4))
        return nir.NIRGraph(self.nodes, self.edges, metadata=self.metadata(SVFORMER), type_check=False)

    def _down(self, source: str, down: Down) -> str:
        return self.current(self.neurons(source, down.plif), down.conv, norm=down.norm)

    def _stage(self, x: str, stage: nn.Sequential) -> str:
        for block in stage:
            assert isinstance(block, (LocalBlock, GlobalBlock))
            mixer = block.local if isinstance(block, LocalBlock) else block.attn
            branch = self._local(x, mixer) if isinstance(mixer, LocalMixer) else self._attention(x, mixer)
            x = self.shortcut(x, branch, mixer)
            x = self.shortcut(x, self._mlp(x, block.mlp), block.mlp)
        return x

    def _local(self, source: str, mixer: LocalMixer) -> str:
        x = self.neurons(source, mixer.plif)
        if not mixer.local_neurons:
            return self.current(x, mixer.conv1, mixer.dwconv, mixer.conv2, norm=mixer.norm)
        x = self.neurons(self.current(x, mixer.conv1, norm=mixer.norm1), mixer.plif2)
        x = self.neurons(self.current(x, mixer.dwconv, norm=mixer.norm2), mixer.plif3)
        return self.current(x, mixer.conv2, norm=mixer.norm)

    def _mlp(self, source: str, mlp: Mlp) -> str:
        x = self.current(self.neurons(source, mlp.plif1), mlp.fc1, norm=mlp.norm1)
        return self.current(self.neurons(x, mlp.plif2), mlp.fc2, norm=mlp.norm2)

    def _attention(self, source: str, attn: SelfAttention) -> str:
        x = attention(self, self.neurons(source, attn.plif_in), attn)
        return self.current(x, attn.proj, norm=attn.norm2)

    def _head(self, local: str, stage4: str) -> None:
        by_step, classifier = self._readout()
        width, sums = self.config.embed_dims[3], []
        for half, (part, source) in enumerate((("local", local), ("stage4", stage4))):
            rows = slice(half * width, (half + 1) * width)
            spikes = self.neurons(source, self.model.head.plif, name=f"head.plif_{part}")
            summed = self._temporal(f"head.{part}", spikes, [c.part(rows, slice(None)) for c in by_step])
            logits = classifier.part(slice(None), rows)
            bias = logits.bias * (half == 0)  # it is added once
            sums.append(self.add(f"head.{part}.fc", self._readout_node(replace(logits, bias=bias)), summed))
        total = self.add("head.logits", Junction(np.array(self.shapes[sums[0]])), *sums)
        flat = self.add("head.flatten", nir.Flatten(np.array(self.shapes[total]), 0, -1), total)
        self.add("output", nir.Output(np.array(self.shapes[flat])), flat)

    def _readout(self) -> tuple[list["_Part"], "_Part"]:
        """The temporal convolution, one part for every frame, the last with the bias, and the classifier."""
        head, bits = self.model.head, self.config.weight_bits
        if bits is not None:
            by_step = quantised_readout(head.conv3d, head.bn3d, weight_bits=bits)
            classifier = quantised_classifier(head.fc, weight_bits=bits)
            return [_Part.of(c) for c in by_step], _Part.of(classifier)
        gain, shift = folded_norm(head.bn3d)
        weight = values_of(head.conv3d.weight) * gain[:, None, None, None, None]  # [2 * width, 2, T, H, W]
        bias, last = values_of(head.conv3d.bias) * gain + shift, self.config.frames - 1
        slices = [_Part(weight=weight[:, :, t], bias=bias * (t == last)) for t in range(self.config.frames)]
        return slices, _Part(weight=values_of(head.fc.weight)[:, :, None, None], bias=values_of(head.fc.bias))

    def _temporal(self, name: str, source: str, by_step: list["_Part"]) -> str:
        """T delayed 2-D convolutions; frame t waits T - 1 - t steps, so all arrive with the last frame."""
        parts = []
        for t, part in enumerate(by_step):
            wait, delayed = len(by_step) - 1 - t, source
            if wait:
                node = nir.Delay(np.full(self.shapes[source], wait * DT_S))
                delayed = self.add(f"{name}.delay{t}", node, source)
            groups = self.shapes[source][0] // part.weight.shape[1]
            parts.append(self.add(f"{name}.conv{t}", self._readout_node(part, groups=groups), delayed))
        return self.add(f"{name}.sum", Junction(np.array(self.shapes[parts[0]])), *parts)

    def _readout_node(self, part: "_Part", *, groups: int = 1) -> nir.Conv2d:
        return self.conv_node(part.weight, part.bias, groups=groups, metadata=self.grid(part.step))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One convolution of the readout: weight [O, I, kh, kw], bias [O], and the step of a trained grid of weights."""

    weight: Values
    bias: Values
    step: float | None = None

    @classmethod
    def of(cls, connection: StoredConnection) -> "_Part":
        weight, bias = values_of(connection.weight), values_of(connection.bias).ravel()
        return cls(weight=weight, bias=bias, step=connection.step)

    def part(self, outputs: slice, inputs: slice) -> "_Part":
        return replace(self, weight=self.weight[outputs, inputs], bias=self.bias[outputs])
