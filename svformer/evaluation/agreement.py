"""What one network keeps of another's predictions and spikes: both run over the same clips."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Column, Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svformer.common.terminal import track
from svformer.data.clips import as_batch
from svformer.evaluation.recording import run_recorded
from svformer.model.svformer import SVFormer


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One network on the held-out clips; all figures but the first are shares from 0 to 1."""

    clips: int
    top1: float
    same_prediction: float  # clips with the reference's prediction
    spike_match: float  # neurons and time steps with the reference's spike, or none like there
    firing_rate: float
    layer_spike_match: dict[str, float]
    layer_firing_rates: dict[str, float]


class _Tally:
    """Counts over batches, of one network."""

    def __init__(self) -> None:
        self.clips = self.right = self.same = 0
        self.size, self.equal, self.fired = Counter[str](), Counter[str](), Counter[str]()

    def result(self) -> Measured:
        return Measured(
            clips=self.clips,
            top1=self.right / self.clips,
            same_prediction=self.same / self.clips,
            spike_match=self.equal.total() / self.size.total(),
            firing_rate=self.fired.total() / self.size.total(),
            layer_spike_match={layer: self.equal[layer] / size for layer, size in self.size.items()},
            layer_firing_rates={layer: self.fired[layer] / size for layer, size in self.size.items()},
        )


def measure(
    models: Mapping[str, SVFormer], data: Dataset[tuple[Tensor, int]], *, batch_size: int
) -> dict[str, Measured]:
    """Run all networks over the same clips and compare each with the first, the reference."""
    tallies = {name: _Tally() for name in models}
    loader = DataLoader(data, batch_size=batch_size)
    for clips, labels in track(loader, "measure"):
        batch, reference = as_batch(clips), None
        for name, model in models.items():
            logits, spikes = run_recorded(model, batch)
            predicted = logits.argmax(1)
            reference = reference or (predicted, spikes)
            tally = tallies[name]
            tally.clips += len(labels)
            tally.right += int((predicted == labels).sum())
            tally.same += int((predicted == reference[0]).sum())
            for layer, fired in spikes.items():
                tally.size[layer] += fired.size
                tally.equal[layer] += int((fired == reference[1][layer]).sum())
                tally.fired[layer] += int(fired.sum(dtype=int))
    return {name: tally.result() for name, tally in tallies.items()}


def totals_table(measured: Mapping[str, Measured]) -> Table:
    headings = ("top-1", "same prediction", "spikes equal", "firing rate")
    table = Table("network", *(Column(heading, justify="right") for heading in headings))
    for name, m in measured.items():
        table.add_row(name, *(f"{100 * x:.2f} %" for x in (m.top1, m.same_prediction, m.spike_match, m.firing_rate)))
    return table


def layer_table(measured: Mapping[str, Measured]) -> Table:
    """Firing rates of every network, and the spikes that are equal to the reference's, the first network's."""
    (_, reference), *others = measured.items()
    headings = (*(f"rate {name}" for name in measured), *(f"equal {name}" for name, _ in others))
    table = Table(Column("layer", no_wrap=True), *(Column(heading, justify="right") for heading in headings))
    for layer in reference.layer_firing_rates:
        rates = [m.layer_firing_rates[layer] for m in measured.values()]
        equal = [m.layer_spike_match[layer] for _, m in others]
        table.add_row(layer, *(f"{100 * x:.1f} %" for x in (*rates, *equal)))
    return table
