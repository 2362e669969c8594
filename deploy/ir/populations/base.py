"""What every population answers, in real numbers and in integers.

Legend: N clips, T time steps, C channels, H rows, W columns.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

import numpy as np

from deploy.ir.chip import ChipPart
from deploy.ir.intervals import Headroom, Interval
from deploy.ir.running import Running
from deploy.ir.types import Array, IntArray, Shape, Values

NO_BIAS: IntArray = np.zeros((1, 1, 1), dtype=np.int64)

Kind = Literal["input", "relay", "lif", "integrator", "gate", "constant"]


class Population(Protocol):
    """Anything that sends messages, in real numbers."""

    @property
    def shape(self) -> Shape:
        """(C, H, W)."""

    @property
    def kind(self) -> Kind:
        """The one word for it in reports, plans and tables."""

    @property
    def spiking(self) -> bool:
        """Whether its messages are spikes (0 or 1); else they are graded."""


class Receiver(Population, Protocol):
    """A population that receives currents: every one but the input."""

    @property
    def bias(self) -> Array:
        """A constant input; broadcasts to the shape, or to [T, C, H, W] where it changes with the time step."""

    def begin(self, clips: int, frames: int) -> Running:
        """The population at the beginning of `clips` clips of `frames` time steps."""

    def interval(self, current: Interval, frames: int) -> Interval:
        """Range of the input of its threshold, or of what it sends where it has none, for currents in this range."""

    def with_input_bias(self, bias: Array, frames: int) -> "Receiver":
        """The population that receives `bias` as a constant input (or one for every time step), exactly."""

    def largest_scale(self, found: Interval) -> float:
        """Scale at which the worst case `found` (of `interval`) just fills its own registers."""

    def unsaturated_scale(self, lowest: float, highest: float) -> float:
        """Scale at which potentials from `lowest` to `highest`, which nothing proves, still fit; inf where all do."""

    def least_currents(self, frames: int) -> Array | None:
        """The constant current that just brings a neuron of each channel to its threshold within a clip, [C].

        inf for neurons that no input brings there; None for a population without a threshold.
        """

    def rounding_cost(self, scale: float) -> float:
        """Mean square relative error that rounding to `scale` adds to its own parameters."""

    def rounded(self, scale: float, drift: Array, frames: int) -> "IntReceiver":
        """The population in integers, `scale` units for 1.0; its bias takes back `drift`, a mean current."""

    def share_of_threshold(self, potential: Values) -> Array | None:
        """Potentials as shares of the threshold; None for a population without one."""

    def decays(self) -> Mapping[str, Array]:
        """Its leaks by their formula, each from 0 (none) to 1 (no memory); empty where it keeps nothing."""

    def problems(self) -> Iterator[str]:
        """What its parameters must not be."""


class IntPopulation(Protocol):
    """Anything that sends messages, in integers; `scale` units are 1.0 of the real-valued network."""

    @property
    def shape(self) -> Shape:
        """(C, H, W)."""

    @property
    def kind(self) -> Kind:
        """The one word for it in reports, plans and tables."""

    @property
    def spiking(self) -> bool:
        """Whether its messages are spikes (0 or 1); else they are graded."""

    @property
    def scale(self) -> float:
        """Units of its values that stand for 1.0."""

    @property
    def message_unit(self) -> float:
        """What a message of 1.0 is in integers: 1 for a spike, the scale for a graded message."""

    @property
    def message_bits(self) -> int:
        """Bits of the payload of a message; a spike is 1."""

    def message_interval(self) -> tuple[int, int] | None:
        """Smallest and largest message, where the population alone says it."""

    def exact(self, unit: float) -> Population:
        """The same in real numbers, where nothing is rounded; `unit` of its integers are 1.0.

        Raises `ValueError` where it has no such form.
        """


class IntReceiver(IntPopulation, Protocol):
    """A population that receives currents: every one but the input."""

    @property
    def stored_bias(self) -> IntArray:
        """The biases as the chip stores them; [T, ..] where they change with the time step."""

    @property
    def neuron_updates(self) -> int:
        """Neurons whose potential is updated in every time step; 0 for a relay, which only adds up."""

    @property
    def shared_parameters(self) -> tuple[IntArray, ...]:
        """Parameters that a chip stores for a group of neurons and not for each; all broadcast to the shape."""

    def bias_by_step(self, frames: int) -> IntArray:
        """Bias of every time step in the unit of its state, [T, ..], broadcasts to [T, C, H, W]."""

    def begin(self, clips: int, frames: int) -> Running:
        """The population at the beginning of `clips` clips of `frames` time steps."""

    def lasting(self, frames: int) -> "IntReceiver":
        """The population for clips of fewer time steps: the first of what it has for each of them."""

    def registers(self, name: str, current: Interval, frames: int) -> tuple[list[Headroom], Interval]:
        """How full its registers can get for currents in this range, and the range of its messages."""

    def share_of_threshold(self, potential: Values) -> Array | None:
        """Potentials as shares of the threshold; None for a population without one."""

    def exact(self, unit: float) -> Receiver:
        """The same in real numbers; see `IntPopulation.exact`."""

    def rounding_errors(self, exact: Receiver) -> dict[str, float | None]:
        """Largest relative errors of its leaks and threshold against the real-valued population."""

    def problems(self) -> Iterator[str]:
        """What its parameters must not be."""

    def chip_parts(self) -> Iterator[ChipPart]:
        """What Loihi 2 makes of it."""

    def beyond_stock(self) -> Iterator[str]:
        """What Lava's own LIFReset and Dense cannot do of it."""


def changes_with_time(bias: Values) -> bool:
    """Whether a bias that broadcasts to (C, H, W) or [T, C, H, W] differs between time steps: no chip stores that."""
    return bias.ndim > len(("C", "H", "W"))


def first_steps(bias: IntArray, frames: int) -> IntArray:
    """A bias for clips of fewer time steps."""
    return bias[:frames] if changes_with_time(bias) else bias


def by_time_step(bias: IntArray, frames: int) -> IntArray:
    """A bias that broadcasts to (C, H, W) or [T, C, H, W] as [T, ..]."""
    by_step = bias.reshape(-1, *bias.shape[-3:])
    return np.broadcast_to(by_step, (frames, *by_step.shape[1:]))


def outside(largest: int, decays: Mapping[str, Values | None]) -> Iterator[str]:
    """Decays that are not from 0 to `largest`."""
    for what, decay in decays.items():
        if decay is not None and not ((decay >= 0) & (decay <= largest)).all():
            yield f"{what} outside 0..{largest}"
