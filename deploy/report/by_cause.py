"""Energy by layer and cause, as the page draws it: what memory costs is one part, and every model can be chosen."""

from typing import Any

from deploy.report.keys.energy import EnergySummary
from deploy.report.keys.report import Report
from hardware.causes import PARTS, memory_as_one
from hardware.models import EnergyModel
from hardware.shown import shown_in

DIGITS = 5  # significant digits in the data that the page redraws its bars from


def main_models(energy: EnergySummary) -> list[EnergyModel]:
    """The cost models whose layers are drawn at first."""
    return [energy.models[name] for name in shown_in("ledger") if name in energy.models]


def all_parts(energy: EnergySummary) -> list[str]:
    """Every part that costs anything on any chip, in the order of the ledger."""
    models = (memory_as_one(model.breakdown) for model in energy.models.values())
    found = {part for parts in models for part, mj in parts.items() if mj}
    return [part for part in PARTS if part in found]


def stands_in(model: EnergyModel, part: str) -> bool:
    """Whether the chip has no figure of its own for a part, so that the synaptic operation's stands in."""
    return model.figures.get(part, "").startswith("stand-in")


def redrawn(report: Report) -> dict[str, Any]:
    """What the page's script needs to draw the ledger of any model without the parts that a reader takes out.

    `parts` holds millijoule, a row for every layer and a column for every part; `stand_in` says which of them the model
    prices as synaptic operations.
    """
    names = all_parts(report.energy)
    priced = [model for model in report.energy.models.values() if model.mj_per_view is not None]
    return {
        "causes": [PARTS[name].label for name in names],
        "colours": [PARTS[name].colour for name in names],
        "models": [
            {
                "title": model.title,
                "stand_in": [stands_in(model, name) for name in names],
                "parts": [
                    _rounded(memory_as_one(model.by_layer.get(layer.name, {})), names) for layer in report.layers
                ],
            }
            for model in priced
        ],
    }


def _rounded(parts: dict[str, float], names: list[str]) -> list[float]:
    return [float(f"{parts.get(name, 0.0):.{DIGITS}g}") for name in names]
