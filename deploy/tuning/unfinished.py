"""Where a tuning stands after an epoch, in a file, so that one that was stopped goes on and ends as if it had not been.

The file is written beside its place and renamed, so it is always complete; it holds tensors and plain values alone.
"""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deploy.torch_network.trained import TrainedNetwork
from deploy.tuning.outcome import Epoch
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.tensors import load_tensors

UNREADABLE = (InputError, KeyError, ValueError, TypeError, RuntimeError, OSError)


@dataclass(kw_only=True)
class Unfinished:
    """What a training has come to: all that its next epoch depends on, and what it will choose from."""

    module: TrainedNetwork
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    order: np.random.Generator  # of the clips
    epochs: list[Epoch]  # number 0 is the network as it was
    best: int = 0  # number of the best epoch
    best_state: dict[str, Tensor] | None = None  # parameters of that epoch; None: of number 0

    def take_best(self) -> None:
        """The last epoch is the best."""
        self.best = self.epochs[-1].number
        self.best_state = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}

    def write(self, path: Path) -> None:
        """Keep it; where nothing can be written, a tuning that is stopped begins anew."""
        values = {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.bit_generator.state,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best": self.best,
            "best_state": self.best_state,
        }
        with contextlib.suppress(*UNREADABLE), atomic_path(path) as temporary:
            torch.save(values, temporary)

    def read(self, path: Path) -> None:
        """Take up what was kept; raises one of `UNREADABLE` for a file that is damaged or of another network."""
        values = load_tensors(path)
        self.module.load_state_dict(values["module"])
        self.optimiser.load_state_dict(values["optimiser"])
        self.schedule.load_state_dict(values["schedule"])
        self.order.bit_generator.state = values["order"]
        self.epochs = [Epoch(**epoch) for epoch in values["epochs"]]
        self.best, self.best_state = values["best"], values["best_state"]


def resumed(begin: Callable[[], Unfinished], path: Path | None) -> Unfinished:
    """The training where it was stopped, or its beginning where there is no file that can be read."""
    progress = begin()
    if path is None or not path.is_file():
        return progress
    try:
        progress.read(path)
    except UNREADABLE:
        path.unlink(missing_ok=True)
        return begin()
    return progress
