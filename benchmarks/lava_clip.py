# PYTHON_ARGCOMPLETE_OK
"""A clip through the whole network on Lava's CPU backend, against PyTorch at its best and the limits of the machine.

    python benchmarks/lava_clip.py                           # the published geometry, 8 clips streamed
    python benchmarks/lava_clip.py --preset tiny --clips 2   # a first look
    python benchmarks/lava_clip.py --spikingjelly DIR --stock --out lava_clip.json --picture lava_clip.png

PyTorch runs the same network as it is, with torch.compile (where there is a C++ compiler) and with bfloat16 autocast,
each with batches of 1 and 8 clips; the fastest, in seconds a clip, is the 1.0 of the table. SpikingJelly 2 comes
from a folder of `pip install --no-deps --target DIR spikingjelly loguru`. A way that takes more than five times the
fastest with one clip is not timed with eight. The limits are the dense multiply-accumulates
of the network at this machine's rate of int8 products, and the additions that spikes cause at its rate of 16-bit
additions, both measured in the same run.

The weights are random; every neuron layer's threshold is set so that it fires at the rate that the published network
has (hardware/data/svformer_ucf101_layers.csv), on a real clip. Everything runs on the same cores in the same run, and
every message on Lava is compared with the integer interpreter's.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from clip_times.executions import FormTimes, interpreted, on_lava, stock_step_s
from clip_times.jelly import NOT_GIVEN, add_folder, its_peers
from clip_times.limits import limits
from clip_times.outputs import add_outputs, check_outputs, write_outputs
from clip_times.peers import WAYS, Peer, fastest, measured
from clip_times.published import MERGED, Published, published_network
from clip_times.shown import draw, print_result
from rich.console import Console

from deploy.engine.partition import available_cores
from deploy.ir.integer import IntNetwork
from deploy.passes.chip_form import chip_form
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console
from svformer.config import PRESETS, SVFormerConfig

LIBRARIES = ("torch", "numpy", "numba", "lava-nc")
FORMS = {"merged": "chains merged", "never": "--merge never", "chip": "--form chip"}


def measure(
    config: SVFormerConfig,
    clips: int,
    console: Console,
    *,
    jelly: str | None,
    compiles: bool,
    stock: bool,
    chosen: Sequence[str],
) -> dict[str, Any]:
    """All figures of a geometry; `jelly` is the version of SpikingJelly, where it can be imported.

    `chosen` are forms of `FORMS`.
    """
    made, cores = provenance(LIBRARIES), available_cores()
    torch.set_num_threads(cores)  # as many as Lava's process has
    network = published_network(config)
    merged = network.integers(MERGED)
    console.print("weights calibrated to the published rates; exported and quantised")
    peers = list(_said(_peers(network, jelly, compiles), console))
    expected, integer_s = interpreted(merged, network.frames)
    console.print(f"integer interpreter: {integer_s:.2f} s a clip")
    made_by = _forms(network, merged)
    forms = [_on_lava(FORMS[name], made_by[name], network, clips, console) for name in chosen]
    fired = [expected[name] for name in merged.neuron_layers]
    found = {
        "provenance": dataclasses.asdict(made),
        "threads": cores,
        "neurons": sum(signal[0, 0].size for signal in fired),
        "mean_rate": sum(int(signal.sum()) for signal in fired) / sum(signal.size for signal in fired),
        "rates": {name: float(expected[name].mean()) for name in merged.neuron_layers},
        "peers": [dataclasses.asdict(peer) for peer in peers],
        "fastest_s_per_clip": fastest([peer for peer in peers if peer.framework == "PyTorch"]).seconds,
        "spikingjelly_skipped": NOT_GIVEN if jelly is None else None,
        "integer_s_per_clip": integer_s,
        "streamed_clips": clips,
        "forms": [dataclasses.asdict(form) for form in forms],
        "limits": [
            {**dataclasses.asdict(limit), "seconds": limit.seconds} for limit in limits(config, merged, expected, cores)
        ],
    }
    if stock:
        found["stock_s_per_clip"] = stock_step_s(merged, expected, console) * config.frames
    return found


def _peers(network: Published, jelly: str | None, compiles: bool) -> Iterator[Peer]:
    model, clip = network.model, torch.from_numpy(network.frames).transpose(1, 2).double()
    if jelly is not None:
        yield from its_peers(model, clip, jelly)
    yield from measured(model.float(), clip.float(), "PyTorch", WAYS, compiles=compiles)
    model.double()


def _said(peers: Iterable[Peer], console: Console) -> Iterator[Peer]:
    for peer in peers:
        took = peer.skipped if peer.seconds is None else f"{peer.seconds:.3f} s a clip"
        console.print(f"{peer.framework}: {peer.way}, batch {peer.batch}: {took}")
        yield peer


def _forms(network: Published, merged: IntNetwork) -> dict[str, Callable[[], IntNetwork]]:
    """By the word of `--forms`, what makes each form of the network."""
    return {
        "merged": lambda: merged,
        "never": lambda: network.integers("never"),
        "chip": lambda: chip_form(merged).network,
    }


def _on_lava(name: str, form: Callable[[], IntNetwork], network: Published, clips: int, console: Console) -> FormTimes:
    """A form that this machine cannot hold, or that the network does not have, is left out with the reason."""
    try:
        integer = form()
        expected, _ = interpreted(integer, network.frames)
        found = on_lava(name, integer, network.frames, expected, clips)
    except InputError as error:
        found = FormTimes(form=name, skipped=str(error))
    took = found.skipped or f"{found.single_s:.3f} s alone, {found.streamed_s_per_clip:.3f} s a clip streamed"
    console.print(f"Lava, {name}: {took}")
    return found


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/lava_clip.py", description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="ucf101")
    parser.add_argument("--clips", type=positive_int, default=8, help="clips that stream back to back (default: 8)")
    parser.add_argument("--spikingjelly", type=Path, metavar="DIR", help="folder that SpikingJelly 2 is installed in")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes minutes")
    parser.add_argument("--stock", action="store_true", help="time Lava's own Conv on every layer, too (minutes)")
    forms_help = "forms of the network that run on Lava; chip takes far more than ten minutes (default: merged never)"
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["merged", "never"], help=forms_help)
    add_outputs(parser)
    arguments = parser.parse_args(argv)
    check_outputs(arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console = new_console()
    jelly = add_folder(arguments.spikingjelly) if arguments.spikingjelly else None
    found = measure(
        PRESETS[arguments.preset],
        arguments.clips,
        console,
        jelly=jelly,
        compiles=not arguments.no_compile,
        stock=arguments.stock,
        chosen=arguments.forms,
    )
    print_result(found, console)
    write_outputs(found, arguments, draw)


if __name__ == "__main__":
    sys.exit(run_cli(main))
