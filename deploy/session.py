"""A request carried out: its network deployed, its clips run, and what comes of them written and returned."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from deploy import pipeline
from deploy.clips.read import load, load_clips
from deploy.costs.placing import Placing, place_rates
from deploy.exchange.files import write_integers
from deploy.exchange.of_run import write_of_run
from deploy.execution.backends import BOARDS, RunOptions
from deploy.execution.cached import QuantisationCache
from deploy.execution.collect import InProcess, Runner
from deploy.execution.deployment import Deployment
from deploy.execution.draft import Draft
from deploy.execution.on_loihi2 import run_chip
from deploy.execution.resume import ResultFolder
from deploy.execution.run import run as run_clips
from deploy.execution.tally import Tally
from deploy.gates.precision import Agreement, precision
from deploy.gates.reference import compare
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.integer import as_images
from deploy.ir.interpreter import graph_dt_s
from deploy.passes.defaults import Step
from deploy.pipeline import DraftOptions, Say
from deploy.preparation import Prepared, claim_folder, prepare
from deploy.report.clip_rows import places_to_show
from deploy.report.estimate_page import write_estimate_page
from deploy.report.files import write_markdown
from deploy.report.keys.loihi2 import BoardReport
from deploy.report.keys.report import Estimate, Report
from deploy.report.loihi2 import board_report, print_board_report
from deploy.report.network_picture import network_pictures
from deploy.report.page import write_page
from deploy.report.record import estimate, record
from deploy.report.shown import shown_clips
from deploy.report.spikes import write_spikes
from deploy.report.summary import print_estimate, print_summary
from deploy.request import Request
from deploy.tuning.outcome import TuningOptions
from hardware import load_chip, shipped_chips
from svformer.common.terminal import counted, counting, working

RESULTS = ("report.json", "report.html", "report.md", "spikes.h5", "integers.h5", "loihi2.json")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a request came to."""

    request: Request
    deployment: Deployment  # the network at every level, and what was proven on the way
    report: Report | Estimate | BoardReport  # the content of report.json; of loihi2.json after a run on a board
    page: Path  # the file to look at first
    tally: Tally | None = None  # results of all clips, spikes of the first ones; None where nothing was simulated


def run(request: Request, say: Say = lambda line: None) -> Outcome:
    """Deploy the network of a request, run its clips and write the results into its folder; `say` gets each step.

    Raises `InputError`, before the long work and before a file is written, for what cannot be run; `GateError` where
    two executions that have to agree differ; `SimulatorError` where Lava fails.
    """
    results = claim_folder(request)
    prepared = prepare(request)
    graph = _network(request, prepared, say)
    cache = QuantisationCache() if request.cache else None
    deployment = pipeline.deploy(graph, prepared.calibration, say, cache=cache, **_options(request, prepared))
    if request.write_integer is not None:
        _write(request.write_integer, deployment, say)
    if request.estimate:
        return _estimated(request, prepared, deployment)
    if request.backend in BOARDS:
        return _ran_on_board(request, prepared, deployment)
    return _simulated(request, prepared, deployment, results)


def draft(request: Request, last: Step, say: Say = lambda line: None) -> Draft:
    """Deploy the network of a request up to and with one step of `deploy.pipeline.STEPS`; nothing is written.

    Raises `InputError` for what cannot be read, does not fit, or cannot be mapped exactly.
    """
    prepared = prepare(request, runs=False)
    begun = pipeline.drafted(prepared.graph, prepared.calibration, **_options(request, prepared))
    return pipeline.advance(begun, say, last=last)


def why(request: Request, say: Say = lambda line: None) -> dict[str, Agreement]:
    """What rounding each part of the network of a request changes, on its calibration clips; nothing is written.

    Raises `InputError` as `draft` does.
    """
    made = draft(request, "compare", say)
    frames = as_images(made.clips, made.network)
    with working("rounding one part at a time"):
        return precision(made.network, made.integer, frames, at_once=made.at_once)


def _options(request: Request, prepared: Prepared) -> DraftOptions:
    """What a request says of the deployment."""
    return DraftOptions(
        weight_bits=request.weight_bits,
        fine_layers=request.fine_layers,
        tuning=TuningOptions(epochs=request.tune) if request.tune else None,
        examples=prepared.examples,
        merge=prepared.merge,
        form=request.chosen_form,
        max_cores=request.max_cores,
        for_netx=request.for_netx,
    )


def print_outcome(outcome: Outcome, console: Console) -> None:
    """What a person wants to know at once."""
    match outcome.report:
        case Report() as report:
            print_summary(report, console)
        case Estimate() as report:
            print_estimate(report, console)
        case report:
            print_board_report(report, console)


def _network(request: Request, prepared: Prepared, say: Say) -> nir.NIRGraph:
    """The graph to deploy; that of the shipped checkpoint has been through a file, as any other."""
    if prepared.shipped is None:
        return prepared.graph
    path = request.folder / "model.nir"
    write_nir(prepared.graph, path)
    say(f"exported {path}: {prepared.shipped.said}")
    return prepared.graph if prepared.shipped.earlier else read_nir(path)


def _write(path: str | Path, deployment: Deployment, say: Say) -> None:
    """The integers in the fused form; `--form chip` makes the chip form of them again."""
    graph, shape = deployment.graph, deployment.input_format.shape
    write_integers(deployment.fused, path, dt_s=graph_dt_s(graph), input_shape=shape, metadata=graph.metadata)
    say(f"wrote {path}: integers of {len(deployment.fused.populations)} populations, read again and found equal")


def _estimated(request: Request, prepared: Prepared, deployment: Deployment) -> Outcome:
    layers = deployment.fixed_point.layers if deployment.fixed_point else []
    rates = {layer.name: layer.rate for layer in layers if layer.rate is not None}
    placed = place_rates(deployment.integer, deployment.plan, rates, _placing(request, prepared)) if rates else {}
    report = estimate(deployment, chips=prepared.chips, placed=placed, order=request.place)
    folder = _new_folder(request)
    write_estimate_page(report, folder / "report.html")
    report.write(folder / "report.json")
    return Outcome(request=request, deployment=deployment, report=report, page=folder / "report.html")


def _ran_on_board(request: Request, prepared: Prepared, deployment: Deployment) -> Outcome:
    report = board_report(deployment, run_chip(deployment, prepared.clips))
    page = _new_folder(request) / "loihi2.json"
    report.write(page)
    return Outcome(request=request, deployment=deployment, report=report, page=page)


def _simulated(request: Request, prepared: Prepared, deployment: Deployment, results: ResultFolder) -> Outcome:
    tally, compared = _tally(request, prepared, deployment, results), None
    if request.reference:
        first = load_clips([clip.source for clip in tally.clips[: tally.kept_clips]], deployment.input_format)
        compared = compare(Path(request.reference), deployment.graph, first, tally.kept, integers=deployment.fused)
    report = record(
        deployment,
        tally,
        backend=request.backend,
        chips=prepared.chips,
        order=request.place,
        fps=request.fps,
        reference=compared,
        network=Path(request.nir or request.net or request.folder / "model.nir"),
    )
    folder = _new_folder(request)
    write_spikes(tally.kept, folder / "spikes.h5", dt_s=graph_dt_s(deployment.graph))
    if deployment.form == "fused":
        write_of_run(deployment.integer, deployment.plan, _kept_input(deployment, tally), folder / "integers.h5")
    pictures = network_pictures(deployment, report)
    shown = shown_clips(deployment, tally, places_to_show(report))
    write_page(report, shown, folder / "report.html", pictures=pictures)
    write_markdown(report, folder / "report.md")
    report.write(folder / "report.json")
    results.remove()
    return Outcome(request=request, deployment=deployment, report=report, page=folder / "report.html", tally=tally)


def _kept_input(deployment: Deployment, tally: Tally) -> NDArray[np.int64]:
    """What the input sent in the clips whose spikes are kept, [N, T, C, H, W]; behind the end of a shorter one 0."""
    entry, clips = deployment.integer.input, tally.clips[: tally.kept_clips]
    sent = np.zeros((len(clips), deployment.plan.frames, *entry.shape), dtype=np.int64)
    for row, clip in zip(sent, clips, strict=True):
        frames = as_images(load(clip.source, deployment.input_format)[np.newaxis], deployment.integer)[0]
        row[: len(frames)] = entry.quantize(frames)
    return sent


def _tally(request: Request, prepared: Prepared, deployment: Deployment, results: ResultFolder) -> Tally:
    """The clips in all executions, with a bar."""
    options = RunOptions(
        blocks=request.chosen_blocks, models=request.models, processes=request.processes, timeout_s=request.timeout_s
    )
    with _runner(request) as runner, counting(len(prepared.clips), _described(request, prepared, runner)) as on_clips:
        return run_clips(
            deployment,
            prepared.clips,
            backend=request.backend,
            options=options,
            runner=runner,
            results=results,
            keep=request.kept_of(len(prepared.clips)),
            check=request.check,
            placing=_placing(request, prepared),
            on_clips=on_clips,
        )


def _placing(request: Request, prepared: Prepared) -> Placing:
    """The placement of a request, on all chips with times."""
    chips = [*map(load_chip, shipped_chips()), *prepared.chips]
    return Placing(order=request.place, chips=tuple(chips))


def _described(request: Request, prepared: Prepared, runner: Runner) -> str:
    workers = f", {runner.workers} workers" if runner.workers > 1 else ""
    return f"{counted(len(prepared.clips), 'clip')} on {request.backend}{workers}"


def _runner(request: Request) -> AbstractContextManager[Runner]:
    """Where the clips run; dask is imported only where it is asked for."""
    if request.workers is None and request.scheduler is None:
        return nullcontext(InProcess())
    from deploy.execution.cluster import local_workers, workers_of

    return workers_of(request.scheduler) if request.scheduler else local_workers(request.workers or 1)


def _new_folder(request: Request) -> Path:
    """The folder for the results, without those of an earlier run, which would not go with the new ones."""
    for name in RESULTS:
        (request.folder / name).unlink(missing_ok=True)
    return request.folder
