"""At which firing rate spikes cost less than the multiply-accumulates of the same network without spikes.

Published limits stand beside what was measured. What the cost models of this project say is computed beside them,
from the same counts: arithmetic alone nearly always favours spikes, since an addition is cheaper than a multiplication
and no rate is above 1; with memory, every spike fetches a weight and fetches and stores a potential.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from hardware.chip import Chip
from hardware.counts import OpCounts
from hardware.energy import price
from hardware.keys import key

PER_SYNAPSE: Literal["spikes per synapse and inference"] = "spikes per synapse and inference"
PER_STEP: Literal["spikes per synapse and time step"] = "spikes per synapse and time step"
Unit = Literal["spikes per synapse and inference", "spikes per synapse and time step"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Spikes cost less below `low`, more above `high`; between them it depends on the hardware."""

    source: str = field(metadata=key("who published it"))
    low: float = field(metadata=key("spikes cost less below it", "`unit`"))
    high: float = field(metadata=key("spikes cost more above it", "`unit`"))
    unit: Unit = field(metadata=key("what the limits count"))
    note: str = field(metadata=key("what the limits hold for"))

    @property
    def limits(self) -> str:
        """Both limits, or the one, as text."""
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"

    def per_step(self, time_steps: float) -> tuple[float, float]:
        """The limits in spikes per synapse and time step, for an inference of `time_steps`."""
        steps = time_steps if self.unit == PER_SYNAPSE else 1
        return self.low / steps, self.high / steps


PUBLISHED = (
    Published(
        source="Dampfhoffer et al., IEEE TETCI 7(3), 2023",
        low=0.15,
        high=1.38,
        unit=PER_SYNAPSE,
        note="IF neurons, memory included; the limit depends on how well the other network's hardware reuses data",
    ),
    Published(
        source="Davidson and Furber, Front. Neurosci. 15, 2021",
        low=1.7,
        high=1.7,
        unit=PER_SYNAPSE,
        note="rate coding in the same silicon",
    ),
    Published(
        source="Yan et al., arXiv 2409.08290",
        low=0.057,
        high=0.064,
        unit=PER_STEP,
        note="5.7 % for T = 5 (version 4), 6.4 % for T = 5 to 10 (version 3), memory and network on chip included",
    ),
)


@dataclass(frozen=True, kw_only=True)
class SynapseUse:
    """How often a synapse behind a neuron is used, the mean over all of them."""

    per_step: float = field(metadata=key("share of the time steps in which a synapse behind a neuron is used"))
    per_inference: float = field(metadata=key("uses of a synapse behind a neuron", "1/clip"))

    @property
    def words(self) -> str:
        """Both figures as the beginning of a sentence about one inference."""
        return (
            f"the mean synapse behind a neuron is used in {self.per_step:.2%} of the time steps, "
            f"{self.per_inference:.2f} times"
        )

    def in_unit_of(self, limit: Published) -> float:
        """The use that a published limit is about."""
        return self.per_inference if limit.unit == PER_SYNAPSE else self.per_step


@dataclass(frozen=True, kw_only=True)
class JudgedLimit(Published):
    """A published limit beside what was measured."""

    measured: float = field(metadata=key("use of a synapse here", "`unit`"))
    verdict: str = field(metadata=key("what the limit means for it"))
    rates: tuple[float, float] = field(metadata=key("both limits, in spikes per synapse and time step"))


def synapse_use(counts: OpCounts, time_steps: float) -> SynapseUse | None:
    """Use of all synapses behind neurons; None where there is none. `counts` are those of one inference."""
    if not counts.dense_synaptic_ops:
        return None
    per_step = counts.synaptic_ops / counts.dense_synaptic_ops
    return SynapseUse(per_step=per_step, per_inference=per_step * time_steps)


def judged(use: SynapseUse, time_steps: float) -> tuple[JudgedLimit, ...]:
    """Every published limit, and what it says of a measured use of synapses in inferences of `time_steps`."""
    return tuple(
        JudgedLimit(
            **vars(limit),
            measured=use.in_unit_of(limit),
            verdict=verdict(use.in_unit_of(limit), limit),
            rates=limit.per_step(time_steps),
        )
        for limit in PUBLISHED
    )


def verdict(measured: float, limit: Published) -> str:
    """What a published limit says of a measured use of synapses."""
    if measured < limit.low:
        return "spikes cost less"
    return "spikes cost more" if measured > limit.high else "depends on the hardware"


@dataclass(frozen=True, kw_only=True)
class CostLines:
    """Energy of one synapse and time step on one chip: with spikes `fixed_pj + rate * spike_pj`, without `dense_pj`."""

    dense_pj: float = field(metadata=key("a multiply-accumulate of a graded activation, memory included", "pJ"))
    spike_pj: float = field(metadata=key("a synaptic operation, memory included", "pJ"))
    fixed_pj: float = field(metadata=key("neuron updates per synapse and time step, whatever the rate", "pJ"))
    rate: float = field(metadata=key("measured share of the time steps in which a synapse is used"))
    break_even_rate: float = field(
        metadata=key("rate at which both cost the same; above 1 spikes cost less at any rate, below 0 at none")
    )
    verdict: str = field(metadata=key("what that rate means, in words"))


def _verdict_at(break_even_rate: float) -> str:
    if break_even_rate > 1:
        return "spikes cost less at any rate"
    if break_even_rate <= 0:
        return "spikes cost more at any rate"
    return f"spikes cost less below a rate of {break_even_rate:.1%}"


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
    dense = OpCounts(macs=synapses, state_reads=synapses)
    neurons = OpCounts(
        neuron_updates=counts.neuron_updates, state_reads=counts.neuron_updates, state_writes=counts.neuron_updates
    )
    dense_pj, spike_pj, fixed_pj = (
        price(_with_memories(ops, like=counts), chip).total_pj / synapses for ops in (dense, spikes, neurons)
    )
    break_even_rate = (dense_pj - fixed_pj) / spike_pj
    return CostLines(
        dense_pj=dense_pj,
        spike_pj=spike_pj,
        fixed_pj=fixed_pj,
        rate=counts.synaptic_ops / counts.dense_synaptic_ops,
        break_even_rate=break_even_rate,
        verdict=_verdict_at(break_even_rate),
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
