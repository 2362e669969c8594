"""What a request names, read and found to fit together, before the long work and before anything is written."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np

from deploy.clips.choose import calibration_clips, dataset_clips, demo_clips, held_out_clips, training_clips
from deploy.clips.files import from_files, with_views
from deploy.clips.fit import FrameChoice, fitted
from deploy.clips.labels import require_classes, with_labels
from deploy.clips.nir_data import read_spikes
from deploy.clips.read import random_spikes, require_fit, require_readable
from deploy.clips.source import ClipSource, InputFormat, input_format
from deploy.exchange.integers import holds_integers, integers_of
from deploy.exchange.netx.reading import DT_S, graph_of_net
from deploy.execution.backends import BOARDS
from deploy.execution.entries import Entries
from deploy.execution.resume import FOLDER, ResultFolder
from deploy.gates.reference import require_comparable
from deploy.ir.exact import exact_network
from deploy.ir.graph import read_nir
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.model import class_names, says_ours
from deploy.ir.shapes import infer_shapes
from deploy.ir.types import Frames
from deploy.passes.chain_choice import Merge
from deploy.passes.from_nir import graph_frames
from deploy.passes.loop_delay import with_loop_delays
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import read_merge
from deploy.request import Request
from deploy.shipped import ShippedNetwork, shipped_network
from hardware import Chip, ChipError, load_chip, shipped_chips
from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.common.remarks import remark
from svformer.data.clips import MEAN, STD
from svformer.data.videos import VideoEntry

ESTIMATED_FRAMES, ESTIMATED_CLIPS = 100, 4  # of random spikes, where an estimate has no clips and the graph no T

Calibration = list[ClipSource] | Frames  # clips on disk, or frames [N, T, *input shape] in their place


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network, its clips and what prices it."""

    graph: nir.NIRGraph
    shipped: ShippedNetwork | None  # None for a network from a file
    clips: list[ClipSource]  # every view of them
    calibration: Calibration
    examples: Calibration  # to tune on; empty where nothing is tuned
    merge: Merge
    chips: list[Chip]  # the user's own


def prepare(request: Request, *, runs: bool = True) -> Prepared:
    """Read network, clips, chips and reference; raises `InputError` for what cannot be read or does not fit.

    Where nothing `runs`, as in an estimate, a network of another framework needs no clips.
    """
    merge, chips = read_merge(request.chosen_merge), read_chips(request.chips)
    files, others = from_files(request.clips), from_files(request.calibrate)
    require_readable([*files, *others])
    if request.reference:
        read_spikes(Path(request.reference))
    graph = _given_network(request)
    if graph is not None and holds_integers(graph):
        request.require_no_choices(str(request.nir or request.net))
    clips, shown = _sources(request, graph, files)
    examples = _examples(request, graph, others)
    _require_machines(request)
    shipped = None
    if graph is None:
        shipped = shipped_network(Entries() if request.cache else None)
        graph = shipped.graph
        graph.metadata |= request.said
    clips, calibration, examples = _fitted(
        request, graph, [clips, others or shown, examples], runs=runs and not request.estimate
    )
    if request.loop_delay:
        graph = with_loop_delays(graph, merge=merge)
    return Prepared(
        graph=graph,
        shipped=shipped,
        clips=clips,
        calibration=calibration,
        examples=examples,
        merge=merge,
        chips=chips,
    )


def _sources(
    request: Request, graph: nir.NIRGraph | None, files: list[ClipSource]
) -> tuple[list[ClipSource], list[ClipSource]]:
    """What to run and what to choose scales by, from a data set or files; either may be open."""
    if request.dataset is None:
        return files, []
    trained = graph is None or says_ours(graph)  # or the data set is only shown to it
    return (
        held_out_clips(request.dataset, request.limit, trained=trained),
        training_clips(request.dataset, trained=trained),
    )


def _examples(request: Request, graph: nir.NIRGraph | None, calibrate: list[ClipSource]) -> list[ClipSource]:
    """Clips to tune on: all of the training part of a data set, else those of `--calibrate`."""
    if not request.tune:
        return []
    if request.dataset is None:
        return calibrate
    return dataset_clips(request.dataset, train=True, trained=graph is None or says_ours(graph))


def _fitted(
    request: Request, graph: nir.NIRGraph, lists: Sequence[list[ClipSource]], *, runs: bool
) -> tuple[list[ClipSource], Calibration, list[ClipSource]]:
    """Clips in the form that the graph takes, what scales are chosen by, and what it is tuned on; the graph receives
    T and dt.
    """
    clips, calibration, examples = lists
    choice = FrameChoice(
        frames=request.frames, events_by=request.events_by, bin_ms=request.bin_ms, sensor=request.sensor
    )
    wanted = input_format(graph, 1)
    if not (clips or wanted.pixels or runs):
        return [], _stand_in(request, graph, calibration, choice), []
    clips = clips or demo_clips(wanted)
    named = {clip.label for clip in clips}
    clips, calibration, examples = fitted(graph, [clips, calibration, examples], choice)
    if request.labels:
        clips = with_labels(clips, Path(request.labels))
    if not graph.outputs:
        raise InputError("the network has no Output node, so nothing would come of a run; add one behind its last node")
    outputs = int(np.prod(infer_shapes(graph)[next(iter(graph.outputs))]))
    explicit = [clip for clip in clips if request.labels or clip.label not in named]
    require_classes(explicit, class_names(graph.metadata), outputs, said_by=request.labels)
    clips = with_views(clips, *request.views)
    calibration = calibration or calibration_clips(wanted, clips)
    _require_fit(request, graph, clips, calibration)
    _say_videos(wanted, [*clips, *calibration])
    return clips, calibration, examples


def _stand_in(request: Request, graph: nir.NIRGraph, calibration: list[ClipSource], choice: FrameChoice) -> Calibration:
    """What scales are chosen by where there are no clips to run: the files of `--calibrate`, or random spikes."""
    if calibration:
        (found,) = fitted(graph, [calibration], choice)
        return found
    (_,) = fitted(graph, [[]], choice)
    graph.metadata.setdefault("T", request.frames or ESTIMATED_FRAMES)
    frames = graph_frames(graph)
    print(
        f"no clips: scales are chosen by random spikes of {frames} time steps; sizes and fit are the network's, errors "
        "of rounding need --clip or --calibrate",
        file=sys.stderr,
    )
    return random_spikes(input_format(graph, frames), ESTIMATED_CLIPS)


def _say_videos(wanted: InputFormat, clips: Sequence[ClipSource]) -> None:
    """Say, once, how videos are read for a network that does not say that it takes any."""
    video = next((clip for clip in clips if isinstance(clip.entry, VideoEntry)), None)
    if video is not None and not wanted.pixels:
        text = f"read as video, pixels as (x / 255 - {MEAN}) / {STD}; give arrays where the network takes another form"
        remark(video.path, "video", text)


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


def _require_fit(
    request: Request, graph: nir.NIRGraph, clips: Sequence[ClipSource], calibration: Sequence[ClipSource]
) -> None:
    """Raise `InputError` for files of the user that do not fit the graph."""
    wanted = input_format(graph, graph_frames(graph))
    if request.clips:
        require_fit(clips, wanted)
    if request.calibrate:
        require_fit(calibration, wanted)
    lengths = sorted({clip.frames or wanted.frames for clip in clips})
    for option, given in (("--reference", request.reference), (f"--backend {request.backend}", _on_board(request))):
        if given and len(lengths) > 1:
            found = f"{lengths[0]} to {lengths[-1]} time steps"
            raise InputError(f"{option}: clips of {found}; allowed: clips of one length, run the others by themselves")
    if request.reference:
        network = exact_network(integers_of(graph)) if holds_integers(graph) else lower(graph, merge="never")
        require_comparable(Path(request.reference), network, graph_dt_s(graph))


def _on_board(request: Request) -> bool:
    return request.backend in BOARDS and not request.estimate


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


def _given_network(request: Request) -> nir.NIRGraph | None:
    """The network of a file; None for the shipped one."""
    if request.net is None:
        return None if request.nir is None else read_network(request.nir, request.said)
    graph = graph_of_net(request.net)
    if request.dt_s is None:
        remark(Path(request.net), "dt", f"no dt in such a file: a time step is taken to be {1e3 * DT_S:g} ms (--dt)")
    graph.metadata |= request.said
    return graph


def read_network(path: str | Path, metadata: Mapping[str, object]) -> nir.NIRGraph:
    """A graph from a file, with these metadata in place of those that it says.

    Raises `InputError` for a file that is no graph.
    """
    graph = read_nir(path)
    class_names(graph.metadata)
    said = metadata.get("dt")
    own = np.asarray(graph.metadata.get("dt", said))
    if said is not None and own.size == 1 and own.item() != said:
        text = f"it was written for time steps of {own.item()} s, and --dt {said} makes it another network"
        remark(path, "dt", text)
    graph.metadata |= metadata
    if holds_integers(graph):
        integers_of(graph)  # refuses here what is damaged
    return graph
