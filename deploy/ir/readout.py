"""Readouts: what of an output's messages over a clip is the result, one number for each class.

    readout      result of output k                               for an output that
    count        sum of its messages over the clip                spikes
    last         its message at the last time step                spikes or is graded
    mean         mean over the time steps                         spikes or is graded
    max          largest of the time steps                        spikes or is graded
    first-spike  T for a spike in the first time step, then one
                 less a time step; 0 without a spike              spikes

A graph may say its readout in its metadata, under `READOUT`; SVFormer's export does. Where it says nothing, spikes are
counted, and graded messages are read at the last time step.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deploy.ir.types import Array, Values
from svformer.common.errors import InputError

Readout = Literal["count", "last", "mean", "max", "first-spike"]
READOUTS: tuple[Readout, ...] = get_args(Readout)
OF_SPIKES: tuple[Readout, ...] = ("count", "first-spike")
READOUT = "readout"  # key of a graph's metadata


def choose_readout(said: object, *, spiking: bool) -> Readout:
    """The readout of an output: what the graph says, or else the default.

    Raises `InputError` for a name that there is not, and for one that needs spikes where there are none.
    """
    if said is None:
        return "count" if spiking else "last"
    for readout in READOUTS:
        if said == readout and (spiking or readout not in OF_SPIKES):
            return readout
    allowed = ", ".join(READOUTS if spiking else [r for r in READOUTS if r not in OF_SPIKES])
    sends = "spikes" if spiking else "graded values"
    raise InputError(f"readout {said}: the output sends {sends}; allowed: {allowed}")


def read_out(messages_NT: Values, readout: Readout) -> Array:
    """Results [N, K] of an output's messages [N, T, ..], in their unit."""
    messages: NDArray[np.float64] = messages_NT.reshape(*messages_NT.shape[:2], -1).astype(np.float64)
    match readout:
        case "count":
            return messages.sum(axis=1)
        case "last":
            return messages[:, -1]
        case "mean":
            return messages.mean(axis=1)
        case "max":
            return messages.max(axis=1)
        case "first-spike":
            steps = messages.shape[1]
            fired = messages != 0
            return np.where(fired.any(axis=1), steps - fired.argmax(axis=1), 0).astype(np.float64)
