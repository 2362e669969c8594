"""The same network in PyTorch, each way that may be the fastest on a processor: what Lava is set beside.

A way is a form of the network (as it is, or compiled), a precision and a batch. The fastest of all ways, in seconds a
clip, is the 1.0 of the table.
"""

import copy
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clip_times.measuring import median_s
from svformer.model.neurons import PLIF

BATCHES = (1, 8)
COMPILERS = ("g++", "clang++")  # that torch.compile looks for, where the variable CXX names none
NOT_ASKED = "--no-compile was given"
SLOW = 5  # times the fastest so far with one clip: no candidate with eight
FREEZING = {"freezing": True}  # weights are constants: packed once, norms folded into convolutions

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way: seconds a clip, or why it could not run.

    Attributes:
        framework: Whose neurons the network has.
        first_s: What the first call took, with all that is compiled in it.
        error: Largest difference of a logit from float32 as it is, over the largest logit: a clip of lower precision is
            another computation.
    """

    framework: str
    way: str
    batch: int
    seconds: float | None = None
    first_s: float | None = None
    error: float | None = None
    skipped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a network is run."""

    name: str
    prepared: Callable[[nn.Module], Run]
    bfloat16: bool = False
    compiles: bool = False

    def precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext()


def _as_it_is(model: nn.Module) -> Run:
    return model


def _compiled(model: nn.Module) -> Run:
    return torch.compile(model, options=dict(FREEZING))


def _apart(model: nn.Module, *, compiled: bool) -> Run:
    """Neurons in float32, as one call each that is not compiled; what lies between in any precision."""
    around = copy.deepcopy(model)
    for module in around.modules():
        if isinstance(module, PLIF):
            module.forward = torch.compiler.disable(_in_float32(module.forward))  # type: ignore[method-assign]
    return _compiled(around) if compiled else around


def _in_float32(neurons: Run) -> Run:
    """Half precision would take the neurons' loop over time steps, which is slower than to convert twice."""

    def run(currents: Tensor) -> Tensor:
        return neurons(currents.float()).to(currents.dtype)

    return run


AS_IT_IS = Way(name="eager, float32", prepared=_as_it_is)
EAGER = (AS_IT_IS, Way(name="eager, bfloat16 autocast", prepared=_as_it_is, bfloat16=True))
WAYS = (
    *EAGER,
    Way(name="torch.compile, float32", prepared=_compiled, compiles=True),
    Way(name="torch.compile, bfloat16 autocast", prepared=_compiled, bfloat16=True, compiles=True),
    Way(name="bfloat16 autocast, neurons float32", prepared=partial(_apart, compiled=False), bfloat16=True),
    Way(name="torch.compile, neurons apart", prepared=partial(_apart, compiled=True), compiles=True),
    Way(
        name="torch.compile, bfloat16 autocast, neurons apart, float32",
        prepared=partial(_apart, compiled=True),
        bfloat16=True,
        compiles=True,
    ),
)


def measured(
    model: nn.Module, clip_BCTHW: Tensor, framework: str, ways: tuple[Way, ...], *, compiles: bool = True
) -> Iterator[Peer]:
    """Every way at every batch, one after the other.

    Those that need what is not here, or not asked for, say so, and those that are far behind with one clip.
    """
    missing = no_compiler() if compiles else NOT_ASKED
    found = list[Peer]()
    with torch.no_grad():
        expected = model(clip_BCTHW)
        for way, batch in itertools.product(ways, BATCHES):
            reason = (missing if way.compiles else None) or _too_slow(way, found)
            if reason:
                found.append(Peer(framework=framework, way=way.name, batch=batch, skipped=reason))
            else:
                found.append(_measured(model, clip_BCTHW.repeat(batch, 1, 1, 1, 1), expected, framework, way))
            yield found[-1]


def _too_slow(way: Way, found: list[Peer]) -> str | None:
    """Why a way that was measured with one clip is not measured with more; None where it is."""
    of_it = [peer.seconds for peer in found if peer.way == way.name and peer.seconds is not None]
    if of_it and of_it[0] > SLOW * (fastest(found).seconds or 0.0):
        return f"{of_it[0]:.3g} s with one clip, more than {SLOW} times the fastest"
    return None


def _measured(model: nn.Module, clips: Tensor, expected: Tensor, framework: str, way: Way) -> Peer:
    torch.compiler.reset()  # every batch is compiled for its own shape
    run, batch = way.prepared(model), len(clips)
    with way.precision():
        started_s = time.perf_counter()
        logits = run(clips)
        first_s = time.perf_counter() - started_s
        seconds = median_s(lambda: run(clips)) / batch
    error = float((logits.float() - expected).abs().max() / expected.abs().max())
    return Peer(framework=framework, way=way.name, batch=batch, seconds=seconds, first_s=first_s, error=error)


def no_compiler() -> str | None:
    """Why torch.compile cannot run here; None where it can."""
    named = os.environ.get("CXX")
    wanted = (named,) if named else COMPILERS
    if any(shutil.which(name) for name in wanted):
        return None
    return f"torch.compile needs a C++ compiler: {' or '.join(wanted)} is not there"


def fastest(peers: list[Peer]) -> Peer:
    """The least seconds a clip among those that ran."""
    return min((peer for peer in peers if peer.seconds is not None), key=lambda peer: peer.seconds or 0.0)
