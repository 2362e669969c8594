"""How a network is executed, in real numbers or integers: group by group, loops one time step after the other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypedDict, Unpack

from numpy.typing import NDArray

from deploy.ir.loops import grouped

Signal = NDArray[Any]  # [N, T, C, H, W]


class Link(Protocol):
    """A connection."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def delay(self) -> int: ...
    def __call__(self, x_NTCHW: Signal) -> Signal: ...
    def at(self, frame: int, x_NCHW: Signal) -> Signal: ...


class Running(Protocol):
    """A population while it runs, and what it received and sent so far."""

    currents: Signal
    messages: Signal

    def step(self, current: Signal, frame: int) -> Signal: ...


class Watching(TypedDict, total=False):
    """What is kept of a run, and who sees the rest."""

    keep: Iterable[str]  # only these are returned, and the memory of all others is given back on the way
    on_population: Callable[[str, Signal], None]  # gets what each population sent, in order of execution


def execute(
    populations: Iterable[str],
    connections: Iterable[Link],
    entry: tuple[str, Signal],
    start: Callable[[str, int, int], Running],
    **options: Unpack[Watching],
) -> dict[str, Signal]:
    """Messages of every population when the input, named in `entry`, sends a signal.

    `start` begins another population, by its name, for so many clips of so many frames. A clip has the same messages,
    bit for bit, alone and among others.
    """
    links, names, signals = list(connections), list(populations), dict([entry])
    kept, on_population = set(options.get("keep", names)), options.get("on_population", _ignore)
    for group, ended in turns(names, links):
        if group[0] not in signals:
            signals |= _run_group(group, links, signals, lambda name: start(name, *entry[1].shape[:2]))
        for name in group:
            on_population(name, signals[name])
        for name in set(ended) - kept:
            del signals[name]
    return signals


def _ignore(name: str, messages: Signal) -> None:
    """For a run that nobody watches."""


def turns(populations: Iterable[str], links: Sequence[Link]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Groups in order of execution, each with the populations that nobody needs any more after it."""
    groups = grouped(populations, ((c.source, c.target) for c in links))
    turn = {name: number for number, group in enumerate(groups) for name in group}
    last = dict(turn)
    for link in links:
        last[link.source] = max(last[link.source], turn[link.target])
    for number, group in enumerate(groups):
        yield group, [name for name, end in last.items() if end == number]


def _run_group(
    group: tuple[str, ...], links: Sequence[Link], signals: Mapping[str, Signal], begin: Callable[[str], Running]
) -> dict[str, Signal]:
    running = {name: begin(name) for name in group}
    for link in links:
        if link.target in running and link.source not in running:
            _deliver(link, signals[link.source], running[link.target].currents)
    inner = {name: [c for c in links if c.target == name and c.source in running] for name in group}
    _run(running, inner)
    return {name: state.messages for name, state in running.items()}


def _deliver(link: Link, sent: Signal, currents: Signal) -> None:
    """Clip by clip: less memory, and BLAS adds up in an order that may depend on how many frames it gets."""
    for clip in range(len(sent)):
        currents[clip] += link(sent[clip : clip + 1])[0]


def _run(running: Mapping[str, Running], inner: Mapping[str, list[Link]]) -> None:
    """Step through a group; `inner` are the connections of a loop, which see what was sent before."""
    for frame in range(next(iter(running.values())).currents.shape[1]):
        for name, state in running.items():
            current = state.currents[:, frame]
            for link in inner[name]:
                if frame >= link.delay:
                    current = current + link.at(frame, running[link.source].messages[:, frame - link.delay])
            state.messages[:, frame] = state.step(current, frame)
