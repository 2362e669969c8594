"""The deployment of a network from .nir file to report, as one flat list of steps.

    read -> lower -> quantize -> schedule -> (estimate stops here) -> run -> report

`run` takes the clips in batches through three executions (float NIR interpreter, integer interpreter, Lava) and
compares each with the one before (`deploy.execution.batch`), here or on workers; what a batch leaves is added up
(`deploy.execution.collect`), so memory does not grow with the set.
"""

from collections.abc import Callable, Sequence
from typing import Any

import nir
from numpy.typing import NDArray

from deploy.clips.read import batches, known_range
from deploy.clips.source import ClipSource, check_fits, input_format
from deploy.execution.batch import BATCH, Work
from deploy.execution.collect import Here, Runner, collect
from deploy.execution.deployment import Deployment
from deploy.execution.memory import (
    MemoryNeed,
    available_bytes,
    clips_at_once,
    float_need,
    lava_need,
    message_bytes,
    require_memory,
)
from deploy.execution.resume import PartFolder
from deploy.execution.simulate import Backend, Blocks
from deploy.execution.tally import KEPT_CLIPS, Tally
from deploy.frontend.export import class_names
from deploy.gates.fidelity import fidelity, summary, warnings
from deploy.ir.contracts import check_integer
from deploy.ir.integer import Frames, IntNetwork, as_images
from deploy.ir.interpreter import interpret
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.network import Network
from deploy.ir.storage import widest_weight_bits
from deploy.passes import quantize as quantization
from deploy.passes.bounds import prove
from deploy.passes.calibrate import calibrate
from deploy.passes.lowering import lower
from deploy.passes.merge_linear_chains import Merge
from deploy.passes.probes import SpikeCounts
from deploy.passes.schedule import schedule
from deploy.passes.statistics import chunks
from svformer.common.errors import InputError
from svformer.common.terminal import size, working

RATED_CLIPS = 2  # calibration clips that show the firing rates by which forms of the network are chosen

Say = Callable[[str], None]


def deploy(
    graph: nir.NIRGraph,
    calibration: Sequence[ClipSource],
    say: Say,
    *,
    weight_bits: int = WEIGHT_BITS,
    merge: Merge | None = None,
) -> Deployment:
    """Lower, quantise and schedule a graph; each step says what it did.

    Raises `InputError`, before anything runs, when not even one clip fits into the memory.
    """
    network = lower(graph, merge="never")
    at_once = clips_at_once(network, len(calibration))
    wanted = input_format(graph, network.frames)
    _, clips = next(batches(calibration, wanted, len(calibration)))
    if network.notes and merge != "never":  # there are chains to decide about
        network = lower(graph, merge=merge, rates=firing_rates(graph, network, clips[:RATED_CLIPS], at_once))
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
        fixed_point = fidelity(network, integer, as_images(clips, network), at_once=clips_at_once(network, len(clips)))
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


def firing_rates(
    graph: nir.NIRGraph, network: Network, clips: NDArray[Any], at_once: int | None = None
) -> dict[str, float]:
    """Spikes per neuron and time step of every neuron layer, in real numbers; so many clips at a time (None: all)."""
    counts = SpikeCounts([name for name in network.populations if network.spiking(name)])
    for part in chunks(clips, at_once):
        interpret(graph, part, keep=(), on_node=lambda name, signals: counts.add(name, signals[name]))
    return counts.rates


def run(
    deployment: Deployment,
    sources: Sequence[ClipSource],
    *,
    backend: Backend,
    blocks: Blocks = "fused",
    processes: int = 1,
    timeout_s: float | None = None,
    runner: Runner | None = None,
    parts: PartFolder | None = None,
    largest_batch: int = BATCH,
    on_clips: Callable[[float], None] = lambda clips: None,
) -> Tally:
    """Run clips, as many at the same time as there is memory for, at most `largest_batch`; `on_clips` gets how many are
    done.

    `runner` says where (default: in this process); what comes out depends on it in its times alone. What finished
    batches leave is kept in `parts`, as long as there is more than one of them, and what lies there is not run again.

    Raises `GateError` when Lava and the integers differ, `InputError` when not even one clip fits into the memory.
    """
    work = Work(
        graph=deployment.graph,
        integer=deployment.integer,
        wanted=deployment.input_format,
        backend=backend,
        blocks=blocks,
        processes=processes,
        timeout_s=timeout_s,
    )
    for source in sources:
        check_fits(source, work.wanted)
    runner = runner or Here()
    at_once = batch_size(
        work.integer,
        len(sources),
        blocks=blocks,
        processes=processes,
        workers=runner.workers,
        largest=largest_batch,
        available=runner.available_bytes,
    )
    return collect(work, sources, size=at_once, runner=runner, parts=parts, on_clips=on_clips)


def batch_size(
    network: IntNetwork,
    clips: int,
    *,
    blocks: Blocks = "fused",
    processes: int = 1,
    workers: int = 1,
    largest: int = BATCH,
    available: int | None = None,
) -> int:
    """Clips that stream through all executions at a time; they are independent, so results do not depend on it.

    `available` bytes are what each of the workers may take (default: what there is here); a batch has at most `largest`
    clips.
    """
    messages = MemoryNeed(
        fixed=min(clips, KEPT_CLIPS) * message_bytes(network), per_clip=message_bytes(network)
    )  # those for spikes.h5, and those of the integer interpreter while Lava runs
    need = float_need(network) + messages + lava_need(network, blocks=blocks, processes=processes)
    if available is None:
        require_memory(need, 1, "one clip in all executions")
        available = available_bytes()
    if not (fit := need.clips_in(available)):
        raise InputError(
            f"{workers} workers: one clip in each needs about {size(need.of(1))} of memory, {size(available)} are free "
            "for each; start fewer of them, or take a machine or container with more"
        )
    return min(largest, -(-clips // workers), fit)


def quantize(
    network: Network,
    calibration_clips: Frames,
    *,
    weight_bits: int = WEIGHT_BITS,
    search: bool = True,
    input_range: tuple[float, float] | None = None,
) -> IntNetwork:
    """Network -> integer network, calibrated on clips [N, T, *input shape]; its registers are proven to suffice.

    Without `search` the first scales that fit are taken; with it, the best of several on these clips.
    `input_range` says what an input value can be (default: what these clips show); the rest is clipped. The clips run
    a few at a time, as many as there is memory for.
    """
    frames, at_once = as_images(calibration_clips, network), clips_at_once(network, len(calibration_clips))
    calibration = calibrate(network, frames, input_range=input_range, at_once=at_once)
    quantized = quantization.quantize(network, calibration, weight_bits=weight_bits, search=search)
    check_integer(quantized, after="quantize")
    return quantized
