"""What fixed point costs every layer, as a table on a terminal (deploy/gates/fidelity.py)."""

from collections.abc import Iterable

from rich.table import Column, Table

from deploy.report.keys.run import FixedPointLayer

PERCENT = (
    ("weights", "weight_error"),
    ("clipped", "weights_clipped"),
    ("threshold", "threshold_error"),
    ("leak", "decay_error"),
    ("of 24 bits", "sum_headroom"),
    ("of 2^17", "current_headroom"),
    ("saturated", "saturated"),
)


HEADS = (*(heading for heading, _ in PERCENT), "rate", "shift")
CAPTION = "rate: spikes a neuron and time step in real numbers; shift: what integers fire more or less"


def fixed_point_table(layers: Iterable[FixedPointLayer]) -> Table:
    """A line for every layer; a cell is empty where there is nothing to round or to fill."""
    title = "Fixed point, %: errors of rounding, registers in the worst case, rates on the calibration clips"
    numbers = [Column(heading, justify="right") for heading in HEADS[:-1]]
    table = Table(Column("layer", overflow="fold"), *numbers, HEADS[-1], title=title, caption=CAPTION)
    for cells in fixed_point_rows(layers):
        table.add_row(*cells)
    return table


def fixed_point_rows(layers: Iterable[FixedPointLayer]) -> list[list[str]]:
    """The cells of every layer: its name, and what stands under `HEADS`."""
    return [
        [layer.name, *(_percent(getattr(layer, field)) for _, field in PERCENT), *_rates(layer)] for layer in layers
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"


def _rates(layer: FixedPointLayer) -> tuple[str, str]:
    before, after = layer.float_rate, layer.rate
    if before is None or after is None:
        return "", ""
    return f"{100 * before:.2f}", "falls silent" if layer.silenced else f"{100 * (after - before):+.2f}"
