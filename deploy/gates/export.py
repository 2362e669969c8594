"""PyTorch = NIR: every spike of an exported network against those of the model."""

from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray

from deploy.errors import GateError
from deploy.frontend.from_ann2snn import AT_ONCE, LATE
from deploy.gates.spikes import TIE_MARGIN, ExportCheck, LayerSpikes, SpikeGate
from deploy.ir.interpreter import interpret
from deploy.ir.soft_reset import SubtractLIF
from svformer.evaluation.recording import Spikes, run_recorded
from svformer.model.network import Network

LOGIT_TOLERANCE = 1e-6  # the order of additions in float64 leaves far less


def check_export(
    model: Network, graph: nir.NIRGraph, frames_NTCHW: NDArray[Any], *, tie_margin: float = TIE_MARGIN
) -> ExportCheck:
    """Compare every neuron layer of the model at every step, and the logits where the graph has them.

    One clip after the other, each layer while its signals are there: a large network needs no more memory than a few
    of its layers. Raises `GateError` at a difference that no tie explains.
    """
    checks = [
        _check_clip(model, graph, frames[np.newaxis], clip, tie_margin) for clip, frames in enumerate(frames_NTCHW)
    ]
    errors = [check.logit_error for check in checks if check.logit_error is not None]
    return ExportCheck(
        spikes_compared=sum(check.spikes_compared for check in checks),
        ties=sum(check.ties for check in checks),
        logit_error=max(errors, default=None),
    )


def _check_clip(
    model: Network, graph: nir.NIRGraph, frames_1TCHW: NDArray[Any], clip: int, tie_margin: float
) -> ExportCheck:
    each = frames_1TCHW[:, :: model.config.steps_per_frame]  # the model shows a frame for these time steps itself
    frames_BCTHW = torch.as_tensor(each, dtype=torch.float64).transpose(1, 2)
    logits, spikes = run_recorded(model, frames_BCTHW)

    def layers_of(name: str) -> Sequence[LayerSpikes]:
        node = graph.nodes[name]
        found = _torch_spikes(name, spikes, len(node.tau)) if isinstance(node, (nir.LIF, SubtractLIF)) else None
        return () if found is None else (LayerSpikes(layer=name, spikes=found[:, 0]),)

    gate = SpikeGate(graph, layers_of, clip=clip, tie_margin=tie_margin)
    output = interpret(graph, frames_1TCHW, record=["output"], on_node=gate)["output"]
    error = _logit_error(output, logits.numpy())
    if error is not None and error > LOGIT_TOLERANCE:
        raise GateError(f"PyTorch and NIR fire the same spikes, but their logits differ by {error:.3g}")
    return ExportCheck(spikes_compared=gate.compared, ties=gate.ties, logit_error=error)


def _logit_error(output_NTK: NDArray[Any], logits_NK: NDArray[Any]) -> float | None:
    """Largest difference of the logits; None where the output is an image of spikes."""
    return float(np.abs(output_NTK[:, -1] - logits_NK).max()) if output_NTK.ndim == 3 else None


def _torch_spikes(name: str, spikes: Spikes, channels: int) -> NDArray[np.uint8] | None:
    """Spikes [T, N, C, H, W] of the model's layers that one LIF node holds (see deploy/frontend/).

    None for neurons that the model does not have (frontend/coincidence.py).
    """
    if name.endswith("plif_qkv"):
        return np.concatenate([spikes[name.removesuffix("qkv") + part] for part in "qkv"], axis=2)
    if name.startswith("head.plif_"):
        half = slice(0, channels) if name.endswith("local") else slice(channels, None)
        return spikes["head.plif"][:, :, half]
    layer, _, part = name.rpartition(".")
    if layer in spikes and part in (LATE, AT_ONCE):
        return spikes[layer][:, :, :channels] if part == LATE else spikes[layer][:, :, -channels:]
    return spikes.get(name)
