"""Run an integer network on Lava's CPU backend: build the blocks, stream the clips through, collect what was sent."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg
from numpy.typing import NDArray

from deploy.engine.layers import Layers, build_layers
from deploy.engine.partition import available_cores, measured_work, place, threads_for
from deploy.engine.ranges import message_type
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.lava_network import compat
from deploy.lava_network.blocks import LayersBlock, PortSpec, layers_model
from deploy.lava_network.chip_processes import build_chip_processes
from deploy.lava_network.fast_models import FAST_MODELS
from deploy.lava_network.lava_models import LAVA_MODELS
from deploy.lava_network.recording import Recording
from deploy.lava_network.stock import HELPER_MODELS, build_stock
from deploy.lava_network.watchdog import LavaRun

SELECT_TAG = "fixed_pt"

OnBuild = Callable[[Layers, dict[str, Recording]], None]


@dataclass(frozen=True, kw_only=True)
class LavaResult:
    """Messages of every population that is recorded [N, T, C, H, W], and what the run took.

    `channel_messages` are the values that went through the `channels` between ports of the `processes`, all time steps.
    """

    signals: dict[str, NDArray[Any]]
    time_steps: int
    processes: int
    channels: int
    channel_messages: int
    build_s: float
    run_s: float


def simulate(
    network: IntNetwork,
    plan: Plan,
    frames_NTCHW: NDArray[Any],
    *,
    blocks: Literal["fused", "stock", "chip"] = "fused",
    models: Literal["fast", "lava"] = "fast",
    processes: int = 1,
    cores: int | None = None,
    threads: int | None = None,
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_progress: Callable[[int], None] | None = None,
    record: Collection[str] | None = None,
    on_build: OnBuild | None = None,
) -> LavaResult:
    """Stream clips of real numbers [N, T, C, H, W] back to back; `on_progress` gets the time steps done.

    `blocks` chooses fused layers, placed in at most `processes` Lava processes, which share the `cores` (default: all)
    as threads; Lava's own Conv and LIFReset beside small processes of ours (stock.py); or Lava's own alone
    (chip_processes.py). `models` chooses what runs Lava's own processes: Lava's models or, faster, ours. `threads` is
    their number in each process of fused layers (default: as many as its work is worth). `record` are the populations
    whose messages come back beside those of the input and the output (default: all). `on_build` gets fused layers and
    recordings before any process is started: what watches them is put around them there.

    Raises `SimulatorError` when a process fails or `timeout_s` is over by the `clock`; nothing is left running then.
    """
    clips, frames = frames_NTCHW.shape[:2]
    kept = network.receivers if record is None else {*record, network.output}
    recordings = {
        name: Recording(clips * frames, p.shape, message_type(p))
        for name, p in network.receivers.items()
        if name in kept
    }
    quantized = network.input.quantize(frames_NTCHW).astype(np.int32)
    frames_FCHW = quantized.reshape(clips * frames, *network.input.shape)
    if blocks == "fused":
        some_process, classes = build_blocks(
            network, plan, frames_FCHW, recordings, processes, cores or available_cores(), threads, on_build
        )
    else:
        build = build_stock if blocks == "stock" else build_chip_processes
        some_process = build(network, plan, frames_FCHW, recordings)
        classes = {**HELPER_MODELS, **(FAST_MODELS if models == "fast" else LAVA_MODELS)}
    steps = plan.steps(clips)
    run_cfg = Loihi2SimCfg(select_tag=SELECT_TAG, exception_proc_model_map=compat.ModelMap(classes))
    with LavaRun(some_process, run_cfg=run_cfg, timeout_s=timeout_s, clock=clock) as run:
        started_s = clock()
        run.step(steps, on_progress=on_progress)
        run_s = clock() - started_s
        build_s, processes_built, channels, values = run.build_s, run.processes, run.channels, run.values_per_step
    signals = {network.input_name: quantized} | {name: r.take(clips) for name, r in recordings.items()}
    return LavaResult(
        signals=signals,
        time_steps=steps,
        processes=processes_built,
        channels=channels,
        channel_messages=values * steps,
        build_s=build_s,
        run_s=run_s,
    )


def build_blocks(
    network: IntNetwork,
    plan: Plan,
    frames_FCHW: NDArray[np.int32],
    recordings: dict[str, Recording],
    processes: int,
    cores: int,
    threads: int | None = None,
    on_build: OnBuild | None = None,
) -> tuple[AbstractProcess, dict[type, type]]:
    """The layers in at most `processes` connected blocks: one of the blocks, and the process models to run all."""
    layers = build_layers(network, plan, frames_FCHW)
    work_ns = measured_work(network, layers)
    runs = place(work_ns, processes)
    if on_build:
        on_build(layers, recordings)
    block_of: dict[str, LayersBlock] = {}
    models: dict[type, type] = {}
    unheard = [min(part, key=list(layers).index) for part in network.apart]  # Lava runs what channels join
    for run in runs:
        heard = [*_sources(layers, run), *(unheard if network.output in run else [])]
        arriving = [source for source in dict.fromkeys(heard) if source not in run]
        elsewhere = _sources(layers, [name for name in layers if name not in run])
        elsewhere += [] if network.output in run else unheard
        leaving = [name for name in run if name in elsewhere]
        inputs, outputs = ({name: _port(network, name) for name in names} for names in (arriving, leaving))
        process, model = layers_model(*(tuple(spec.dtype for spec in specs.values()) for specs in (inputs, outputs)))
        block_of |= dict.fromkeys(
            run,
            process(
                name=f"{run[0]} to {run[-1]}" if len(run) > 1 else run[0],
                layers={name: layers[name] for name in run},
                recordings={name: recordings[name] for name in run if name in recordings},
                inputs=inputs,
                outputs=outputs,
                threads=threads or threads_for(sum(work_ns[name] for name in run), cores // len(runs)),
            ),
        )
        models[process] = model
    for block in dict.fromkeys(block_of.values()):
        for source in block.inputs:
            block_of[source].out_port(source).connect(block.in_port(source))
    return block_of[network.output], models


def _sources(layers: Layers, names: Sequence[str]) -> list[str]:
    """Populations that send to these layers."""
    return list(dict.fromkeys(source for name in names for source in layers[name].sources))


def _port(network: IntNetwork, name: str) -> PortSpec:
    population = network.populations[name]
    return PortSpec(shape=population.shape, dtype=message_type(population))
