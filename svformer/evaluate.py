# PYTHON_ARGCOMPLETE_OK
"""Accuracy on held-out clips, and on the same clips with one frame repeated (what is left without motion).

    python -m svformer.evaluate                                              # the shipped network
    python -m svformer.evaluate --checkpoint runs/tiny/checkpoint.safetensors --out runs/tiny
    python -m svformer.evaluate --checkpoint FILE --dataset ucf101 --root DIR --views 5x3
    python -m svformer.evaluate --json | jq .top1

DIR receives evaluation.json (accuracies, every class, confusion matrix, firing rate of every layer) and confusion.png.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from svformer.assets import TINY_CHECKPOINT
from svformer.common.cli import ArgumentParser, add_device_argument, run_cli
from svformer.common.files import require_new
from svformer.common.options import at_least, positive_int, views
from svformer.common.terminal import new_console, say
from svformer.data.arguments import add_dataset_arguments, chosen_dataset


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=TINY_CHECKPOINT, help="default: the one that ships")
    parser.add_argument("--head-dim", type=positive_int, default=64, help="of an authors' .pyth; ours hold it")
    add_dataset_arguments(parser)
    views_help = "temporal x spatial views of every clip (default: the data set's, 5x3 or 1x1)"
    parser.add_argument("--views", type=views, metavar="TxS", help=views_help)
    parser.add_argument("--batch-size", type=positive_int, default=32, help="clips x views at once (default: 32)")
    loaders_help = "processes that read clips beside this one (default: none, this one reads them)"
    parser.add_argument("--loaders", type=at_least(0), default=0, metavar="N", help=loaders_help)
    add_device_argument(parser)
    parser.add_argument("--out", type=Path, help="folder for evaluation.json and confusion.png")
    parser.add_argument("--force", action="store_true", help="overwrite the evaluation in --out")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    dataset, out = chosen_dataset(arguments), arguments.out
    if out:
        require_new(out / "evaluation.json", force=arguments.force)

    from svformer.evaluation.accuracy import accuracy_line
    from svformer.evaluation.confusion import class_table, firing_rate_table
    from svformer.evaluation.figures import evaluate_checkpoint, write_figures

    figures = evaluate_checkpoint(
        arguments.checkpoint,
        dataset,
        head_dim=arguments.head_dim,
        views=arguments.views,
        batch_size=arguments.batch_size,
        loaders=arguments.loaders,
        device=arguments.device,
    )
    if out:
        write_figures(figures, arguments.checkpoint, out)
    facts = figures.facts()
    if arguments.json:
        print(json.dumps(facts))
        return
    new_console().print(class_table(facts["classes"]), firing_rate_table(figures.evaluation.firing_rates))
    say(accuracy_line(figures.evaluation.accuracy, figures.evaluation.views))


if __name__ == "__main__":
    sys.exit(run_cli(main))
