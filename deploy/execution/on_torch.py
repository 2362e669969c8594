"""`run_lava.py --backend torch`: an integer network in PyTorch, for many clips, on a CUDA device where there is one.

The network is `deploy.torch_network.network.IntegerNetwork`: float32, which holds every number of a proven network
exactly. Nothing of it goes through Lava.
"""

import time
from collections.abc import Container, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from deploy.execution.backends import RunOptions
from deploy.execution.memory import torch_need
from deploy.execution.simulate import Simulation
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.ir.types import Frames, Signals, Values
from deploy.torch_network.network import IntegerNetwork
from svformer.common.errors import InputError
from svformer.common.terminal import size


def on_torch(network: IntNetwork, plan: Plan, frames: Frames, options: RunOptions) -> Simulation:
    """Clips [N, T, C, H, W] with the messages of `run_integer`; as many at a time as the device's memory holds.

    Raises `InputError` for a network with a kind of node that has no form in torch, and where not even one clip fits
    into the memory of a CUDA device.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started_s = time.monotonic()
    module = IntegerNetwork(network).to(device)
    built_s = time.monotonic()
    kept, parts, at_once = options.kept(network), list[Signals](), _clips_at_once(network, options, device, len(frames))
    with torch.inference_mode(), _threads(options.cores):
        for first in range(0, len(frames), at_once):
            parts.append(_messages(module, frames[first : first + at_once], kept))
            if options.on_progress is not None:
                options.on_progress(plan.steps(min(first + at_once, len(frames))))
    signals = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return Simulation(
        signals=signals,
        logits=network.logits(signals),
        time_steps=plan.steps(len(frames)),
        build_s=built_s - started_s,
        run_s=time.monotonic() - built_s,
    )


def _messages(module: IntegerNetwork, frames: Frames, kept: Container[str]) -> Signals:
    """Messages of the populations in `kept`, each taken off the device as soon as it is known."""
    found: Signals = {}

    def keep(name: str, messages: Tensor) -> None:
        if name in kept:
            found[name] = _as_array(messages, spiking=module.populations[name].spiking)

    module(module.sent(frames), record=(), on_population=keep)
    return found


def _as_array(messages: Tensor, *, spiking: bool) -> Values:
    """As the integer interpreter gives them: spikes uint8, graded messages int32."""
    return messages.to(torch.uint8 if spiking else torch.int32).numpy(force=True)


def _clips_at_once(network: IntNetwork, options: RunOptions, device: torch.device, clips: int) -> int:
    """How many clips the device takes; the memory of this machine was asked for before."""
    if device.type == "cpu":
        return clips
    need, (free, _) = torch_need(network, record=options.kept(network)), torch.cuda.mem_get_info(device)
    if not (fit := need.clips_in(free)):
        name = torch.cuda.get_device_name(device)
        raise InputError(
            f"--backend torch: one clip needs about {size(need.of(1))} of memory, {size(free)} are free on the {name}; "
            "set CUDA_VISIBLE_DEVICES= to run on the processor, or take another backend"
        )
    return min(clips, fit)


@contextmanager
def _threads(cores: int | None) -> Iterator[None]:
    """Share of the cores (None: all); threads are of the whole process, so they are put back."""
    before = torch.get_num_threads()
    try:
        if cores is not None:
            torch.set_num_threads(cores)
        yield
    finally:
        torch.set_num_threads(before)
