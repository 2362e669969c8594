"""Which chips reports show where one has to choose, and why. All chips stand in the tables of energy and of fit.

A chip of a user's own is shown in those tables alone.
"""

from dataclasses import dataclass
from typing import Literal

# ledger: the columns of energy by layer and cause that a page begins with; constants: what each figure does to a total;
# rates: charts of cost against rate; verdicts: the same in a line of text; bill: what deployment adds; comparison:
# networks side by side.
Place = Literal["ledger", "constants", "rates", "verdicts", "bill", "comparison"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A chip, the places where it is shown, and the reason."""

    chip: str
    places: tuple[Place, ...]
    reason: str


CONVENTION = "cmos45_fp32"
WITH_MEMORY = "cmos45_lemaire"
SPIKING_CHIP = "loihi1"

SHOWN = (
    Shown(
        chip=CONVENTION,
        places=("ledger", "rates", "verdicts", "bill", "comparison"),
        reason="0.9 and 4.6 pJ, the convention of papers about spiking networks: what others can compare with",
    ),
    Shown(
        chip="cmos45_int8",
        places=("verdicts", "comparison"),
        reason="arithmetic of 8 bits: what the convention would say of the integers that are deployed",
    ),
    Shown(
        chip="cmos45_int8_sram",
        places=("comparison",),
        reason="the width of a weight changes its energy: what narrower weights save",
    ),
    Shown(
        chip=WITH_MEMORY,
        places=("constants", "rates", "verdicts", "bill", "comparison"),
        reason="memory included, by a published model: what the convention leaves out",
    ),
    Shown(
        chip=SPIKING_CHIP,
        places=("ledger", "constants", "bill", "comparison"),
        reason="a chip that was built, with published figures of its operations: the nearest to the one simulated",
    ),
)


def shown_in(place: Place) -> tuple[str, ...]:
    """Names of the chips that are shown in a place, in the order of the table."""
    return tuple(entry.chip for entry in SHOWN if place in entry.places)
