"""Convert a checkpoint of the SVFormer authors to ours: strictly checked weights, with their configuration.

python -m svformer.convert IN.pyth --out OUT.safetensors [--head-dim N] [--force]
"""

import sys
from pathlib import Path

from svformer.checkpoint import load_checkpoint, save_checkpoint
from svformer.cli import ArgumentParser, run_cli
from svformer.errors import InputError


def convert(source: Path, target: Path, *, head_dim: int, force: bool) -> str:
    """Write `target` and say in one line what it holds; raises `InputError` rather than overwrite without `force`."""
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: allowed: a name that ends in .safetensors")
    if target.exists() and not force:
        raise InputError(f"{target}: exists; choose another name, or --force to overwrite it")
    model = load_checkpoint(source, head_dim=head_dim)
    save_checkpoint(model, target, {"converted_from": source.name})
    c, parameters = model.config, sum(p.numel() for p in model.parameters())
    size = f"{c.image_size} x {c.image_size} pixels"
    return f"{target}: {parameters:,} parameters, {c.num_classes} classes, T = {c.frames}, {size}, norm {c.norm}"


def main() -> None:
    parser = ArgumentParser(prog="python -m svformer.convert", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="the authors' .pyth")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--head-dim", type=int, default=64, help="channels of a head: the one figure no shape tells")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    arguments = parser.parse_args()
    print(convert(arguments.source, arguments.out, head_dim=arguments.head_dim, force=arguments.force))


if __name__ == "__main__":
    sys.exit(run_cli(main))
