"""One batch of clips through three executions, compared: a pure function of the clips and of `Work`.

Everything that runs a data set - this process, processes beside it, a cluster - calls `run_batch`, and everything that
comes of it is a `Part`, which is stored (`deploy.execution.resume`), sent (`cluster`) and added up (`collect`).
"""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.clips.read import load, read_clips
from deploy.clips.source import ClipSource, Frames, InputFormat
from deploy.costs.counting import count_by_step
from deploy.execution.simulate import Backend, Blocks, Simulation, simulate
from deploy.execution.tally import KEPT_CLIPS, ClipResult, Tally
from deploy.gates.agreement import agreement, require_equal
from deploy.ir.integer import IntLif, IntNetwork
from deploy.ir.interpreter import interpret
from deploy.passes.schedule import schedule


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is done with every batch."""

    graph: nir.NIRGraph
    integer: IntNetwork
    wanted: InputFormat
    backend: Backend
    blocks: Blocks = "fused"
    processes: int = 1  # Lava's
    timeout_s: float | None = None

    @property
    def spiking(self) -> list[str]:
        """Names of the neuron layers, in order of execution."""
        return [name for name, p in self.integer.populations.items() if isinstance(p, IntLif)]

    def steps(self, clips: int) -> int:
        """Time steps that so many clips take back to back."""
        return schedule(self.integer).steps(clips)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the clips at places `first` to `first + count` of the list come to."""

    first: int
    count: int
    places: tuple[int, ...]  # of the clips of the tally
    left_out: dict[int, str]  # place -> why the file cannot be read
    tally: Tally

    @property
    def end(self) -> int:
        return self.first + self.count


def run_batch(
    work: Work,
    sources: Sequence[ClipSource],
    *,
    first: int = 0,
    cores: int | None = None,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Part:
    """Run clips, the first of which is at place `first` of the whole list, at the same time.

    `cores` are those that Lava's threads may use (default: all). Clips that cannot be read and that the run may do
    without are left out, and their owner (`ClipSource.leave_out`) is not told: that is for who called.

    Raises `GateError` when Lava and the integers differ, `InputError` for a clip that cannot be done without.
    """
    read, unreadable = read_clips(sources, work.wanted)
    tally = Tally()
    if read:
        clips = [sources[place] for place in read]
        kept = sum(first + place < KEPT_CLIPS for place in read)
        tally = _tally(work, clips, np.stack(list(read.values())), kept=kept, cores=cores, on_steps=on_steps)
    return Part(
        first=first,
        count=len(sources),
        places=tuple(first + place for place in read),
        left_out={first + place: str(error) for place, error in unreadable.items()},
        tally=tally,
    )


def _tally(
    work: Work,
    clips: Sequence[ClipSource],
    frames: Frames,
    *,
    kept: int,
    cores: int | None,
    on_steps: Callable[[int], None],
) -> Tally:
    expected = interpret(work.graph, frames, keep=[*work.spiking, work.integer.output])
    judged = simulate(work.integer, frames, backend="integer")
    result, exact = judged, None
    if work.backend == "lava":
        result = simulate(
            work.integer,
            frames,
            backend="lava",
            blocks=work.blocks,
            processes=work.processes,
            cores=cores,
            timeout_s=work.timeout_s,
            on_progress=on_steps,
        )
        names = list(work.integer.populations)
        exact = require_equal(judged.signals, result.signals, names=names, between="integer interpreter and Lava")
    spikes = {name: result.signals[name] for name in work.spiking}
    float_spikes = {name: expected[name].reshape(signal.shape) for name, signal in spikes.items()}
    return Tally(
        clips=_results(clips, expected[work.integer.output][:, -1], judged, result),
        steps=count_by_step(work.integer, result.signals),
        layers=agreement(float_spikes, spikes, names=work.spiking),
        lava=exact,
        float_spikes={name: int(signal.sum()) for name, signal in float_spikes.items()},
        kept={name: signal[:kept].astype(np.uint8) for name, signal in spikes.items()} if kept else {},
        shown_frames=frames[0] if kept else None,
        build_s=result.build_s,
        run_s=result.run_s,
        peak_rss_mb=peak_rss_mb(),
        time_steps=result.time_steps,
        clipped_inputs=work.integer.input.clipped(frames),
        inputs=frames.size,
    )


def _results(
    clips: Sequence[ClipSource], float_logits: NDArray[np.float64], judged: Simulation, result: Simulation
) -> list[ClipResult]:
    return [
        ClipResult(
            source=source,
            float_logits=float_logits[i].ravel(),
            integer_logits=judged.logits[i],
            logits=result.logits[i],
            seconds=result.run_s / len(clips),
        )
        for i, source in enumerate(clips)
    ]


def kept_again(work: Work, source: ClipSource) -> Tally:
    """Spikes and frames of a clip that was run without being kept, and nothing else: by the integer interpreter, which
    is what Lava was found to be equal to.
    """
    frames = load(source, work.wanted)
    signals = simulate(work.integer, frames[np.newaxis], backend="integer").signals
    return Tally(kept={name: signals[name].astype(np.uint8) for name in work.spiking}, shown_frames=frames)


def peak_rss_mb() -> float:
    """Largest resident memory of this process or of one child so far, in MB."""
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) / 1024


BATCH = 32  # clips that stream through the network at a time
