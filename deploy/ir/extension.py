"""What every stateless NIR node of ours answers for itself: what it computes, and what it is in the network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, get_type_hints

import nir

from deploy.ir.operations.base import IntOperation, Operation
from deploy.ir.types import Array, Shape

LEAST = "least"  # key in the metadata of a node's field: the smallest whole number that it may hold; without it 0
FROM_ONE = {LEAST: 1}


@dataclass(frozen=True, kw_only=True)
class LoweredNode:
    """What a node is in the network: an operation, a gain and a bias behind it, or neurons without memory."""

    operation: Operation
    gain: Array | None = None  # broadcasts to [T, C, H, W]
    bias: Array | None = None  # broadcasts to (C, H, W) or [T, C, H, W]
    threshold: Array | None = None  # broadcasts to (C, H, W): spikes are sent where the result is above it


class ExtensionNode(nir.NIRNode, ABC):
    """A node of ours: without state, one signal in and one out."""

    takes_spikes: ClassVar[bool] = False  # whether it is defined for the spikes of one population only
    takes_sum: ClassVar[bool] = False  # whether what it makes of a sum is not the sum of what it makes of each part

    @abstractmethod
    def run(self, x_NT: Array) -> Array:
        """The output [N, T, *shape] for a signal [N, T, *shape]; raises `InputError` for one that it cannot take."""

    def at(self, t: int) -> "ExtensionNode":
        """The node as it is at one time step; most are the same at all."""
        return self

    @abstractmethod
    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        """The node between images of these shapes in clips of `frames`; raises `ValueError` for what it cannot be."""

    def lowered_behind_spikes(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        """The same behind the spikes of one population, where it may be something that a chip has."""
        return self.lowered(in_shape, out_shape, frames)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What the file of an operation declares: its integer form, which files hold, and the nodes that it is."""

    integer: type[IntOperation]
    nodes: tuple[type[ExtensionNode], ...] = ()


def single_fields(cls: type[nir.NIRNode]) -> tuple[str, ...]:
    """Fields of a kind of node that hold one number each."""
    hints = get_type_hints(cls)
    return tuple(f.name for f in fields(cls) if hints[f.name] in (int, float))


def fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `target`, dimension by dimension."""
    return len(shape) == len(target) and all(n in (1, full) for n, full in zip(shape, target, strict=True))
