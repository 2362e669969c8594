"""Where the time of a streamed clip goes: the layers and recordings of a run with clocks around their parts.

The clocks are put around objects that a run has built (`on_build` of `deploy.lava_network.simulate`), so that the
engine knows nothing of them and a run without them pays nothing. Each reads the CPU time of its thread: what else the
machine does is not counted.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.autotune import Autotuned, Kernel
from deploy.engine.kernels import Currents, Messages
from deploy.engine.layers import Entry, Layer, Layers, Synapse
from deploy.lava_network.actors import shared_zeros
from deploy.lava_network.recording import Recording

PHASES = ("kernel", "neurons", "delay lines", "recording")
KERNEL, NEURONS, LINES, RECORDING = range(len(PHASES))


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Milliseconds of CPU time that a clip takes in each of `PHASES`: T times the median of the full time steps."""

    name: str
    neurons: int
    kernels: list[str]  # of each synapse, those among which the number of spikes chooses
    ms: dict[str, float]


class Clocks:
    """Put around the layers of one run by `watch`; the process that runs them writes to memory that is shared.

    Args:
        names: All populations, in the order of the network.
        steps: Time steps of the run.
    """

    def __init__(self, names: Iterable[str], steps: int) -> None:
        self.places = {name: place for place, name in enumerate(names)}
        self.ns: NDArray[np.int64] = shared_zeros((len(self.places), len(PHASES), steps + 2), np.int64)
        self.step = dict.fromkeys(self.places, 0)  # of each layer
        self.layers: Layers = {}
        self.kernels: dict[str, list[str]] = {}

    def watch(self, layers: Layers, recordings: dict[str, Recording]) -> None:
        """Put clocks around all that these do in a time step."""
        self.layers = layers
        self.kernels = {name: kernel_names(layer) for name, layer in layers.items()}
        for name, layer in layers.items():
            layer.advance = partial(self._advance, name, layer.advance)  # type: ignore[method-assign]
            if isinstance(layer, Layer):
                layer.synapses = [self._timed_synapse(name, synapse) for synapse in layer.synapses]
                self._time(layer.neurons, "update", name, NEURONS)
        for name, recording in recordings.items():
            self._time(recording, "store", name, RECORDING)

    def _timed_synapse(self, name: str, synapse: Synapse) -> Synapse:
        return dataclasses.replace(synapse, kernel=_TimedKernel(synapse.kernel, partial(self._add, name, KERNEL)))

    def _time(self, owner: object, method: str, name: str, phase: int) -> None:
        """Put a clock around a method of one object."""
        function, add = getattr(owner, method), partial(self._add, name, phase)
        setattr(owner, method, partial(timed, function, add))

    def _advance(self, name: str, advance: Callable[..., None], step: int, received: list[Messages]) -> None:
        self.step[name] = step
        inside = self.ns[self.places[name], :, step]
        started_ns = time.thread_time_ns()
        advance(step, received)
        inside[LINES] += time.thread_time_ns() - started_ns - inside[KERNEL] - inside[NEURONS]

    def _add(self, name: str, phase: int, taken_ns: int) -> None:
        self.ns[self.places[name], phase, self.step[name]] += taken_ns

    def layer_times(self, frames: int, full: slice) -> list[LayerTimes]:
        """Every layer, from the time steps `full` in which all layers work."""
        median_ms = np.median(self.ns[:, :, full], axis=2) * frames / 1e6
        return [
            LayerTimes(
                name=name,
                neurons=int(np.prod(self.layers[name].rest.shape)),
                kernels=self.kernels[name],
                ms=dict(zip(PHASES, map(float, median_ms[place]), strict=True)),
            )
            for name, place in self.places.items()
        ]


def timed(function: Callable[..., Any], add: Callable[[int], None], *arguments: Any) -> Any:
    """Call a function; `add` gets the nanoseconds of CPU time of this thread that it took."""
    started_ns = time.thread_time_ns()
    found = function(*arguments)
    add(time.thread_time_ns() - started_ns)
    return found


class _TimedKernel:
    """A kernel with a clock around it."""

    def __init__(self, kernel: Kernel, add: Callable[[int], None]) -> None:
        self.kernel, self.add, self.by_spike = kernel, add, kernel.by_spike

    def __call__(self, messages: Messages) -> Currents:
        currents: Currents = timed(self.kernel, self.add, messages)
        return currents


def kernel_names(layer: Entry | Layer) -> list[str]:
    """What each synapse of a layer is computed by."""
    if isinstance(layer, Entry):
        return []
    kernels = [synapse.kernel for synapse in layer.synapses]
    return [" | ".join(k.kernels) if isinstance(k, Autotuned) else type(k).__name__ for k in kernels]
