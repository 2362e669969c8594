"""The way to a Loihi 2 board: what has to be there, the network for it, and Intel's profiler around the run.

Intel's extension of Lava (lava-loihi, for members of its research community INRC) was not to be had where this was
written: everything up to the call into it is tested with stand-ins, and no run on a chip was ever made. What is taken
from Intel's published notebooks (lava-dl, netx, pilotnet_snn/benchmark) is the names of the profiler and of the
adapters between CPU and chip; that the adapters take no time step is assumed there, and here.
"""

import importlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, RunConfig
from lava.utils import loihi
from numpy.typing import NDArray

from deploy.engine.ranges import message_type
from deploy.errors import SimulatorError
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.lava_network import compat
from deploy.lava_network.actors import one_line
from deploy.lava_network.chip_processes import Through, build_chip_processes, require_held
from deploy.lava_network.endpoints import ENDS
from deploy.lava_network.recording import Recording
from deploy.passes.schedule import schedule
from svformer.common.errors import InputError

PROFILER = "lava.utils.loihi2_profiler"
HOST_BINARY = "nxcore/bin/nx_driver_server"  # Lava's default
ADAPTERS = "lava.proc.embedded_io.spike"
INPUT_BITS = 16  # of a message that Intel's adapter takes into the chip
OUTPUT_BITS = 32  # of a graded message out of it

# Class of the profiler -> what it holds after the run, under the names and in the units of Intel's notebook.
READINGS = {
    "Loihi2Power": ("total_power", "static_total_power", "vdd_power", "vddm_power", "vddio_power"),
    "Loihi2ExecutionTime": ("avg_time_per_step", "execution_time_per_step"),
    "Loihi2Memory": ("total_mpds",),
    "Loihi2Activity": ("syn_ops", "dendrite_updates", "spikes_in", "axon_out"),
}


@dataclass(frozen=True, kw_only=True)
class ChipRun:
    """What came out of the chip: messages of the output population [N, T, C, H, W], and the profiler's readings."""

    output: NDArray[Any]
    readings: dict[str, dict[str, list[float]]]
    time_steps: int


def require_board() -> None:
    """Connect to a Loihi 2 system; raises `InputError`, one line, for what is missing on this machine."""
    if not loihi.is_installed(PROFILER):
        raise InputError(
            f"--backend loihi2 needs Intel's extension of Lava: the module {PROFILER} is not installed here; members "
            "of Intel's research community (INRC) install its package lava-loihi into this environment and set "
            "NXSDKHOST, or use a SLURM system with boards; allowed on this machine: lava, integer"
        )
    address, generation = os.environ.get("NXSDKHOST"), os.environ.get("LOIHI_GEN", loihi.ChipGeneration.N3B3.value)
    if generation not in {chip.value for chip in loihi.ChipGeneration}:
        allowed = ", ".join(chip.value for chip in loihi.ChipGeneration)
        raise InputError(f"LOIHI_GEN is {generation!r}; allowed: {allowed}")
    try:
        if address:
            binary = os.environ.get("HOST_BINARY", HOST_BINARY)
            loihi.use_ethernet_host(address, binary, loihi.ChipGeneration(generation))
        elif shutil.which("sinfo"):  # Lava calls it and does not catch that it is missing
            board, partition = os.environ.get("BOARD"), os.environ.get("PARTITION")
            loihi.use_slurm_host(partition=partition, board=board, loihi_gen=loihi.ChipGeneration(generation))
        else:
            raise InputError(
                "--backend loihi2: lava-loihi is installed, but no board can be reached; set NXSDKHOST to the "
                "address of one, or run where SLURM's sinfo lists them; allowed on this machine: lava, integer"
            )
    except (ValueError, OSError) as error:  # OSError: ping is not installed
        raise InputError(f"--backend loihi2: {error}; set NXSDKHOST, or BOARD and PARTITION, to one that is") from error


def run_on_chip(network: IntNetwork, frames_NTCHW: NDArray[Any]) -> ChipRun:
    """Stream clips [N, T, C, H, W] through the chip, profiled.

    Raises `InputError` for what the chip cannot hold, `SimulatorError` when Lava or the board fails. The run is Lava's
    own: the watchdog of the CPU backend looks after processes of this machine, not after boards.
    """
    adapters = importlib.import_module(ADAPTERS)
    core, finish = split_readout(network)
    plan, output = schedule(core), core.populations[core.output]
    clips, steps = len(frames_NTCHW), plan.steps(len(frames_NTCHW))
    recording = Recording(clips * plan.frames, output.shape, message_type(output))
    quantized = core.input.quantize(frames_NTCHW).astype(np.int32).reshape(-1, *core.input.shape)
    require_buildable(core, plan)
    recorder = build_chip_processes(
        core,
        plan,
        quantized,
        {core.output: recording},
        enter=_through(adapters.PyToN3ConvAdapter, INPUT_BITS),
        leave=_through(adapters.NxToPyAdapter, 0 if core.spiking(core.output) else OUTPUT_BITS),
    )
    probes = _profilers(steps)
    run_cfg = hardware_config(list(probes.values()))
    try:
        recorder.run(condition=RunSteps(num_steps=steps), run_cfg=run_cfg)
    except Exception as error:
        raise SimulatorError(f"Lava could not run the network on Loihi 2: {one_line(error)}") from error
    finally:
        if recorder.runtime is not None:
            recorder.stop()
    readings = {name: _readings(probe, READINGS[name]) for name, probe in probes.items()}
    return ChipRun(output=finish(recording.take(clips)), readings=readings, time_steps=steps)


def split_readout(network: IntNetwork) -> tuple[IntNetwork, Callable[[NDArray[Any]], NDArray[Any]]]:
    """The network without a last relay that only scales one population's messages, and that relay as a function.

    The board's host reads the messages anyway, and a scale may be larger than a synapse holds.
    """
    relay, into = network.receivers[network.output], network.into(network.output)
    if relay.kind != "relay" or len(into) > 1 or not into[0].operation.passes_on:
        return network, lambda messages: messages
    (last,) = into
    core = replace(
        network,
        populations={name: p for name, p in network.populations.items() if name != network.output},
        connections=tuple(c for c in network.connections if c is not last),
        output=last.source,
    )
    return core, lambda messages: last(messages) + relay.bias_by_step(network.frames)


def hardware_config(probes: list[Any]) -> RunConfig:
    """Intel's process models for everything but the two ends, which stay on the CPU, and its profilers."""
    return Loihi2HwCfg(exception_proc_model_map=compat.ModelMap(ENDS), callback_fxs=probes)


def _profilers(steps: int) -> dict[str, Any]:
    """Those of Intel's probes that this version of the extension has."""
    module = importlib.import_module(PROFILER)
    options: dict[str, dict[str, int]] = {"Loihi2Power": {"num_steps": steps}}
    return {name: getattr(module, name)(**options.get(name, {})) for name in READINGS if hasattr(module, name)}


def _readings(probe: Any, names: tuple[str, ...]) -> dict[str, list[float]]:
    return {
        name: np.atleast_1d(np.asarray(getattr(probe, name), dtype=float)).ravel().tolist()
        for name in names
        if hasattr(probe, name)
    }


def require_buildable(network: IntNetwork, plan: Plan) -> None:
    """Raise `InputError` with everything that the chip, or this way to it, cannot hold."""
    require_held(network, plan)
    largest = max(-network.input.low, network.input.high)
    if largest >= 1 << (INPUT_BITS - 1):
        raise InputError(
            f"this way to Loihi 2 does not build: input values up to {largest}, the adapter takes {INPUT_BITS} bits; "
            "use --backend lava"
        )


def _through(adapter: Callable[..., AbstractProcess], bits: int) -> Through:
    """An adapter of Intel's between chip and CPU, for messages of so many bits."""

    def passed(source: OutPort) -> OutPort:
        made: Any = adapter(shape=source.shape, num_message_bits=bits)
        source.connect(made.inp)
        return made.out

    return passed
