"""What the populations of a run sent, in memory that their processes share with the caller."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.simd import jit
from deploy.lava_network.actors import populate, release, shared_zeros

Shape = tuple[int, ...]
HALF = 16  # bits
BEYOND = 1 << (HALF - 1)  # what a signed half does not hold


class Recording:
    """Messages of one population, frame by frame: spikes (int8) take one bit each, graded messages 16, or 32 in a
    frame that needs them.

    Memory that is new to a process costs more time than what is written to it. The upper halves are no memory at all
    until a message is written there.
    """

    def __init__(self, frames: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.values = int(np.prod(shape))
        self.packed = dtype == np.int8
        if self.packed:
            self.memory = shared_zeros((frames, -(-self.values // 8)), np.uint8)
            return
        self.memory, self.upper = (shared_zeros((frames, self.values), np.int16) for _ in range(2))
        self.is_wide = shared_zeros((frames,), np.bool_)
        keep_lower(np.zeros(1, np.int32), np.zeros(1, np.int16))  # compiled before a process is forked

    def populate(self) -> None:
        """Take the memory at once, in the process that will write to it: page by page, in the run, it costs more."""
        populate(self.memory)

    def store(self, frame: int, messages: NDArray[Any]) -> None:
        """Take what the population sent for a frame, [C, H, W], if it is one: not before the first, after the last."""
        if not 0 <= frame < len(self.memory):
            return
        flat = messages.reshape(-1)
        if self.packed:
            self.memory[frame] = np.packbits(flat.view(bool))
        elif keep_lower(flat, self.memory[frame]):
            self.upper[frame], self.is_wide[frame] = flat >> HALF, True

    def take(self, clips: int) -> NDArray[Any]:
        """All of it, once: spikes uint8, graded messages int32, [N clips, T, C, H, W]. The shared memory is given back,
        so that all recordings are never there in both forms.
        """
        if self.packed:
            flat = np.unpackbits(self.memory, axis=1, count=self.values)
        else:
            flat = self.memory.astype(np.int32)
            for frame in np.flatnonzero(self.is_wide):
                flat[frame] = (self.upper[frame].astype(np.int32) << HALF) + self.memory[frame].view(np.uint16)
            release(self.upper)
        release(self.memory)
        return flat.reshape(clips, -1, *self.shape)


@jit
def keep_lower(messages: NDArray[np.int32], lower: NDArray[np.int16]) -> bool:
    """lower[i] = the lower half of messages[i]; whether there is one that it does not hold."""
    beyond = False
    for i in range(messages.size):
        message = messages[i]
        lower[i] = np.int16(message)
        beyond |= message >= BEYOND or message < -BEYOND
    return beyond
