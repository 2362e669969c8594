"""Checkpoint -> .nir file, with the proof that the graph gives the model's spikes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from deploy.frontend import from_svformer
from svformer.common.errors import InputError
from svformer.model.svformer import SVFormer
from svformer.networks.checkpoint import load_checkpoint, read_notes


def export_checkpoint(path: Path, *, head_dim: int = 64) -> tuple[SVFormer, nir.NIRGraph]:
    """The float64 model of a checkpoint and its NIR graph; class names, if known, go into the metadata."""
    model = load_checkpoint(path, head_dim=head_dim).double()
    graph = from_svformer.export(model)
    graph.metadata |= read_notes(path)
    return model, graph


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
