"""SVFormer -> NIR graph: float, norms that all time steps share folded into the convolutions before them.

Node names are the layer names of the model. What has no home in NIR (DESIGN):
- attention is one `SpikingAttention` node behind one LIF node of 3C channels, which holds the neurons of q, k and v
  (NIR allows a time constant for every neuron, so three layers side by side are one node);
- a shortcut meets its branch at a `Junction`;
- the concatenation in front of the head needs no node: neurons are elementwise and the readout's groups are pairs of
  channels, so local path and stage 4 keep neurons and readout convolutions of their own until they are summed;
- a model trained with N-bit weights (svformer.model.qat) is written as it was trained: chains merged, weights on their
  grid, and a `GainBias` node for a bias that differs at the border of the image;
- a norm of its own for every time step (`norm="per_step"`) is a `GainBias` node behind its convolution;
- the temporal convolution is T delayed 2-D convolutions, summed when the last frame arrives.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.ir.nodes import TRAINED_BITS, WEIGHT_STEP, GainBias, Junction, SpikingAttention
from deploy.ir.primitives import NodeShape
from deploy.ir.shapes import output_shape
from svformer.common.errors import InputError
from svformer.model.attention import SelfAttention
from svformer.model.blocks import Down, GlobalBlock, LocalBlock, LocalMixer, Mlp
from svformer.model.layers import TimeNorm, gain_and_shift
from svformer.model.neurons import PLIF
from svformer.model.qat import StoredConnection, quantised_chain, quantised_classifier, quantised_readout
from svformer.model.svformer import SVFormer

DT_S = 1e-3  # one frame; norse's default time step, so its importers see the time constants as we do
Values = NDArray[np.float64]


def export(model: SVFormer) -> nir.NIRGraph:
    """The NIR graph of a model in evaluation mode; its metadata hold dt (seconds), T and versions.

    Raises `InputError` for a twin without spiking neurons.
    """
    if model.config.activation != "spiking":
        raise InputError("this model has activation='relu' and no spikes to export; allowed: activation='spiking'")
    return _Exporter(model).graph()


def _values(tensor: Tensor | None) -> Values:
    assert tensor is not None  # every convolution and norm of the model has its parameters
    return tensor.detach().double().numpy()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Values, Values]:
    """Weight and bias of a convolution followed by a norm with fixed statistics."""
    weight, bias = _values(conv.weight), _values(conv.bias)
    if norm is None:
        return weight, bias
    gain, shift = _gain_and_shift(norm)
    return weight * gain[:, None, None, None], bias * gain + shift


def _gain_and_shift(norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Values, Values]:
    gain, shift = gain_and_shift(norm, torch.float64)
    return _values(gain), _values(shift)


def tau_of(decay: float, dt_s: float = DT_S) -> float:
    """The time constant in seconds from which a reader gets back this very decay as dt / tau, if there is one.

    A last bit less or more would let a neuron that stands exactly at its threshold fire or not.
    """
    tau_s = dt_s / decay
    near = (tau_s, np.nextafter(tau_s, 0.0), np.nextafter(tau_s, np.inf))
    return float(next((candidate for candidate in near if dt_s / candidate == decay), tau_s))


class _Exporter:
    """Nodes and edges so far. Methods add nodes behind `source` and return the name of the last."""

    def __init__(self, model: SVFormer) -> None:
        self.model, self.config = model, model.config
        self.names = {module: name for name, module in model.named_modules()}
        self.nodes: dict[str, nir.NIRNode] = {}
        self.shapes: dict[str, NodeShape] = {}
        self.edges: list[tuple[str, str]] = []

    def graph(self) -> nir.NIRGraph:
        model, size = self.model, self.config.image_size
        x = self._add("input", nir.Input(np.array([self.config.in_channels, size, size])))
        x = self._current(x, model.stem.conv, norm=model.stem.norm, base_step=model.stem.base_step)
        x = self._down(self._stage(x, model.stage1), model.down2)
        x = self._down(self._stage(x, model.stage2), model.down3)
        path = model.localpath
        local = self._current(self._neurons(x, path.plif), path.dwconv, path.pwconv, norm=path.norm)
        x = self._down(self._stage(x, model.stage3), model.down4)
        self._head(local, self._stage(x, model.stage4))
        return nir.NIRGraph(self.nodes, self.edges, metadata=self._metadata(), type_check=False)

    def _metadata(self) -> dict[str, object]:
        versions = {"nir": nir.version, "svformer": version("svformer-loihi")}
        return {"dt": DT_S, "T": self.config.frames, "model": "SVFormer", **versions}

    def _add(self, name: str, node: nir.NIRNode, *sources: str) -> str:
        if isinstance(node, nir.Conv2d):  # it has to say the height and width of its input
            node.input_shape = np.array(self.shapes[sources[0]][1:])
        self.nodes[name] = node
        self.shapes[name] = output_shape(node, *(self.shapes[source] for source in sources[:1]))
        self.edges += [(source, name) for source in sources]
        return name

    def _neurons(self, source: str, *layers: PLIF | nn.ReLU, name: str | None = None) -> str:
        """One LIF node for neuron layers side by side, which share the channels of the source alike."""
        spiking = [layer for layer in layers if isinstance(layer, PLIF)]  # `export` refused all others
        shape = self.shapes[source]
        each = shape[0] // len(spiking)

        def spread(values: list[float]) -> Values:
            return np.broadcast_to(np.repeat(values, each)[:, None, None], shape).copy()

        node = nir.LIF(
            tau=spread([tau_of(layer.decay) for layer in spiking]),
            r=np.ones(shape),
            v_leak=np.zeros(shape),
            # NIR fires at v > v_threshold, SVFormer at v >= threshold: the next number below makes them the same.
            v_threshold=spread([float(np.nextafter(layer.threshold, 0.0)) for layer in spiking]),
            v_reset=np.zeros(shape),
        )
        return self._add(name or self.names[layers[0]], node, source)

    def _current(self, source: str, *convs: nn.Conv2d, norm: TimeNorm, base_step: float = 1.0) -> str:
        """Convolutions in a row and their norm: real weights as they are, quantised ones merged as they were trained.

        See `svformer.model.blocks.Weighted.current`, which computes the same.
        """
        if self.config.weight_bits is not None:
            size, bits = self.shapes[source][-1], self.config.weight_bits
            connection = quantised_chain(convs, norm, size=size, weight_bits=bits, base_step=base_step)
            return self._stored(source, connection, self.names[convs[-1]], self.names[norm])
        *inner, last = convs
        for conv in inner:
            source = self._conv(source, conv, *folded(conv, None))
        if norm.mode == "shared":
            return self._conv(source, last, *folded(last, norm))
        source = self._conv(source, last, *folded(last, None))
        gain, bias = (values.reshape(-1, norm.channels, 1, 1) for values in _gain_and_shift(norm))  # entry t * C + c
        return self._gain_bias(self.names[norm], source, gain, bias)

    def _conv(self, source: str, conv: nn.Conv2d, weight: Values, bias: Values) -> str:
        shape: dict[str, Any] = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
        return self._add(self.names[conv], self._conv_node(weight, bias, **shape), source)

    def _stored(self, source: str, connection: StoredConnection, name: str, norm: str) -> str:
        """A connection as a chip holds it; a bias that is not the same at every pixel needs a node of its own."""
        weight, bias = _values(connection.weight), _values(connection.bias)
        shape: dict[str, Any] = {
            "stride": connection.stride,
            "padding": connection.padding,
            "groups": connection.groups,
            "metadata": self._grid(connection.step),
        }
        if bias.shape[1:] == (1, 1):
            return self._add(name, self._conv_node(weight, bias.ravel(), **shape), source)
        source = self._add(name, self._conv_node(weight, np.zeros(len(weight)), **shape), source)
        return self._gain_bias(norm, source, np.ones((1, 1, 1, 1)), bias[np.newaxis])

    def _grid(self, step: float | None) -> dict[str, Any]:
        """Metadata of a convolution whose weights were trained on a grid; empty for real weights."""
        return {} if step is None else {TRAINED_BITS: self.config.weight_bits, WEIGHT_STEP: step}

    def _gain_bias(self, name: str, source: str, gain: Values, bias: Values) -> str:
        return self._add(name, GainBias(np.array(self.shapes[source]), gain=gain, bias=bias), source)

    @staticmethod
    def _conv_node(weight: Values, bias: Values, **shape: Any) -> nir.Conv2d:
        fields = {"stride": (1, 1), "padding": (0, 0), "groups": 1, **shape}
        return nir.Conv2d(input_shape=None, weight=weight, bias=bias, dilation=(1, 1), **fields)

    def _shortcut(self, source: str, branch: str, block: nn.Module) -> str:
        return self._add(f"{self.names[block]}.add", Junction(np.array(self.shapes[source])), source, branch)

    def _down(self, source: str, down: Down) -> str:
        return self._current(self._neurons(source, down.plif), down.conv, norm=down.norm)

    def _stage(self, x: str, stage: nn.Sequential) -> str:
        for block in stage:
            assert isinstance(block, (LocalBlock, GlobalBlock))
            mixer = block.local if isinstance(block, LocalBlock) else block.attn
            branch = self._local(x, mixer) if isinstance(mixer, LocalMixer) else self._attention(x, mixer)
            x = self._shortcut(x, branch, mixer)
            x = self._shortcut(x, self._mlp(x, block.mlp), block.mlp)
        return x

    def _local(self, source: str, mixer: LocalMixer) -> str:
        x = self._neurons(source, mixer.plif)
        if not mixer.local_neurons:
            return self._current(x, mixer.conv1, mixer.dwconv, mixer.conv2, norm=mixer.norm)
        x = self._neurons(self._current(x, mixer.conv1, norm=mixer.norm1), mixer.plif2)
        x = self._neurons(self._current(x, mixer.dwconv, norm=mixer.norm2), mixer.plif3)
        return self._current(x, mixer.conv2, norm=mixer.norm)

    def _mlp(self, source: str, mlp: Mlp) -> str:
        x = self._current(self._neurons(source, mlp.plif1), mlp.fc1, norm=mlp.norm1)
        return self._current(self._neurons(x, mlp.plif2), mlp.fc2, norm=mlp.norm2)

    def _attention(self, source: str, attn: SelfAttention) -> str:
        name, width = self.names[attn], attn.qkv.in_channels
        x = self._current(self._neurons(source, attn.plif_in), attn.qkv, norm=attn.norm1)
        x = self._neurons(x, attn.plif_q, attn.plif_k, attn.plif_v, name=f"{name}.plif_qkv")
        scale = float(width // attn.heads) ** -0.5
        node = SpikingAttention(np.array(self.shapes[x]), heads=attn.heads, scale=scale)
        x = self._neurons(self._add(f"{name}.attention", node, x), attn.plif_proj)
        return self._current(x, attn.proj, norm=attn.norm2)

    def _head(self, local: str, stage4: str) -> None:
        by_step, classifier = self._readout()
        width, sums = self.config.embed_dims[3], []
        for half, (part, source) in enumerate((("local", local), ("stage4", stage4))):
            rows = slice(half * width, (half + 1) * width)
            spikes = self._neurons(source, self.model.head.plif, name=f"head.plif_{part}")
            summed = self._temporal(f"head.{part}", spikes, [c.part(rows, slice(None)) for c in by_step])
            logits = classifier.part(slice(None), rows)
            bias = logits.bias * (half == 0)  # it is added once
            sums.append(self._add(f"head.{part}.fc", self._readout_node(replace(logits, bias=bias)), summed))
        total = self._add("head.logits", Junction(np.array(self.shapes[sums[0]])), *sums)
        flat = self._add("head.flatten", nir.Flatten(np.array(self.shapes[total]), 0, -1), total)
        self._add("output", nir.Output(np.array(self.shapes[flat])), flat)

    def _readout(self) -> tuple[list["_Part"], "_Part"]:
        """The temporal convolution, one part for every frame, the last with the bias, and the classifier."""
        head, bits = self.model.head, self.config.weight_bits
        if bits is not None:
            by_step = quantised_readout(head.conv3d, head.bn3d, weight_bits=bits)
            classifier = quantised_classifier(head.fc, weight_bits=bits)
            return [_Part.of(c) for c in by_step], _Part.of(classifier)
        gain, shift = _gain_and_shift(head.bn3d)
        weight = _values(head.conv3d.weight) * gain[:, None, None, None, None]  # [2 * width, 2, T, H, W]
        bias, last = _values(head.conv3d.bias) * gain + shift, self.config.frames - 1
        slices = [_Part(weight=weight[:, :, t], bias=bias * (t == last)) for t in range(self.config.frames)]
        return slices, _Part(weight=_values(head.fc.weight)[:, :, None, None], bias=_values(head.fc.bias))

    def _temporal(self, name: str, source: str, by_step: list["_Part"]) -> str:
        """T delayed 2-D convolutions; frame t waits T - 1 - t steps, so all arrive with the last frame."""
        parts = []
        for t, part in enumerate(by_step):
            wait, delayed = len(by_step) - 1 - t, source
            if wait:
                node = nir.Delay(np.full(self.shapes[source], wait * DT_S))
                delayed = self._add(f"{name}.delay{t}", node, source)
            groups = self.shapes[source][0] // part.weight.shape[1]
            parts.append(self._add(f"{name}.conv{t}", self._readout_node(part, groups=groups), delayed))
        return self._add(f"{name}.sum", Junction(np.array(self.shapes[parts[0]])), *parts)

    def _readout_node(self, part: "_Part", *, groups: int = 1) -> nir.Conv2d:
        return self._conv_node(part.weight, part.bias, groups=groups, metadata=self._grid(part.step))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One convolution of the readout: weight [O, I, kh, kw], bias [O], and the step of a trained grid of weights."""

    weight: Values
    bias: Values
    step: float | None = None

    @classmethod
    def of(cls, connection: StoredConnection) -> "_Part":
        weight, bias = _values(connection.weight), _values(connection.bias).ravel()
        return cls(weight=weight, bias=bias, step=connection.step)

    def part(self, outputs: slice, inputs: slice) -> "_Part":
        return replace(self, weight=self.weight[outputs, inputs], bias=self.bias[outputs])
