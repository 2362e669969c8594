# PYTHON_ARGCOMPLETE_OK
"""What a network without spikes takes on this machine's processor, by its energy counters (RAPL), idle subtracted.

    python benchmarks/twin_energy.py runs/relu/checkpoint.safetensors
    python benchmarks/twin_energy.py runs/relu/checkpoint.safetensors --seconds 30 --json

The network runs in PyTorch, in 32-bit floating point, on the shipped clips again and again. Nothing else should run
meanwhile. A machine without counters, or where only root may read them, is told so.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from deploy.clips.files import shipped
from deploy.clips.read import load
from deploy.clips.source import InputFormat
from hardware.errors import ChipError
from hardware.rapl import measured
from svformer.assets import DEMO_CLIPS
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_seconds
from svformer.common.terminal import new_console
from svformer.networks.checkpoint import load_checkpoint


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="of svformer.train --activation relu (or a spiking network)")
    seconds_help = "how long it runs (default: 10)"
    parser.add_argument("--seconds", type=positive_seconds, default=10.0, metavar="S", help=seconds_help)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    model = load_checkpoint(arguments.checkpoint).eval()
    wanted = InputFormat.of(model.config)
    clips = torch.from_numpy(np.stack([load(clip, wanted) for clip in shipped(DEMO_CLIPS)])).transpose(1, 2)
    done = 0

    def work() -> None:
        nonlocal done
        end = time.perf_counter() + arguments.seconds
        while time.perf_counter() < end:
            with torch.no_grad():
                model(clips)
            done += len(clips)

    try:
        found = measured(work)
    except ChipError as error:
        raise InputError(str(error)) from error
    mj = 1e3 * found.net_joule / done
    result = {**dataclasses.asdict(found), "clips": done, "mj_per_clip": mj}
    if arguments.json:
        print(json.dumps(result))
        return
    new_console().print(
        f"{mj:.4g} mJ a clip without idle power ({found.idle_watt:.3g} W), {done} clips in {found.seconds:.3g} s"
    )


if __name__ == "__main__":
    sys.exit(run_cli(main))
