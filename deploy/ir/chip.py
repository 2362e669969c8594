"""What Loihi 2 makes of one part of a network: a process that Lava has, or a neuron that nobody has written yet."""

from dataclasses import dataclass

from hardware import ConvGeometry

CONV, SPARSE, NEURONS, NEURON, RELAY = "Conv", "Sparse", "LIFReset", "LIF", "GradedVec"  # Lava's processes
SYNAPSES = (CONV, SPARSE)
LARGEST_PARAMETER = 127  # of a Conv: Lava keeps kernel, stride, padding, dilation and groups in 8 bits with a sign


@dataclass(frozen=True, kw_only=True)
class ChipPart:
    """One part of a population or connection on the chip."""

    what: str
    process: str = ""  # Lava's process that holds it; empty where none does
    microcode: str = ""  # what a neuron program would have to do; empty where none is needed


def synapses_of(geometry: ConvGeometry) -> str:
    """Lava's process for a convolution: Conv, which stores its kernel once, or Sparse, which stores every synapse.

    A Sparse is taken where there are no more synapses than weights, and for parameters that a Conv does not hold.
    """
    parameters = (*geometry.kernel, *geometry.stride, *geometry.padding, *geometry.dilation, geometry.groups)
    is_small = geometry.synapses <= geometry.weights
    return SPARSE if is_small or max(parameters) > LARGEST_PARAMETER else CONV
