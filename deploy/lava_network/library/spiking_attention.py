"""Spiking attention `q (k^T v)` as a process for any Lava network, made of Lava's own LIFReset, GradedVec and Sparse.

    attention = SpikingAttention(shape=(4, 4, 48), heads=3)
    queries.s_out.connect(attention.q)
    keys.s_out.connect(attention.k)
    values.s_out.connect(attention.v)
    attention.s_out.connect(dense.s_in)

A head's output at a token and channel j is the sum over its channels i of q[i] times the number of tokens where k[i]
and v[j] fired in the same time step. Source: Yu et al., arXiv 2406.15034, eq. 8.
"""

import functools
from typing import Any

from lava.magma.core.decorator import implements, tag
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.operations.attention import IntAttention
from deploy.ir.populations.input import IntInput
from deploy.ir.types import Shape
from deploy.lava_network.chip_wiring import ChipWiring
from deploy.lava_network.synapses import sparse
from deploy.passes.chip_form import chip_form
from deploy.passes.chip_form.wiring import relay
from deploy.passes.schedule import schedule
from hardware.geometry import AttentionGeometry
from svformer.common.errors import InputError

SPIKES, ATTENDED = "qkv", "attended"


class SpikingAttention(AbstractProcess):
    """`q (k^T v)` of spikes, head by head, in every time step; it keeps nothing from one time step to the next.

    Ports `q`, `k` and `v` receive spikes (0 or 1) of the shape (rows, columns, channels), the tokens being the
    positions. `s_out` sends integers of the same shape, from 0 to tokens times channels of a head, `time_steps` time
    steps after the spikes arrived.

    Args:
        shape: Rows, columns and channels of each of the three.
        heads: They share the channels out evenly, in order.

    Raises `InputError` where the heads do not divide the channels.
    """

    def __init__(self, *, shape: Shape, heads: int, **options: Any) -> None:
        super().__init__(shape=shape, heads=heads, **options)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"shape is {shape}; expected (rows, columns, channels), each at least 1")
        if heads < 1 or shape[-1] % heads:
            raise InputError(f"{heads} heads do not share {shape[-1]} channels out evenly")
        self.q, self.k, self.v = (InPort(shape=shape) for _ in range(3))
        self.s_out = OutPort(shape=shape)
        self.time_steps = schedule(attention_network(shape, heads)).depth


@implements(proc=SpikingAttention, protocol=LoihiProtocol)
@tag("fixed_pt")
class SpikingAttentionModel(AbstractSubProcessModel):
    """Coincidences, counts and gates (`deploy.passes.chip_form.attention`), each connection a Sparse.

    Lava's Conv would share weights, but its model on a CPU leaves out their exponent and takes less than 128 channels.
    """

    def __init__(self, proc: AbstractProcess) -> None:
        network = attention_network(proc.proc_params["shape"], proc.proc_params["heads"])
        ports: Any = proc
        built = ChipWiring(network, schedule(network), synapse=sparse)
        for name in network.receivers:
            built.add_population(name)
        for connection in network.connections:
            if connection.source != SPIKES:
                built.connect(connection)
                continue
            target, channels = built.into[connection.target], proc.proc_params["shape"][-1]
            for number, port in enumerate((ports.q, ports.k, ports.v)):
                synapses = sparse(connection.operation, slice(number * channels, (number + 1) * channels))
                if synapses.weights.get().nnz:
                    built.join(synapses, port, target)
        built.out[ATTENDED].connect(ports.s_out)
        for number, process in enumerate(built.processes):
            setattr(self, f"part_{number}", process)  # where Lava looks for them


@functools.cache
def attention_network(shape: Shape, heads: int) -> IntNetwork:
    """An attention alone, in chip form: 3C channels of spikes to C sums."""
    height, width, channels = shape
    spikes, tokens = (3 * channels, height, width), height * width
    geometry = AttentionGeometry(channels=channels, tokens=tokens, heads=heads)
    operation = IntAttention(geometry=geometry, in_shape=spikes, multiplier=1, exponent=0)
    network = IntNetwork(
        populations={
            SPIKES: IntInput(shape=spikes, scale=1.0, low=0, high=1),
            ATTENDED: relay((channels, height, width)),
        },
        connections=(IntConnection(source=SPIKES, target=ATTENDED, operation=operation),),
        output=ATTENDED,
        frames=1,
    )
    return chip_form(network).network
