"""What both benchmarks of a clip write: JSON, a picture, and JSON on standard output."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from svformer.common.errors import InputError
from svformer.common.files import atomic_path

PICTURES = (".png", ".svg", ".pdf")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add `--out`, `--picture` and `--json`."""
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--picture", type=Path, help=f"draw them: {', '.join(PICTURES)}")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for a picture of a kind that there is not, before anything is measured."""
    if arguments.picture and arguments.picture.suffix not in PICTURES:
        raise InputError(f"--picture {arguments.picture}; allowed: a file of {', '.join(PICTURES)}")


def write_outputs(
    found: dict[str, Any], arguments: argparse.Namespace, draw: Callable[[dict[str, Any], Path], None]
) -> None:
    """Write what was asked for."""
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")
    if arguments.picture:
        draw(found, arguments.picture)
    if arguments.json:
        print(json.dumps(found))
