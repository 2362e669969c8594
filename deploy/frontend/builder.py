"""A NIR graph of a model's layers, as it is built: neuron layers, and connections with their norms folded in."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from deploy.frontend.standard import COINCIDENCE, Values
from deploy.ir.nodes import TRAINED_BITS, WEIGHT_STEP
from deploy.ir.operations.identity import GainBias, Junction
from deploy.ir.readout import READOUT
from deploy.ir.shapes import output_shape
from deploy.ir.types import NodeShape
from svformer.model.layers import TimeNorm, gain_and_shift
from svformer.model.network import Network
from svformer.model.neurons import PLIF
from svformer.model.qat import StoredConnection, quantised_chain

DT_S = 1e-3  # one frame; norse's default time step, so its importers see the time constants as we do


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Output channels of a connection that get nodes of their own, whose names end in `.part`."""

    channels: slice
    part: str = ""

    def name(self, whole: str) -> str:
        """The name of these channels' node, for the layer's name."""
        return f"{whole}.{self.part}" if self.part else whole

    def of(self, connection: StoredConnection) -> StoredConnection:
        """The connection with these outputs only."""
        return replace(connection, weight=connection.weight[self.channels], bias=connection.bias[self.channels])


WHOLE = Rows(channels=slice(None))


def values_of(tensor: Tensor | None) -> Values:
    assert tensor is not None  # every convolution and norm of the model has its parameters
    return tensor.detach().double().numpy()


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Values, Values]:
    """Weight and bias of a convolution followed by a norm with fixed statistics."""
    weight, bias = values_of(conv.weight), values_of(conv.bias)
    if norm is None:
        return weight, bias
    gain, shift = folded_norm(norm)
    return weight * gain[:, None, None, None], bias * gain + shift


def folded_norm(norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Values, Values]:
    gain, shift = gain_and_shift(norm, torch.float64)
    return values_of(gain), values_of(shift)


def tau_of(decay: float, dt_s: float = DT_S) -> float:
    """The time constant in seconds from which a reader gets back this very decay as dt / tau, if there is one.

    A last bit less or more would let a neuron that stands exactly at its threshold fire or not.
    """
    tau_s = dt_s / decay
    near = (tau_s, np.nextafter(tau_s, 0.0), np.nextafter(tau_s, np.inf))
    return float(next((candidate for candidate in near if dt_s / candidate == decay), tau_s))


class Builder:
    """Nodes and edges so far. Methods add nodes behind `source` and return the name of the last."""

    def __init__(self, model: Network) -> None:
        self.model, self.config = model, model.config
        self.names = {module: name for name, module in model.named_modules()}
        self.nodes: dict[str, nir.NIRNode] = {}
        self.shapes: dict[str, NodeShape] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: nir.NIRNode, *sources: str) -> str:
        if isinstance(node, nir.Conv2d):  # it has to say the height and width of its input
            node.input_shape = np.array(self.shapes[sources[0]][1:])
        self.nodes[name] = node
        self.shapes[name] = output_shape(node, *(self.shapes[source] for source in sources[:1]))
        self.edges += [(source, name) for source in sources]
        return name

    def neurons(self, source: str, *layers: PLIF | nn.ReLU, name: str | None = None) -> str:
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
        return self.add(name or self.names[layers[0]], node, source)

    def current(
        self, source: str, *convs: nn.Conv2d, norm: TimeNorm, base_step: float = 1.0, rows: Rows = WHOLE
    ) -> str:
        """Convolutions in a row and their norm: real weights as they are, quantised ones merged as they were trained.

        See `svformer.model.weighted.Weighted.current`, which computes the same. `rows` are of the last convolution.
        """
        if self.config.weight_bits is not None:
            size, bits = self.shapes[source][-1], self.config.weight_bits
            connection = quantised_chain(convs, norm, size=size, weight_bits=bits, base_step=base_step)
            name, of_norm = rows.name(self.names[convs[-1]]), rows.name(self.names[norm])
            return self._stored(source, rows.of(connection), name, of_norm)
        *inner, last = convs
        for conv in inner:
            source = self._conv(source, conv, *folded(conv, None))
        if norm.mode == "shared":
            return self._conv(source, last, *folded(last, norm), rows)
        source = self._conv(source, last, *folded(last, None), rows)
        by_step = (values.reshape(-1, norm.channels, 1, 1) for values in folded_norm(norm))  # entry t * C + c
        gain, bias = (values[:, rows.channels] for values in by_step)
        return self._gain_bias(rows.name(self.names[norm]), source, gain, bias)

    def _conv(self, source: str, conv: nn.Conv2d, weight: Values, bias: Values, rows: Rows = WHOLE) -> str:
        shape: dict[str, Any] = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
        node = self.conv_node(weight[rows.channels], bias[rows.channels], **shape)
        return self.add(rows.name(self.names[conv]), node, source)

    def _stored(self, source: str, connection: StoredConnection, name: str, norm: str) -> str:
        """A connection as a chip holds it; a bias that is not the same at every pixel needs a node of its own."""
        weight, bias = values_of(connection.weight), values_of(connection.bias)
        shape: dict[str, Any] = {
            "stride": connection.stride,
            "padding": connection.padding,
            "groups": connection.groups,
            "metadata": self.grid(connection.step),
        }
        if bias.shape[1:] == (1, 1):
            return self.add(name, self.conv_node(weight, bias.ravel(), **shape), source)
        source = self.add(name, self.conv_node(weight, np.zeros(len(weight)), **shape), source)
        return self._gain_bias(norm, source, np.ones((1, 1, 1, 1)), bias[np.newaxis])

    def grid(self, step: float | None) -> dict[str, Any]:
        """Metadata of a convolution whose weights were trained on a grid; empty for real weights."""
        return {} if step is None else {TRAINED_BITS: self.config.weight_bits, WEIGHT_STEP: step}

    def _gain_bias(self, name: str, source: str, gain: Values, bias: Values) -> str:
        return self.add(name, GainBias(np.array(self.shapes[source]), gain=gain, bias=bias), source)

    @staticmethod
    def conv_node(weight: Values, bias: Values, **shape: Any) -> nir.Conv2d:
        fields = {"stride": (1, 1), "padding": (0, 0), "groups": 1, **shape}
        return nir.Conv2d(input_shape=None, weight=weight, bias=bias, dilation=(1, 1), **fields)

    def ones(self, source: str, name: str, outputs: int, **shape: Any) -> str:
        """A convolution of ones without a bias: `outputs` channels, the rest as in NIR's Conv2d."""
        kernel, groups = shape.pop("kernel", (1, 1)), shape.get("groups", 1)
        weight = np.ones((outputs, self.shapes[source][0] // groups, *kernel))
        return self.add(name, self.conv_node(weight, np.zeros(outputs), **shape), source)

    def both(self, name: str, *sources: str) -> str:
        """A spike where two spikes arrive in the same time step, the product of the two: a threshold without memory."""
        return self.add(name, nir.Threshold(threshold=np.full(self.shapes[sources[0]], COINCIDENCE)), *sources)

    def mean_readout(self, fc: nn.Linear, *parts: tuple[str, slice], scale: float = 1.0) -> None:
        """The classifier behind spikes, averaged over all places and time steps, and the Output.

        `parts` are the nodes whose spikes it takes, and which of its inputs they are; a spike counts `scale`.
        """
        weight, bias, sums = values_of(fc.weight) * scale, values_of(fc.bias), list[str]()
        for number, (source, inputs) in enumerate(parts):
            height, width = self.shapes[source][1:]
            each = np.broadcast_to(
                weight[:, inputs, None, None] / (height * width), (*weight[:, inputs].shape, height, width)
            )
            name = f"fc.{number}" if len(parts) > 1 else "fc"
            sums.append(self.add(name, self.conv_node(each.copy(), bias * (number == 0)), source))
        total = sums[0] if len(sums) == 1 else self.add("fc.sum", Junction(np.array(self.shapes[sums[0]])), *sums)
        steps = self.config.frames * self.config.steps_per_frame
        mean = self.add("mean_over_time", nir.I(np.full(self.shapes[total], 1 / steps / DT_S)), total)
        flat = self.add("flatten", nir.Flatten(np.array(self.shapes[mean]), 0, -1), mean)
        self.add("output", nir.Output(np.array(self.shapes[flat])), flat)

    def metadata(self, model: str) -> dict[str, object]:
        """What a graph of a network of this project says of itself; the result is read at the last time step."""
        steps = self.config.frames * self.config.steps_per_frame
        versions = {"nir": nir.version, "svformer": version("svformer-loihi")}
        return {"dt": DT_S, "T": steps, "model": model, READOUT: "last", **versions}

    def shortcut(self, source: str, branch: str, block: nn.Module) -> str:
        return self.add(f"{self.names[block]}.add", Junction(np.array(self.shapes[source])), source, branch)
