"""What a deployment is compared with: the graph in real numbers, or, of given integers, the same without rounding."""

from collections.abc import Iterable

import nir

from deploy.exchange.integers import holds_integers
from deploy.ir.exact import exact_network
from deploy.ir.integer import IntNetwork, as_images
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.types import Frames, Signals


def in_real_numbers(graph: nir.NIRGraph, integers: IntNetwork | None, frames: Frames, record: Iterable[str]) -> Signals:
    """Messages of the layers in `record` for clips [N, T, *input shape], in the units of the float network.

    `integers` are what the graph holds, where it holds any, for clips of this length.
    """
    if integers is None or not holds_integers(graph):
        return interpret(graph, frames, record=record)
    return run_float(exact_network(integers), as_images(frames, integers), record=record)
