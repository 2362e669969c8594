"""Energy by layer and cause, as the page draws it: what memory costs is one cause, and every model can be chosen."""

from typing import Any

from deploy.report import typeset
from hardware.energy import RULES

SECOND_MODEL = "loihi1"  # beside the field's convention
MEMORY = {rule.cause for rule in RULES if rule.memory}
DIGITS = 5  # of a part of a bar, in the data that the page redraws it from


def main_models(energy: dict[str, Any]) -> list[dict[str, Any]]:
    """The energy models whose layers are drawn at first: the convention, and beside it one chip."""
    return [energy["models"][name] for name in (energy["convention"], SECOND_MODEL) if name in energy["models"]]


def memory_as_one(parts: dict[str, float]) -> dict[str, float]:
    """Parts of an energy with all that memory costs, addressing included, as one of them."""
    shown = {cause: mj for cause, mj in parts.items() if cause not in MEMORY}
    memory = sum(mj for cause, mj in parts.items() if cause in MEMORY)
    return {**shown, "memory": memory} if memory else shown


def all_causes(energy: dict[str, Any]) -> list[str]:
    """Every cause that costs anything on any chip, in the order of the ledger; the place decides the colour."""
    models = (memory_as_one(model["breakdown"]) for model in energy["models"].values())
    return list(dict.fromkeys(cause for parts in models for cause, mj in parts.items() if mj))


def redrawn(report: dict[str, Any]) -> dict[str, Any]:
    """What the page's script needs to draw the ledger of any model without the causes that a reader takes out.

    `parts` holds millijoule, a row for every layer and a column for every cause; `stand_in` says which of these causes
    the model prices as synaptic operations.
    """
    energy, causes = report["energy"], all_causes(report["energy"])
    priced = [model for model in energy["models"].values() if model["mj_per_video"] is not None]
    return {
        "causes": [typeset.words(cause) for cause in causes],
        "models": [
            {
                "title": model["title"],
                "stand_in": [model["figures"].get(cause, "").startswith("stand-in") for cause in causes],
                "parts": [
                    _rounded(memory_as_one(model["by_layer"].get(layer["name"], {})), causes)
                    for layer in report["layers"]
                ],
            }
            for model in priced
        ],
    }


def _rounded(parts: dict[str, float], causes: list[str]) -> list[float]:
    return [float(f"{parts.get(cause, 0.0):.{DIGITS}g}") for cause in causes]
