"""What a graph says of itself: which model it is, and how many time steps a clip has."""

import json
from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from deploy.ir.nodes import IntegerPart
from deploy.ir.operations.attention import SpikingAttention
from deploy.ir.operations.identity import GainBias
from svformer.common.errors import InputError
from svformer.data.choice import STRIDE

SVFORMER = "SVFormer"
BASELINES = ("rsnn", "ann2snn")  # spiking networks that it is compared with (svformer/baselines/)
STEPS_PER_FRAME = "steps_per_frame"  # key of the metadata: time steps that a clip's frame is shown; without it, one


def name_of(graph: nir.NIRGraph) -> str:
    """The model that the graph names; a graph that names none is SVFormer where it has its attention."""
    attends = any(isinstance(node, SpikingAttention) for node in graph.nodes.values())
    return str(graph.metadata.get("model", SVFORMER if attends else "network"))


def is_svformer(graph: nir.NIRGraph) -> bool:
    """Whether the graph is, or has the attention of, this project's own model."""
    return name_of(graph) == SVFORMER


def says_ours(graph: nir.NIRGraph) -> bool:
    """Whether the graph says that it is a network of this project, so that its T and its videos are part of it."""
    return str(graph.metadata.get("model")) in (SVFORMER, *BASELINES)


def stated_frames(graph: nir.NIRGraph) -> int | None:
    """T of the graph's metadata, if it has one; raises `InputError` where it is no number of time steps."""
    if "T" not in graph.metadata:
        return None
    frames = graph.metadata["T"]
    if not (np.issubdtype(type(frames), np.integer) and frames >= 1):
        raise InputError(f"T is {np.asarray(frames).tolist()}; allowed: a whole number of time steps from 1")
    return int(frames)


def stated_steps_per_frame(graph: nir.NIRGraph) -> int:
    """Time steps that every frame of a clip is shown; T is a multiple of it.

    Raises `InputError` where the metadata say something else.
    """
    steps, frames = np.asarray(graph.metadata.get(STEPS_PER_FRAME, 1)).item(), stated_frames(graph)
    if not (isinstance(steps, int) and steps >= 1 and (frames or 0) % steps == 0):
        raise InputError(f"{STEPS_PER_FRAME} is {steps} and T {frames}; allowed: a whole number from 1 that divides T")
    return steps


def stated_stride(graph: nir.NIRGraph) -> int:
    """Pictures at 30 a second from one frame of a clip to the next, as the network was trained; 4 where it says none.

    Raises `InputError` where the metadata say something else than a whole number from 1.
    """
    said = np.asarray(graph.metadata.get("stride", STRIDE)).item()
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"stride is {text}; allowed: a whole number of pictures from 1")
    return int(text)


def fixed_frames(graph: nir.NIRGraph) -> int | None:
    """T where it is part of the model: of an SVFormer, or of parameters that differ between time steps; else None."""
    changing = {node.frames for node in graph.nodes.values() if isinstance(node, (GainBias, IntegerPart))} - {1}
    if changing or says_ours(graph):
        return stated_frames(graph) or max(changing, default=None)
    return None


def class_names(notes: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes, where a graph's metadata or a checkpoint's notes say them.

    Raises `InputError` for what is no list of names, as text in JSON or as an array of texts.
    """
    found = notes.get("classes", "[]")
    try:
        names = json.loads(found) if isinstance(found, (str, bytes)) else np.asarray(found).tolist()
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, (str, bytes)) for name in names):
        raise InputError(
            f"the graph's metadata has 'classes' {np.asarray(found).tolist()!r}; allowed: a list of names, as JSON "
            "(json.dumps) or as texts"
        )
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else name for name in names)
