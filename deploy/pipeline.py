"""The deployment of a network, from NIR graph to integers and plan, as one list of steps.

`deploy` executes `STEPS`, and `advance` stops after any of them. `deploy.execution.run` runs clips through what comes
of it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict, Unpack

import nir
import numpy as np

from deploy.clips.labels import class_number
from deploy.clips.read import batches, known_range, load_clips
from deploy.clips.source import ClipSource, input_format
from deploy.costs.budget import require_cores, require_neurons
from deploy.costs.resources import layer_resources
from deploy.exchange.integers import holds_integers
from deploy.exchange.netx.holds import LARGEST, require_held
from deploy.execution import given
from deploy.execution.cached import QuantisationCache
from deploy.execution.deployment import Deployment
from deploy.execution.draft import Draft
from deploy.execution.memory import (
    clips_at_once,
)
from deploy.gates.fidelity import Fidelity, fidelity, summary, warnings
from deploy.gates.remedies import remedies
from deploy.ir.contracts import check_integer
from deploy.ir.integer import IntNetwork, as_images
from deploy.ir.interpreter import interpret
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.model import class_names, is_svformer
from deploy.ir.network import Network
from deploy.ir.overflow import within_float64
from deploy.ir.storage import widest_weight_bits
from deploy.ir.types import Frames
from deploy.passes.bounds import in_order, prove, proven
from deploy.passes.calibrate import calibrate
from deploy.passes.chain_choice import Merge
from deploy.passes.chip_form import chip_form
from deploy.passes.defaults import DEFAULT_MERGE, Form, Step
from deploy.passes.from_nir import from_nir, graph_frames
from deploy.passes.loop_speed import require_time
from deploy.passes.lowering import LoweringOptions, passes
from deploy.passes.merge_linear_chains import has_chains, read_merge
from deploy.passes.probes import SpikeCounts
from deploy.passes.quantize import quantize_calibrated
from deploy.passes.schedule import schedule
from deploy.passes.statistics import chunks
from deploy.tuning.outcome import TuningOptions
from hardware import Chip
from svformer.common.terminal import counted, counting, working

READ_AT_ONCE = 16  # clips to tune on
RATED_CLIPS = 2  # calibration clips that show the firing rates by which forms of the network are chosen

Say = Callable[[str], None]


def _read(draft: Draft) -> Iterator[str]:
    draft.unmerged = from_nir(draft.graph)
    clips_at_once(draft.unmerged, len(draft.clips))  # refuses here what has no memory for one clip
    yield from ()


def _rate(draft: Draft) -> Iterator[str]:
    draft.rates = {} if draft.known is None else draft.known.rates
    if draft.known is None and isinstance(draft.merge, Chip) and has_chains(draft.unmerged):
        draft.rates = firing_rates(draft.graph, draft.unmerged, draft.clips[:RATED_CLIPS])
    yield from ()


def _lower(draft: Draft) -> Iterator[str]:
    options = LoweringOptions(
        merge=draft.merge, rates=draft.rates, weight_bits=draft.weight_bits, fine_layers=draft.fine_layers
    )
    draft.lowered = list(passes(draft.unmerged, options))
    if draft.max_cores is not None:
        require_neurons({name: int(np.prod(r.shape)) for name, r in draft.network.receivers.items()}, draft.max_cores)
    if draft.for_netx:
        require_held(draft.network)
    yield f"lowered: {len(draft.graph.nodes)} nodes -> {len(draft.network.populations)} populations"
    yield from (f"  {note}" for note in draft.network.notes)


def _calibrate(draft: Draft) -> Iterator[str]:
    require_time(draft.network.connections)
    if draft.known is not None:
        return
    frames = as_images(draft.clips, draft.network)
    with working(f"running {len(draft.clips)} calibration clips"):
        draft.calibration = calibrate(draft.network, frames, input_range=draft.input_range, at_once=draft.at_once)
    yield from ()


def _quantize(draft: Draft) -> Iterator[str]:
    if draft.known is not None:
        draft.integer = draft.known.integer
        yield "an earlier run has quantised this network with these clips and options: taken as it was"
        return
    with working(f"choosing scales and exponents on {len(draft.clips)} clips"):
        draft.integer = quantize_calibrated(
            draft.network,
            draft.calibration,
            weight_bits=draft.weight_bits,
            search=draft.search,
            largest_units=LARGEST if draft.for_netx else None,
        )
    check_integer(draft.integer, after="quantize")
    if draft.for_netx:
        yield f"for netx: no weight above {LARGEST} units, biases in whole ones; a run without .net may be finer"


def _tune(draft: Draft) -> Iterator[str]:
    if draft.tuning is None:
        return
    if draft.known is not None:
        draft.tuned = draft.known.tuned
        yield f"  {draft.tuned}"
        return
    from deploy.torch_network.network import IntegerNetwork, RealNetwork  # norse and torch take a while to import
    from deploy.tuning.examples import examples
    from deploy.tuning.loop import tuned

    exact, rounded = RealNetwork(draft.network), IntegerNetwork(draft.integer)
    count = len(draft.examples)
    with counting(count, f"{counted(count, 'clip')} in real numbers") as on_clips:
        found = examples(exact, rounded, _parts(draft), on_clips)
    epochs = draft.tuning.epochs
    with counting(epochs, f"tuning: {counted(epochs, 'epoch')} of {counted(len(found), 'clip')}") as on_epochs:
        draft.integer, draft.tuned = tuned(
            draft.integer,
            found,
            draft.tuning,
            weight_bits=draft.weight_bits,
            on_step=on_epochs,
            unfinished=draft.unfinished,
        )
    check_integer(draft.integer, after="tune")
    yield f"  {draft.tuned}"


def _parts(draft: Draft) -> Iterator[tuple[Frames, list[int | None]]]:
    """The clips to tune on, a few at a time, with the output of the class of each."""
    if isinstance(draft.examples, np.ndarray):
        for part in chunks(draft.examples, draft.at_once):
            yield part, [None] * len(part)
        return
    wanted, classes = input_format(draft.graph, draft.network.frames), class_names(draft.graph.metadata)
    outputs = draft.integer.size(draft.integer.output)
    for sources, frames in batches(draft.examples, wanted, READ_AT_ONCE):
        yield frames, [class_number(source.label, classes, outputs) for source in sources]


def _prove(draft: Draft) -> Iterator[str]:
    draft.headroom = prove(draft.integer)
    bits = widest_weight_bits(draft.integer)
    clips = counted(len(draft.clips), "clip")
    yield f"quantised on {clips}: {bits}-bit weights, 12-bit decays; {proven(draft.headroom)}"


def _compare(draft: Draft) -> Iterator[str]:
    draft.fixed_point = draft.known.fixed_point if draft.known else _measured(draft)
    layers, kept = draft.fixed_point.layers, draft.fixed_point.predictions
    yield f"  {summary(layers)}"
    yield f"  {kept}"
    found = [*warnings(layers), *([] if kept.enough else [remedies(layers, svformer=is_svformer(draft.graph))])]
    yield from (f"  warning: {warning}" for warning in found)


def _measured(draft: Draft) -> Fidelity:
    frames = as_images(draft.clips, draft.network)
    with working("measuring what rounding costs"):
        return fidelity(draft.network, draft.integer, draft.headroom, frames, at_once=draft.at_once)


def _form(draft: Draft) -> Iterator[str]:
    draft.fused = draft.integer
    if draft.form == "fused":
        return
    with working("putting the network into the form of a chip"):
        formed = chip_form(draft.fused)
    draft.integer, added = formed.network, formed.network.added
    places = {*draft.integer.populations, *(f"{c.source} -> {c.target}" for c in draft.integer.connections)}
    kept = [register for register in draft.headroom if register.where in places]
    draft.headroom = in_order(draft.integer, [*kept, *formed.headroom])
    check_integer(draft.integer, after="chip_form")
    neurons = sum(draft.integer.size(name) for name in added)
    yield f"chip form: {len(added)} populations of {neurons:,} neurons for attention, biases and wide factors"


def _schedule(draft: Draft) -> Iterator[str]:
    draft.plan = plan = schedule(draft.integer)
    if draft.max_cores is not None:
        require_cores(layer_resources(draft.integer, plan), draft.max_cores)
    delay = f"longest delay {plan.longest_lag} steps"
    yield f"scheduled: {plan.depth} synapses deep, {plan.frames} time steps a clip, {delay}"


STEPS: dict[Step, Callable[[Draft], Iterator[str]]] = {
    "read": _read,  # every node of the graph a population or a connection; what has no exact counterpart is refused
    "rate": _rate,  # firing rates of the layers, where a chip's energy decides about chains of convolutions
    "lower": _lower,  # the passes of `deploy.passes.lowering.LOWERING`: fewer relays, the same numbers
    "calibrate": _calibrate,  # what the calibration clips show of the network in real numbers
    "quantize": _quantize,  # scales and exponents; every operation and population gives its integer form
    "tune": _tune,  # with --tune: weights and biases are trained in the integers that are run
    "prove": _prove,  # no register can overflow, whatever the input
    "compare": _compare,  # what rounding changed, on the calibration clips
    "form": _form,  # with --form chip: attention, biases and wide factors of what a Loihi 2 holds
    "schedule": _schedule,  # the time step at which every layer sees each frame
}


# Of a graph that holds integers: what would choose or round them is left out.
GIVEN = {**STEPS, **given.STEPS}


def steps(draft: Draft) -> Iterator[tuple[Step, list[str]]]:
    """Execute `STEPS` (`GIVEN` for integers of a file), one by one: the name of each, and what it says, while `draft`
    holds what it made.

    A caller that stops between two of them has a draft up to there; so does `advance`.
    """
    for name, step in (GIVEN if holds_integers(draft.graph) else STEPS).items():
        with within_float64(f"step {name}"):
            said = list(step(draft))
        yield name, said


class DraftOptions(TypedDict, total=False):
    """Keyword arguments of `drafted`, which has the defaults."""

    weight_bits: int
    fine_layers: int
    merge: Merge | None
    search: bool
    tuning: TuningOptions | None
    examples: Sequence[ClipSource] | Frames
    form: Form
    max_cores: int | None
    for_netx: bool


def deploy(
    graph: nir.NIRGraph,
    calibration: Sequence[ClipSource] | Frames,
    say: Say,
    *,
    cache: QuantisationCache | None = None,
    **options: Unpack[DraftOptions],
) -> Deployment:
    """Lower, quantise and schedule a graph by `STEPS`; each says what it did.

    What `cache` has of the same graph, clips and options is taken from it; else it keeps what was found. The options
    are those of `drafted`. Raises `InputError`, before anything runs, when not even one clip fits into the
    memory, and when the network takes more than `max_cores` of Loihi 2: as soon as its neurons are known, or else when
    it is scheduled.
    """
    draft = drafted(graph, calibration, **options)
    if cache is None or holds_integers(graph):
        return advance(draft, say).finished()
    draft.known = cache.find(draft)
    draft.unfinished = cache.unfinished(draft) if draft.tuning else None
    advance(draft, say)
    if draft.known is None:
        cache.keep(draft)
    return draft.finished()


def advance(draft: Draft, say: Say, *, last: Step | None = None) -> Draft:
    """Execute `STEPS` up to and with `last` (None: all); each says what it did."""
    for name, lines in steps(draft):
        for line in lines:
            say(line)
        if name == last:
            break
    return draft


def drafted(
    graph: nir.NIRGraph,
    calibration: Sequence[ClipSource] | Frames,
    *,
    weight_bits: int = WEIGHT_BITS,
    fine_layers: int = 0,
    merge: Merge | None = None,
    search: bool = True,
    tuning: TuningOptions | None = None,
    examples: Sequence[ClipSource] | Frames = (),
    form: Form = "fused",
    max_cores: int | None = None,
    for_netx: bool = False,
) -> Draft:
    """A deployment before its first step, with its calibration clips read (or as frames [N, T, *input shape])."""
    if isinstance(calibration, np.ndarray):
        clips, input_range = calibration, None
    else:
        clips, input_range = load_clips(calibration, input_format(graph, graph_frames(graph))), known_range(calibration)
    chosen = read_merge(DEFAULT_MERGE) if merge is None else merge
    return Draft(
        graph=graph,
        clips=clips,
        input_range=input_range,
        weight_bits=weight_bits,
        fine_layers=fine_layers,
        merge=chosen,
        search=search,
        tuning=tuning,
        examples=examples,
        form=form,
        max_cores=max_cores,
        for_netx=for_netx,
    )


def firing_rates(graph: nir.NIRGraph, network: Network, clips: Frames, at_once: int | None = None) -> dict[str, float]:
    """Spikes per neuron and time step of every neuron layer, in real numbers.

    At most `at_once` clips run at the same time (None: all).
    """
    counts = SpikeCounts(network.neuron_layers)
    for part in chunks(clips, at_once):
        interpret(graph, part, record=(), on_node=lambda name, signals: counts.add(name, signals[name]))
    return counts.rates


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
    quantized = quantize_calibrated(network, calibration, weight_bits=weight_bits, search=search)
    check_integer(quantized, after="quantize")
    return quantized
