"""NIR nodes that the standard does not have. Their specification is docs/nir_extensions.md.

A stateless one answers for itself, what it computes (`run`) and what it is in the network (`lowered`); it stands in the
file of its operation (`deploy.ir.operations`). A neuron of ours is one more case of the equation of all
(`deploy.ir.neurons`). A reader that does not know a node must refuse the file; stock `nir.read` does.
"""

from dataclasses import dataclass

import nir
import numpy as np

from deploy.ir.extension import ExtensionNode, LoweredNode
from deploy.ir.operations.table import OPERATORS
from deploy.ir.soft_reset import SubtractLIF
from deploy.ir.types import Array, IntArray, Shape
from svformer.common.errors import InputError

# Keys in the metadata of a Conv2d whose weights were trained on a grid: the bits of a weight, with its sign, and the
# step, a float of which all weights are whole multiples. Files before weight_step have the first key alone.
TRAINED_BITS, WEIGHT_STEP = "weight_bits", "weight_step"
LOST_INTEGERS = "they are not in the graph's metadata; read the file as it was written"


@dataclass(eq=False)
class IntegerPart(ExtensionNode):
    """A part of a network of integers that no other node holds; it is said in the graph's metadata alone.

    Neurons that are reset by subtraction, potentials that are sent and do not begin a clip at 0, a reshape to an image
    (docs/integer_files.md). Its presence makes a reader that does not take the integers refuse the graph.
    """

    input_shape: IntArray
    output_shape: IntArray
    frames: int = 1  # time steps that it has values for; 1 when they are the same at every step
    version: int = 1

    def __post_init__(self) -> None:
        self.input_shape, self.output_shape = (
            np.asarray(shape, dtype=np.int64) for shape in (self.input_shape, self.output_shape)
        )
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}

    def run(self, x_NT: Array) -> Array:
        raise InputError(f"an IntegerPart is run by its integers alone; {LOST_INTEGERS}")

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        raise ValueError(f"an IntegerPart is its integers alone; {LOST_INTEGERS}")


NODES = (*(node for operator in OPERATORS for node in operator.nodes), SubtractLIF, IntegerPart)
EXTENSIONS: dict[str, type[nir.NIRNode]] = {cls.__name__: cls for cls in NODES}
VERSION = 1
