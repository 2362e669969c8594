"""SVFormer -> NIR graph: float, norms that all time steps share folded into the convolutions before them.

Node names are the layer names of the model. What has no home in NIR (DESIGN):
- attention is one `SpikingAttention` node behind one LIF node of 3C channels, which holds the neurons of q, k and v
  (NIR allows a time constant for every neuron, so three layers side by side are one node);
- a shortcut meets its branch at a `Junction`;
- the concatenation in front of the head needs no node: neurons are elementwise and the readout's groups are pairs of
  channels, so local path and stage 4 keep neurons and readout convolutions of their own until they are summed;
- a norm of its own for every time step (`norm="per_step"`) is a `GainBias` node behind its convolution;
- the temporal convolution is T delayed 2-D convolutions, summed when the last frame arrives.
"""

from importlib.metadata import version
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.ir.graph import Shape, output_shape
from deploy.ir.nodes import GainBias, Junction, SpikingAttention
from svformer.blocks import Attention, Down, GlobalBlock, LocalBlock, LocalMixer, Mlp
from svformer.errors import InputError
from svformer.layers import TimeNorm
from svformer.model import SVFormer
from svformer.neurons import PLIF

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
    gain, shift = affine_of(norm)
    return weight * gain[:, None, None, None], bias * gain + shift


def affine_of(norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Values, Values]:
    """Gain and shift of a batch norm with fixed statistics, for every channel."""
    gain = _values(norm.weight) / np.sqrt(_values(norm.running_var) + norm.eps)
    return gain, _values(norm.bias) - _values(norm.running_mean) * gain


class _Exporter:
    """Nodes and edges so far. Methods add a node behind `source` and return its name."""

    def __init__(self, model: SVFormer) -> None:
        self.model, self.config = model, model.config
        self.names = {module: name for name, module in model.named_modules()}
        self.nodes: dict[str, nir.NIRNode] = {}
        self.shapes: dict[str, Shape] = {}
        self.edges: list[tuple[str, str]] = []

    def graph(self) -> nir.NIRGraph:
        size, model = self.config.image_size, self.model
        self._add("input", nir.Input(np.array([self.config.in_channels, size, size])))
        size = self.config.stage_sizes[0]
        downs = {2: model.down2, 3: model.down3, 4: model.down4}
        stages = {1: model.stage1, 2: model.stage2, 3: model.stage3, 4: model.stage4}
        x = self._conv("stem.conv", "input", model.stem.conv, model.stem.norm)
        for index in (1, 2, 3, 4):
            if index > 1:
                x = self._down(f"down{index}", x, downs[index], size)
                size = self.config.stage_sizes[index - 1]
            if index == 3:
                local = self._local_path(x, size)
            for name, block in stages[index].named_children():
                assert isinstance(block, (LocalBlock, GlobalBlock))
                x = self._block(f"stage{index}.{name}", x, block, size)
        self._head(local, x, size)
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

    def _conv(self, name: str, source: str, conv: nn.Conv2d, norm: TimeNorm | None = None) -> str:
        shape: dict[str, Any] = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
        if norm is None or norm.mode == "shared":
            return self._add(name, self._conv_node(*folded(conv, norm), **shape), source)
        convolved = self._add(name, self._conv_node(*folded(conv, None), **shape), source)
        return self._by_step(convolved, norm)

    def _by_step(self, source: str, norm: TimeNorm) -> str:
        """A norm with an entry t * C + c for every time step and channel."""
        gain, bias = (values.reshape(-1, norm.channels, 1, 1) for values in affine_of(norm))
        return self._add(self.names[norm], GainBias(np.array(self.shapes[source]), gain=gain, bias=bias), source)

    @staticmethod
    def _conv_node(weight: Values, bias: Values, **shape: Any) -> nir.Conv2d:
        fields = {"stride": (1, 1), "padding": (0, 0), "groups": 1, **shape}
        return nir.Conv2d(input_shape=None, weight=weight, bias=bias, dilation=(1, 1), **fields)

    def _lif(self, name: str, source: str, layers: list[PLIF | nn.ReLU], channels: int, size: int) -> str:
        """One LIF node for neuron layers side by side, `channels` channels each."""
        shape = (channels * len(layers), size, size)
        taus_s = [DT_S / layer.decay for layer in layers if isinstance(layer, PLIF)]  # `export` refused all others
        tau_s = np.repeat(taus_s, channels)[:, None, None]
        # NIR fires at v > v_threshold, SVFormer at v >= threshold: the next number below makes them the same.
        threshold = np.nextafter(self.config.threshold, 0.0)
        node = nir.LIF(
            tau=np.broadcast_to(tau_s, shape).copy(),
            r=np.ones(shape),
            v_leak=np.zeros(shape),
            v_threshold=np.full(shape, threshold),
            v_reset=np.zeros(shape),
        )
        return self._add(name, node, source)

    def _add_shortcut(self, name: str, shortcut: str, branch: str, channels: int, size: int) -> str:
        return self._add(name, Junction(np.array([channels, size, size])), shortcut, branch)

    def _down(self, name: str, source: str, down: Down, size: int) -> str:
        spikes = self._lif(f"{name}.plif", source, [down.plif], down.conv.in_channels, size)
        return self._conv(f"{name}.conv", spikes, down.conv, down.norm)

    def _block(self, name: str, source: str, block: LocalBlock | GlobalBlock, size: int) -> str:
        channels = block.mlp.fc1.in_channels
        if isinstance(block, LocalBlock):
            branch, add = self._local(f"{name}.local", source, block.local, size), f"{name}.local.add"
        else:
            branch, add = self._attention(f"{name}.attn", source, block.attn, size), f"{name}.attn.add"
        x = self._add_shortcut(add, source, branch, channels, size)
        branch = self._mlp(f"{name}.mlp", x, block.mlp, size)
        return self._add_shortcut(f"{name}.mlp.add", x, branch, channels, size)

    def _local(self, name: str, source: str, mixer: LocalMixer, size: int) -> str:
        width = mixer.conv1.in_channels
        x = self._lif(f"{name}.plif", source, [mixer.plif], width, size)
        if not mixer.local_neurons:
            x = self._conv(f"{name}.conv1", x, mixer.conv1)
            x = self._conv(f"{name}.dwconv", x, mixer.dwconv)
            return self._conv(f"{name}.conv2", x, mixer.conv2, mixer.norm)
        x = self._conv(f"{name}.conv1", x, mixer.conv1, mixer.norm1)
        x = self._lif(f"{name}.plif2", x, [mixer.plif2], width, size)
        x = self._conv(f"{name}.dwconv", x, mixer.dwconv, mixer.norm2)
        x = self._lif(f"{name}.plif3", x, [mixer.plif3], width, size)
        return self._conv(f"{name}.conv2", x, mixer.conv2, mixer.norm)

    def _mlp(self, name: str, source: str, mlp: Mlp, size: int) -> str:
        x = self._lif(f"{name}.plif1", source, [mlp.plif1], mlp.fc1.in_channels, size)
        x = self._conv(f"{name}.fc1", x, mlp.fc1, mlp.norm1)
        x = self._lif(f"{name}.plif2", x, [mlp.plif2], mlp.fc1.out_channels, size)
        return self._conv(f"{name}.fc2", x, mlp.fc2, mlp.norm2)

    def _attention(self, name: str, source: str, attn: Attention, size: int) -> str:
        channels, positions = attn.qkv.in_channels, (size, size)
        x = self._lif(f"{name}.plif_in", source, [attn.plif_in], channels, size)
        x = self._conv(f"{name}.qkv", x, attn.qkv, attn.norm1)
        x = self._lif(f"{name}.plif_qkv", x, [attn.plif_q, attn.plif_k, attn.plif_v], channels, size)
        scale = float(channels // attn.heads) ** -0.5
        node = SpikingAttention(np.array([3 * channels, *positions]), heads=attn.heads, scale=scale)
        x = self._add(f"{name}.attention", node, x)
        x = self._lif(f"{name}.plif_proj", x, [attn.plif_proj], channels, size)
        return self._conv(f"{name}.proj", x, attn.proj, attn.norm2)

    def _local_path(self, source: str, size: int) -> str:
        path = self.model.localpath
        x = self._lif("localpath.plif", source, [path.plif], path.dwconv.in_channels, size)
        x = self._conv("localpath.dwconv", x, path.dwconv)
        return self._conv("localpath.pwconv", x, path.pwconv, path.norm)

    def _head(self, local: str, stage4: str, size: int) -> None:
        head, width = self.model.head, self.config.embed_dims[3]
        gain, shift = affine_of(head.bn3d)
        weight = _values(head.conv3d.weight) * gain[:, None, None, None, None]  # [2 * width, 2, T, H, W]
        bias = _values(head.conv3d.bias) * gain + shift
        classifier, sums = _values(head.fc.weight), []
        for half, source in enumerate((local, stage4)):
            part, rows = ("local", "stage4")[half], slice(half * width, (half + 1) * width)
            spikes = self._lif(f"head.plif_{part}", source, [head.plif], width, size)
            summed = self._temporal(f"head.{part}", spikes, weight[rows], bias[rows], size)
            logits = classifier[:, rows, np.newaxis, np.newaxis], _values(head.fc.bias) * (half == 0)
            sums.append(self._add(f"head.{part}.fc", self._conv_node(*logits), summed))
        total = self._add("head.logits", Junction(np.array([len(classifier), 1, 1])), *sums)
        flat = self._add("head.flatten", nir.Flatten(np.array([len(classifier), 1, 1]), 0, -1), total)
        self._add("output", nir.Output(np.array([len(classifier)])), flat)

    def _temporal(self, name: str, source: str, weight: Values, bias: Values, size: int) -> str:
        """T delayed 2-D convolutions; frame t waits T - 1 - t steps, so all arrive with the last frame."""
        channels, frames, parts = len(weight), weight.shape[2], []
        shape = (channels, size, size)
        for t in range(frames):
            wait = frames - 1 - t
            delayed = source
            if wait:
                delayed = self._add(f"{name}.delay{t}", nir.Delay(np.full(shape, wait * DT_S)), source)
            node = self._conv_node(weight[:, :, t], bias * (wait == 0), groups=channels // 2)
            parts.append(self._add(f"{name}.conv{t}", node, delayed))
        return self._add(f"{name}.sum", Junction(np.array([channels, 1, 1])), *parts)
