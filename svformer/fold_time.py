# PYTHON_ARGCOMPLETE_OK
"""Fold the published norm, a set of statistics for every time step, into one set for all steps, which a chip can hold.

    python -m svformer.fold_time runs/per_step/checkpoint.safetensors --out runs/shared.safetensors
    python -m svformer.fold_time published.pyth --out shared.safetensors --dataset ucf101 --root DIR --epochs 4

Weights that stay as they are over time leave one gain and one bias for a channel. `fold` chooses them from training
clips, layer by layer from front to back, since each folded norm changes what the later ones get:

- mean and variance over clips, time and positions become those of the per-step network's currents at the same place;
- but no gain leaves the range of those of the time steps, lest a channel that hardly moves on these clips run away.

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
import sys
from pathlib import Path

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.data.arguments import add_dataset_arguments
from svformer.training.recipe import Recipe

CALIBRATION_CLIPS = 256
FINE_TUNING_LR = 1e-4  # peak; from scratch it is 4e-3


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.fold_time", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help=".safetensors of ours, or an authors' .pyth")
    parser.add_argument("--head-dim", type=int, default=64, help="of an authors' .pyth; ours hold it")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors; a .json with the figures goes beside it")
    add_dataset_arguments(parser)
    clips_help = f"training clips that choose gains and biases (default: {CALIBRATION_CLIPS}, or all where fewer)"
    parser.add_argument("--calibration-clips", type=int, default=CALIBRATION_CLIPS, help=clips_help)
    parser.add_argument("--epochs", type=int, default=0, help="of fine-tuning after it (default: none)")
    parser.add_argument("--lr", type=float, default=FINE_TUNING_LR, help="its highest rate (default: %(default)g)")
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    arguments = parser.parse_args()
    for name in ("calibration_clips", "batch_size", "lr"):
        if not getattr(arguments, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(arguments, name)}; allowed: above 0")
    _check_out(arguments.out, force=arguments.force)
    return arguments


def _check_out(out: Path, *, force: bool) -> None:
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: allowed: a name that ends in .safetensors")
    for path in (out, out.with_suffix(".json")):
        if path.exists() and not force:
            raise InputError(f"{path}: exists; choose another --out, or --force to overwrite it")


def main() -> None:
    arguments = parse_arguments()

    from svformer.training.folding import run

    run(arguments)


if __name__ == "__main__":
    sys.exit(run_cli(main))
