"""One batch of clips through three executions, compared: a pure function of the clips and of `RunSpec`.

Everything that runs a data set - this process, processes beside it, a cluster - calls `run_batch`, and everything that
comes of it is a `BatchResult`, which is stored (`deploy.execution.resume`), sent (`cluster`) and added up (`collect`).
"""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from deploy.clips.read import load, read_clips
from deploy.clips.source import ClipSource, Frames
from deploy.costs.counting import count_by_clip, count_by_step, count_operations
from deploy.costs.placing import place_clips
from deploy.exchange.real_numbers import in_real_numbers
from deploy.execution.backends import INTEGER, backend_of
from deploy.execution.judging import Judged, judge
from deploy.execution.simulate import Simulation, run_on
from deploy.execution.spec import RunSpec
from deploy.execution.tally import ClipResult, Tally
from deploy.gates.agreement import agreement
from deploy.ir.integer import IntNetwork
from deploy.ir.overflow import within_float64
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.types import Signals
from deploy.passes.schedule import schedule


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What some clips of the list come to."""

    taken: tuple[int, ...]  # places in the list of all clips of the batch, ascending
    places: tuple[int, ...]  # of the clips of the tally: those that could be read
    left_out: dict[int, str]  # place -> why the file cannot be read
    tally: Tally

    @property
    def first(self) -> int:
        return self.taken[0]

    @property
    def count(self) -> int:
        return len(self.taken)


def run_batch(
    spec: RunSpec,
    sources: Sequence[ClipSource],
    *,
    places: Sequence[int] | None = None,
    cores: int | None = None,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> BatchResult:
    """Run clips of one length at the same time; `places` are theirs in the whole list (default: its first).

    `cores` are those that Lava's threads may use (default: all). Clips that cannot be read and that the run may do
    without are left out, and their owner (`ClipSource.leave_out`) is not told: that is for who called.

    Raises `GateError` when Lava and the integers differ, `InputError` for a clip that cannot be done without.
    """
    spec, taken = spec.of(sources), tuple(range(len(sources)) if places is None else places)
    read, unreadable = read_clips(sources, spec.wanted)
    tally = Tally()
    if read:
        clips = [sources[place] for place in read]
        at = [taken[place] for place in read]
        frames = np.stack(list(read.values()))
        with within_float64("running the clips"):
            tally = _tally(spec, clips, frames, at, first=taken[0] == 0, cores=cores, on_steps=on_steps)
    return BatchResult(
        taken=taken,
        places=tuple(taken[place] for place in read),
        left_out={taken[place]: str(error) for place, error in unreadable.items()},
        tally=tally,
    )


def _tally(
    spec: RunSpec,
    clips: Sequence[ClipSource],
    frames: Frames,
    places: Sequence[int],
    *,
    first: bool,
    cores: int | None,
    on_steps: Callable[[int], None],
) -> Tally:
    """Clips that are at these places of the list; `first` says whether the batch is the first of the run."""
    layers, options = spec.integer.neuron_layers, replace(spec.options, cores=cores, on_progress=on_steps)
    backend = backend_of(spec.backend)
    if first and len(clips) == 1 and backend.has_processes:  # else the judges would run it so once more
        options = options.by_layer(spec.integer)
    result = run_on(backend, spec.integer, spec.plan, frames, options)
    judged = judge(spec, frames, places, result, options, first=first)
    spikes, kept = {name: result.signals[name] for name in layers}, sum(place < spec.keep for place in places)
    return Tally(
        clips=_results(spec, clips, result, judged),
        steps=count_by_step(spec.integer, spec.plan, result.signals),
        fused=count_operations(spec.fused, schedule(spec.fused), result.signals) if spec.fused else {},
        layers=agreement(judged.float_spikes, judged.of(spikes), names=layers),
        exact=judged.exact,
        placed=place_clips(spec.integer, spec.plan, result.signals, spec.placing, first=first),
        float_spikes={name: int(signal.sum()) for name, signal in judged.float_spikes.items()},
        **(_kept(spec.integer, result.signals, judged.float_spikes, kept) if kept else Kept()),
        build_s=result.build_s,
        run_s=result.run_s,
        peak_rss_mb=peak_rss_mb(),
        time_steps=result.time_steps,
        travelled=judged.travelled or result.travelled,
        clipped_inputs=spec.integer.input.clipped(frames),
        inputs=frames.size,
        saturated=_saturated(spec.integer, result.signals),
    )


class Kept(TypedDict, total=False):
    """What a tally holds of single clips."""

    kept: Signals
    kept_differences: Signals
    kept_results: NDArray[np.float64]


def _kept(network: IntNetwork, signals: Signals, float_spikes: Signals, clips: int) -> Kept:
    """What is kept of the first `clips`."""
    spikes = {name: signals[name][:clips].astype(np.uint8) for name in float_spikes}
    return Kept(
        kept=spikes,
        kept_differences={name: _steps_that_differ(float_spikes[name][:clips], spikes[name]) for name in spikes},
        kept_results=network.logits_by_step({network.output: signals[network.output][:clips]}),
    )


def _steps_that_differ(float_spikes: NDArray[Any], spikes: NDArray[Any]) -> NDArray[np.int32]:
    """Of spikes [clips, T, ...] of both: by clip and neuron."""
    return (float_spikes != spikes).sum(axis=1).astype(np.int32)


def _saturated(network: IntNetwork, signals: Signals) -> int:
    """Messages of readouts whose potential left its register and stands at its end."""
    return sum(
        population.saturated(signals[name])
        for name, population in network.populations.items()
        if isinstance(population, IntIntegrator)
    )


def _results(spec: RunSpec, clips: Sequence[ClipSource], result: Simulation, judged: Judged) -> list[ClipResult]:
    counts = count_by_clip(spec.integer, spec.plan, result.signals)
    return [
        ClipResult(
            source=source,
            verdict=judged.verdict(row),
            logits=result.logits[row],
            seconds=result.run_s / len(clips),
            counts=counts[row],
        )
        for row, source in enumerate(clips)
    ]


def kept_again(spec: RunSpec, source: ClipSource) -> Tally:
    """What is kept of a clip that was run without being kept, and nothing else: by the integer interpreter, whose
    messages are those of every backend (compared in the clips that are checked).
    """
    spec = spec.of([source])
    frames, layers = load(source, spec.wanted)[np.newaxis], spec.integer.neuron_layers
    signals = run_on(INTEGER, spec.integer, spec.plan, frames, spec.options).signals
    expected = in_real_numbers(spec.graph, spec.fused or spec.integer, frames, layers)
    float_spikes = {name: expected[name].reshape(signals[name].shape) for name in layers}
    return Tally(**_kept(spec.integer, signals, float_spikes, 1))


def peak_rss_mb() -> float:
    """Largest resident memory of this process or of one child so far, in MB."""
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) / 1024


BATCH = 32  # clips that stream through the network at a time
