"""What the commands of this folder share on their command lines; nothing here takes long to import."""

from deploy.ir.machine import WEIGHT_BITS
from svformer.common.errors import InputError

DEFAULT_MERGE = "cmos45_fp32"  # the convention of SNN papers
MERGE_HELP = (
    "convolutions in a row without a neuron between: merge where this chip (name or file) spends less energy, always, "
    f"or never (default: {DEFAULT_MERGE})"
)
MAX_NEURONS = 1_000_000  # of a portable file: some minutes of a stock simulator for a clip


def check_weight_bits(bits: int) -> None:
    """Raise `InputError` for widths that the integer machine does not have."""
    if not 2 <= bits <= WEIGHT_BITS:
        raise InputError(f"--weight-bits {bits}; allowed: 2 to {WEIGHT_BITS}")
