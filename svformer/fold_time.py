# PYTHON_ARGCOMPLETE_OK
"""Fold the published norm, a set of statistics for every time step, into one set for all steps, which a chip can hold.

    python -m svformer.fold_time runs/per_step/checkpoint.safetensors --out runs/shared.safetensors
    python -m svformer.fold_time published.pyth --out shared.safetensors --dataset ucf101 --root DIR --epochs 4

Weights that stay as they are over time leave one gain and one bias for a channel. `fold` chooses them from training
clips, layer by layer from front to back, since each folded norm changes what the later ones get:

- mean and variance over clips, time and positions become those of the per-step network's currents at the same place;
- no gain leaves the range of the per-step gains, so that a channel that hardly varies here gets no extreme gain.

Two other gains were tried. Least squares against the per-step network's currents shrinks every current that one gain
cannot follow, so firing rates fall and predictions change. The variance within time steps, without the differences
between them, keeps slightly less. Tiny preset, 256 clips for calibration; the per-step network's predictions kept on
all 1,200 clips (training and held out), its spikes kept on the 336 that are held out, and the firing rate there
(per-step: 25.94 % after 40 epochs of training, 25.64 % after 20):

                                     after 40 epochs              after 20 epochs
    as described                     98.8 %, 91.40 %, 25.95 %     95.8 %, 91.48 %, 25.59 %
    variance within time steps       98.5 %, 91.44 %, 25.94 %     95.1 %, 91.45 %, 25.66 %
    least squares                    97.9 %, 90.92 %, 24.13 %     92.1 %, 91.27 %, 23.62 %

`--epochs` fine-tunes the folded network on the training clips; a higher rate leaves more of the per-step network's
spikes behind (4 epochs at 1e-4, 3e-4, 1e-3 kept 91.3, 91.1, 90.4 %). SHARED.json says what all of it cost.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from svformer.common.cli import ArgumentParser, command_line, run_cli
from svformer.common.options import at_least, fields_of, positive_float, positive_int
from svformer.common.terminal import new_console
from svformer.data.arguments import DATASET_OPTIONS, add_dataset_arguments, chosen_dataset
from svformer.training.recipe import Recipe
from svformer.training.request import CALIBRATION_CLIPS, FINE_TUNING_LR, FoldingRequest

PROGRAM = "python -m svformer.fold_time"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("checkpoint", type=Path, help=".safetensors of ours, or an authors' .pyth")
    parser.add_argument("--head-dim", type=positive_int, default=64, help="of an authors' .pyth; ours hold it")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors; a .json with the figures goes beside it")
    add_dataset_arguments(parser)
    clips_help = f"training clips that choose gains and biases (default: {CALIBRATION_CLIPS}, or all where fewer)"
    parser.add_argument("--calibration-clips", type=positive_int, default=CALIBRATION_CLIPS, help=clips_help)
    parser.add_argument("--epochs", type=at_least(0), default=0, help="of fine-tuning after it (default: none)")
    parser.add_argument("--lr", type=positive_float, default=FINE_TUNING_LR, help="its highest rate (%(default)g)")
    parser.add_argument("--batch-size", type=positive_int, default=Recipe.batch_size, help="clips at once")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    return parser.parse_args(argv)


def asked_for(arguments: argparse.Namespace, command: str) -> FoldingRequest:
    options = fields_of(FoldingRequest, arguments, apart=(*DATASET_OPTIONS, "json"))
    return FoldingRequest(dataset=chosen_dataset(arguments), command=command, **options)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    request = asked_for(arguments, command_line(PROGRAM, argv))

    from svformer.evaluation.agreement import layer_agreement_table, network_table
    from svformer.training.folding import run

    folded = run(request)
    if arguments.json:
        print(json.dumps(folded.report))
        return
    console = new_console()
    console.print(network_table(folded.measured), layer_agreement_table(folded.measured))
    last = list(folded.measured)[-1]
    console.print(f"{request.out}: the {last} network; figures in {request.out.stem}.json")


if __name__ == "__main__":
    sys.exit(run_cli(main))
