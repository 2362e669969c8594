"""Populations of an integer network as Lava's own processes."""

import numpy as np
from lava.proc.graded.process import GradedVec
from lava.proc.lif.process import LIF, LIFReset

from deploy.ir.integer import IntNetwork
from deploy.ir.machine import DECAY_ONE, STATE_SHIFT
from deploy.ir.plan import Plan
from deploy.ir.populations.constant import IntConstant
from deploy.ir.populations.gate import IntGate
from deploy.ir.populations.lif import IntLif
from deploy.lava_network.synapses import channels_last

NO_MEMORY = DECAY_ONE - 1  # Lava adds 1 to the decay of a current, and takes at most 4095 for that of a potential


def neurons(network: IntNetwork, name: str, plan: Plan) -> LIF | GradedVec:
    """Lava's process for a population that is not the input."""
    population = network.populations[name]
    shape = channels_last(population.shape)
    if isinstance(population, IntConstant):
        return LIF(shape=shape, du=NO_MEMORY, dv=NO_MEMORY, vth=1, bias_mant=2, bias_exp=STATE_SHIFT)
    if isinstance(population, IntLif):
        return lif_process(population, frames=plan.frames, first_step=plan.first_step(name))
    return GradedVec(shape=shape, vth=population.threshold if isinstance(population, IntGate) else 0)


def lif_process(population: IntLif, *, frames: int, first_step: int) -> LIFReset:
    """Lava's LIF for a layer whose first clip, of `frames` frames, begins at `first_step`."""
    decay = population.current_decay
    return LIFReset(
        shape=channels_last(population.shape),
        du=NO_MEMORY if decay is None else int(decay.flat[0]) - 1,  # one for all (`beyond_stock`)
        dv=np.moveaxis(population.decay, 0, -1),
        vth=np.moveaxis(population.threshold, 0, -1),
        bias_mant=np.moveaxis(np.broadcast_to(population.bias_mantissa, population.shape), 0, -1).astype(np.int32),
        bias_exp=population.bias_exponent,
        reset_interval=frames,
        reset_offset=first_step,
    )
