"""The published table of the SVFormer network: every layer's geometry, firing rate and operations.

Paper: Yu et al., "SVFormer: A Direct Training Spiking Transformer for Efficient Video Action Recognition",
arXiv 2406.15034. `data/svformer_ucf101_layers.csv` holds what the authors' public log says, and the log's operation
counts as printed and corrected (each convolution row over-counts by C_out / 16 x 1.002379).

Counts are per video of one view: 16 frames of 224 x 224.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from hardware.counts import OpCounts
from hardware.errors import ChipError
from hardware.geometry import AttentionGeometry, ConvGeometry
from hardware.op_counts import count_accesses, count_parameter_reads, count_state_accesses

PAPER_HEAD_DIM = 64
PAPER_TIME_STEPS = 16
MEMORY_BITS = 8  # width of a parameter and of a potential in the memory model, as in Lemaire et al. 2022


@dataclass(frozen=True, kw_only=True)
class PaperLayer:
    """One row of the table."""

    name: str
    in_channels: int
    positions: int  # H * W of the input
    rate: float  # firing rate: that of the input for weighted layers, of the own output for neurons
    neurons: int
    counts: OpCounts
    logged_acs: float
    logged_macs: float

    @property
    def weighted(self) -> bool:
        """Whether it has weights; neurons and the last norm have none."""
        return self.counts.padded_macs > 0

    @property
    def binary(self) -> bool:
        """Whether it has weights and its input is spikes."""
        return self.counts.synaptic_ops > 0

    @property
    def normed(self) -> bool:
        """Whether batch norm follows: not inside a chain of convolutions, and not after the classifier."""
        without = ("local.conv1", "local.dwconv", "localpath.dwconv", "head.fc")
        return self.counts.bias_adds > 0 and not self.name.endswith(without)


def load_layers() -> tuple[PaperLayer, ...]:
    """The published table, one entry per layer."""
    file = resources.files("hardware").joinpath("data", "svformer_ucf101_layers.csv")
    return tuple(_layer(row) for row in csv.DictReader(file.read_text("utf-8").splitlines()))


def total(layers: Sequence[PaperLayer]) -> OpCounts:
    """Operations of all layers together."""
    return sum((layer.counts for layer in layers), OpCounts())


def attention_ops(layers: Sequence[PaperLayer]) -> int:
    """The authors' T x heads x N x head_dim^2 x (min(rate_k, rate_v) + rate_q), summed over the blocks."""
    rate = {layer.name: layer.rate for layer in layers}
    ops = 0.0
    for block in _attention_blocks(layers):
        rate_q, rate_k, rate_v = (rate[block.name.replace("qkv", f"plif_{signal}")] for signal in "qkv")
        dense = PAPER_TIME_STEPS * block.positions * block.in_channels * PAPER_HEAD_DIM  # channels: heads x head_dim
        ops += dense * (min(rate_k, rate_v) + rate_q)
    return round(ops)


def dense_attention_ops(layers: Sequence[PaperLayer], *, q_k_first: bool = False) -> int:
    """Multiply-accumulates of attention if nothing were zero: Q (K^T V), or (Q K^T) V for `q_k_first`."""
    ops = 0
    for block in _attention_blocks(layers):
        heads = block.in_channels // PAPER_HEAD_DIM
        ordered = AttentionGeometry(channels=block.in_channels, tokens=block.positions, heads=heads).dense_ops()
        quadratic = 2 * block.positions**2 * block.in_channels
        ops += PAPER_TIME_STEPS * (quadratic if q_k_first else ordered)
    return ops


def at_rates(layers: Sequence[PaperLayer], rates: Mapping[str, float]) -> OpCounts:
    """Operations of the paper's weighted layers if its neurons fired at other rates.

    `rates` holds spikes per neuron and time step by the name of a neuron layer. The input of a weighted layer with
    binary input is the neuron layer before it in the table; where a stage has fewer blocks than the paper's, the last
    of them stands for the others. Raises ChipError where a neuron layer has no rate.
    """
    found, source = OpCounts(), ""
    for layer in layers:
        source = layer.name if layer.neurons else source
        possible = layer.counts.dense_synaptic_ops
        spikes = round(_rate_of(source, rates) * possible) if layer.binary else 0
        found += OpCounts(synaptic_ops=spikes, dense_synaptic_ops=possible, macs=layer.counts.macs)
    return found


def _rate_of(name: str, rates: Mapping[str, float]) -> float:
    """Rate of a neuron layer, or of the same layer in an earlier block of its stage."""
    stage, block, layer = re.fullmatch(r"(\w+\.block)?(\d+)?(.*)", name).groups()  # type: ignore[union-attr]
    candidates = [f"{stage}{i}{layer}" for i in range(int(block), -1, -1)] if stage else [name]
    for candidate in candidates:
        if candidate in rates:
            return rates[candidate]
    raise ChipError(
        f"the paper's geometry needs a firing rate of {name}; given are those of {', '.join(sorted(rates))}"
    )


def _attention_blocks(layers: Sequence[PaperLayer]) -> list[PaperLayer]:
    return [layer for layer in layers if layer.name.endswith("attn.qkv")]


def _layer(row: dict[str, str]) -> PaperLayer:
    height, width = _size(row["in_size"])
    neurons = _whole(row["neurons"])
    return PaperLayer(
        name=row["layer"],
        in_channels=int(row["in_ch"]),
        positions=height * width,
        rate=float(row["spike_rate"] or "nan"),
        neurons=neurons,
        counts=_neuron_counts(row, neurons) if neurons else _weighted_counts(row),
        logged_acs=float(row["logged_ACs"]),
        logged_macs=float(row["logged_MACs"]),
    )


def _neuron_counts(row: dict[str, str], neurons: int) -> OpCounts:
    updates = _whole(row["neuron_updates_per_video"])
    potentials = count_state_accesses(reads=updates, writes=updates, memory_bits=MEMORY_BITS * neurons)
    return potentials + OpCounts(neuron_updates=updates, spikes=_whole(row["spikes_per_video"]))


def _weighted_counts(row: dict[str, str]) -> OpCounts:
    """The table's operations, and the accesses of the memory model. Its additions are rate x work, padding included."""
    if not row["dense_macs_per_video"]:
        return OpCounts()
    ops = OpCounts(
        synaptic_ops=_whole(row["corrected_AC"]),
        macs=_whole(row["corrected_MAC"]),
        products=_whole(row["corrected_MAC"]),
        bias_adds=_whole(row["bias_adds_per_video"]),
        weight_bits_read=MEMORY_BITS * (_whole(row["corrected_AC"]) + _whole(row["corrected_MAC"])),
        dense_synaptic_ops=_whole(row["dense_macs_per_video"]) if _whole(row["corrected_AC"]) else 0,
        dense_macs=_whole(row["dense_macs_inside_image"]),
        padded_macs=_whole(row["dense_macs_per_video"]),
    )
    geometry = _geometry(row)
    kernels = PAPER_TIME_STEPS if row["kind"] == "conv3d" else 1
    channels, height, width = geometry.out_shape
    accesses = count_accesses(
        ops,
        weight_memory_bits=MEMORY_BITS * kernels * geometry.weights,
        state_memory_bits=MEMORY_BITS * channels * height * width,
    )
    return ops + accesses + count_parameter_reads(ops.bias_adds, memory_bits=MEMORY_BITS * channels)


def _geometry(row: dict[str, str]) -> ConvGeometry:
    """One time step of a weighted layer; the 3-D head is 16 two-dimensional kernels."""
    height, width = _size(row["in_size"])
    kernel, stride, padding = (int(row[key].split("x")[-1]) for key in ("kernel", "stride", "pad"))
    return ConvGeometry(
        in_shape=(int(row["in_ch"]), height, width),
        out_channels=int(row["out_ch"]),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        groups=int(row["groups"]),
    )


def _size(cell: str) -> tuple[int, int]:
    height, width = (int(size) for size in cell.split("x")[-2:])
    return height, width


def _whole(cell: str) -> int:
    """Cells are empty where a kind of layer has no such count."""
    return int(cell) if cell else 0
