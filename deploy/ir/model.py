"""What a graph says of itself: which model it is, and how many time steps a clip has."""

import nir
import numpy as np

from deploy.ir.nodes import GainBias, SpikingAttention
from svformer.common.errors import InputError

SVFORMER = "SVFormer"


def name_of(graph: nir.NIRGraph) -> str:
    """The model that the graph names; a graph that names none is SVFormer where it has its attention."""
    attends = any(isinstance(node, SpikingAttention) for node in graph.nodes.values())
    return str(graph.metadata.get("model", SVFORMER if attends else "network"))


def is_svformer(graph: nir.NIRGraph) -> bool:
    """Whether the graph is this project's own model, whose T and whose videos are part of it."""
    return name_of(graph) == SVFORMER


def has_fixed_frames(graph: nir.NIRGraph) -> bool:
    """Whether T is part of the model: an SVFormer, or parameters that differ between time steps."""
    return is_svformer(graph) or any(isinstance(n, GainBias) and n.frames > 1 for n in graph.nodes.values())


def stated_frames(graph: nir.NIRGraph) -> int | None:
    """T of the graph's metadata, if it has one; raises `InputError` where it is no number of time steps."""
    if "T" not in graph.metadata:
        return None
    frames = graph.metadata["T"]
    if not (np.issubdtype(type(frames), np.integer) and frames >= 1):
        raise InputError(f"T is {frames}; allowed: a whole number of time steps from 1")
    return int(frames)
