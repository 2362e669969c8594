# PYTHON_ARGCOMPLETE_OK
"""How long `run_lava.py` takes for one clip, and where its time goes: with an empty cache folder, and then again.

    python benchmarks/one_clip.py                            # a clip that ships
    python benchmarks/one_clip.py --clip my.mp4 --repeats 5 --json

Each run is a command of its own; of those with what the first has kept, the one whose time is the median counts. Times
of stages are of a further run, in which each stage notes when it begins and ends. The kernels' costs are taken from the
user's cache folder where they were measured before, so that no run measures them.
"""

import argparse
import dataclasses
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from svformer.assets import DEMO_CLIPS
from svformer.common.cache import cache_folder
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.errors import InputError
from svformer.common.options import positive_int
from svformer.common.provenance import provenance
from svformer.common.terminal import new_console, track

ROOT = Path(__file__).parents[1]
LIBRARIES = ("svformer-loihi", "torch", "lava-nc")
# Functions of `deploy.session`, one after the other, and what they do.
STAGES = {
    "prepare": "the network from the cache, the clip decoded",
    "_network": "model.nir written",
    "pipeline.deploy": "the quantised network from the cache, proven and scheduled",
    "_tally": "Lava built and run; float and integer interpreter, placement",
    "record": "the report: energy, fit to chips",
    "write_spikes": "spikes.h5",
    "write_of_run": "integers.h5",
    "write_page": "report.html",
    "write_markdown": "report.md",
}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/one_clip.py", description=__doc__)
    parser.add_argument("--clip", type=Path, help="video (default: one that ships)")
    parser.add_argument("--repeats", type=positive_int, default=3, help="runs with a full cache (default: 3)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)  # this process is the one that is looked at
    return parser.parse_args(argv)


def timed(line: Sequence[str], cache: Path) -> dict[str, float]:
    """Seconds that pass and of processor time, children included, of a command; raises `InputError` where it fails."""
    before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    passed_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise InputError(f"the run ended with {done.returncode}: {done.stderr.strip()}")
    return {
        "passed_s": passed_s,
        "processor_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def measured(clip: Path, repeats: int) -> dict[str, Any]:
    """The first run, later ones, and the stages of one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / cache_folder().name).mkdir()
        for costs in cache_folder().glob("kernels-*.json"):
            shutil.copy(costs, folder / cache_folder().name)
        words = ["--clip", str(clip), "--out", str(folder / "out"), "--force", "--quiet"]
        line, itself = [sys.executable, "deploy/run_lava.py", *words], [sys.executable, str(Path(__file__).resolve())]
        stages = folder / "stages.json"
        first, *later = (timed(line, folder) for _ in track(range(1 + repeats), "running"))
        timed([*itself, "--clip", str(clip), "--stages", str(stages)], folder)
        return {
            "provenance": dataclasses.asdict(provenance(LIBRARIES)),
            "clip": clip.name,
            "first": first,
            "later": sorted(later, key=lambda run: run["passed_s"])[repeats // 2],
            "spread_s": statistics.stdev(run["passed_s"] for run in later) if repeats > 1 else None,
            "stages_s": json.loads(stages.read_text()),
        }


def look_at(clip: Path, file: Path) -> None:
    """Run the command in this process, and write the seconds of each stage, and of the imports before, to a file."""
    started_s = time.perf_counter()
    session = importlib.import_module("deploy.session")
    found = {"imports": time.perf_counter() - started_s}
    for stage in STAGES:
        module, _, name = stage.rpartition(".")
        owner = getattr(session, module) if module else session
        setattr(owner, name, _noted(getattr(owner, name), stage, found))
    from deploy.run_lava import main as run

    run(["--clip", str(clip), "--out", str(file.with_suffix("")), "--quiet"])
    file.write_text(json.dumps(found))


def _noted(function: Callable[..., Any], stage: str, found: dict[str, float]) -> Callable[..., Any]:
    def noting(*arguments: Any, **options: Any) -> Any:
        started_s = time.perf_counter()
        result = function(*arguments, **options)
        found[stage] = found.get(stage, 0.0) + time.perf_counter() - started_s
        return result

    return noting


def shown(found: dict[str, Any]) -> Table:
    """Seconds that pass, of the runs and of the stages of one."""
    table = Table("one clip", "seconds", box=box.MARKDOWN)
    for title, run in (("first run", found["first"]), ("later", found["later"])):
        table.add_row(f"{title}; processor time {run['processor_s']:.1f} s", f"{run['passed_s']:.1f}")
    for stage, seconds in found["stages_s"].items():
        table.add_row("imports" if stage == "imports" else STAGES[stage], f"{seconds:.2f}")
    return table


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    clip = (arguments.clip or min(DEMO_CLIPS.rglob("*.*"))).absolute()
    if arguments.stages:
        look_at(clip, arguments.stages)
        return
    found = measured(clip, arguments.repeats)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    new_console().print(shown(found))


if __name__ == "__main__":
    sys.exit(run_cli(main))
