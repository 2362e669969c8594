"""Which networks are compared, on which clips, and how they are deployed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.arguments import WIDTHS
from deploy.execution.backends import BACKENDS
from deploy.ir.machine import WEIGHT_BITS
from deploy.passes.defaults import DEFAULT_MERGE
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.data.choice import DatasetChoice


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """Checkpoints to compare; raises `InputError`, in the words of the command line, for what cannot be done."""

    checkpoints: Sequence[Path]
    head_dim: int = 64  # of an authors' .pyth
    weight_bits: Sequence[int] = (WEIGHT_BITS,)  # each network is deployed at each width, sign included
    fine_layers: int = 0  # of the first layers, whose weights are held by two synapses each
    tune: int = 0  # epochs in which weights and biases are trained in integers, on the training clips
    dataset: DatasetChoice = field(default_factory=DatasetChoice)
    limit: int | None = None  # held-out clips, spread over the classes; None: all
    merge: str = DEFAULT_MERGE  # name or file of the chip that decides which convolutions merge; "always", "never"
    backend: str = "integer"

    def __post_init__(self) -> None:
        if missing := [str(path) for path in self.checkpoints if not path.is_file()]:
            raise InputError(f"{', '.join(missing)}: no such checkpoint; `python -m svformer.train` makes one")
        for bits in self.weight_bits:
            WIDTHS.check("--weight-bits", bits)
        positive_int.check("--limit", self.limit)
        positive_int.check("--fine-layers", self.fine_layers or None)
        positive_int.check("--tune", self.tune or None)
        if self.backend not in BACKENDS:
            raise InputError(f"--backend {self.backend}; allowed: {', '.join(BACKENDS)}")
