"""What Loihi 2 makes of one part of a network: a process that Lava has, or a neuron that nobody has written yet."""

from dataclasses import dataclass

CONV, DENSE, NEURONS, RELAY = "Conv", "Dense", "LIFReset", "GradedVec"  # Lava's processes


@dataclass(frozen=True, kw_only=True)
class ChipPart:
    """One part of a population or connection on the chip."""

    what: str
    process: str = ""  # Lava's process that holds it; empty where none does
    microcode: str = ""  # what a neuron program would have to do; empty where none is needed
