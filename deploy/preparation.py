"""What a request names, read and found to fit together, before the long work and before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nir

from deploy.clips.choose import calibration_clips, demo_clips, held_out_clips, training_clips
from deploy.clips.files import from_files, shipped, with_views
from deploy.clips.nir_data import clip_format, is_recording, read_spikes
from deploy.clips.read import array_shape, load_clips, require_fit, require_readable
from deploy.clips.source import ClipSource, InputFormat, input_format
from deploy.execution.resume import FOLDER, ResultFolder
from deploy.frontend.export import export_checkpoint
from deploy.gates.export import ExportCheck, check_export
from deploy.gates.reference import require_comparable
from deploy.ir.graph import read_nir
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.readout import READOUT
from deploy.passes.from_nir import graph_frames
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import Merge, read_merge
from deploy.request import Request
from hardware import Chip, ChipError, load_chip, shipped_chips
from svformer.assets import CALIBRATION_CLIPS, TINY_CHECKPOINT
from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.data.choice import BINNINGS

EXPORT_CLIPS = 2  # shipped clips that the export of the shipped checkpoint is checked on


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network, its clips and what prices it."""

    graph: nir.NIRGraph
    exported: ExportCheck | None  # of the shipped checkpoint; None for a network from a file
    clips: list[ClipSource]  # every view of them
    calibration: list[ClipSource]
    merge: Merge
    chips: list[Chip]  # the user's own


def prepare(request: Request) -> Prepared:
    """Read network, clips, chips and reference; raises `InputError` for what cannot be read or does not fit."""
    merge, chips = read_merge(request.merge), read_chips(request.chips)
    files = from_files(request.clips, events_by=request.events_by or BINNINGS[0])
    require_readable(files)
    if request.reference:
        read_spikes(Path(request.reference))
    graph = None if request.nir is None else read_network(request.nir, files, request.dt_s)
    clips = held_out_clips(request.dataset, request.limit) if request.dataset else files
    calibration = training_clips(request.dataset) if request.dataset else []
    _require_machines(request)
    exported = None
    if graph is None:
        graph, exported = shipped_network()
    if request.readout is not None:
        graph.metadata[READOUT] = request.readout
    wanted = input_format(graph, 1)
    clips = with_views(clips or demo_clips(wanted), *request.views)
    _require_fit(request, graph, clips)
    calibration = calibration or calibration_clips(wanted, clips)
    return Prepared(graph=graph, exported=exported, clips=clips, calibration=calibration, merge=merge, chips=chips)


def claim_folder(request: Request) -> ResultFolder:
    """What lies in the folder of results: finished batches; raises `InputError` where they may not be replaced."""
    if not request.resume:
        reports = (request.folder / name for name in ("report.json", "loihi2.json"))
        require_new(*reports, force=request.replaces)
    return ResultFolder(request.folder / FOLDER, resume=request.resume, force=request.force)


def _require_machines(request: Request) -> None:
    """Raise `InputError` where the board or the scheduler of a request does not answer."""
    if request.backend == "loihi2" and not request.estimate:
        from deploy.lava_network.loihi import require_board  # nothing else before the run needs Lava

        require_board()
    if request.scheduler:
        from deploy.execution.cluster import workers_of  # nothing else before the run needs dask

        with workers_of(request.scheduler):
            pass


def _require_fit(request: Request, graph: nir.NIRGraph, clips: Sequence[ClipSource]) -> None:
    """Raise `InputError` for files of the user that do not fit the graph."""
    if request.clips:
        require_fit(clips, input_format(graph, graph_frames(graph)))
    if request.reference:
        require_comparable(Path(request.reference), lower(graph, merge="never"), graph_dt_s(graph))


def read_chips(files: Sequence[str | Path]) -> list[Chip]:
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


# Networks


def shipped_network() -> tuple[nir.NIRGraph, ExportCheck]:
    """The shipped checkpoint as a graph, found to give PyTorch's spikes."""
    model, graph = export_checkpoint(TINY_CHECKPOINT)
    clips = load_clips(shipped(CALIBRATION_CLIPS)[:EXPORT_CLIPS], InputFormat.of(model.config))
    return graph, check_export(model, graph, clips)


def read_network(path: str | Path, clips: Sequence[ClipSource], dt_s: float | None) -> nir.NIRGraph:
    """A graph from a file; what it does not say, time step and number of steps, comes from `dt_s` and the clips.

    Raises `InputError` for a file that is no graph, and for recordings that do not agree with it.
    """
    graph = read_nir(path)
    if dt_s is not None:
        graph.metadata["dt"] = dt_s
    for source in clips:
        if source.entry is None:
            _fill_in(graph, source.path)
    return graph


def _fill_in(graph: nir.NIRGraph, clip: Path) -> None:
    """Take time steps that the graph does not say from a clip; a recording has to agree with the graph's."""
    if is_recording(clip):
        frames, dt_s = clip_format(clip, graph_dt_s(graph) if "dt" in graph.metadata else None)
        graph.metadata.setdefault("dt", dt_s)
    else:
        frames, *shape = array_shape(clip)
        expected = list(input_format(graph, 1).shape)
        if "T" not in graph.metadata and shape != expected:
            taken = ", ".join(["T", *map(str, expected)])
            raise InputError(f"{clip}: shape {[frames, *shape]}, this graph takes [{taken}] (T, input shape)")
    graph.metadata.setdefault("T", frames)
