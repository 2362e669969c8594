# PYTHON_ARGCOMPLETE_OK
"""Small look-alikes of the official data sets: procedural clips, on disk in the official form.

    python -m svformer.data.lookalike dvs128 data/dvs128_like
    python -m svformer.train --preset dvs128_gesture --dataset dvs128 --root data/dvs128_like --epochs 1

ucf101: OUT/UCF-101 and OUT/ucfTrainTestlist, the easy procedural set with two groups.
ntu60: OUT/nturgb+d_rgb/S001C001P001R001A001_rgb.avi, the 12 easy motions as actions 1 to 12; performer 1 and cameras
2 and 3 are for training, performer 3 (cross-subject) and camera 1 (cross-view) for the test.
dvs128: the first 11 easy motions as gestures, recorded by a model of an event camera: OUT/DVSGesture in tonic's form
(with the archives and the 100 files of each part without which tonic would download), OUT/DvsGesture in IBM's form.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.terminal import say
from svformer.data.choice import LOOKALIKES


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.data.lookalike", description=__doc__)
    parser.add_argument("dataset", choices=LOOKALIKES)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    from svformer.data.synthetic.lookalikes import WRITERS

    say(f"{WRITERS[arguments.dataset](arguments.out, seed=arguments.seed)}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
