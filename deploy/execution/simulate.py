"""Run an integer network on one of the backends."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from deploy.execution.backends import Backend, Blocks, Models, RunOptions, backend_of
from deploy.execution.memory import require_memory
from deploy.ir.integer import IntNetwork, as_images, run_integer
from deploy.ir.plan import Plan
from deploy.ir.types import Array, Frames, Signals
from deploy.passes.schedule import schedule


@dataclass(frozen=True, kw_only=True)
class Travelled:
    """What went through Lava itself: its processes, the channels between their ports, and the values sent there."""

    processes: int
    channels: int
    messages: int


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Messages of every population that is recorded [N, T, C, H, W], and the result of every clip [N, K]."""

    signals: Signals
    logits: Array
    time_steps: int
    travelled: Travelled | None = None  # None where there are no processes
    build_s: float = 0.0
    run_s: float = 0.0


def simulate(
    network: IntNetwork,
    clips: Frames,
    *,
    backend: str = "lava",
    plan: Plan | None = None,
    blocks: Blocks = "fused",
    models: Models = "fast",
    processes: int = 1,
    cores: int | None = None,
    timeout_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
    record: Collection[str] | None = None,
) -> Simulation:
    """Run clips [N, T, *input shape] on a backend (`deploy.execution.backends`); all give the same messages.

    `plan` is that of `deploy.passes.schedule` (default: made here); the others are those of `RunOptions`.

    Raises `SimulatorError` when the simulator fails or takes longer than `timeout_s`, and `InputError`, before anything
    is started, when the clips need more memory than there is.
    """
    options = RunOptions(
        blocks=blocks,
        models=models,
        processes=processes,
        cores=cores,
        timeout_s=timeout_s,
        on_progress=on_progress,
        record=record,
    )
    return run_on(backend_of(backend), network, plan or schedule(network), clips, options)


def run_on(backend: Backend, network: IntNetwork, plan: Plan, clips: Frames, options: RunOptions) -> Simulation:
    """The same with a backend, a plan and options that are there already."""
    frames = as_images(clips, network)
    require_memory(backend.need(network, options), len(frames), f"the {backend.name} backend")
    return backend.run(network, plan, frames, options)


def in_interpreter(network: IntNetwork, plan: Plan, frames: Frames, options: RunOptions) -> Simulation:
    """Clips [N, T, C, H, W] in the integer interpreter, which needs no Lava."""
    started_s = time.monotonic()
    signals = run_integer(network, frames, record=options.kept(network))
    return Simulation(
        signals=signals,
        logits=network.logits(signals),
        time_steps=plan.steps(len(frames)),
        run_s=time.monotonic() - started_s,
    )


def on_lava(network: IntNetwork, plan: Plan, frames: Frames, options: RunOptions) -> Simulation:
    """Clips [N, T, C, H, W] on Lava's CPU backend, back to back."""
    from deploy.lava_network.simulate import simulate as simulate_on_lava  # only this function needs Lava

    result = simulate_on_lava(
        network,
        plan,
        frames,
        blocks=options.blocks,
        models=options.models,
        processes=options.processes,
        cores=options.cores,
        timeout_s=options.timeout_s,
        on_progress=options.on_progress,
        record=options.kept(network),
    )
    return Simulation(
        signals=result.signals,
        logits=network.logits(result.signals),
        time_steps=result.time_steps,
        travelled=Travelled(processes=result.processes, channels=result.channels, messages=result.channel_messages),
        build_s=result.build_s,
        run_s=result.run_s,
    )
