# PYTHON_ARGCOMPLETE_OK
"""Convert a checkpoint of the SVFormer authors to ours: strictly checked weights, with their configuration.

python -m svformer.convert published.pyth --out published.safetensors
python -m svformer.convert published.pyth --out published.safetensors --head-dim 32 --force --json
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.files import require_new
from svformer.common.options import positive_int
from svformer.common.terminal import say


def convert(source: Path, target: Path, *, head_dim: int, force: bool) -> dict[str, Any]:
    """Write `target` and return what it holds; raises `InputError` rather than overwrite without `force`."""
    from svformer.networks.checkpoint import load_checkpoint, save_checkpoint

    if target.suffix != ".safetensors":
        raise InputError(f"{target}: allowed: a name that ends in .safetensors")
    require_new(target, force=force)
    model = load_checkpoint(source, head_dim=head_dim)
    save_checkpoint(model, target, {"converted_from": source.name})
    parameters = sum(p.numel() for p in model.parameters())
    return {"out": str(target), "parameters": parameters, "config": dataclasses.asdict(model.config)}


def describe(converted: dict[str, Any]) -> str:
    """In one line, for people."""
    c, parameters = converted["config"], converted["parameters"]
    shape = f"T = {c['frames']}, {c['image_size']} x {c['image_size']} pixels"
    return f"{converted['out']}: {parameters:,} parameters, {c['num_classes']} classes, {shape}, norm {c['norm']}"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m svformer.convert", description=__doc__)
    parser.add_argument("source", type=Path, help="the authors' .pyth")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument("--head-dim", type=positive_int, default=64, help="channels of a head, which no shape shows")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    converted = convert(arguments.source, arguments.out, head_dim=arguments.head_dim, force=arguments.force)
    if arguments.json:
        print(json.dumps(converted))
    say(describe(converted))


if __name__ == "__main__":
    sys.exit(run_cli(main))
