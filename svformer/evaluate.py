"""Top-1 accuracy on held-out clips, and on the same clips with one frame repeated (what is left without motion).

python -m svformer.evaluate [--checkpoint FILE] [--dataset NAME --root DIR] [--split N]
"""

import sys
from dataclasses import dataclass

import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svformer.assets import TINY_CHECKPOINT
from svformer.checkpoint import load_checkpoint
from svformer.cli import ArgumentParser, run_cli
from svformer.data.clips import normalise
from svformer.data.datasets import add_dataset_arguments, open_dataset
from svformer.model import SVFormer


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of clips whose best class is the right one."""

    top1: float
    one_frame_top1: float  # every time step shows the same frame of the clip, another for every clip
    clips: int


def as_batch(clips_BTCHW: Tensor) -> Tensor:
    """uint8 clips [B, T, C, H, W] -> normalised float32 [B, C, T, H, W]."""
    return normalise(clips_BTCHW).transpose(1, 2)


def one_frame(batch_BCTHW: Tensor) -> Tensor:
    """Every time step replaced by one frame: clip b shows frame b modulo T, so that all frames are tried alike."""
    clips, frames = batch_BCTHW.shape[0], batch_BCTHW.shape[2]
    chosen = batch_BCTHW[torch.arange(clips), :, torch.arange(clips) % frames]
    return chosen.unsqueeze(2).expand_as(batch_BCTHW)


@torch.no_grad()
def evaluate(model: SVFormer, dataset: Dataset[tuple[Tensor, int]], *, batch_size: int = 32) -> Accuracy:
    """Accuracy over a data set of uint8 clips [T, C, H, W]."""
    model.eval()
    right = right_one_frame = total = 0
    loader = DataLoader(dataset, batch_size=batch_size)
    for clips, labels in track(loader, "evaluate", transient=True):
        batch = as_batch(clips)
        right += int((model(batch).argmax(1) == labels).sum())
        right_one_frame += int((model(one_frame(batch)).argmax(1) == labels).sum())
        total += len(labels)
    return Accuracy(top1=right / total, one_frame_top1=right_one_frame / total, clips=total)


def describe(accuracy: Accuracy) -> str:
    return (
        f"top-1 {100 * accuracy.top1:.2f} % on {accuracy.clips} held-out clips; "
        f"one repeated frame {100 * accuracy.one_frame_top1:.2f} %"
    )


def main() -> None:
    parser = ArgumentParser(prog="python -m svformer.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default=TINY_CHECKPOINT, help="default: the one that ships")
    parser.add_argument("--head-dim", type=int, default=64, help="of an authors' .pyth; ours hold it")
    add_dataset_arguments(parser)
    arguments = parser.parse_args()
    model = load_checkpoint(arguments.checkpoint, head_dim=arguments.head_dim)
    held_out = open_dataset(arguments, size=model.config.image_size, frames=model.config.frames, train=False)
    print(describe(evaluate(model, held_out)))


if __name__ == "__main__":
    sys.exit(run_cli(main))
