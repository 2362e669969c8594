"""How a network is executed, in real numbers or integers: group by group, loops one time step after the other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypedDict, Unpack

import numpy as np

from deploy.ir.loops import grouped
from deploy.ir.types import Signals, Values


class Running(ABC):
    """One population while it runs over a batch of clips, from their first frame to their last.

    The order of events in a time step, which both interpreters and every backend keep:

    1. The synapses deliver what their sources sent `delay` time steps before, within the same clip; nothing arrives
       before the first frame. Each result is shifted by its exponent and multiplied by its gain, then all are summed.
    2. `step` takes the sum, updates the state of the population and returns its messages of the same time step.
    3. `on_potential` sees the potential between the update and a reset; relays have none.

    A clip starts from the population's own start (rest, unless it says otherwise): nothing is kept from clip to clip.

    Attributes:
        currents: What has arrived so far, [N, T, C, H, W]: float64, or int64 in the unit of the weights.
        messages: What has been sent so far, [N, T, C, H, W]: float64, or uint8 spikes and int32 graded messages.
        on_potential: Called with the potentials of a time step, [N, C, H, W]: float64, or int64 in 1/64 of the unit.
    """

    def __init__(
        self, shape: tuple[int, ...], *, current_type: type[np.generic], message_type: type[np.generic]
    ) -> None:
        self.currents: Values = np.zeros(shape, current_type)
        self.messages: Values = np.zeros(shape, message_type)
        self.on_potential: Callable[[Values], None] = _ignore

    @abstractmethod
    def step(self, current: Values, frame: int) -> Values:
        """Advance by one time step.

        Args:
            current: Sum of what arrives in this time step, [N, C, H, W]: float64, or int64 in the unit of the weights.
            frame: Time step within the clip, from 0; biases that change with time are those of this frame.

        Returns:
            The messages of this time step, [N, C, H, W]: spikes as 0 or 1 (or bool), graded messages as float64 or as
            integers in the unit of the weights.
        """


def _ignore(potential: Values) -> None:
    """For a run without a probe."""


class Link(Protocol):
    """A connection, as far as an execution needs it."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def delay(self) -> int: ...
    def __call__(self, x_NTCHW: Values) -> Values: ...
    def at(self, frame: int, x_NCHW: Values) -> Values: ...


Begin = Callable[[str, int, int], Running]  # begins a population, by its name, for N clips of T frames


class ExecuteOptions(TypedDict, total=False):
    """What a run returns, and what is called on the way."""

    record: Iterable[str]  # only these populations are returned; the memory of all others is released on the way
    on_population: Callable[[str, Values], None]  # called with what each population sent, in order of execution


def execute(
    populations: Iterable[str],
    connections: Iterable[Link],
    entry: tuple[str, Values],
    begin: Begin,
    **options: Unpack[ExecuteOptions],
) -> Signals:
    """Messages of every population when the input, named in `entry`, sends a signal [N, T, C, H, W].

    A clip has the same messages, bit for bit, alone and among others.
    """
    links, names, signals = list(connections), list(populations), dict([entry])
    recorded, on_population = set(options.get("record", names)), options.get("on_population", _ignore_messages)
    for group, last_used in groups_in_order(names, links):
        if group[0] not in signals:
            signals |= _run_group(group, links, signals, lambda name: begin(name, *entry[1].shape[:2]))
        for name in group:
            on_population(name, signals[name])
        for name in set(last_used) - recorded:
            del signals[name]
    return signals


def _ignore_messages(name: str, messages: Values) -> None:
    """For a run in which nothing is called on the way."""


def groups_in_order(populations: Iterable[str], links: Sequence[Link]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Groups of populations in order of execution, each with the populations whose messages it is the last to use.

    A group is one population, or all that are on one loop.
    """
    groups = grouped(populations, ((c.source, c.target) for c in links))
    position = {name: number for number, group in enumerate(groups) for name in group}
    last = dict(position)
    for link in links:
        last[link.source] = max(last[link.source], position[link.target])
    for number, group in enumerate(groups):
        yield group, [name for name, end in last.items() if end == number]


def _run_group(
    group: tuple[str, ...], links: Sequence[Link], signals: Mapping[str, Values], begin: Callable[[str], Running]
) -> Signals:
    running = {name: begin(name) for name in group}
    for link in links:
        if link.target in running and link.source not in running:
            _deliver(link, signals[link.source], running[link.target].currents)
    inner = {name: [c for c in links if c.target == name and c.source in running] for name in group}
    _run(running, inner)
    return {name: state.messages for name, state in running.items()}


def _deliver(link: Link, sent: Values, currents: Values) -> None:
    """Clip by clip: less memory, and BLAS adds up in an order that may depend on how many frames it gets."""
    for clip in range(len(sent)):
        currents[clip] += link(sent[clip : clip + 1])[0]


def _run(running: Mapping[str, Running], inner: Mapping[str, list[Link]]) -> None:
    """Step through a group; `inner` are the connections of a loop, which deliver what was sent before."""
    for frame in range(next(iter(running.values())).currents.shape[1]):
        for name, state in running.items():
            current = state.currents[:, frame]
            for link in inner[name]:
                if frame >= link.delay:
                    current = current + link.at(frame, running[link.source].messages[:, frame - link.delay])
            state.messages[:, frame] = state.step(current, frame)
