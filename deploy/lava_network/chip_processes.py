"""A network in chip form as Lava's own processes: LIF neurons, graded relays and gates, synapses, nothing of our own.

Which model runs them is a choice of the run configuration: Lava's on a CPU, those of `fast_models`, or Intel's on a
board. A population is a LIFReset or a GradedVec; a connection is a Conv or a Sparse; `chip_wiring` puts them together.
"""

from collections.abc import Callable, Mapping

import numpy as np
from lava.magma.core.process.ports.ports import OutPort
from numpy.typing import NDArray

from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.lava_network.chip_wiring import ChipWiring
from deploy.lava_network.endpoints import Frames, Recorder
from deploy.lava_network.recording import Recording
from deploy.lava_network.synapses import channels_last
from deploy.passes.mapping import mapping, obstacles
from svformer.common.errors import InputError

Through = Callable[[OutPort], OutPort]  # an adapter between chip and CPU


def _direct(port: OutPort) -> OutPort:
    return port


def build_chip_processes(
    network: IntNetwork,
    plan: Plan,
    frames_FCHW: NDArray[np.int32],
    recordings: Mapping[str, Recording],
    *,
    enter: Through = _direct,
    leave: Through = _direct,
) -> Recorder:
    """Frames of whole clips, back to back, through Lava's own processes into recorders; returns one of these.

    `enter` and `leave` put adapters between the frames, the recorders and the network, where a chip needs them.
    Raises `InputError` that lists every part which Lava's processes cannot hold.
    """
    require_held(network, plan)
    built = ChipWiring(network, plan)
    entry = Frames(frames_FHWC=np.ascontiguousarray(np.moveaxis(frames_FCHW, 1, -1)))
    built.out[network.input_name] = enter(entry.s_out)
    for name in network.receivers:
        built.add_population(name)
    for connection in network.connections:
        built.connect(connection)
    recorders: list[Recorder] = []
    for name, recording in recordings.items():
        shape, first_step = channels_last(recording.shape), plan.first_step(name)
        recorders.append(Recorder(shape=shape, recording=recording, first_step=first_step))
        leave(built.out[name]).connect(recorders[-1].s_in)
    return recorders[-1]


def require_held(network: IntNetwork, plan: Plan) -> None:
    """Raise `InputError` with every part of a network that Lava's own processes cannot hold."""
    problems = obstacles(mapping(network, plan))
    problems += [f"{name}: {what}" for name, p in network.receivers.items() for what in p.beyond_stock()]
    problems += [f"{', '.join(sorted(part))}: no connection joins it with {network.output}" for part in network.apart]
    if problems:
        raise InputError(f"Lava's own processes cannot hold this network: {'; '.join(problems)}; use --form fused")
