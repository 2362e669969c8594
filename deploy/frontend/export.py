"""Checkpoint -> .nir file, with the proof that the graph gives the model's spikes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

from deploy.frontend import from_ann2snn, from_rsnn, from_svformer
from svformer.baselines.ann2snn import ConvertedCnn
from svformer.baselines.rsnn import RecurrentSnn
from svformer.common.errors import InputError
from svformer.model.network import Network
from svformer.model.svformer import SVFormer
from svformer.networks.checkpoint import load_network, read_notes


def export_checkpoint(path: Path, *, head_dim: int = 64) -> tuple[Network, nir.NIRGraph]:
    """The float64 model of a checkpoint and its NIR graph; class names, if known, go into the metadata.

    Raises `InputError` for a network without spikes.
    """
    model = load_network(path, head_dim=head_dim).double()
    graph = export(model)
    graph.metadata |= read_notes(path)
    return model, graph


def export(model: Network) -> nir.NIRGraph:
    """The NIR graph of a spiking network of this project; raises `InputError` for one without spikes."""
    match model:
        case SVFormer():
            return from_svformer.export(model)
        case RecurrentSnn():
            return from_rsnn.export(model)
        case ConvertedCnn():
            return from_ann2snn.export(model)
        case _:
            raise InputError(f"model={model.config.model!r} has no spikes to export; allowed: a spiking network")


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
