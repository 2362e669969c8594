"""The shipped network as a graph that fires PyTorch's spikes, as this or an earlier run of the same code compared."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import nir

from deploy.clips.files import shipped
from deploy.clips.read import load_clips
from deploy.clips.source import InputFormat
from deploy.execution import fingerprint
from deploy.execution.entries import Entries
from deploy.gates.spikes import ExportCheck
from deploy.ir.graph import read_nir, write_nir
from svformer.assets import CALIBRATION_CLIPS, TINY_CHECKPOINT

CLIPS = 2  # shipped clips that the export is checked on
CHECKED = "checked"  # key of the metadata of an entry


@dataclass(frozen=True, kw_only=True)
class ShippedNetwork:
    """The graph of the shipped checkpoint, and what was compared with PyTorch."""

    graph: nir.NIRGraph
    check: ExportCheck
    earlier: bool  # an earlier run compared them

    @property
    def said(self) -> str:
        """What a run says of it."""
        found = f"PyTorch = NIR on {self.check.spikes_compared:,} spikes, {self.check.ties} differ at ties"
        return f"{found}, compared by an earlier run of the same code" if self.earlier else found


def shipped_network(entries: Entries | None) -> ShippedNetwork:
    """The shipped checkpoint; what `entries` have of the same checkpoint, clips and code is taken from there.

    Raises `GateError` where the graph does not give PyTorch's spikes.
    """
    if entries is None:
        return _exported()
    clips = fingerprint.of_clips(shipped(CALIBRATION_CLIPS)[:CLIPS])
    key = fingerprint.fingerprint([fingerprint.versions(), TINY_CHECKPOINT.read_bytes(), clips])
    known = entries.find(key, _known)
    if known is not None:
        return known
    found = _exported()
    entries.keep(key, lambda path: _keep(found, path))
    return found


def _exported() -> ShippedNetwork:
    from deploy.frontend.export import export_checkpoint  # the models and norse, which a known graph does without
    from deploy.gates.export import check_export

    model, graph = export_checkpoint(TINY_CHECKPOINT)
    clips = load_clips(shipped(CALIBRATION_CLIPS)[:CLIPS], InputFormat.of(model.config))
    return ShippedNetwork(graph=graph, check=check_export(model, graph, clips), earlier=False)


def _keep(found: ShippedNetwork, path: Path) -> None:
    own = found.graph.metadata
    found.graph.metadata = {**own, CHECKED: json.dumps(asdict(found.check))}
    try:
        write_nir(found.graph, path)
    finally:
        found.graph.metadata = own


def _known(path: Path) -> ShippedNetwork:
    graph = read_nir(path)
    check = ExportCheck(**json.loads(graph.metadata.pop(CHECKED)))
    return ShippedNetwork(graph=graph, check=check, earlier=True)
