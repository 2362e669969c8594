"""What one network does on some clips, in the figures that networks are compared by."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from deploy.clips.choose import dataset_clips
from deploy.clips.read import load_clips
from deploy.clips.source import ClipSource, InputFormat
from deploy.comparison.relu import ReluRun, run_relu
from deploy.comparison.request import ComparisonRequest
from deploy.execution.deployment import Deployment
from deploy.execution.run import run
from deploy.frontend.export import export_checkpoint
from deploy.gates.export import check_export
from deploy.ir.machine import WEIGHT_BITS
from deploy.ir.model import class_names
from deploy.passes.merge_linear_chains import read_merge
from deploy.pipeline import DraftOptions, Say, deploy
from deploy.report.keys.report import Report
from deploy.report.record import record
from deploy.tuning.outcome import TuningOptions
from hardware import Chip, EnergyModel, energy_models, load_chip
from hardware.counts import Counts
from hardware.devices import OnDevice, on_device, shipped_devices
from hardware.interval import Interval, compared, drawn_mj
from hardware.resources import BITS_PER_KIB
from hardware.shown import CONVENTION, shown_in
from svformer.common.terminal import counted, counting
from svformer.model.network import Network
from svformer.networks.checkpoint import load_network, read_notes

CHIPS = shown_in("comparison")
CHECKED_CLIPS = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network at one width of its weights; operations and energy (millijoule) of the mean clip."""

    name: str
    form: str
    weight_bits: int  # the widest weight that is stored
    clips: int
    float_top1: float | None  # None where no clip bears a class of the network
    deployed_top1: float | None  # None where nothing was deployed
    agreement: float | None  # clips with the same best class before and after quantisation
    spike_match: float | None
    active_share: float  # firing rate, or the share of activations other than zero
    memory_kib: float  # memory of the weights
    synaptic_ops: float
    macs: float  # multiply-accumulates of graded messages, and of gains that change with the time step
    attention_ops: float
    neuron_updates: float
    energy_mj: dict[str, float | None]  # chip -> weighted layers (the convention) or all that has a figure
    interval_mj: dict[str, Interval]  # chip -> between what it lies; chips without a figure are left out
    device_mj: dict[str, OnDevice]  # device that one buys -> a ReLU network there; empty for the others
    static: bool  # whether the weights stay the same at all time steps
    against: dict[str, dict[str, str]] = field(default_factory=dict)  # ReLU network of equal bits -> chip -> verdict
    draws_mj: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)  # chip -> draws of the energy

    @property
    def is_relu(self) -> bool:
        """Whether it has no spikes that could match those of a float network."""
        return self.spike_match is None

    def plain(self) -> dict[str, Any]:
        """The row as comparison.json has it, without draws."""
        values = dataclasses.asdict(self)
        del values["draws_mj"]
        return values

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> "Row":
        """The row that `plain` gave; it has no draws."""
        intervals = {chip: Interval(**found) for chip, found in values["interval_mj"].items()}
        devices = {name: OnDevice(**found) for name, found in values["device_mj"].items()}
        return cls(**{**values, "interval_mj": intervals, "device_mj": devices})

    @property
    def short_name(self) -> str:
        """The name, and for a ReLU network whether its zeros are skipped."""
        return f"{self.name} ({self.form.rpartition(', ')[2]})" if self.is_relu else self.name


def judged(rows: Sequence[Row]) -> list[Row]:
    """The rows, each spiking network with what it is to every ReLU network of equal bits: "cheaper", "dearer" or
    "undecided" on each chip, by the draws of both.
    """
    twins = [row for row in rows if row.is_relu]
    return [row if row.is_relu else dataclasses.replace(row, against=_against(row, twins)) for row in rows]


def _against(row: Row, twins: Sequence[Row]) -> dict[str, dict[str, str]]:
    return {
        twin.short_name: {
            chip: compared(row.draws_mj[chip], twin.draws_mj[chip]) for chip in row.draws_mj if chip in twin.draws_mj
        }
        for twin in twins
        if twin.weight_bits == row.weight_bits
    }


def rows_of(
    path: Path,
    clips: Sequence[ClipSource],
    calibration: Sequence[ClipSource],
    request: ComparisonRequest,
    console: Console,
) -> list[Row]:
    """The rows of a checkpoint: one for every width, two of each for a ReLU network (with its zeros, and without)."""
    model = load_network(path, head_dim=request.head_dim)
    name = path.parent.name if path.stem == "checkpoint" else path.stem
    console.rule(f"{name}: {form_of(model)}")
    if model.config.activation != "spiking":
        return _relu_rows(name, model, class_names(read_notes(path)), clips, request.weight_bits, console)
    trained = model.config.weight_bits
    widths = request.weight_bits if trained is None else [WEIGHT_BITS]  # a trained grid is found and kept
    say = _each_once(console.print)
    return [_spiking_row(name, path, clips, calibration, request, bits, say) for bits in widths]


def _each_once(say: Say) -> Say:
    """`say` without the lines that it has had: deployments of one network at several widths have most in common."""
    had: set[str] = set()

    def once(line: str) -> None:
        if line not in had:
            had.add(line)
            say(line)

    return once


def form_of(model: Network) -> str:
    """Form of a network in a few words."""
    config = model.config
    if config.activation != "spiking":
        return "ReLU and softmax" if config.model == "svformer" else f"{config.model}, real numbers"
    if config.model != "svformer":
        frames = f", {config.steps_per_frame} time steps a frame" if config.steps_per_frame > 1 else ""
        return config.model + frames
    norm = "norm shared over time" if config.norm == "shared" else "norm of every time step"
    return norm if config.weight_bits is None else f"trained with {config.weight_bits}-bit weights"


def _spiking_row(
    name: str,
    path: Path,
    clips: Sequence[ClipSource],
    calibration: Sequence[ClipSource],
    request: ComparisonRequest,
    bits: int,
    say: Say,
) -> Row:
    model, graph = export_checkpoint(path, head_dim=request.head_dim)
    check_export(model, graph, load_clips(calibration[:CHECKED_CLIPS], InputFormat.of(model.config)))
    deployment = deploy(graph, calibration, say, **_options(request, bits))
    with counting(len(clips), f"{name}, {bits} bits") as on_clips:
        tally = run(deployment, clips, backend=request.backend, on_clips=on_clips)
    report = record(deployment, tally, backend=request.backend)
    by_clip = [clip.counts for clip in tally.clips]
    draws = {chip: _draws(by_clip, load_chip(chip), stream=f"{name} {bits}") for chip in CHIPS}
    form = ", ".join([form_of(model), *_said(request)])
    return _row_of_report(name, form, report, draws, _is_static(deployment))


def _options(request: ComparisonRequest, bits: int) -> DraftOptions:
    """What a request says of a deployment at one width."""
    options = DraftOptions(weight_bits=bits, fine_layers=request.fine_layers, merge=read_merge(request.merge))
    if request.tune:
        options |= DraftOptions(
            tuning=TuningOptions(epochs=request.tune), examples=dataset_clips(request.dataset, train=True)
        )
    return options


def _said(request: ComparisonRequest) -> list[str]:
    """What was done to the rounded network besides rounding, in words."""
    fine = [counted(request.fine_layers, "fine layer")] if request.fine_layers else []
    return [*fine, *([f"tuned for {counted(request.tune, 'epoch')}"] if request.tune else [])]


def _draws(by_clip: Sequence[Counts[Any]], chip: Chip, *, stream: str) -> NDArray[np.float64]:
    """Draws of what `energy_mj` has."""
    return drawn_mj(by_clip, chip, weighted=chip.name == CONVENTION, stream=stream)


def _is_static(deployment: Deployment) -> bool:
    return not any(layer.changes_with_time for layer in deployment.resources)


def _row_of_report(name: str, form: str, report: Report, draws_mj: dict[str, NDArray[np.float64]], static: bool) -> Row:
    totals, parity = report.totals, report.parity.float_vs_integer
    rates = [(layer.rate, layer.neurons) for layer in report.layers if layer.rate is not None]
    return Row(
        name=name,
        form=form,
        weight_bits=report.network.weight_bits,
        clips=len(report.clips),
        float_top1=report.accuracy.float_top1,
        deployed_top1=report.accuracy.deployed_top1,
        agreement=parity.top1_agreement,
        spike_match=parity.spike_match,
        active_share=float(np.average([rate for rate, _ in rates], weights=[neurons for _, neurons in rates])),
        memory_kib=report.network.synapse_memory_kib,
        synaptic_ops=totals.synaptic_ops,
        macs=totals.macs + totals.gain_macs,
        attention_ops=totals.attention_coincidences + totals.attention_gated_adds,
        neuron_updates=totals.neuron_updates,
        energy_mj={chip: _energy_mj(report.energy.models[chip], chip) for chip in CHIPS},
        interval_mj={chip: Interval.of(draws) for chip, draws in draws_mj.items()},
        device_mj={},
        draws_mj=draws_mj,
        static=static,
    )


def _energy_mj(model: EnergyModel, chip: str) -> float | None:
    """What papers report on the convention's chip (weighted layers), everything on the others."""
    return model.weighted_layers_mj if chip == CONVENTION else model.mj_per_view


def _relu_rows(
    name: str,
    model: Network,
    classes: Sequence[str],
    clips: Sequence[ClipSource],
    widths: Sequence[int],
    console: Console,
) -> list[Row]:
    config = model.config
    wanted = InputFormat.of(config)
    with counting(len(clips), name) as on_clips:
        found = run_relu(model, clips, wanted, classes=classes, on_clips=on_clips)
    forms = {"every product": found.dense(), "zeros skipped": found}
    return [
        _relu_row(name, f"{form_of(model)}, {form}", counted, bits)
        for bits in widths
        for form, counted in forms.items()
    ]


def _relu_row(name: str, form: str, found: ReluRun, bits: int) -> Row:
    weighted, everything = (found.per_clip(weight_bits=bits, attention=attention) for attention in (False, True))
    energies: dict[str, float | None] = {}
    draws_mj: dict[str, NDArray[np.float64]] = {}
    products = everything.dense_macs + everything.dense_attention_ops
    for chip in map(load_chip, CHIPS):
        counts = weighted if chip.name == CONVENTION else everything
        (model,) = energy_models({"all": counts}, [chip]).values()
        multiplies = chip.energy is not None and chip.energy.multiply_accumulate is not None
        energies[chip.name] = _energy_mj(model, chip.name) if multiplies else None
        if multiplies:
            draws_mj[chip.name] = _draws([counts], chip, stream=name)
    return Row(
        name=name,
        form=form,
        weight_bits=bits,
        clips=found.clips,
        float_top1=found.top1,
        deployed_top1=None,
        agreement=None,
        spike_match=None,
        active_share=found.active_share,
        memory_kib=found.weights * bits / BITS_PER_KIB,
        synaptic_ops=0.0,
        macs=everything.macs,
        attention_ops=0.0,
        neuron_updates=0.0,
        energy_mj=energies,
        interval_mj={chip: Interval.of(draws) for chip, draws in draws_mj.items()},
        device_mj={device.title: on_device(products, device) for device in shipped_devices()},
        draws_mj=draws_mj,
        static=True,
    )
