"""What a command line of `run_lava.py` asks for, as a graph and clips."""

import argparse
from collections.abc import Callable

import nir

from deploy.export import check_export, export_checkpoint
from deploy.inputs import ClipSource, batches, from_files, shipped, with_views
from deploy.ir.graph import read_nir, write_nir
from deploy.pipeline import input_format
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS, TINY_CHECKPOINT
from svformer.data.datasets import open_dataset
from svformer.errors import InputError


def read_network(arguments: argparse.Namespace, say: Callable[[str], None]) -> nir.NIRGraph:
    """The graph of --nir, or of the shipped checkpoint, which is exported and checked first."""
    if arguments.nir:
        return read_nir(arguments.nir)
    model, graph = export_checkpoint(TINY_CHECKPOINT)
    _, clips = next(batches(shipped(CALIBRATION_CLIPS), input_format(graph, model.config.frames), 2))
    check = check_export(model, graph, clips)
    path = arguments.out / "model.nir"
    write_nir(graph, path)
    say(f"exported {path}: PyTorch = NIR on {check.spikes_compared:,} spikes, {check.ties} differ at ties")
    return read_nir(path)


def choose_clips(arguments: argparse.Namespace, graph: nir.NIRGraph) -> list[ClipSource]:
    """The clips to run, every view of them."""
    if arguments.clip:
        sources = from_files(arguments.clip)
    elif arguments.dataset:
        size = input_format(graph, 1).shape[-1]
        data = open_dataset(arguments, size=size, frames=int(graph.metadata["T"]), train=False)
        sources = [ClipSource(path=e.path, label=data.classes[e.label]) for e in data.entries][: arguments.limit]
    else:
        sources = shipped(DEMO_CLIPS)
    return with_views(sources, *parse_views(arguments.views))


def parse_views(text: str) -> tuple[int, int]:
    """Temporal and spatial views, "5x3"."""
    temporal, _, spatial = text.partition("x")
    if not (temporal.isdigit() and spatial.isdigit() and int(temporal) and int(spatial)):
        raise InputError(f"--views {text}; allowed: temporal x spatial counts from 1, such as 5x3")
    return int(temporal), int(spatial)


def calibration_clips(graph: nir.NIRGraph, sources: list[ClipSource]) -> list[ClipSource]:
    """The shipped clips for a network that takes video; the clips to run for any other."""
    takes_video = len(shape := input_format(graph, 1).shape) == 3 and shape[0] == 3
    return shipped(CALIBRATION_CLIPS) if takes_video else sources
