"""Checkpoint -> .nir file, with the proof that the graph gives the model's spikes."""

from pathlib import Path

import nir

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
