"""Checkpoint -> .nir file, with the proof that the graph gives the model's spikes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
from safetensors import safe_open

from deploy.frontend import from_svformer
from svformer.model.checkpoint import load_checkpoint
from svformer.model.svformer import SVFormer


def export_checkpoint(path: Path, *, head_dim: int = 64) -> tuple[SVFormer, nir.NIRGraph]:
    """The float64 model of a checkpoint and its NIR graph; class names, if known, go into the metadata."""
    model = load_checkpoint(path, head_dim=head_dim).double()
    graph = from_svformer.export(model)
    graph.metadata |= training_facts(path)
    return model, graph


def training_facts(path: Path) -> dict[str, str]:
    """What a checkpoint of ours says of its training: class names (JSON) and data set."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="np") as file:
        notes = file.metadata() or {}
    return {name: notes[name] for name in ("classes", "dataset") if name in notes}


def class_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes, where a graph's metadata or a checkpoint's training facts say them."""
    return tuple(json.loads(facts["classes"])) if "classes" in facts else ()
