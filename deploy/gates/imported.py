"""PyTorch = NIR: every spike of a model's neuron modules against those of its imported graph, and its output."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from deploy.errors import GateError
from deploy.frontend.traced.convert import Converted, frames_of
from deploy.frontend.traced.draft import OUTPUT
from deploy.frontend.traced.trace import Run, run_as_it_is
from deploy.gates.spikes import TIE_MARGIN, LayerSpikes, SpikeGate
from deploy.ir.interpreter import interpret
from deploy.ir.types import Array

TIE_MARGINS = {torch.float64: TIE_MARGIN}
NOISE = 1.0  # largest, at the input of neurons: as large as most thresholds, so that every neuron decides anew
SINGLE_TIE_MARGIN = 2.0**-16  # of models in float32 and below: their sums are off by some of their last bits


@dataclass(frozen=True, kw_only=True)
class ImportCheck:
    """Spikes of a model compared with those of the NIR interpreter."""

    clips: int
    layers: int
    spikes_compared: int
    ties: int  # spikes that differ, all of neurons within a tie margin of the threshold then
    output_error: float  # largest difference of the output, relative to its largest value where that is above 1


def check_import(model: nn.Module, converted: Converted, x: Tensor) -> ImportCheck:
    """Run the model and the graph on the same clips; see `deploy.importing.Imported.check`.

    Where spikes differ at ties, both run once more with noise at the input of every neuron, so that no potential stands
    at its threshold by rule: sums of spikes times weights like 1/8 do, and what decides there hides other differences.
    """
    check = _compared(model, converted, x, noise=None)
    if check.ties:
        _compared(model, converted, x, noise=NOISE)
    return check


def _compared(model: nn.Module, converted: Converted, x: Tensor, *, noise: float | None) -> ImportCheck:
    frames, compared, ties, errors = frames_of(converted, x), 0, 0, list[float]()
    for first, part in _batches(converted, x):
        run = run_as_it_is(model, part, converted.neurons, noise=noise)
        for clip in range(min(converted.batch, len(frames) - first)):
            gate, error = _check_clip(converted, run, frames[first + clip][np.newaxis], clip, first, x.dtype)
            compared, ties = compared + gate.compared, ties + gate.ties
            errors.append(error)
    return ImportCheck(
        clips=len(frames), layers=len(converted.layers), spikes_compared=compared, ties=ties, output_error=max(errors)
    )


def _batches(converted: Converted, x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Parts of as many clips as the example has, and the number of their first; the last part is filled up."""
    if "B" not in converted.axes:
        yield 0, x
        return
    dim, size = converted.axes.index("B"), converted.batch
    for first in range(0, x.shape[dim], size):
        clips = torch.arange(first, first + size).clamp(max=x.shape[dim] - 1)
        yield first, x.index_select(dim, clips)


def _check_clip(
    converted: Converted, run: Run, frames_1T: Array, clip: int, first: int, dtype: torch.dtype
) -> tuple[SpikeGate, float]:
    def layers_of(name: str) -> Sequence[LayerSpikes]:
        found = []
        for path, lies in converted.layers.items():
            levels, step = lies.place.levels
            if name in levels:
                reached = (levels.index(name) + 0.5) * step
                layer = _layer(converted, run, path, clip)
                found.append(replace(layer, spikes=(layer.spikes > reached).astype(np.float64)))
            elif lies.place.node == name and not levels:
                found.append(_layer(converted, run, path, clip))
        return found

    margin = TIE_MARGINS.get(dtype, SINGLE_TIE_MARGIN)
    gate = SpikeGate(converted.graph, layers_of, clip=first + clip, tie_margin=margin)
    found = interpret(converted.graph, frames_1T, record=[OUTPUT], on_node=gate)[OUTPUT]
    error = _output_error(converted, found[0], converted.output.frames(run.outputs[converted.index])[clip])
    if error > torch.finfo(dtype).eps ** 0.5:
        raise GateError(
            f"PyTorch and NIR fire the same spikes for clip {first + clip}, but their outputs differ by {error:.3g}"
        )
    return gate, error


def _layer(converted: Converted, run: Run, path: str, clip: int) -> LayerSpikes:
    """Spikes of a module, and the noise that it got: of one call with all time steps, or of a call for each."""
    lies = converted.layers[path]

    def laid(tensors: Sequence[Tensor]) -> Array:
        return np.concatenate([lies.frames(tensor) for tensor in tensors], axis=1)[clip]

    spikes, noise = laid([call.spikes for call in run.calls[path]]), run.noise.get(path)
    return LayerSpikes(
        layer=path, spikes=spikes, noise=None if noise is None else laid(noise), channels=lies.place.channels
    )


def _output_error(converted: Converted, found_T: Array, expected_T: Array) -> float:
    """Largest difference of all time steps that the model returns; of the last, where it returns their average."""
    step = converted.output.place.step
    at = slice(None) if len(expected_T) == len(found_T) else slice(-1, None) if step is None else slice(step, step + 1)
    return float(np.abs(found_T[at] - expected_T).max() / max(1.0, float(np.abs(expected_T).max())))
