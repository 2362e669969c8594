"""At which firing rate spikes cost less than the multiply-accumulates of the same network without spikes.

Published limits stand beside what was counted. What the cost models of this project say is computed beside them,
from the same counts: arithmetic alone nearly always favours spikes, since an addition is cheaper than a multiplication
and no rate is above 1; with memory, every spike fetches a weight and fetches and stores a potential.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from hardware.chip import Chip
from hardware.counts import OpCounts
from hardware.energy import price
from hardware.interval import LIKELY, drawn_mj
from hardware.keys import key

PER_SYNAPSE: Literal["spikes per synapse and inference"] = "spikes per synapse and inference"
PER_STEP: Literal["spikes per synapse and time step"] = "spikes per synapse and time step"
Unit = Literal["spikes per synapse and inference", "spikes per synapse and time step"]
LESS, MORE, DEPENDS = "spikes cost less", "spikes cost more", "depends on the hardware"
EQUAL, SAME = "both cost the same within 1 %", 0.01
FRAME, CLIP = "a frame", "the clip"  # what counts as one inference of the network without spikes


@dataclass(frozen=True, kw_only=True)
class Published:
    """Limits that somebody published: spikes cost less below the first, more above the second."""

    source: str = field(metadata=key("who published it"))
    unit: Unit = field(metadata=key("what the limits count"))
    note: str = field(metadata=key("what the limits hold for"))


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Published limits for inferences of any number of time steps."""

    published: Published
    at: Callable[[float], tuple[float, float]]  # time steps of an inference -> both limits, in their unit


def _fixed(low: float, high: float) -> Callable[[float], tuple[float, float]]:
    return lambda time_steps: (low, high)


def _of_yan(time_steps: float) -> tuple[float, float]:
    """As published for 5 to 10 time steps a value; else ceil(log2(T + 1)) / 8 T (spyx, pull request 76)."""
    if 5 <= time_steps <= 10:
        return 0.057, 0.064
    limit = math.ceil(math.log2(time_steps + 1)) / (8 * time_steps)
    return limit, limit


LIMITS = (
    Limit(
        published=Published(
            source="Dampfhoffer et al., IEEE TETCI 7(3), 2023",
            unit=PER_SYNAPSE,
            note="IF neurons, memory included; the limit depends on how well the other network's hardware reuses data",
        ),
        at=_fixed(0.15, 1.38),
    ),
    Limit(
        published=Published(
            source="Davidson and Furber, Front. Neurosci. 15, 2021",
            unit=PER_SYNAPSE,
            note="12 E / 7 E, rate coding in the same silicon; spikes that transmit one output",
        ),
        at=_fixed(12 / 7, 12 / 7),
    ),
    Limit(
        published=Published(
            source="Yan et al., arXiv 2409.08290",
            unit=PER_STEP,
            note="5.7 % for T = 5 (version 4), 6.4 % for T = 5 to 10 (version 3), memory and network on chip included; "
            "for other T by the formula that spyx derives from it",
        ),
        at=_of_yan,
    ),
)


@dataclass(frozen=True, kw_only=True)
class SynapseUse:
    """How often a synapse behind a neuron is used, the mean over all of them."""

    per_step: float = field(metadata=key("share of the time steps in which a synapse behind a neuron is used"))
    per_inference: float = field(metadata=key("uses of a synapse behind a neuron", "1/clip"))

    @property
    def words(self) -> str:
        """The figures as the beginning of a sentence about one clip."""
        return (
            f"the mean synapse behind a neuron is used in {self.per_step:.2%} of the time steps: "
            f"{self.per_step:.2f} times a frame, {self.per_inference:.2f} times"
        )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A published limit beside what was counted, for one meaning of "an inference"."""

    inference: str = field(metadata=key("what counts as one inference of the network without spikes"))
    low: float = field(metadata=key("spikes cost less below it", "`unit`"))
    high: float = field(metadata=key("spikes cost more above it", "`unit`"))
    here: float = field(metadata=key("use of a synapse here, counted in simulation", "`unit`"))
    verdict: str = field(metadata=key("what the limit means for it, if that is an inference"))
    rates: tuple[float, float] = field(metadata=key("both limits, in spikes per synapse and time step"))

    @property
    def limits(self) -> str:
        """Both limits, or the one, as text."""
        return f"{self.low:.3g}" if self.low == self.high else f"{self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True, kw_only=True)
class JudgedLimit(Published):
    """Published limits, and what they say of a use of synapses.

    The network without spikes computes once a frame, so a frame is an inference; but all frames together make one
    result, and then the clip is. Papers mean networks with one result for one input, so both readings stand here.
    """

    readings: tuple[Reading, ...] = field(metadata=key("what they say, for both meanings of an inference"))

    @property
    def verdict(self) -> str:
        """What the limits mean, with the condition under which they do."""
        found = {reading.verdict for reading in self.readings}
        if len(found) == 1:
            return f"{found.pop()}, whether an inference is a frame or the clip"
        return ", ".join(f"{reading.verdict} if an inference is {reading.inference}" for reading in self.readings)


def synapse_use(counts: OpCounts, time_steps: float) -> SynapseUse | None:
    """Use of all synapses behind neurons; None where there is none. `counts` are those of one inference."""
    if not counts.dense_synaptic_ops:
        return None
    per_step = counts.synaptic_ops / counts.dense_synaptic_ops
    return SynapseUse(per_step=per_step, per_inference=per_step * time_steps)


def judged(use: SynapseUse, time_steps: float) -> tuple[JudgedLimit, ...]:
    """Every published limit, and what it says of a use of synapses in clips of `time_steps`."""
    meanings = {FRAME: 1.0, CLIP: time_steps}
    return tuple(
        JudgedLimit(
            **vars(limit.published),
            readings=tuple(_reading(limit, use, name, steps) for name, steps in meanings.items()),
        )
        for limit in LIMITS
    )


def _reading(limit: Limit, use: SynapseUse, inference: str, time_steps: float) -> Reading:
    low, high = limit.at(time_steps)
    steps = time_steps if limit.published.unit == PER_SYNAPSE else 1
    here = use.per_step * steps
    return Reading(
        inference=inference,
        low=low,
        high=high,
        here=here,
        verdict=verdict(here, low, high),
        rates=(low / steps, high / steps),
    )


def verdict(here: float, low: float, high: float) -> str:
    """What limits say of a use of synapses, all in one unit; a share of `SAME` decides nothing."""
    if low == high and abs(here / low - 1) < SAME:
        return EQUAL
    if here < low:
        return LESS
    return MORE if here > high else DEPENDS


@dataclass(frozen=True, kw_only=True)
class CostLines:
    """Energy of one synapse and time step on one chip: with spikes `fixed_pj + rate * spike_pj`, without `dense_pj`."""

    dense_pj: float = field(metadata=key("a multiply-accumulate of a graded activation, memory included", "pJ"))
    spike_pj: float = field(metadata=key("a synaptic operation, memory included", "pJ"))
    fixed_pj: float = field(metadata=key("neuron updates per synapse and time step, whatever the rate", "pJ"))
    rate: float = field(metadata=key("share of the time steps in which a synapse is used, counted in simulation"))
    break_even_rate: float = field(
        metadata=key("rate at which both cost the same; above 1 spikes cost less at any rate, below 0 at none")
    )
    low_rate: float = field(metadata=key("5 % of the draws of the chip's constants have a lower one"))
    high_rate: float = field(metadata=key("5 % have a higher one"))
    verdict: str = field(metadata=key("what these rates mean, in words"))


def _verdict_between(low: float, high: float) -> str:
    if low > 1:
        return "spikes cost less at any rate"
    if high <= 0:
        return "spikes cost more at any rate"
    below = f"spikes cost less below a rate of {low:.1%}, " if low > 0 else ""
    above = f"more above {high:.1%}, " if high < 1 else ""
    return f"{below}{above}and the constants are too uncertain to say more"


def cost_lines(counts: OpCounts, chip: Chip) -> CostLines | None:
    """What the synapses behind neurons would cost at any rate, and as multiply-accumulates of graded activations.

    Every network runs all time steps. A multiply-accumulate fetches a weight and an activation and sums in a register;
    a spike fetches a weight and fetches and stores a potential (the terms of Lemaire et al. 2022). The memories are as
    large as those that `counts` went to on average. None for a chip that has no figure for multiply-accumulates, and
    where nothing lies behind a neuron.
    """
    synapses = counts.dense_synaptic_ops
    if not synapses or chip.energy is None or chip.energy.multiply_accumulate is None:
        return None
    spikes = OpCounts(synaptic_ops=synapses, state_reads=synapses, state_writes=synapses)
    dense = OpCounts(macs=synapses, products=synapses, state_reads=synapses)  # activations of 8 bits
    neurons = OpCounts(
        neuron_updates=counts.neuron_updates, state_reads=counts.neuron_updates, state_writes=counts.neuron_updates
    )
    parts = [_with_memories(ops, like=counts) for ops in (dense, spikes, neurons)]
    dense_pj, spike_pj, fixed_pj = (price(ops, chip).total_pj / synapses for ops in parts)
    dense_mj, spike_mj, fixed_mj = (drawn_mj([ops], chip) for ops in parts)
    low, high = (float(rate) for rate in np.percentile((dense_mj - fixed_mj) / spike_mj, LIKELY))
    return CostLines(
        dense_pj=dense_pj,
        spike_pj=spike_pj,
        fixed_pj=fixed_pj,
        rate=counts.synaptic_ops / counts.dense_synaptic_ops,
        break_even_rate=(dense_pj - fixed_pj) / spike_pj,
        low_rate=low,
        high_rate=high,
        verdict=_verdict_between(low, high),
    )


def _with_memories(ops: OpCounts, *, like: OpCounts) -> OpCounts:
    """`ops` with a weight for each operation, all from memories of the mean size and width that `like` went to."""
    reads = ops.synaptic_ops + ops.macs
    accesses = ops.state_reads + ops.state_writes
    return replace(
        ops,
        parameter_reads=reads,
        parameter_reach=_share(reads, like.parameter_reach, like.parameter_reads),
        state_reach=_share(accesses, like.state_reach, like.state_reads + like.state_writes),
        weight_bits_read=_share(reads, like.weight_bits_read, like.synaptic_ops + like.macs),
    )


def _share(times: int, total: int, of: int) -> int:
    return round(times * total / of) if of else 0
