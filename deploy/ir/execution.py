"""How a network is executed, in real numbers or integers: group by group, loops one time step after the other."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

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


def execute(
    populations: Iterable[str],
    connections: Iterable[Link],
    entry: tuple[str, Signal],
    start: Callable[[str, int, int], Running],
) -> dict[str, Signal]:
    """Messages of every population when the input, named in `entry`, sends a signal.

    `start` begins another population, by its name, for so many clips of so many frames.
    """
    links, signals = list(connections), dict([entry])
    clips, frames = entry[1].shape[:2]
    for group in grouped(populations, ((c.source, c.target) for c in links)):
        if group[0] in signals:
            continue
        running = {name: start(name, clips, frames) for name in group}
        for link in links:
            if link.target in running and link.source not in running:
                running[link.target].currents += link(signals[link.source])
        inner = {name: [c for c in links if c.target == name and c.source in running] for name in group}
        _run(running, inner, frames)
        signals |= {name: state.messages for name, state in running.items()}
    return signals


def _run(running: Mapping[str, Running], inner: Mapping[str, list[Link]], frames: int) -> None:
    """Step through a group; `inner` are the connections of a loop, which see what was sent before."""
    for frame in range(frames):
        for name, state in running.items():
            current = state.currents[:, frame]
            for link in inner[name]:
                if frame >= link.delay:
                    current = current + link.at(frame, running[link.source].messages[:, frame - link.delay])
            state.messages[:, frame] = state.step(current, frame)
