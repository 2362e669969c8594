"""An export carried out: a checkpoint becomes a NIR file that is found to give PyTorch's spikes."""

from dataclasses import dataclass
from pathlib import Path

import nir

from deploy.arguments import MAX_NEURONS
from deploy.clips.read import example_clips
from deploy.clips.source import InputFormat
from deploy.frontend import portable
from deploy.frontend.export import export_checkpoint
from deploy.gates.export import ExportCheck, check_export
from deploy.gates.spikes import TIE_MARGIN
from deploy.ir.graph import write_nir
from deploy.pipeline import Say
from deploy.request import ExportRequest
from svformer.assets import TINY_CHECKPOINT
from svformer.common.terminal import working

CHECKED_CLIPS = 3


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A graph that lies in a file, and what was compared with PyTorch before it was written."""

    graph: nir.NIRGraph
    file: Path
    check: ExportCheck
    clips: int  # that were compared


def export(request: ExportRequest, say: Say = lambda line: None) -> Exported:
    """Write the NIR file of a checkpoint; `say` gets the size of a portable form before it is made.

    Raises `InputError` for a checkpoint that cannot be read and for a portable form of too many neurons, `GateError`
    where the graph does not give PyTorch's spikes; then nothing is written.
    """
    model, graph = export_checkpoint(Path(request.checkpoint or TINY_CHECKPOINT), head_dim=request.head_dim)
    tie_margin = TIE_MARGIN
    if request.portable:
        graph, tie_margin = _portable(graph, request, say), portable.TIE_MARGIN * model.config.threshold
    clips = example_clips(InputFormat.of(model.config), CHECKED_CLIPS)
    with working("comparing PyTorch and NIR, spike by spike"):
        check = check_export(model, graph, clips, tie_margin=tie_margin)
    write_nir(graph, request.file)
    return Exported(graph=graph, file=request.file, check=check, clips=len(clips))


def _portable(graph: nir.NIRGraph, request: ExportRequest, say: Say) -> nir.NIRGraph:
    own, added = portable.count_neurons(graph)
    say(f"the portable form takes {own + added:,} neurons: the model's {own:,}, {added:,} for attention")
    return portable.portable(graph, dt_s=request.dt_s, max_neurons=request.max_neurons or MAX_NEURONS)
