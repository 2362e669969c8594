"""The steps of a deployment as functions, for the pipeline and for notebooks.

graph = deploy.read_nir("model.nir")
network = deploy.lower(graph)
integer = deploy.quantize(network, clips)
result = deploy.simulate(integer, clips, backend="lava")
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deploy.arguments import WEIGHT_BITS
from deploy.ir.contracts import check_integer
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import Network
from deploy.lowering import lower
from deploy.memory import clips_at_once, integer_need, lava_need, require_memory
from deploy.passes import quantize as quantization
from deploy.passes.calibrate import calibrate
from deploy.passes.schedule import schedule
from svformer.errors import InputError

__all__ = ["Backend", "Blocks", "Simulation", "as_images", "lower", "quantize", "simulate"]

Backend = Literal["lava", "integer"]
Blocks = Literal["fused", "stock"]
Frames = NDArray[Any]  # [N, T, *input shape]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Messages of every population [N, T, C, H, W] and the result of every clip [N, K]."""

    signals: dict[str, NDArray[Any]]
    logits: NDArray[np.float64]
    time_steps: int
    build_s: float = 0.0
    run_s: float = 0.0


def as_images(frames: Frames, network: Network | IntNetwork) -> Frames:
    """Frames of any input shape as the (C, H, W) that the network's input population has."""
    shape = next(iter(network.populations.values())).shape
    if frames.ndim < 3 or frames[0, 0].size != np.prod(shape):
        raise InputError(
            f"clips have shape {list(frames.shape)}, this network takes [N, T, {', '.join(map(str, shape))}]"
        )
    return np.asarray(frames).reshape(*frames.shape[:2], *shape)


def quantize(
    network: Network,
    calibration_clips: Frames,
    *,
    weight_bits: int = WEIGHT_BITS,
    search: bool = True,
    input_range: tuple[float, float] | None = None,
) -> IntNetwork:
    """Network -> integer network, calibrated on clips [N, T, *input shape]; its registers are proven to suffice.

    Without `search` the first scales that fit are taken; with it, the best of several on these clips.
    `input_range` says what an input value can be (default: what these clips show); the rest is clipped. The clips run
    a few at a time, as many as there is memory for.
    """
    frames, at_once = as_images(calibration_clips, network), clips_at_once(network, len(calibration_clips))
    calibration = calibrate(network, frames, input_range=input_range, at_once=at_once)
    quantized = quantization.quantize(network, calibration, weight_bits=weight_bits, search=search)
    check_integer(quantized, after="quantize")
    return quantized


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
