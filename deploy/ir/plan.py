"""When every population sees each frame."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Depth of every population, and how many time steps every connection holds messages back."""

    depths: dict[str, int]
    lags: tuple[int, ...]  # of network.connections, in their order
    frames: int  # T

    @property
    def depth(self) -> int:
        """Synapses on the longest path from input to output."""
        return max(self.depths.values())

    def first_step(self, name: str) -> int:
        """Time step (counted from 1) at which a population sees frame 0; it is reset there, and every T steps."""
        return 1 + self.depths[name]

    def steps(self, clips: int) -> int:
        """Time steps until the last frame of so many clips, back to back, has come out."""
        return clips * self.frames + self.depth
