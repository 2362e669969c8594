"""The 21 mJ per video of the SVFormer paper, beside what its published rates add up to.

Paper: Yu et al., "SVFormer: A Direct Training Spiking Transformer for Efficient Video Action Recognition",
arXiv 2406.15034. The arithmetic behind its energy figure is not published.
`data/svformer_ucf101_layers.csv` holds every layer's geometry and firing rate from the authors' public log,
and the log's operation counts as printed and corrected (each convolution row over-counts by C_out / 16 x
1.002379). All sums here are computed from that table and a chip file; no term is chosen to come out at 21.

`python -m hardware.paper` prints the ledger.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

from rich.console import Console
from rich.table import Table

from hardware.chip import load_chip, shipped_chips
from hardware.energy import PJ_PER_MJ, price
from hardware.op_counts import OpCounts

PAPER_MJ_PER_VIDEO = 21.0
PAPER_ACCURACY = {1: 80.73, 15: 84.03}  # UCF101 top-1 in %, by views; operations were logged with one view
PAPER_HEAD_DIM = 64
PAPER_IMAGE_SIZE = (224, 224)
PAPER_TIME_STEPS = 16
PAPER_PARAMETERS = 13_801_612  # 101 classes, norms with parameters of their own for each time step


@dataclass(frozen=True, kw_only=True)
class PaperLayer:
    """One row of the table. Counts are per video of one view: 16 frames of 224 x 224."""

    name: str
    in_channels: int
    positions: int  # of the input, H * W
    rate: float  # of the input for weighted layers, of the own output for neurons
    counts: OpCounts
    logged_acs: float
    logged_macs: float

    @property
    def normed(self) -> bool:
        """Whether batch norm follows: not inside a chain of convolutions, and not after the classifier."""
        without = ("local.conv1", "local.dwconv", "localpath.dwconv", "head.fc")
        return self.counts.bias_adds > 0 and not self.name.endswith(without)


@dataclass(frozen=True, kw_only=True)
class LedgerTerm:
    """One term that an energy figure may include: `count` operations of `unit_pj` each."""

    name: str
    count: int
    unit_pj: float

    @property
    def mj(self) -> float:
        """Energy in millijoule."""
        return self.count * self.unit_pj / PJ_PER_MJ


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What an energy per video depends on first of all."""

    image_size: tuple[int, int]  # H, W
    time_steps: int
    parameters: int
    padded_macs: int  # dense multiply-accumulates of the weighted layers per clip, padding counted as work


def load_layers() -> tuple[PaperLayer, ...]:
    """The published table, one entry per layer."""
    file = resources.files("hardware").joinpath("data", "svformer_ucf101_layers.csv")
    return tuple(_layer(row) for row in csv.DictReader(file.read_text("utf-8").splitlines()))


def paper_counts() -> dict[str, OpCounts]:
    """Operations of every layer per video of one view; the log has no attention products."""
    return {layer.name: layer.counts for layer in load_layers()}


def paper_network() -> NetworkSize:
    """The size of the paper's network."""
    return NetworkSize(
        image_size=PAPER_IMAGE_SIZE,
        time_steps=PAPER_TIME_STEPS,
        parameters=PAPER_PARAMETERS,
        padded_macs=_total(load_layers()).padded_macs,
    )


def ledger() -> tuple[LedgerTerm, ...]:
    """Energy per video of one view at 45 nm FP32: first what papers count, then what they leave out.

    Biases are one addition each. (The log instead scales those of binary layers with the firing rate and
    takes those of graded layers as multiply-accumulates: 0.13 mJ in place of 0.09.)
    """
    layers = load_layers()
    total = _total(layers)
    add_pj, mac_pj = _add_and_mac_pj()
    terms = (
        ("additions, layers with binary input", total.synaptic_ops, add_pj),
        ("multiply-accumulates, layers with graded input", total.macs, mac_pj),
        ("biases, one addition each", total.bias_adds, add_pj),
        ("attention by the authors' formula, additions", _attention_ops(layers), add_pj),
        ("neuron updates, one addition each", total.neuron_updates, add_pj),
        ("batch norm not folded, two MACs an element", 2 * _normed_elements(layers), mac_pj),
        ("neuron updates, the multiplication of the leak", total.neuron_updates, mac_pj - add_pj),
    )
    return tuple(LedgerTerm(name=name, count=count, unit_pj=unit_pj) for name, count, unit_pj in terms)


def recomputed_mj() -> float:
    """What papers count (weighted layers alone) from the corrected log, mJ per video of one view: 15.95."""
    return price(_total(load_layers()), load_chip("cmos45_fp32")).weighted_layers_mj


def logged_mj() -> float:
    """The log as printed, in mJ per video of one view: wrong, since it over-counts every convolution."""
    add_pj, mac_pj = _add_and_mac_pj()
    return sum(layer.logged_acs * add_pj + layer.logged_macs * mac_pj for layer in load_layers()) / PJ_PER_MJ


def geometry_difference(measured: NetworkSize) -> str:
    """Say in plain words how far `measured` is from the paper's network, for the line beside the energy."""
    paper = paper_network()
    sizes = f"Measured: {_size_words(measured)}. Paper: {_size_words(paper)}."
    if replace(measured, parameters=paper.parameters) == paper:
        return f"{sizes} Both do the same dense work per clip."
    share = measured.padded_macs / paper.padded_macs
    return (
        f"{sizes} The measured network does {share:.3%} of the paper's dense work per clip, "
        f"so its millijoules do not test the paper's {PAPER_MJ_PER_VIDEO:g} mJ per video."
    )


def _layer(row: dict[str, str]) -> PaperLayer:
    height, width = (int(size) for size in row["in_size"].split("x")[-2:])
    return PaperLayer(
        name=row["layer"],
        in_channels=int(row["in_ch"]),
        positions=height * width,
        rate=float(row["spike_rate"] or "nan"),
        counts=OpCounts(
            synaptic_ops=_whole(row["corrected_AC"]),
            macs=_whole(row["corrected_MAC"]),
            bias_adds=_whole(row["bias_adds_per_video"]),
            neuron_updates=_whole(row["neuron_updates_per_video"]),
            spikes=_whole(row["spikes_per_video"]),
            dense_macs=_whole(row["dense_macs_inside_image"]),
            padded_macs=_whole(row["dense_macs_per_video"]),
        ),
        logged_acs=float(row["logged_ACs"]),
        logged_macs=float(row["logged_MACs"]),
    )


def _whole(cell: str) -> int:
    """Cells are empty where a kind of layer has no such count."""
    return int(cell) if cell else 0


def _total(layers: Sequence[PaperLayer]) -> OpCounts:
    return sum((layer.counts for layer in layers), OpCounts())


def _add_and_mac_pj() -> tuple[float, float]:
    """Energy of an addition and of a multiply-accumulate, the convention of SNN papers."""
    unit_pj = {line.cause: line.figure.pj for line in price(OpCounts(), load_chip("cmos45_fp32")).causes}
    return unit_pj["synaptic_ops"], unit_pj["graded_macs"]


def _normed_elements(layers: Sequence[PaperLayer]) -> int:
    """Every output element of a weighted layer has one bias addition, so these count the elements."""
    return sum(layer.counts.bias_adds for layer in layers if layer.normed)


def _attention_ops(layers: Sequence[PaperLayer]) -> int:
    """The authors' T x heads x N x head_dim^2 x (min(rate_k, rate_v) + rate_q), summed over the blocks."""
    rate = {layer.name: layer.rate for layer in layers}
    ops = 0.0
    for block in (layer for layer in layers if layer.name.endswith("attn.qkv")):
        rate_q, rate_k, rate_v = (rate[block.name.replace("qkv", f"plif_{signal}")] for signal in "qkv")
        dense = PAPER_TIME_STEPS * block.positions * block.in_channels * PAPER_HEAD_DIM  # channels: heads x head_dim
        ops += dense * (min(rate_k, rate_v) + rate_q)
    return round(ops)


def _size_words(size: NetworkSize) -> str:
    height, width = size.image_size
    return (
        f"{height} x {width} pixels, T = {size.time_steps}, {size.parameters:,} parameters, "
        f"{size.padded_macs / 1e9:.4g} G dense MACs per clip"
    )


def _ledger_table() -> Table:
    table = Table(title="SVFormer on UCF101, per video of one view, 45 nm FP32")
    table.add_column("term")
    for heading in ("operations", "pJ", "mJ", "sum mJ"):
        table.add_column(heading, justify="right")
    running = 0.0
    for term in ledger():
        running += term.mj
        table.add_row(term.name, f"{term.count:,}", f"{term.unit_pj:.1f}", f"{term.mj:.3f}", f"{running:.2f}")
    return table


def _chip_table() -> Table:
    """The logged counts with the figures of every chip; a dash where the chip file has no figure."""
    table = Table(title="The same operations on other chips, mJ", caption="* synaptic operations stand in")
    table.add_column("chip", no_wrap=True)
    for heading in ("binary input", "graded input", "biases", "neurons", "spikes sent", "total"):
        table.add_column(heading, justify="right")
    total = _total(load_layers())
    for chip in map(load_chip, shipped_chips()):
        if chip.energy is None:
            table.add_row(chip.name, *["-"] * 6)
            continue
        energy = price(total, chip)
        mj = {line.cause: f"{line.pj / PJ_PER_MJ:.2f}{'*' * line.stand_in}" for line in energy.causes}
        shown = ("synaptic_ops", "graded_macs", "biases", "neuron_updates", "spike_transport")
        table.add_row(chip.name, *(mj.get(cause, "-") for cause in shown), f"{energy.total_mj:.2f}")
    return table


def main() -> None:
    """Print the ledger."""
    console = Console(highlight=False)
    total = _total(load_layers())
    console.print(
        f"Dense: {total.padded_macs:,} MACs per video of one view ({total.dense_macs:,} without padding). "
        f"At the published rates: {total.synaptic_ops:,} additions and {total.macs:,} multiply-accumulates."
    )
    console.print(_ledger_table(), _chip_table())
    console.print(
        f"The paper says {PAPER_MJ_PER_VIDEO:g} mJ per video and does not publish the sum behind it. "
        f"Weighted layers alone make {recomputed_mj():.2f} mJ. The authors' log as printed makes "
        f"{logged_mj():.0f} mJ, because it over-counts convolutions. "
        "Many combinations of terms come near 21, so no match is claimed."
    )
    for views, accuracy in PAPER_ACCURACY.items():
        console.print(f"{accuracy} % top-1, {views} view(s): {views * recomputed_mj():.2f} mJ, weighted layers.")


if __name__ == "__main__":
    main()
