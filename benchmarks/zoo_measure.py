"""One family of the zoo: from a PyTorch model to spikes, operations, energy and cores, each execution compared."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from variants import Size as ChipSize
from variants import size_of
from zoo_models import FAMILIES, LIF, Size, describe, settle

import deploy
from deploy.clips.files import shipped
from deploy.clips.read import load_clips
from deploy.clips.source import InputFormat
from deploy.execution.deployment import Deployment
from deploy.gates.agreement import Agreement, require_equal
from deploy.gates.imported import ImportCheck
from deploy.passes.chip_form import chip_form
from deploy.passes.mapping import mapping, obstacles
from deploy.passes.schedule import schedule
from deploy.report.keys.report import Report
from deploy.report.kinds import NEURONS
from deploy.report.record import estimate
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS
from svformer.common.errors import InputError

WEIGHTED = "cmos45_fp32"  # weighted layers alone, as papers count
WHOLE = ("cmos45_lemaire", "loihi1", "cmos45_int8_sram")  # everything that has a figure
CHECKED_CLIPS = 2  # of PyTorch and NIR


@dataclass(frozen=True, kw_only=True)
class ChipForm:
    """What the parts take of Loihi 2 that a chip holds, with everything in them."""

    size: ChipSize | None
    why_not: str  # why there is none; empty where there is one


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A network at one width of weights; counts and energies are those of the mean clip."""

    weight_bits: int
    rate: float  # spikes of a neuron in a time step
    spikes: float
    spike_match: float  # share of all neurons and time steps that are the same in real numbers and in integers
    synaptic_ops: float
    macs: float
    attention_ops: float
    weighted_mj: float  # at `WEIGHTED`
    whole_mj: Mapping[str, float]  # by the name of the chip, of `WHOLE`
    stand_in: Mapping[str, float]  # by the same: the share that is priced as synaptic operations for want of a figure
    lava: Agreement  # one clip, every population and time step, against the integer interpreter
    obstacles: int  # parts that need microcode on Loihi 2, as quantised
    quantised: ChipSize  # as if microcode took nothing
    chip_form: ChipForm


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A family: its network, how PyTorch and NIR agree, and what it is at every width."""

    family: str
    parameters: int
    neurons: int
    dense_macs: int  # of a clip: convolutions, linear layers and matrix products of PyTorch's dense forward
    check: ImportCheck
    deployed: tuple[Deployed, ...]


def videos(size: Size) -> tuple[Tensor, Tensor]:
    """The videos that ship, as the models take them, [T, B, 3, H, W]: every other one to calibrate, the rest to run.

    Light and dark ones are in both, so that norms see what they will be given.
    """
    wanted = InputFormat(frames=size.frames, shape=(3, size.image, size.image), pixels=True)
    clips = load_clips([*shipped(CALIBRATION_CLIPS), *shipped(DEMO_CLIPS)], wanted)
    every = torch.from_numpy(clips).double().transpose(0, 1)
    return every[:, ::2], every[:, 1::2]


def measure(family: str, widths: Sequence[int], size: Size, out: Path, *, limit: int | None = None) -> Measured:
    """Deploy a family at these widths of weights; its files and reports lie below `out`.

    At most `limit` clips are run (None: half of those that ship). Raises `GateError` where two executions differ that
    have to be equal.
    """
    calibration, clips = videos(size)
    clips = clips[:, :limit]
    torch.manual_seed(0)
    model = settle(FAMILIES[family](size), calibration)
    imported = deploy.from_torch(model, clips[:, :CHECKED_CLIPS], axes="TBCHW", neurons={LIF: describe})
    check = imported.check(clips[:, :CHECKED_CLIPS])
    out.mkdir(parents=True, exist_ok=True)
    deploy.write_nir(imported.graph, out / "model.nir")
    np.save(out / "clips.npy", imported.frames(clips))
    np.save(out / "calibration.npy", imported.frames(calibration))
    outcomes = [run(out, bits) for bits in widths]
    first = outcomes[0].report
    assert isinstance(first, Report)
    return Measured(
        family=family,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        neurons=first.network.neurons,
        dense_macs=dense_macs(model, clips[:, :1]),
        check=check,
        deployed=tuple(deployed(outcome, np.load(out / "clips.npy", mmap_mode="r")[:1]) for outcome in outcomes),
    )


def run(folder: Path, bits: int) -> deploy.Outcome:
    """All clips of a folder in the integer interpreter."""
    request = deploy.Request(
        nir=folder / "model.nir",
        clips=[folder / "clips.npy"],
        calibrate=[folder / "calibration.npy"],
        readout="mean",
        weight_bits=bits,
        merge=WEIGHTED,  # the form of convolutions in a row that the published table is of
        backend="integer",
        out=folder / f"{bits}_bits",
        force=True,
    )
    return deploy.run(request)


def dense_macs(model: nn.Module, clip: Tensor) -> int:
    """Multiply-accumulates of a dense forward, two operations each as torch counts them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clip)
    return int(counter.get_total_flops()) // 2


def deployed(outcome: deploy.Outcome, clip: np.ndarray) -> Deployed:
    """What the report of a run says, one clip on Lava, and what the chip form takes."""
    report, deployment = outcome.report, outcome.deployment
    assert isinstance(report, Report)
    totals, models = report.totals, report.energy.models
    whole = {name: models[name].mj_per_view or 0.0 for name in WHOLE}
    weighted_mj = models[WEIGHTED].weighted_layers_mj
    assert weighted_mj is not None
    slots = report.network.frames * sum(layer.neurons for layer in report.layers if layer.kind in NEURONS)
    return Deployed(
        weight_bits=deployment.weight_bits,
        rate=totals.spikes / slots,
        spikes=totals.spikes,
        spike_match=report.parity.float_vs_integer.spike_match,
        synaptic_ops=totals.synaptic_ops,
        macs=totals.macs,
        attention_ops=totals.attention_coincidences + totals.attention_gated_adds,
        weighted_mj=weighted_mj,
        whole_mj=whole,
        stand_in={name: (models[name].stand_in_mj or 0.0) / mj for name, mj in whole.items()},
        lava=on_lava(deployment, clip),
        obstacles=len(obstacles(mapping(deployment.integer, deployment.plan))),
        quantised=size_of(report),
        chip_form=chip_size(deployment),
    )


def on_lava(deployment: Deployment, clip: np.ndarray) -> Agreement:
    """Every message of one clip on Lava against the integer interpreter; raises `GateError` where one differs."""
    network, plan = deployment.integer, deployment.plan
    judged, found = (deploy.simulate(network, clip, plan=plan, backend=name).signals for name in ("integer", "lava"))
    return require_equal(judged, found, names=list(network.populations), between="integer interpreter and Lava")


def chip_size(deployment: Deployment) -> ChipForm:
    """The same integers in chip form, placed; some operations have no such form."""
    try:
        formed = chip_form(deployment.fused).network
    except InputError as error:
        return ChipForm(size=None, why_not=str(error).removesuffix("; use --form fused"))
    placed = dataclasses.replace(deployment, integer=formed, plan=schedule(formed), form="chip")
    return ChipForm(size=size_of(estimate(placed)), why_not="")
