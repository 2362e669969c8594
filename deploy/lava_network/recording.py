"""What the populations of a run sent, in memory that their processes share with the caller."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.lava_network.actors import populate, shared_zeros

Shape = tuple[int, ...]


class Recording:
    """Messages of one population, frame by frame: spikes (int8) take one bit each, graded messages 32.

    Memory that is new to a process costs more time than what is written to it, so spikes are packed.
    """

    def __init__(self, frames: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.values = int(np.prod(shape))
        self.packed = dtype == np.int8
        size = -(-self.values // 8) if self.packed else self.values
        self.memory = shared_zeros((frames, size), np.uint8 if self.packed else dtype)

    def populate(self) -> None:
        """Take the memory at once, in the process that will write to it: page by page, in the run, it costs more."""
        populate(self.memory)

    def keep(self, frame: int, messages: NDArray[Any]) -> None:
        """Take what the population sent for a frame, [C, H, W], if it is one: not before the first, after the last."""
        if not 0 <= frame < len(self.memory):
            return
        flat = messages.reshape(-1)
        self.memory[frame] = np.packbits(flat.view(bool)) if self.packed else flat

    def signal(self, clips: int) -> NDArray[Any]:
        """All of it: spikes uint8, graded messages int32, [N clips, T, C, H, W]."""
        flat = np.unpackbits(self.memory, axis=1, count=self.values) if self.packed else self.memory
        return flat.reshape(clips, -1, *self.shape)
