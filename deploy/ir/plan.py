"""The plan of an integer network: the time step at which every population sees each frame.

`deploy.passes.schedule` makes it; the engine, Lava's network, the counts and the report read it.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploy.ir.integer import IntConnection, IntNetwork


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Depth of every population, and how many time steps every connection holds messages back."""

    depths: dict[str, int]
    connections: tuple[IntConnection, ...]  # of the network
    lags: tuple[int, ...]  # in the order of the connections
    frames: int  # T

    @property
    def depth(self) -> int:
        """Synapses on the longest path from input to output."""
        return max(self.depths.values())

    @property
    def longest_lag(self) -> int:
        """Time steps that the longest delay line holds a message back."""
        return max(self.lags, default=0)

    def lag(self, connection: IntConnection) -> int:
        """Time steps that a connection of the network (the very object) holds its messages back."""
        return self._lag_by_id[id(connection)]

    @functools.cached_property
    def _lag_by_id(self) -> dict[int, int]:
        return {id(c): lag for c, lag in zip(self.connections, self.lags, strict=True)}

    def __getstate__(self) -> dict[str, object]:
        """Other processes have other ids."""
        return {name: value for name, value in vars(self).items() if name != "_lag_by_id"}

    def lasting(self, network: IntNetwork) -> "Plan":
        """The plan of the network for clips of other lengths (`IntNetwork.lasting`)."""
        return replace(self, connections=network.connections, frames=network.frames)

    def first_step(self, name: str) -> int:
        """Time step (counted from 1) at which a population sees frame 0; it is reset there, and every T steps."""
        return 1 + self.depths[name]

    def steps(self, clips: int) -> int:
        """Time steps until the last frame of `clips` clips, back to back, has come out."""
        return clips * self.frames + self.depth

    def delay_lines(self, name: str) -> Mapping[str, int]:
        """Time steps that messages to a population wait, by source: as long as the latest of its connections asks."""
        lines: dict[str, int] = {}
        for connection, lag in zip(self.connections, self.lags, strict=True):
            if connection.target == name and lag:
                lines[connection.source] = max(lag, lines.get(connection.source, 0))
        return lines

    def longest_lag_from(self, name: str) -> int:
        """Time steps for which the messages of a population are still needed."""
        return max((g for c, g in zip(self.connections, self.lags, strict=True) if c.source == name), default=0)
