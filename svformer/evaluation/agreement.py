"""How far networks agree with a reference network, in predictions and spikes: all run over the same clips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Column, Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svformer.common.terminal import track
from svformer.data.clips import as_batch
from svformer.evaluation.recording import Spikes, run_recorded
from svformer.evaluation.scores import is_right
from svformer.evaluation.spike_counter import SpikeCounter
from svformer.model.svformer import SVFormer


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network on the held-out clips; all figures but the first are shares from 0 to 1."""

    clips: int
    top1: float
    same_prediction: float  # clips with the reference's prediction
    spike_match: float  # neurons and time steps at which both networks fire, or neither does
    firing_rate: float
    layer_spike_match: dict[str, float]
    layer_firing_rates: dict[str, float]


@dataclass
class _Sums:
    """Counts over batches, of one network."""

    clips: int = 0
    right: int = 0  # clips whose prediction is their label
    same: int = 0  # clips whose prediction is the reference's
    spikes: SpikeCounter = field(default_factory=SpikeCounter)
    equal: SpikeCounter = field(default_factory=SpikeCounter)  # where both networks fire, or neither does

    def add(self, found: "_Run", reference: "_Run", labels: Tensor) -> None:
        self.clips += len(labels)
        self.right += int(is_right(found.logits_NK, labels.numpy()).sum())
        self.same += int(is_right(found.logits_NK, reference.logits_NK.argmax(axis=1)).sum())
        for layer, fired in found.spikes.items():
            self.spikes.add(layer, torch.from_numpy(fired))
            self.equal.add(layer, torch.from_numpy(fired == reference.spikes[layer]))

    def result(self) -> Measured:
        return Measured(
            clips=self.clips,
            top1=self.right / self.clips,
            same_prediction=self.same / self.clips,
            spike_match=self.equal.rate(),
            firing_rate=self.spikes.rate(),
            layer_spike_match=self.equal.rates(),
            layer_firing_rates=self.spikes.rates(),
        )


class _Run(NamedTuple):
    """One network's results on one batch."""

    logits_NK: NDArray[np.floating]
    spikes: Spikes


def compare_networks(
    models: Mapping[str, SVFormer], data: Dataset[tuple[Tensor, int]], *, batch_size: int
) -> dict[str, Measured]:
    """Run all networks over the same clips and compare each with the first, the reference."""
    sums = {name: _Sums() for name in models}
    loader = DataLoader(data, batch_size=batch_size)
    for clips, labels in track(loader, "compare networks"):
        batch, reference = as_batch(clips), None
        for name, model in models.items():
            found = _run(model, batch)
            reference = reference or found
            sums[name].add(found, reference, labels)
    return {name: found.result() for name, found in sums.items()}


def _run(model: SVFormer, batch_BCTHW: Tensor) -> _Run:
    logits, spikes = run_recorded(model, batch_BCTHW)
    return _Run(logits.numpy(), spikes)


def network_table(measured: Mapping[str, Measured]) -> Table:
    """One row for every network: accuracy, agreement with the reference, firing rate."""
    headings = ("top-1", "same prediction", "spikes equal", "firing rate")
    table = Table("network", *(Column(heading, justify="right") for heading in headings))
    for name, m in measured.items():
        table.add_row(name, *(f"{100 * x:.2f} %" for x in (m.top1, m.same_prediction, m.spike_match, m.firing_rate)))
    return table


def layer_agreement_table(measured: Mapping[str, Measured]) -> Table:
    """One row for every layer: firing rates of all networks, and spikes equal to those of the first, the reference."""
    (_, reference), *others = measured.items()
    headings = (*(f"rate {name}" for name in measured), *(f"equal {name}" for name, _ in others))
    table = Table(Column("layer", no_wrap=True), *(Column(heading, justify="right") for heading in headings))
    for layer in reference.layer_firing_rates:
        rates = [m.layer_firing_rates[layer] for m in measured.values()]
        equal = [m.layer_spike_match[layer] for _, m in others]
        table.add_row(layer, *(f"{100 * x:.1f} %" for x in (*rates, *equal)))
    return table
