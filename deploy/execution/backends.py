"""Backends: what can compute the messages of an integer network. One entry of the table each.

Command lines, texts, gates and memory forecasts read `BACKENDS`; a new backend is a file that runs a network, and a
line here. The module imports nothing that takes long, so that `--help` answers at once.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from svformer.common.errors import InputError

if TYPE_CHECKING:
    from deploy.execution.memory import MemoryNeed
    from deploy.execution.simulate import Simulation
    from deploy.ir.integer import IntNetwork
    from deploy.ir.plan import Plan
    from deploy.ir.types import Frames

Blocks = Literal["fused", "stock", "chip"]
Models = Literal["fast", "lava"]
BLOCKS: tuple[Blocks, ...] = get_args(Blocks)
MODELS: tuple[Models, ...] = get_args(Models)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a network is run; no option changes a message or a time step.

    Attributes:
        blocks: Lava's processes: fused layers; Lava's own Conv and LIFReset beside small ones of ours ("stock"); or
            Lava's own alone ("chip"), which takes a network in chip form.
        models: What runs Lava's own processes: fast models of ours, or Lava's, slow.
        processes: Lava processes that share the fused layers.
        cores: Cores that the threads of all of them share (None: all that there are).
        timeout_s: Seconds that one batch of clips may take (None: any).
        on_progress: Called with the time steps that are done.
        record: Populations whose messages are kept, beside those of input and output (None: all); others take no
            memory, and no time on Lava.
    """

    blocks: Blocks = "fused"
    models: Models = "fast"
    processes: int = 1
    cores: int | None = None
    timeout_s: float | None = None
    on_progress: Callable[[int], None] | None = None
    record: Collection[str] | None = None

    def kept(self, network: "IntNetwork") -> set[str]:
        """Populations whose messages are kept."""
        ends = (network.input_name, network.output)
        return set(network.populations) if self.record is None else {*self.record, *ends}

    def by_layer(self, network: "IntNetwork") -> "RunOptions":
        """The options with a process for every layer; Lava's own processes are finer than that already."""
        layers = len(network.populations)
        return replace(self, processes=layers) if self.blocks == "fused" and self.processes < layers else self

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise InputError(f"{self.processes} Lava processes were asked for; allowed: 1 or more")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One way to compute the messages of a network.

    Attributes:
        name: On command lines and in reports.
        title: In sentences.
        need: Memory that a run takes.
        run: Runs clips [N, T, C, H, W] by a plan.
        judged: Whether its messages are compared with those of the integer interpreter, which is the judge.
        has_processes: Whether messages travel between processes, so that one for every layer shows them all.
    """

    name: str
    title: str
    need: "Callable[[IntNetwork, RunOptions], MemoryNeed]"
    run: "Callable[[IntNetwork, Plan, Frames, RunOptions], Simulation]"
    judged: bool = True
    has_processes: bool = False


def _lava_need(network: "IntNetwork", options: RunOptions) -> "MemoryNeed":
    from deploy.execution.memory import lava_need

    return lava_need(network, blocks=options.blocks, processes=options.processes, record=options.kept(network))


def _run_on_lava(network: "IntNetwork", plan: "Plan", frames: "Frames", options: RunOptions) -> "Simulation":
    from deploy.execution.simulate import on_lava

    return on_lava(network, plan, frames, options)


def _integer_need(network: "IntNetwork", options: RunOptions) -> "MemoryNeed":
    from deploy.execution.memory import integer_need

    return integer_need(network, record=options.kept(network))


def _interpret(network: "IntNetwork", plan: "Plan", frames: "Frames", options: RunOptions) -> "Simulation":
    from deploy.execution.simulate import in_interpreter

    return in_interpreter(network, plan, frames, options)


def _torch_need(network: "IntNetwork", options: RunOptions) -> "MemoryNeed":
    from deploy.execution.memory import torch_need

    return torch_need(network, record=options.kept(network))


def _run_in_torch(network: "IntNetwork", plan: "Plan", frames: "Frames", options: RunOptions) -> "Simulation":
    from deploy.execution.on_torch import on_torch

    return on_torch(network, plan, frames, options)


LAVA = Backend(name="lava", title="Lava", need=_lava_need, run=_run_on_lava, has_processes=True)
INTEGER = Backend(name="integer", title="the integer interpreter", need=_integer_need, run=_interpret, judged=False)
TORCH = Backend(name="torch", title="PyTorch", need=_torch_need, run=_run_in_torch)
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (LAVA, INTEGER, TORCH)}
BOARDS = ("loihi2",)  # they give back the output and a profile, not every message: `deploy.execution.on_loihi2`


def title_of(name: str) -> str:
    """A backend in sentences; the name itself where this version does not have it."""
    return BACKENDS[name].title if name in BACKENDS else name


def backend_of(name: str) -> Backend:
    """The backend of this name; raises `InputError` that lists all."""
    if name not in BACKENDS:
        raise InputError(f"backend {name!r}; allowed: {', '.join(map(repr, BACKENDS))}")
    return BACKENDS[name]
