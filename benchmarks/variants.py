# PYTHON_ARGCOMPLETE_OK
"""Trained networks that differ in their attention, side by side in chip form, and the same at the published geometry.

    python benchmarks/variants.py runs/sdsa_0 runs/sdsa_1 runs/qkta_0        # folders of `svformer.train`
    python benchmarks/variants.py svformer/assets/tiny svformer/assets/chip --limit 24       # a first look
    python benchmarks/variants.py runs/sdsa_0 --json | jq '.[].trained'

Each network runs on the held-out clips of the procedural set, in real numbers and in the integers of the chip form;
energy, cores and chip steps are those of that form. Seeds of one attention are averaged. The published geometry has
random weights and the published firing rates (`full_geometry.py`), so it has neurons, cores and chip steps, and no
accuracy; `--no-published` leaves it out. What was deployed lies in --out and is read from there the next time.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from full_geometry import deployed
from rich import box
from rich.console import Console
from rich.table import Table

from deploy.clips.files import shipped
from deploy.costs.budget import TARGET
from deploy.frontend.export import export_checkpoint
from deploy.ir.graph import write_nir
from deploy.passes.merge_linear_chains import read_merge
from deploy.report.keys.report import Estimate, Report
from deploy.report.record import estimate
from deploy.request import Request
from deploy.session import run
from svformer.assets import CALIBRATION_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.common.terminal import new_console, print_wide
from svformer.config import PRESETS, SVFormerConfig
from svformer.data.choice import DatasetChoice
from svformer.networks.checkpoint import load_checkpoint

CHECKPOINT, REPORT = "checkpoint.safetensors", "report.json"
PAPERS, MEMORY = "cmos45_fp32", "cmos45_lemaire"  # the first decides which convolutions in a row merge, too
NAMES = {"qkv": "Q (K^T V)", "sdsa": "SDSA", "qkta": "Q-K token"}


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a chip form takes of Loihi 2."""

    neurons: int  # relays of delay lines included
    delay_neurons: int
    cores: int  # by placement
    chips: int
    chip_steps: int  # of a clip, from its first frame to its result


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What was measured of one trained network; counts and energy are those of the mean clip."""

    float_top1: float
    deployed_top1: float
    spikes: float
    synaptic_ops: float
    macs: float
    papers_mj: float  # weighted layers at 45 nm, as papers count
    memory_mj: float  # everything, with memory
    size: Size


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An attention, and the seeds that it was trained with."""

    attention: str
    head_dim: int
    trained: tuple[Trained, ...]
    published: Size | None

    @property
    def title(self) -> str:
        return f"{NAMES[self.attention]}, {self.head_dim}"


def size_of(report: Estimate) -> Size:
    """Neurons by the mapping, cores by placement; raises `InputError` for a network that Loihi 2 does not hold."""
    fit = report.fit[TARGET]
    if fit.placement is None:
        raise InputError(f"no placement: {fit.unplaced}")
    delays = sum(part.neurons for part in report.mapping if part.what.startswith("delay"))
    return Size(
        neurons=sum(part.neurons for part in report.mapping),
        delay_neurons=delays,
        cores=fit.placement.cores,
        chips=fit.placement.chips,
        chip_steps=report.plan.depth + report.network.frames,
    )


def trained(folder: Path, out: Path, dataset: DatasetChoice, limit: int | None, console: Console) -> Trained:
    """A trained network on held-out clips, by the integer interpreter; from `out` where that holds its report."""
    if not (out / REPORT).exists():
        _, graph = export_checkpoint(folder / CHECKPOINT)
        out.mkdir(parents=True, exist_ok=True)
        write_nir(graph, out / "model.nir")
        run(
            Request(
                nir=out / "model.nir",
                dataset=dataset,
                limit=limit,
                merge=PAPERS,
                form="chip",
                backend="integer",
                out=out,
                force=True,
            )
        )
    console.print(f"{folder}: {out / REPORT}")
    report = Report.read(out / REPORT)
    float_top1, deployed_top1 = report.accuracy.float_top1, report.accuracy.deployed_top1
    if float_top1 is None or deployed_top1 is None:
        raise InputError(f"{folder}: {report.accuracy.note}; give networks that were trained on the procedural set")
    models = report.energy.models
    papers_mj, memory_mj = models[PAPERS].weighted_layers_mj, models[MEMORY].mj_per_view
    assert papers_mj is not None
    assert memory_mj is not None
    return Trained(
        float_top1=float_top1,
        deployed_top1=deployed_top1,
        spikes=report.totals.spikes,
        synaptic_ops=report.totals.synaptic_ops,
        macs=report.totals.macs,
        papers_mj=papers_mj,
        memory_mj=memory_mj,
        size=size_of(report),
    )


def published(config: SVFormerConfig, out: Path, console: Console) -> Size:
    """The chip form of a geometry with random weights; from `out` where that holds its report."""
    if not (out / REPORT).exists():
        source = shipped(CALIBRATION_CLIPS)[0]
        deployment, _ = deployed(config, source, read_merge(PAPERS), console, form="chip")
        out.mkdir(parents=True, exist_ok=True)
        estimate(deployment).write(out / REPORT)
    console.print(f"{config.attention}, heads of {config.head_dim}: {out / REPORT}")
    return size_of(Estimate.read(out / REPORT))


def variants(
    folders: Sequence[Path],
    out: Path,
    console: Console,
    *,
    dataset: DatasetChoice,
    limit: int | None = None,
    geometry: SVFormerConfig | None = None,
) -> list[Variant]:
    """Every attention of the networks in `folders`, in order; `geometry` is what is sized beside them."""
    configs = {folder: load_checkpoint(folder / CHECKPOINT).config for folder in folders}
    found: list[Variant] = []
    for attention, head_dim in dict.fromkeys((c.attention, c.head_dim) for c in configs.values()):
        of_kind = [folder for folder, c in configs.items() if (c.attention, c.head_dim) == (attention, head_dim)]
        runs = tuple(trained(folder, out / folder.name, dataset, limit, console) for folder in of_kind)
        beside = None
        if geometry:
            config = dataclasses.replace(geometry, attention=attention, head_dim=head_dim)
            beside = published(config, out / f"published_{attention}_{head_dim}", console)
        found.append(Variant(attention=attention, head_dim=head_dim, trained=runs, published=beside))
    return found


def measured_table(found: Iterable[Variant]) -> Table:
    """What the trained networks reach and cost, a row for each attention: accuracies of every seed, else the mean."""
    columns = (
        "top-1 float, %",
        "top-1 deployed, %",
        "spikes",
        "synaptic operations",
        "MACs",
        "45 nm, mJ",
        "memory, mJ",
    )
    shown = Table("attention, heads of", *columns, box=box.MARKDOWN)
    for variant in found:
        runs = variant.trained
        shown.add_row(
            variant.title,
            " / ".join(f"{100 * run.float_top1:.2f}" for run in runs),
            " / ".join(f"{100 * run.deployed_top1:.2f}" for run in runs),
            f"{mean(run.spikes for run in runs):,.0f}",
            f"{mean(run.synaptic_ops for run in runs) / 1e6:.2f} M",
            f"{mean(run.macs for run in runs) / 1e6:.2f} M",
            f"{mean(run.papers_mj for run in runs):.4f}",
            f"{mean(run.memory_mj for run in runs):.3f}",
        )
    return shown


def size_table(found: Iterable[Variant]) -> Table:
    """What the chip form takes of Loihi 2, of the trained networks and of the published geometry."""
    columns = ("neurons", "of these hold back", "cores", "chips", "chip steps")
    shown = Table("attention, heads of", "network", *columns, box=box.MARKDOWN)
    for variant in found:
        for name, size in (("trained", variant.trained[0].size), ("published geometry", variant.published)):
            if size:
                row = (size.neurons, size.delay_neurons, size.cores, size.chips, size.chip_steps)
                shown.add_row(variant.title, name, *(f"{figure:,}" for figure in row))
    return shown


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/variants.py", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders with a checkpoint.safetensors")
    parser.add_argument("--root", type=Path, help="folder of the procedural set (default: data/procedural)")
    parser.add_argument("--limit", type=positive_int, help="held-out clips, evenly of the classes (default: all)")
    parser.add_argument("--no-published", action="store_true", help="leave the published geometry out")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"), help="folder of what was deployed")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    found = variants(
        arguments.folders,
        arguments.out,
        console,
        dataset=DatasetChoice(root=arguments.root),
        limit=arguments.limit,
        geometry=None if arguments.no_published else PRESETS["ucf101"],
    )
    print_wide(measured_table(found), console)
    print_wide(size_table(found), console)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(variant) for variant in found]))


if __name__ == "__main__":
    sys.exit(run_cli(main))
