"""An export carried out: a checkpoint, or a model of the user's own, becomes a NIR file that gives PyTorch's spikes."""

from dataclasses import dataclass
from pathlib import Path

import nir

from deploy.arguments import MAX_NEURONS
from deploy.clips.read import example_clips
from deploy.clips.source import InputFormat
from deploy.frontend import portable
from deploy.frontend.export import export_checkpoint
from deploy.frontend.factory import load_model
from deploy.gates.export import check_export
from deploy.gates.imported import ImportCheck
from deploy.gates.spikes import TIE_MARGIN, ExportCheck
from deploy.importing import from_torch
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
    check: ExportCheck | ImportCheck
    clips: int  # that were compared

    @property
    def output_error(self) -> float | None:
        """Largest difference of the outputs; None for a graph that ends before the readout."""
        return self.check.output_error if isinstance(self.check, ImportCheck) else self.check.logit_error


def export(request: ExportRequest, say: Say = lambda line: None) -> Exported:
    """Write the NIR file of a checkpoint or a model; `say` gets the size of a portable form before it is made.

    Raises `InputError` for a checkpoint or model that cannot be read and for a portable form of too many neurons,
    `GateError` where the graph does not give PyTorch's spikes; then nothing is written.
    """
    if request.model is not None:
        return _own_model(request, request.model, request.axes or "")
    model, graph = export_checkpoint(Path(request.checkpoint or TINY_CHECKPOINT), head_dim=request.head_dim)
    tie_margin = TIE_MARGIN
    if request.portable:
        graph, tie_margin = _portable(graph, request, say), portable.TIE_MARGIN * model.config.threshold
    clips = example_clips(InputFormat.of(model.config), CHECKED_CLIPS)
    with working("comparing PyTorch and NIR, spike by spike"):
        check = check_export(model, graph, clips, tie_margin=tie_margin)
    write_nir(graph, request.file)
    return Exported(graph=graph, file=request.file, check=check, clips=len(clips))


def _own_model(request: ExportRequest, factory: str, axes: str) -> Exported:
    weights, example = (None if path is None else Path(path) for path in (request.weights, request.example))
    built = load_model(factory, weights=weights, example=example)
    imported = from_torch(built.model, built.example, axes=axes, neurons=built.neurons)
    with working("comparing PyTorch and NIR, spike by spike"):
        check = imported.check(built.example)
    write_nir(imported.graph, request.file)
    return Exported(graph=imported.graph, file=request.file, check=check, clips=check.clips)


def _portable(graph: nir.NIRGraph, request: ExportRequest, say: Say) -> nir.NIRGraph:
    own, added = portable.count_neurons(graph)
    say(f"the portable form takes {own + added:,} neurons: the model's {own:,}, {added:,} for attention")
    return portable.portable(graph, dt_s=request.dt_s, max_neurons=request.max_neurons or MAX_NEURONS)
