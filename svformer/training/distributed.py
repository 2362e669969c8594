"""Several processes train one network: each computes a share of every batch; gradients and norm statistics are common.

torchrun starts them, or SLURM's srun with one task each; a program that neither of them started is one process.

    torchrun --nproc-per-node 4 -m svformer.train --preset ucf101 ...
    srun --ntasks-per-node 4 --gpus-per-node 4 python -m svformer.train --preset ucf101 ...
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from svformer.common.devices import choose_device
from svformer.common.errors import InputError
from svformer.model.layers import TimeNorm

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """One of the processes that train together."""

    count: int = 1  # number of all processes
    rank: int = 0  # number of this process, from 0
    device: torch.device = CPU

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def total(self, sums: Tensor) -> Tensor:
        """The sum of a tensor over all processes, which all of them call with tensors of the same shape."""
        if self.count > 1:
            sums = sums.clone()
            dist.all_reduce(sums)
        return sums

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the block in the writing process first, in the others after it: for files that the first one makes."""
        if self.count > 1 and not self.writes:
            dist.barrier()
        yield
        if self.count > 1 and self.writes:
            dist.barrier()


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[Processes]:
    """Connect this process with the others that a launcher has started, for the duration of the block.

    Raises `InputError` for a device that is not there.
    """
    place = launched(os.environ)
    chosen = choose_device(device, local_rank=int(place.get("LOCAL_RANK", 0)))
    if not place:
        yield Processes(device=chosen)
        return
    os.environ.update(place)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        dist.init_process_group("nccl", device_id=chosen)
    else:
        dist.init_process_group("gloo")
    try:
        yield Processes(count=dist.get_world_size(), rank=dist.get_rank(), device=chosen)
    finally:
        dist.destroy_process_group()


def launched(environment: Mapping[str, str]) -> dict[str, str]:
    """Torchrun's variables, from which torch.distributed finds the other processes; empty for a single process."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return {name: environment[name] for name in names if name in environment}
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")  # set by srun alone, so a batch script is one process
    if tasks == "1":
        return {}
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": environment.get("MASTER_PORT") or str(20000 + int(environment["SLURM_JOB_ID"]) % 20000),
    }


def first_host(nodes: str) -> str:
    """The first host of SLURM's node list: "gpu[003-006,009],login1" -> "gpu003"; raises `InputError` without one."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise InputError(f"SLURM_STEP_NODELIST={nodes}: no node in it; set MASTER_ADDR to the first node's name")
    return "".join(part or "" for part in found.groups())


# Norms with the statistics of the whole batch


class _SumOverProcesses(torch.autograd.Function):
    """The sum over processes; all of them use it, so the gradient of each term is the sum of all their gradients."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with a gradient."""
    total: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


class _Synchronised(_BatchNorm):
    """Batch norm over the parts of a batch that all processes hold, on any device (torch's own needs a GPU).

    Statistics are differentiable sums over the processes. With equal shares the result is that of one process with
    the whole batch, up to rounding.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name of the base class)
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        per_channel = [1, -1] + [1] * (input.ndim - 2)
        count = input.numel() // input.shape[1] * dist.get_world_size()
        mean = sum_over_processes(input.sum(axes)) / count
        centred = input - mean.view(per_channel)
        variance = sum_over_processes(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(per_channel) + self.bias.view(per_channel)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(new.to(running.dtype), self.momentum)
        if self.num_batches_tracked is not None:  # None while activations are computed again (`activations.py`)
            self.num_batches_tracked.add_(1)


class SynchronisedTimeNorm(TimeNorm, _Synchronised):
    """`TimeNorm` with statistics over all processes: its forward pass calls that of `_Synchronised`."""


class SynchronisedBatchNorm3d(nn.BatchNorm3d, _Synchronised):
    """`BatchNorm3d` with statistics over all processes."""


def synchronise_norms(model: nn.Module) -> None:
    """Give every norm of a model statistics over all processes, in place; parameters and their names stay."""
    for module in model.modules():
        if type(module) is TimeNorm:
            module.__class__ = SynchronisedTimeNorm
        elif type(module) is nn.BatchNorm3d:
            module.__class__ = SynchronisedBatchNorm3d
