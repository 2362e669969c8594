# PYTHON_ARGCOMPLETE_OK
"""Accuracy on held-out clips, and on the same clips with one frame repeated (what is left without motion).

    python -m svformer.evaluate                                              # the shipped network
    python -m svformer.evaluate --checkpoint runs/tiny/checkpoint.safetensors --out runs/tiny
    python -m svformer.evaluate --checkpoint FILE --dataset ucf101 --root DIR --views 5x3
    python -m svformer.evaluate --json | jq .top1

DIR receives evaluation.json (accuracies, every class, confusion matrix, firing rate of every layer) and confusion.png.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svformer.assets import TINY_CHECKPOINT
from svformer.common.cli import ArgumentParser, add_device_argument, run_cli
from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.terminal import new_console, say
from svformer.config import SVFormerConfig
from svformer.data.arguments import add_dataset_arguments

if TYPE_CHECKING:
    from svformer.data.clip_dataset import ClipDataset
    from svformer.evaluation.accuracy import Evaluation


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", default=TINY_CHECKPOINT, help="default: the one that ships")
    parser.add_argument("--head-dim", type=int, default=64, help="of an authors' .pyth; ours hold it")
    add_dataset_arguments(parser)
    parser.add_argument("--views", help="temporal x spatial views of every clip (default: the data set's, 5x3 or 1x1)")
    parser.add_argument("--batch-size", type=int, default=32, help="clips x views at once (default: 32)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read clips (default: this one)")
    add_device_argument(parser)
    parser.add_argument("--out", type=Path, help="folder for evaluation.json and confusion.png")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    if arguments.batch_size < 1 or arguments.workers < 0:
        raise InputError(f"--batch-size {arguments.batch_size} --workers {arguments.workers}; allowed: from 1, from 0")
    return arguments


def as_json(evaluation: "Evaluation", classes: tuple[str, ...]) -> dict[str, Any]:
    from svformer.evaluation.confusion import per_class

    return {
        **dataclasses.asdict(evaluation.accuracy),
        "views": evaluation.views,
        "firing_rates": evaluation.firing_rates,
        "classes": per_class(evaluation.confusion_KK, classes),
        "confusion": evaluation.confusion_KK.tolist(),
    }


def check_fit(config: SVFormerConfig, data: "ClipDataset") -> None:
    """Raise `InputError` for data that the network was not made for."""
    if (config.num_classes, config.in_channels) != (len(data.classes), data.channels):
        raise InputError(
            f"the checkpoint tells {config.num_classes} classes apart by {config.in_channels} channels, the data have "
            f"{len(data.classes)} and {data.channels}; evaluate on what it was trained on (--dataset, --root)"
        )


def main() -> None:
    arguments = parse_arguments()

    from svformer.common.devices import choose_device
    from svformer.common.shortage import shortage_explained
    from svformer.data.catalogue import open_dataset
    from svformer.evaluation.accuracy import accuracy_line, evaluate
    from svformer.evaluation.confusion import class_table, draw_confusion, firing_rate_table
    from svformer.evaluation.views import DEFAULT_VIEWS, Views, parse_views
    from svformer.model.checkpoint import load_checkpoint

    grid = parse_views(arguments.views) if arguments.views else DEFAULT_VIEWS.get(arguments.dataset, (1, 1))
    device = choose_device(arguments.device)
    model = load_checkpoint(arguments.checkpoint, head_dim=arguments.head_dim).to(device)
    data = open_dataset(arguments, size=model.config.image_size, frames=model.config.frames, train=False)
    check_fit(model.config, data)
    batch_size, workers = arguments.batch_size, arguments.workers
    advice = "lower --batch-size, or compute on another --device"
    with shortage_explained(f"--batch-size {batch_size} views at once on {device}", advice, workers=workers):
        evaluation = evaluate(model, Views(data, grid), batch_size=batch_size, workers=workers)
    facts = as_json(evaluation, data.classes)
    if arguments.out:
        with atomic_path(arguments.out / "evaluation.json") as temporary:
            temporary.write_text(json.dumps({"checkpoint": str(arguments.checkpoint), **facts}, indent=2) + "\n")
        with atomic_path(arguments.out / "confusion.png") as temporary:
            draw_confusion(evaluation.confusion_KK, data.classes, temporary)
    if arguments.json:
        print(json.dumps(facts))
        return
    new_console().print(class_table(facts["classes"]), firing_rate_table(evaluation.firing_rates))
    say(accuracy_line(evaluation.accuracy, evaluation.views))


if __name__ == "__main__":
    sys.exit(run_cli(main))
