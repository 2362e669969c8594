"""What a command line of `run_lava.py` asks for, as a graph and clips."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import nir

from deploy.arguments import check_weight_bits
from deploy.clips.files import from_files, shipped
from deploy.clips.nir_data import clip_format, is_recording, read_spikes
from deploy.clips.read import array_frames, batches, require_fit, require_readable
from deploy.clips.source import ClipSource, input_format
from deploy.frontend.export import export_checkpoint
from deploy.gates.export import check_export
from deploy.gates.reference import require_comparable
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import graph_dt_s
from deploy.passes.from_nir import graph_frames
from deploy.passes.lowering import lower
from hardware import Chip, ChipError, load_chip, shipped_chips
from svformer.assets import CALIBRATION_CLIPS, TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.data.arguments import check_dataset_arguments
from svformer.evaluation.views import parse_views


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse, before anything is done, what cannot be run."""
    if arguments.backend == "loihi2" and not arguments.estimate:
        from deploy.lava_network.loihi import require_board  # only who asks for a chip needs Lava here

        require_board()
    if arguments.clip and arguments.dataset:
        raise InputError("--clip and --dataset are both given; choose one")
    if arguments.limit is not None and (not arguments.dataset or arguments.limit < 1):
        raise InputError(f"--limit {arguments.limit}; allowed: 1 or more, together with --dataset")
    check_weight_bits(arguments.weight_bits)
    if arguments.processes < 1:
        raise InputError(f"--processes {arguments.processes}; allowed: 1 or more")
    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"--workers {arguments.workers}; allowed: 1 or more")
    if arguments.scheduler == "":
        raise InputError("--scheduler '': allowed: the address of a dask scheduler, tcp://HOST:8786")
    for name in ("workers", "scheduler", "resume"):
        if getattr(arguments, name) and (arguments.estimate or arguments.backend == "loihi2"):
            raise InputError(f"--{name} is for runs on Lava or the integers; leave it out")
    if arguments.timeout is not None and arguments.timeout <= 0:
        raise InputError(f"--timeout {arguments.timeout:g}; allowed: a positive number of seconds")
    check_dataset_arguments(arguments)
    parse_views(arguments.views)
    require_readable(from_files(arguments.clip or []))
    if arguments.reference:
        read_spikes(arguments.reference)


def check_files(arguments: argparse.Namespace, graph: nir.NIRGraph, sources: list[ClipSource]) -> None:
    """Refuse, before the long work, files of the user that do not fit the graph."""
    if arguments.clip:
        require_fit(sources, input_format(graph, graph_frames(graph)))
    if arguments.reference:
        require_comparable(arguments.reference, lower(graph, merge="never"), graph_dt_s(graph))


def read_chips(files: list[str]) -> list[Chip]:
    """A user's own chip files; raises `InputError` with all that is wrong in the first that is."""
    chips: list[Chip] = []
    for file in files:
        try:
            chips.append(load_chip(file))
        except ChipError as error:
            raise InputError(str(error)) from error
        taken = [*shipped_chips(), *(chip.name for chip in chips[:-1])]
        if chips[-1].name in taken:
            raise InputError(
                f"--chip {file}: a chip named {chips[-1].name} is in the table already; give it another name"
            )
    return chips


def default_out(arguments: argparse.Namespace) -> Path:
    """runs/demo, or a folder of its own for clips, data sets and estimates, whose report has no page beside it."""
    if arguments.estimate:
        return Path("runs/estimate")
    return Path("runs") / (arguments.dataset or ("clips" if arguments.clip else "demo"))


def read_network(arguments: argparse.Namespace, say: Callable[[str], None]) -> nir.NIRGraph:
    """The graph of --nir, or of the shipped checkpoint, which is exported and checked first."""
    if arguments.nir:
        graph = read_nir(arguments.nir)
        if arguments.dt is not None:
            graph.metadata["dt"] = arguments.dt
        _fill_in(graph, [source.path for source in from_files(arguments.clip or []) if source.entry is None])
        return graph
    model, graph = export_checkpoint(TINY_CHECKPOINT)
    _, clips = next(batches(shipped(CALIBRATION_CLIPS), input_format(graph, model.config.frames), 2))
    check = check_export(model, graph, clips)
    path = arguments.out / "model.nir"
    write_nir(graph, path)
    say(f"exported {path}: PyTorch = NIR on {check.spikes_compared:,} spikes, {check.ties} differ at ties")
    return read_nir(path)


def _fill_in(graph: nir.NIRGraph, arrays: Sequence[Path]) -> None:
    """The time steps that the graph does not say, from the clips; those of recordings have to agree with it."""
    for path in arrays:
        if is_recording(path):
            frames, dt_s = clip_format(path, graph_dt_s(graph) if "dt" in graph.metadata else None)
            graph.metadata.setdefault("dt", dt_s)
        else:
            frames = array_frames(path)
        graph.metadata.setdefault("T", frames)
