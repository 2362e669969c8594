"""Export a checkpoint to a NIR file and prove that it gives the model's spikes; without arguments, the shipped one.

python deploy/export_nir.py [--checkpoint FILE] [--head-dim N] [--out FILE.nir] [--json]
"""

import dataclasses
import json
import sys
from pathlib import Path

from rich.console import Console

from deploy.export import check_export, export_checkpoint, node_table
from deploy.inputs import InputFormat, example_clips
from deploy.ir.graph import write_nir
from svformer.assets import TINY_CHECKPOINT
from svformer.cli import ArgumentParser, run_cli

CHECKED_CLIPS = 3


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=TINY_CHECKPOINT, help=".safetensors, or an authors' .pyth")
    parser.add_argument("--head-dim", type=int, default=64, help="channels of a head, of an authors' .pyth")
    parser.add_argument("--out", type=Path, default=Path("runs/model.nir"))
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()

    model, graph = export_checkpoint(arguments.checkpoint, head_dim=arguments.head_dim)
    config = model.config
    wanted = InputFormat(frames=config.frames, shape=(config.in_channels, config.image_size, config.image_size))
    clips = example_clips(wanted, CHECKED_CLIPS)
    check = check_export(model, graph, clips)
    write_nir(graph, arguments.out)
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "nodes": len(graph.nodes), **dataclasses.asdict(check)}))
        return
    console = Console()
    console.print(node_table(graph))
    console.print(
        f"PyTorch = NIR on {len(clips)} clips: {check.spikes_compared:,} spikes compared (every layer, every time "
        f"step), {check.ties} differ at ties, logits within {check.logit_error:.1e}"
    )
    console.print(f"written: {arguments.out} ({arguments.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    sys.exit(run_cli(main))
