"""Any spiking PyTorch model as a NIR graph: `deploy.from_torch`."""

from collections.abc import Mapping
from dataclasses import dataclass

import nir
from torch import Tensor, nn

from deploy.frontend.traced.convert import Converted, Lies, convert, frames_of
from deploy.frontend.traced.known import Described
from deploy.gates.imported import ImportCheck, check_import
from deploy.ir.types import Array


@dataclass(frozen=True, kw_only=True)
class ImportedLayer:
    """A neuron module of the model: the node that it is, which channels of it, and how its tensor lies there."""

    node: str
    channels: tuple[int, int] | None  # from, to; None: all
    lies: Lies
    levels: tuple[str, ...] = ()  # of neurons of several levels: the nodes whose spikes `node` sums up


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model as a NIR graph, whose metadata have dt and T; and what leads from one to the other."""

    graph: nir.NIRGraph
    layers: Mapping[str, ImportedLayer]  # by the path of the module in the model
    model: nn.Module
    converted: Converted

    def frames(self, x: Tensor) -> Array:
        """The model's input tensor as clips [B, T, *shape] for the graph; an image is there at every time step."""
        return frames_of(self.converted, x)

    def check(self, x: Tensor) -> ImportCheck:
        """Compare PyTorch and NIR on clips: every spike of every neuron module, every time step, and the output.

        The model runs in its own precision, from rest, and is left as it was. In float64 spikes are the same but where
        a potential stands at the threshold; in float32 more of them are ties. Raises `GateError` that names the first
        module, time step and neuron that differ.
        """
        return check_import(self.model, self.converted, x)


def from_torch(
    model: nn.Module,
    example: Tensor,
    *,
    axes: str,
    neurons: Mapping[type, Described] | None = None,
    output: int = 0,
) -> Imported:
    """The NIR graph of a spiking model in evaluation mode.

    `example` is an input as the model takes it, `axes` what its dimensions are: T time, B batch, C channels, H rows,
    W columns, N values of a vector. Without T the model itself repeats an image over time. `neurons` says what classes
    of the user's own are: a `Neuron`, or a function from a module to one. `output` chooses among several tensors that
    the model returns.

    The model is left as it was. Raises `InputError` that names every module without a counterpart.
    """
    found = convert(model, example, axes=axes, neurons=neurons or {}, output=output)
    layers = {
        path: ImportedLayer(node=lies.place.node, channels=lies.place.channels, lies=lies, levels=lies.place.levels[0])
        for path, lies in found.layers.items()
    }
    return Imported(graph=found.graph, layers=layers, model=model, converted=found)
