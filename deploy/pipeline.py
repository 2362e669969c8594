"""The deployment of a network from .nir file to report, as one flat list of steps.

    read -> lower -> quantize -> schedule -> (estimate stops here) -> run -> report

`run` takes the clips in batches through three executions (float NIR interpreter, integer interpreter, Lava) and
compares each with the one before; what a batch leaves is added up in `Tally`, so memory does not grow with the set.
"""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from deploy.arguments import WEIGHT_BITS
from deploy.counting import count_by_step, widest_weight_bits
from deploy.export import class_names
from deploy.gates import Agreement, agreement, require_equal
from deploy.inputs import ClipSource, InputFormat, batches, known_range
from deploy.ir.graph import infer_shapes
from deploy.ir.integer import IntInput, IntLif, IntNetwork
from deploy.ir.interpreter import interpret
from deploy.ir.network import Network
from deploy.memory import MemoryNeed, available_bytes, float_need, lava_need, message_bytes, require_memory
from deploy.passes.bounds import Headroom, prove
from deploy.passes.fidelity import LayerFidelity, fidelity, summary, warnings
from deploy.passes.merge_linear_chains import Merge
from deploy.passes.schedule import Plan, schedule
from deploy.stages import Backend, Blocks, Simulation, as_images, lower, quantize, simulate
from hardware import OpCounts
from svformer.terminal import working

BATCH = 32  # clips that stream through the network at a time
RATED_CLIPS = 2  # calibration clips that show the firing rates by which forms of the network are chosen
KEPT_CLIPS = 8  # clips whose spikes are kept for spikes.h5

Signals = dict[str, NDArray[Any]]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A network ready to run: every level of it, and what was proven on the way."""

    graph: nir.NIRGraph
    network: Network
    integer: IntNetwork
    plan: Plan
    headroom: list[Headroom]
    classes: tuple[str, ...]
    calibration_clips: int
    fixed_point: list[LayerFidelity] = field(default_factory=list)  # of every layer, on the calibration clips

    @property
    def spiking(self) -> list[str]:
        """Names of the neuron layers, in order of execution."""
        return [name for name, p in self.integer.populations.items() if isinstance(p, IntLif)]

    @property
    def input_format(self) -> InputFormat:
        return input_format(self.graph, self.network.frames)


def input_format(graph: nir.NIRGraph, frames: int) -> InputFormat:
    """What clips the graph takes."""
    name = next(iter(graph.inputs))
    return InputFormat(frames=frames, shape=infer_shapes(graph)[name])


def deploy(
    graph: nir.NIRGraph,
    calibration: Sequence[ClipSource],
    say: Say,
    *,
    weight_bits: int = WEIGHT_BITS,
    merge: Merge | None = None,
) -> Deployment:
    """Lower, quantise and schedule a graph; each step says what it did.

    Raises `InputError`, before anything runs, when calibration needs more memory than there is.
    """
    network = lower(graph, merge="never")
    require_memory(float_need(network), len(calibration), "calibration")
    wanted = input_format(graph, network.frames)
    _, clips = next(batches(calibration, wanted, len(calibration)))
    if network.notes and merge != "never":  # there are chains to decide about
        network = lower(graph, merge=merge, rates=firing_rates(graph, network, clips[:RATED_CLIPS]))
    say(f"lowered: {len(graph.nodes)} nodes -> {len(network.populations)} populations")
    for note in network.notes:
        say(f"  {note}")
    with working(f"choosing scales and exponents on {len(clips)} clips"):
        integer = quantize(network, clips, weight_bits=weight_bits, input_range=known_range(calibration))
    headroom = prove(integer)
    tightest = max(headroom, key=lambda h: h.share)
    fullest = f"the fullest, {tightest.where} ({tightest.what}), to {100 * tightest.share:.1f} % in the worst case"
    bits = widest_weight_bits(integer)
    say(f"quantised on {len(clips)} clips: {bits}-bit weights, 12-bit decays; no register can overflow, {fullest}")
    with working("measuring what rounding costs"):
        fixed_point = fidelity(network, integer, as_images(clips, network))
    say(f"  {summary(fixed_point)}")
    for warning in warnings(fixed_point):
        say(f"  warning: {warning}")
    plan = schedule(integer)
    say(f"scheduled: {plan.depth} synapses deep, {plan.frames} time steps a clip, longest delay {max(plan.lags)} steps")
    return Deployment(
        graph=graph,
        network=network,
        integer=integer,
        plan=plan,
        headroom=headroom,
        classes=class_names(graph.metadata),
        calibration_clips=len(clips),
        fixed_point=fixed_point,
    )


def firing_rates(graph: nir.NIRGraph, network: Network, clips: NDArray[Any]) -> dict[str, float]:
    """Spikes per neuron and time step of every neuron layer, in real numbers."""
    names = [name for name in network.populations if network.spiking(name)]
    return {name: float(signal.mean()) for name, signal in interpret(graph, clips, keep=names).items()}


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """One clip through all executions; logits [K] of each."""

    source: ClipSource
    float_logits: NDArray[np.float64]
    integer_logits: NDArray[np.float64]
    logits: NDArray[np.float64]  # of the backend that was asked for
    seconds: float  # share of the batch's run


@dataclass(kw_only=True)
class Tally:
    """What all batches add up to."""

    clips: list[ClipResult] = field(default_factory=list)
    steps: dict[str, list[OpCounts]] = field(default_factory=dict)  # of every population, by time step of a clip
    layers: dict[str, Agreement] = field(default_factory=dict)  # float against integer
    lava: Agreement | None = None  # integer against Lava; None when Lava was not asked for
    float_spikes: dict[str, int] = field(default_factory=dict)
    kept: Signals = field(default_factory=dict)  # spikes of the first clips
    shown_frames: NDArray[Any] | None = None  # frames of the first clip
    build_s: float = 0.0
    run_s: float = 0.0
    time_steps: int = 0
    clipped_inputs: int = 0  # values outside the calibrated range
    inputs: int = 0

    @property
    def counts(self) -> dict[str, OpCounts]:
        """Operations of every population, all clips and time steps together."""
        return {name: sum(steps, OpCounts()) for name, steps in self.steps.items()}

    @property
    def bit_exact(self) -> bool | None:
        return None if self.lava is None else self.lava.different == 0


def run(
    deployment: Deployment,
    sources: Sequence[ClipSource],
    *,
    backend: Backend,
    blocks: Blocks = "fused",
    processes: int = 1,
    timeout_s: float | None = None,
    on_clips: Callable[[float], None] = lambda clips: None,
) -> Tally:
    """Run clips, as many at the same time as there is memory for; `on_clips` gets how many are done.

    Raises `GateError` when Lava and the integers differ, `InputError` when not even one clip fits into the memory.
    """
    tally = Tally()
    for part, frames in batches(sources, deployment.input_format, batch_size(deployment.integer, len(sources))):
        done = len(tally.clips)

        def progress(steps: int, done: int = done, size: int = len(part)) -> None:
            on_clips(done + size * steps / deployment.plan.steps(size))

        _run_batch(
            deployment,
            part,
            frames,
            tally,
            backend=backend,
            blocks=blocks,
            processes=processes,
            timeout_s=timeout_s,
            on_steps=progress,
        )
        on_clips(len(tally.clips))
    return tally


def batch_size(network: IntNetwork, clips: int) -> int:
    """Clips that stream through all executions at a time; they are independent, so results do not depend on it."""
    messages = MemoryNeed(
        fixed=min(clips, KEPT_CLIPS) * message_bytes(network), per_clip=message_bytes(network)
    )  # those for spikes.h5, and those of the integer interpreter while Lava runs
    need = float_need(network) + messages + lava_need(network)
    require_memory(need, 1, "one clip in all executions")
    return min(BATCH, clips, need.clips_in(available_bytes()))


def _run_batch(
    deployment: Deployment,
    part: Sequence[ClipSource],
    frames: NDArray[Any],
    tally: Tally,
    *,
    backend: Backend,
    blocks: Blocks,
    processes: int,
    timeout_s: float | None,
    on_steps: Callable[[int], None],
) -> None:
    expected = interpret(deployment.graph, frames, keep=[*deployment.spiking, deployment.network.output])
    judged = simulate(deployment.integer, frames, backend="integer")
    result = judged
    if backend == "lava":
        result = simulate(
            deployment.integer,
            frames,
            backend="lava",
            blocks=blocks,
            processes=processes,
            timeout_s=timeout_s,
            on_progress=on_steps,
        )
        names = list(deployment.integer.populations)
        exact = require_equal(judged.signals, result.signals, names=names, between="integer interpreter and Lava")
        tally.lava = exact + (tally.lava or Agreement())
    tally.build_s += result.build_s
    tally.run_s += result.run_s
    tally.time_steps += result.time_steps
    tally.clipped_inputs += deployment.integer.input.clipped(frames)
    tally.inputs += frames.size
    _add(tally, deployment, part, expected, judged, result)
    if tally.shown_frames is None:
        tally.shown_frames = frames[0]


def _add(
    tally: Tally,
    deployment: Deployment,
    part: Sequence[ClipSource],
    expected: Signals,
    judged: Simulation,
    result: Simulation,
) -> None:
    float_logits = expected[deployment.network.output][:, -1]
    seconds = result.run_s / len(part)
    for i, source in enumerate(part):
        tally.clips.append(
            ClipResult(
                source=source,
                float_logits=float_logits[i].ravel(),
                integer_logits=judged.logits[i],
                logits=result.logits[i],
                seconds=seconds,
            )
        )
    spiking = {name: result.signals[name] for name in deployment.spiking}
    float_spikes = {name: expected[name].reshape(signal.shape) for name, signal in spiking.items()}
    for name, agreed in agreement(float_spikes, spiking, names=deployment.spiking).items():
        tally.layers[name] = agreed + tally.layers.get(name, Agreement())
        tally.float_spikes[name] = tally.float_spikes.get(name, 0) + int(float_spikes[name].sum())
    for name, steps in count_by_step(deployment.integer, result.signals).items():
        before = tally.steps.get(name, [OpCounts()] * len(steps))
        tally.steps[name] = [one + other for one, other in zip(before, steps, strict=True)]
    room = KEPT_CLIPS - (len(tally.clips) - len(part))
    if room > 0:
        for name, signal in spiking.items():
            tally.kept[name] = np.concatenate([*([tally.kept[name]] if name in tally.kept else []), signal[:room]])


def peak_rss_mb() -> float:
    """Largest resident memory of this process or of one child so far, in MB."""
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) / 1024


def neurons(population: Any) -> int:
    return 0 if isinstance(population, IntInput) else int(np.prod(population.shape))
