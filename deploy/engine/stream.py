"""Clips through the layers of a network in this process, without Lava: the messages of the integer interpreter, sooner.

The interpreter defines what a network computes; this pays where the same network runs many times.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.engine.autotune import one_thread
from deploy.engine.layers import build_layers, step_of
from deploy.engine.partition import available_cores, measured_work, threads_for
from deploy.engine.workers import Workers
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.plan import Plan

Signals = dict[str, NDArray[Any]]

WORTH_IT = 512  # neurons of a layer, on average: a time step of fewer is done before Python has called its kernels


def fastest(
    network: IntNetwork,
    plan: Plan,
    frames_NTCHW: NDArray[Any],
    *,
    record: Collection[str],
    worth_it: float = WORTH_IT,
) -> Signals:
    """Messages [N, T, C, H, W] of these populations, streamed (from `worth_it` neurons a layer on) or interpreted: they
    are the same.
    """
    sizes = [int(np.prod(population.shape)) for population in network.populations.values()]
    if np.mean(sizes) >= worth_it:
        return stream(network, plan, frames_NTCHW, record=record)
    return run_integer(network, frames_NTCHW, record=record)


def stream(
    network: IntNetwork,
    plan: Plan,
    frames_NTCHW: NDArray[Any],
    *,
    record: Collection[str] | None = None,
    threads: int | None = None,
) -> Signals:
    """Send clips of real numbers [N, T, C, H, W] back to back through the layers, as Lava does.

    Returns the messages [N, T, C, H, W] of the populations in `record` (default: all). They are computed by `threads`
    threads (default: as many as are worth it); no number of them changes a message.
    """
    clips = len(frames_NTCHW)
    quantized = network.input.quantize(frames_NTCHW).astype(np.int32).reshape(-1, *network.input.shape)
    layers = build_layers(network, plan, quantized)
    if threads is None:
        threads = threads_for(sum(measured_work(network, layers).values()), available_cores())
    names = [name for name in layers if record is None or name in record]
    found = {name: np.empty((len(quantized), *layers[name].rest.shape), layers[name].rest.dtype) for name in names}
    with one_thread(), Workers(threads) as workers:
        for step in range(1, plan.steps(clips) + 1):
            for name, signal in found.items():
                if 0 <= (frame := step - layers[name].first_step) < len(signal):
                    signal[frame] = layers[name].messages
            workers.begin(step_of(layers, step), layers)
            workers.finish()
    return {name: signal.reshape(clips, plan.frames, *signal.shape[1:]) for name, signal in found.items()}
