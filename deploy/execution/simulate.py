"""Run an integer network on one of the backends."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deploy.execution.memory import integer_need, lava_need, require_memory
from deploy.ir.integer import Frames, IntNetwork, as_images, run_integer
from deploy.passes.schedule import schedule
from svformer.common.errors import InputError

Backend = Literal["lava", "integer"]
Blocks = Literal["fused", "stock"]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Messages of every population [N, T, C, H, W] and the result of every clip [N, K]."""

    signals: dict[str, NDArray[Any]]
    logits: NDArray[np.float64]
    time_steps: int
    build_s: float = 0.0
    run_s: float = 0.0


def simulate(
    network: IntNetwork,
    clips: Frames,
    *,
    backend: Backend = "lava",
    blocks: Blocks = "fused",
    processes: int = 1,
    cores: int | None = None,
    timeout_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Run clips [N, T, *input shape] on Lava's CPU backend, or in the integer interpreter, which needs no Lava.

    `blocks` chooses between fused layers, in so many Lava `processes`, and, slow, Lava's own Conv and LIFReset. No
    choice changes a message or a time step. Their threads share so many `cores` (default: all that there are).

    Raises `SimulatorError` when the simulator fails or takes longer than `timeout_s`, and `InputError`, before anything
    is started, when the clips need more memory than there is.
    """
    if backend not in ("lava", "integer"):
        raise InputError(f"backend {backend!r}; allowed: 'lava', 'integer'")
    if processes < 1:
        raise InputError(f"{processes} Lava processes were asked for; allowed: 1 or more")
    frames, plan = as_images(clips, network), schedule(network)
    need = integer_need(network) if backend == "integer" else lava_need(network, blocks=blocks, processes=processes)
    require_memory(need, len(frames), f"the {backend} backend")
    if backend == "integer":
        started_s = time.monotonic()
        signals = run_integer(network, frames)
        return Simulation(
            signals=signals,
            logits=network.logits(signals),
            time_steps=plan.steps(len(frames)),
            run_s=time.monotonic() - started_s,
        )
    from deploy.lava_network.simulate import simulate as simulate_on_lava  # only who asks for Lava needs it

    result = simulate_on_lava(
        network,
        plan,
        frames,
        blocks=blocks,
        processes=processes,
        cores=cores,
        timeout_s=timeout_s,
        on_progress=on_progress,
    )
    return Simulation(
        signals=result.signals,
        logits=network.logits(result.signals),
        time_steps=result.time_steps,
        build_s=result.build_s,
        run_s=result.run_s,
    )
