# PYTHON_ARGCOMPLETE_OK
"""A trained 2-D CNN as a spiking network: our conversion beside those of SpikingJelly 2, on the same held-out clips.

    python benchmarks/conversion.py CHECKPOINT --spikingjelly DIR --dataset ucf101 --root DIR
    python benchmarks/conversion.py CHECKPOINT --spikingjelly DIR --dataset procedural --steps 4 8 --limit 48 --json

CHECKPOINT is a network of `svformer.train --model tsm`. DIR of --spikingjelly is a folder of `pip install --no-deps
--target DIR spikingjelly loguru`. Both get the same calibration clips, and both show a frame for --steps time steps.
Ours streams: it has one set of neurons, and their potentials go on from frame to frame. SpikingJelly's takes a clip as
one input that stays for these time steps, with neurons of their own for every frame: 16 times as many for 16 frames.
"""

import argparse
import copy
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from clip_times.jelly import add_folder
from rich import box
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from svformer.baselines.ann2snn import converted
from svformer.baselines.tsm import SHIFTED, ResidualBlock, TemporalShift
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console, print_wide, track
from svformer.data.arguments import add_dataset_arguments, chosen_dataset
from svformer.data.catalogue import open_dataset
from svformer.data.choice import with_stride
from svformer.data.clips import as_batch
from svformer.networks.checkpoint import read_notes
from svformer.training.converting import trained
from svformer.training.folding import calibration_batches, check_classes
from svformer.training.request import CONVERSION_CLIPS

LIBRARIES = ("svformer-loihi", "torch")
BATCH = 16
STEPS = [2, 4, 8, 16, 32]
OURS = "ours, streaming"
Predict = Callable[[Tensor], Tensor]  # clips [B, C, T, H, W] to logits [B, K]


class AllFrames(nn.Module):
    """A `TemporalShift` on whole clips [B, C, T, H, W], of the plain layers that SpikingJelly's converter takes."""

    def __init__(self, model: TemporalShift) -> None:
        super().__init__()
        self.stem = nn.Sequential(of_every_frame(model.conv), same_norm(model.norm), nn.ReLU())
        self.blocks = nn.Sequential(*(Block(block) for block in model.blocks))  # type: ignore[arg-type]
        self.pool, self.fc = nn.AdaptiveAvgPool3d(1), copy.deepcopy(model.fc)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        features = self.pool(self.blocks(self.stem(clip_BCTHW)))
        logits: Tensor = self.fc(features.flatten(1))
        return logits


class Block(nn.Module):
    """A block of one; the shift by a frame is a convolution over time."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.direct = nn.Sequential()
        if block.shortcut is not None:
            self.direct = nn.Sequential(of_every_frame(block.shortcut[0]), same_norm(block.shortcut[1]))
        self.hidden = nn.Sequential(
            shift(block.conv1.in_channels), of_every_frame(block.conv1), same_norm(block.norm1), nn.ReLU()
        )
        self.behind = nn.Sequential(of_every_frame(block.conv2), same_norm(block.norm2))
        self.relu = nn.ReLU()

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        found: Tensor = self.relu(self.direct(x_BCTHW) + self.behind(self.hidden(x_BCTHW)))
        return found


def of_every_frame(conv: nn.Module) -> nn.Conv3d:
    """A 2-D convolution, applied to each frame."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(conv.padding, tuple)
    (rows, columns), (down, right), (top, left) = conv.kernel_size, conv.stride, conv.padding
    found = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (1, rows, columns),
        (1, down, right),
        (0, top, left),
        bias=conv.bias is not None,
    )
    found.load_state_dict(
        {name: value[:, :, None] if value.ndim == 4 else value for name, value in conv.state_dict().items()}
    )
    return found


def same_norm(norm: nn.Module) -> nn.BatchNorm3d:
    """A norm with the parameters and statistics of one."""
    assert isinstance(norm, nn.BatchNorm2d)
    found = nn.BatchNorm3d(norm.num_features, eps=norm.eps)
    found.load_state_dict(norm.state_dict())
    return found


def shift(channels: int) -> nn.Conv3d:
    """`svformer.baselines.tsm.shifted` as a convolution: the first channels are those of the frame before."""
    found = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels, bias=False)
    moved = channels // SHIFTED
    with torch.no_grad():
        found.weight[:moved, 0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
        found.weight[moved:, 0, :, 0, 0] = torch.tensor([0.0, 1.0, 0.0])
    return found


def recipes(batches: Sequence[Tensor]) -> dict[str, Any]:
    """SpikingJelly's ways to choose thresholds without training."""
    from spikingjelly.activation_based.ann2snn import LocalThresholdBalancingRecipe, RateCodingRecipe

    loader = [(batch, 0) for batch in batches]
    return {
        "SpikingJelly, largest activation": RateCodingRecipe(dataloader=loader, mode="Max"),
        "SpikingJelly, 99.9 % of activations": RateCodingRecipe(dataloader=loader, mode="99.9%"),
        "SpikingJelly, of channels, half charged": RateCodingRecipe(
            dataloader=loader, mode="99.9%", channel_wise=True, half_threshold=True
        ),
        "SpikingJelly, local threshold balancing": LocalThresholdBalancingRecipe(dataloader=loader),
    }


def with_its_neurons(model: TemporalShift, recipe: Any) -> Callable[[int], Predict]:
    """The network that SpikingJelly makes, for a number of time steps."""
    from spikingjelly.activation_based import ann2snn, functional

    spiking = ann2snn.Converter(recipe).convert(AllFrames(model))

    def of_steps(steps: int) -> Predict:
        def predict(clip_BCTHW: Tensor) -> Tensor:
            functional.reset_net(spiking)
            return torch.stack([spiking(clip_BCTHW) for _ in range(steps)]).mean(0)

        return predict

    return of_steps


def ways(model: TemporalShift, batches: Sequence[Tensor]) -> dict[str, Callable[[int], Predict]]:
    """All conversions by name; each gives a network for a number of time steps."""
    return {
        OURS: lambda steps: converted(model, batches, steps_per_frame=steps),
        **{name: with_its_neurons(model, recipe) for name, recipe in recipes(batches).items()},
    }


@torch.no_grad()
def measured(predict: Predict, trained: Predict, clips: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Shares of clips, in per cent: of the right class, and of the prediction of the trained network."""
    right = same = count = 0
    for batch, labels in clips:
        found = predict(as_batch(batch)).argmax(1)
        right += int((found == labels).sum())
        same += int((found == trained(as_batch(batch)).argmax(1)).sum())
        count += len(labels)
    return {"top1": 100 * right / count, "same": 100 * same / count, "clips": count}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of every way at every number of time steps, and what they were measured on."""
    version = add_folder(arguments.spikingjelly)
    model, notes = trained(arguments.checkpoint).eval(), read_notes(arguments.checkpoint)
    dataset = with_stride(chosen_dataset(arguments), notes)
    size, frames = model.config.image_size, model.config.frames
    calibration = open_dataset(dataset, size=size, frames=frames, train=True, cache=False)
    held_out = open_dataset(dataset, size=size, frames=frames, train=False, cache=False)
    check_classes(model.config, notes, held_out)
    count = min(CONVERSION_CLIPS, len(calibration))
    batches = list(calibration_batches(calibration, clips=count, batch_size=BATCH))
    limit = min(arguments.limit or len(held_out), len(held_out))
    chosen = [i * len(held_out) // limit for i in range(limit)]  # evenly spaced, so that all classes occur
    clips = list(track(DataLoader(Subset(held_out, chosen), BATCH), "reading clips"))
    every = ways(model, batches)
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in every}
    for name, steps in track([(name, steps) for name in every for steps in arguments.steps], "converting"):
        found[name][str(steps)] = measured(every[name](steps), model, clips)
    return {
        "provenance": dataclasses.asdict(provenance(LIBRARIES)),
        "spikingjelly": version,
        "checkpoint": str(arguments.checkpoint),
        "dataset": dataset.name,
        "calibration_clips": count,
        "clips": len(chosen),
        "trained_top1": measured(model, model, clips)["top1"],
        "ways": found,
    }


def shown(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    """Top-1 in per cent, and behind it on how many per cent of the clips the trained network predicts the same."""
    steps = list(found[OURS])
    table = Table("conversion", *(f"{n} steps" for n in steps), box=box.MARKDOWN)
    for name, by_steps in found.items():
        cells = [f"{by_steps[n]['top1']:.2f} ({by_steps[n]['same']:.1f})" if n in by_steps else "–" for n in steps]
        table.add_row(name, *cells)
    return table


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/conversion.py", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help=".safetensors of a network that was trained with --model tsm")
    add("--spikingjelly", type=Path, metavar="DIR", required=True, help="folder that SpikingJelly 2 is installed in")
    add("--steps", type=positive_int, nargs="+", default=STEPS, metavar="N", help="default: 2 4 8 16 32")
    add("--limit", type=positive_int, metavar="N", help="held-out clips, spread over the classes (default: all)")
    add("--json", action="store_true", help="print all figures as JSON")
    add_dataset_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    found = run(arguments)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    console = new_console()
    print_wide(shown(found["ways"]), console)
    console.print(
        f"top-1 in per cent (on how many per cent the trained network predicts the same), {found['clips']} clips; "
        f"trained {found['trained_top1']:.2f} %; SpikingJelly {found['spikingjelly']}"
    )


if __name__ == "__main__":
    sys.exit(run_cli(main))
