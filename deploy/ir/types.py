"""Names of array types and shapes, one for each kind of value.

Legend of array names: N clips, T time steps, C channels, H rows, W columns; O output channels of a kernel, I inputs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  # real numbers
IntArray = NDArray[np.int64]  # numbers of the integer machine
BoolArray = NDArray[np.bool_]
Values = NDArray[Any]  # either of them, or messages in the narrowest type that holds them

Shape = tuple[int, int, int]  # (C, H, W) of a population
NodeShape = tuple[int, ...]  # of a signal between NIR nodes: its images, lines and vectors have as many dimensions
Signals = dict[str, Values]  # by population: its messages for several clips, [N, T, C, H, W]
Frames = Values  # clips, [N, T, *input shape]
