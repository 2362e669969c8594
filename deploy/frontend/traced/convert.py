"""A spiking PyTorch model becomes a NIR graph, and a record of where its tensors lie in it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from deploy.frontend.builder import DT_S
from deploy.frontend.traced.axes import Axis, ModelError, Refused
from deploy.frontend.traced.draft import OUTPUT
from deploy.frontend.traced.graph import INPUT, Reader, possible_steps, reader
from deploy.frontend.traced.known import OWN, Described, Kind, kind_of
from deploy.frontend.traced.passes import as_graph, finish
from deploy.frontend.traced.signals import Potential, Signal
from deploy.frontend.traced.trace import Traced, trace
from deploy.frontend.traced.walk import Place, Walk
from deploy.ir.readout import READOUT
from deploy.ir.types import Array

LETTERS = "TBCHWN"


@dataclass(frozen=True, kw_only=True)
class Lies:
    """How a tensor of the model lies in a node's output."""

    place: Place
    clips: Axis | None
    time: Axis | None

    def frames(self, tensor: Tensor) -> Array:
        """The tensor as [B, T, *shape]; T is 1 for what has no axis of time."""
        values = tensor.detach().double().cpu().numpy()
        axes = [axis for dim in self.place.dims for axis in dim]
        apart = values.reshape([-1 if axis is self.clips else axis.size for axis in axes])
        lead = [axis for axis in (self.clips, self.time) if axis in axes]
        turned = apart.transpose([axes.index(axis) for axis in (*lead, *self.place.image.axes)])
        clips = turned.shape[0] if self.clips in lead else 1
        return turned.reshape(clips, -1, *self.place.image.shape)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The graph of a model, and where its neuron layers and its output are."""

    graph: nir.NIRGraph
    layers: Mapping[str, Lies]
    output: Lies
    index: int  # of the output among the tensors that the model returns
    neurons: Mapping[str, nn.Module]
    axes: str
    shape: tuple[int, ...]  # of the example
    steps: int

    @property
    def batch(self) -> int:
        """Clips of the example."""
        return self.shape[self.axes.index("B")] if "B" in self.axes else 1


def convert(
    model: nn.Module, example: Tensor, *, axes: str, neurons: Mapping[type, Described], output: int
) -> Converted:
    """See `deploy.from_torch`."""
    _check(model, example, axes)
    found = {name: (module, kind) for name, module in model.named_modules() if (kind := kind_of(module, neurons))}
    if not found:
        raise ModelError(f"no module of this model is a neuron that is known; {OWN}")
    modules = {name: module for name, (module, _) in found.items()}
    traced = trace(model, example, modules)
    walk, last = _walked(traced, example, axes, found, output)
    layers = finish(walk.draft, walk.layers, last.node)
    steps = walk.steps or 1
    ends_last = {READOUT: "last"} if last.step is not None else {}
    graph = as_graph(walk.draft, {"dt": DT_S, "T": steps, **ends_last})
    shared: dict[str, Any] = {"clips": walk.clips, "time": walk.time}
    return Converted(
        graph=graph,
        layers={path: Lies(place=place, **shared) for path, place in layers.items()},
        output=Lies(place=last, **shared),
        index=output,
        neurons=modules,
        axes=axes,
        shape=tuple(example.shape),
        steps=steps,
    )


def _walked(
    traced: Traced, example: Tensor, axes: str, neurons: Mapping[str, tuple[nn.Module, Kind]], output: int
) -> tuple[Walk, Place]:
    """The walk through a traced graph, and where it ends; where T is not sure, with the first that the graph bears."""
    said = dict(zip(axes, example.shape, strict=True)).get("T")
    *likely, last = possible_steps(traced, neurons) if said is None else [said]
    for steps in likely:
        read = reader(traced, example, axes, neurons, steps)
        with contextlib.suppress(ModelError):
            return read.walk, _output(read, output)
    read = reader(traced, example, axes, neurons, last)
    return read.walk, _output(read, output)


def _check(model: nn.Module, example: Tensor, axes: str) -> None:
    """Raise `ModelError` for axes that do not fit the example, and for a model in training mode."""
    if not isinstance(example, Tensor):
        raise ModelError(f"the example is of type {type(example).__name__}; allowed: the tensor that the model takes")
    if set(axes) - set(LETTERS) or len(set(axes)) < len(axes) or not set(axes) & set("CN"):
        raise ModelError(f"axes {axes!r}; allowed: letters of {LETTERS}, each once (time, batch, channels, rows, ..)")
    if len(axes) != example.ndim:
        said = f"axes {axes!r} for an example of shape {list(example.shape)}, {example.ndim} axes"
        raise ModelError(f"{said}; allowed: a letter for each")
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    if training:
        raise ModelError(f"{training[0]} and {len(training) - 1} others are in training mode; call model.eval()")


def _output(read: Reader, index: int) -> Place:
    """The node of the output that is wanted, behind which the graph ends."""
    outputs = read.outputs()
    if not -len(outputs) <= index < len(outputs):
        raise ModelError(f"output {index} of a model that returns {len(outputs)} tensors")
    value = outputs[index]
    if isinstance(value, Potential):
        what = f"output {index} is the potential of {value.neuron}"
        raise ModelError(f"{what}; allowed: spikes, or layers behind spikes{_others(outputs)}")
    if value is None or isinstance(value, (Tensor, int, float)):
        raise ModelError(f"output {index} does not depend on the input; choose another: output=..")
    try:
        s = read.walk.whole(value, OUTPUT)
    except Refused as why:
        raise ModelError(f"output {index}: {why}") from why
    return _ended(read, s)


def _others(outputs: list[Any]) -> str:
    """How to take another of several outputs."""
    return "; choose another of the outputs: output=.." if len(outputs) > 1 else ""


def _ended(read: Reader, s: Signal) -> Place:
    """The Output node; in front of it what averages over time, and, of a vector, what makes it one."""
    draft, node = read.walk.draft, s.node
    if s.averaged:
        share = np.full(draft.shapes[node], 1.0 / (read.walk.steps or 1) / DT_S)
        node = draft.node("mean_over_time", nir.I(share), node, alone=True)
    last = (read.walk.steps or 1) - 1
    if s.step not in (None, last):
        raise ModelError(f"the output is that of time step {s.step} of {last + 1}; allowed: the last, all, or a mean")
    shape = draft.shapes[node]
    node = draft.node(OUTPUT, nir.Output(np.array(shape)), node, alone=True)
    return Place(node=node, dims=s.dims, image=s.image, step=s.step)


def frames_of(converted: Converted, x: Tensor) -> Array:
    """The model's input as clips [B, T, *shape] for the graph."""
    axes, shape = converted.axes, converted.shape
    fixed = [size for letter, size in zip(axes, shape, strict=True) if letter != "B"]
    if x.ndim != len(axes) or [n for letter, n in zip(axes, x.shape, strict=True) if letter != "B"] != fixed:
        raise ModelError(f"an input of shape {list(x.shape)}; allowed: {list(shape)}, with any number of clips")
    order = [axes.index(letter) for letter in LETTERS_OUT if letter in axes]
    values = x.detach().double().cpu().numpy().transpose(order)
    values = values if "B" in axes else values[np.newaxis]
    if "T" not in axes:
        values = np.repeat(values[:, np.newaxis], converted.steps, axis=1)
    return values.reshape(*values.shape[:2], *converted.graph.nodes[INPUT].input_type["input"].tolist())


LETTERS_OUT = "BTCHNW"
