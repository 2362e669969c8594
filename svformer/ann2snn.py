# PYTHON_ARGCOMPLETE_OK
"""Convert a trained 2-D CNN (`svformer.train --model tsm`) to a spiking network, without further training.

    python -m svformer.ann2snn CHECKPOINT --out runs/ann2snn/checkpoint.safetensors
    python -m svformer.ann2snn CHECKPOINT --out FILE --steps 16 --dataset ucf101 --root DIR
    python -m svformer.evaluate --checkpoint runs/ann2snn/checkpoint.safetensors

Every frame is shown for --steps time steps, in which firing rates stand for the activations. Training clips choose the
scale of each layer's spikes; FILE.json says on how many of them both networks predict the same.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from svformer.common.cli import ArgumentParser, command_line, run_cli
from svformer.common.options import fields_of, positive_int
from svformer.common.terminal import say
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, chosen_dataset
from svformer.training.request import CONVERSION_CLIPS, ConversionRequest

PROGRAM = "python -m svformer.ann2snn"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("checkpoint", type=Path, help=".safetensors of a network that was trained with --model tsm")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors; a .json with the figures goes beside it")
    steps_help = "time steps that a frame is shown (default: %(default)s)"
    parser.add_argument("--steps", type=positive_int, default=ConversionRequest.steps, metavar="N", help=steps_help)
    add_dataset_arguments(parser)
    clips_help = f"training clips that choose the scales (default: {CONVERSION_CLIPS}, or all where fewer)"
    parser.add_argument("--calibration-clips", type=positive_int, default=CONVERSION_CLIPS, help=clips_help)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    options = fields_of(ConversionRequest, arguments, apart=(*DATASET_OPTIONS, "json"))
    dataset, command = chosen_dataset(arguments), command_line(PROGRAM, argv)
    request = ConversionRequest(dataset=dataset, command=command, **options)

    from svformer.training.converting import run

    report = run(request)
    if arguments.json:
        print(json.dumps(report))
        return
    same = f"{100 * report['same_prediction']:.1f} % of {report['calibration_clips']} training clips"
    say(f"{request.out}: {request.steps} time steps a frame; the trained network's prediction on {same}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
