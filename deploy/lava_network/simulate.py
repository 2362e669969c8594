"""Run an integer network on Lava's CPU backend: build the blocks, stream the clips through, collect what was sent."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg
from numpy.typing import NDArray

from deploy.engine.layers import build_layer
from deploy.engine.neurons import message_type
from deploy.ir.integer import IntInput, IntNetwork
from deploy.lava_network import compat
from deploy.lava_network.blocks import FRAMES_MODEL, FramesBlock, InputSpec, LayerBlock, layer_model
from deploy.lava_network.recording import Recording
from deploy.lava_network.stock import build_stock
from deploy.lava_network.watchdog import LavaRun
from deploy.passes.schedule import Plan

SELECT_TAG = "fixed_pt"


@dataclass(frozen=True, kw_only=True)
class LavaResult:
    """Messages of every population [N, T, C, H, W], and what the run took."""

    signals: dict[str, NDArray[Any]]
    time_steps: int
    build_s: float
    run_s: float


def simulate(
    network: IntNetwork,
    plan: Plan,
    frames_NTCHW: NDArray[Any],
    *,
    blocks: Literal["fused", "stock"] = "fused",
    timeout_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> LavaResult:
    """Stream clips of real numbers [N, T, C, H, W] back to back; `on_progress` gets the time steps done.

    `blocks` chooses one fused process for a layer, or Lava's own Conv and LIFReset (slow; see stock.py).

    Raises `SimulatorError` when a process fails or `timeout_s` is over; nothing is left running then.
    """
    clips, frames = frames_NTCHW.shape[:2]
    recordings = {
        name: Recording(clips * frames, p.shape, message_type(p))
        for name, p in network.populations.items()
        if not isinstance(p, IntInput)
    }
    quantized = network.input.quantize(frames_NTCHW).astype(np.int32)
    steps = plan.steps(clips)
    build = build_blocks if blocks == "fused" else build_stock
    processes, models = build(network, plan, quantized.reshape(clips * frames, *network.input.shape), recordings)
    run_cfg = Loihi2SimCfg(select_tag=SELECT_TAG, exception_proc_model_map=compat.ModelMap(models))
    with LavaRun(processes[network.output], run_cfg=run_cfg, timeout_s=timeout_s) as run:
        started_s = time.monotonic()
        run.step(steps, on_progress=on_progress)
        run_s = time.monotonic() - started_s
        build_s = run.build_s
    signals = {network.input_name: quantized} | {name: r.signal(clips) for name, r in recordings.items()}
    return LavaResult(signals=signals, time_steps=steps, build_s=build_s, run_s=run_s)


def build_blocks(
    network: IntNetwork, plan: Plan, frames_FCHW: NDArray[np.int32], recordings: dict[str, Recording]
) -> tuple[dict[str, Any], dict[type, type]]:
    """One connected block for every population, and the process models to run them."""
    blocks: dict[str, Any] = {}
    models: dict[type, type] = {FramesBlock: FRAMES_MODEL}
    joints: list[tuple[str, Any]] = []
    for name, population in network.populations.items():
        if isinstance(population, IntInput):
            blocks[name] = FramesBlock(name=name, frames_FCHW=frames_FCHW)
            continue
        layer, sources = build_layer(network, plan, name)
        inputs = tuple(InputSpec(network.populations[s].shape, message_type(network.populations[s])) for s in sources)
        process, model = layer_model(tuple(spec.dtype for spec in inputs), message_type(population))
        block: LayerBlock = process(name=name, layer=layer, inputs=inputs, recording=recordings[name])
        joints += [(source, block.in_port(index)) for index, source in enumerate(sources)]
        blocks[name], models[process] = block, model
    for source, port in joints:  # at the end, since a loop leads back to an earlier block
        blocks[source].out.connect(port)
    return blocks, models
