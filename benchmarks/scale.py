# PYTHON_ARGCOMPLETE_OK
"""A data set on 1, 2 and 4 workers: clips a second, memory, what limits them; and on paper, up to 1,000 workers.

    python benchmarks/scale.py --out scale.json --picture scale.png
    python benchmarks/scale.py --clips 16 --workers 1 2 --backend integer         # a first look
    python benchmarks/scale.py --network-gbit 1 --disk-mb-s 200                   # another cluster on paper

Clips of the procedural set go through the shipped network as `run_lava.py --dataset procedural --workers N` runs them,
judges included, once to warm up and once timed. The paper takes what was measured here: clips a second of a core (the
best of the rows by all cores), what a batch costs the scheduler (batches that do nothing) and the process that adds up
its results, and the bytes of clips and results. It assumes a core for every worker, and nothing else in the way.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from deploy import pipeline
from deploy.clips.source import ClipSource, file_of
from deploy.execution.backends import BACKENDS
from deploy.execution.cluster import Workers, local_workers
from deploy.execution.collect import Batch, InProcess, Runner
from deploy.execution.deployment import Deployment
from deploy.execution.resume import FOLDER, ResultFolder, decode
from deploy.execution.run import run
from deploy.execution.tally import Tally
from deploy.preparation import prepare
from deploy.request import Request
from svformer.common.cli import ArgumentParser, run_cli
from svformer.common.files import atomic_path
from svformer.common.options import positive_float, positive_int
from svformer.common.provenance import Provenance, provenance
from svformer.common.terminal import new_console, track
from svformer.data.choice import DatasetChoice

LIBRARIES = ("torch", "numpy", "lava-nc", "dask", "distributed")
LOOK_S = 0.1
EMPTY_BATCHES = 500
LARGEST = 1000  # workers on paper
LINE, BOUND = "#0072B2", "#D55E00"  # of the colour-blind safe set of Okabe and Ito


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A data set on some workers; 0 of them: in the process of the command."""

    workers: int
    start_s: float
    run_s: float
    clips_a_second: float
    cores_busy: float  # processor time of all processes by the time of the run
    worker_mb: float  # most memory of one worker that it shares with none
    client_mb: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What every batch costs where there is only one of a thing."""

    scheduler_s: float
    adding_s: float
    clip_bytes: float
    result_bytes: float  # of a clip


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster on paper: what the network and the disk give to all workers together."""

    network_gbit: float
    disk_mb_s: float


def bounds(of_a_core: float, costs: Costs, batch: int, cluster: Cluster) -> dict[str, float]:
    """Clips a second that each single thing lets through, however many workers there are."""
    network, disk = cluster.network_gbit * 1e9 / 8, cluster.disk_mb_s * 1e6
    found = {
        "the scheduler": batch / costs.scheduler_s,
        "the process that adds up": batch / costs.adding_s,
        "the network": network / (costs.clip_bytes + costs.result_bytes),
        "the disk": disk / costs.clip_bytes,
    }
    return {f"{name} ({rate / of_a_core:,.0f} workers)": rate for name, rate in found.items()}


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Most memory of this process and of one child, in MB, and processor seconds of all, while the block runs."""
    found, stop = {"worker_mb": 0.0, "client_mb": 0.0, "busy_s": 0.0}, threading.Event()
    before_s = _processor_s()

    def watch() -> None:
        while not stop.wait(LOOK_S):
            found["client_mb"] = max(found["client_mb"], _alone_mb(psutil.Process()))
            for child in psutil.Process().children():
                found["worker_mb"] = max(found["worker_mb"], _alone_mb(child))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        found["busy_s"] = _processor_s() - before_s


def _alone_mb(process: psutil.Process) -> float:
    try:
        used: int = process.memory_full_info().uss
    except psutil.Error:  # it has ended
        return 0.0
    return used / 1e6


def _processor_s() -> float:
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def measure(work: Callable[[Runner], Tally], workers: int, clips: int) -> Measured:
    """The same work twice; the second counts."""
    began_s = time.monotonic()
    with _runner(workers) as runner:
        start_s = time.monotonic() - began_s
        work(runner)
        with watched() as found:
            began_s = time.monotonic()
            work(runner)
            run_s = time.monotonic() - began_s
    return Measured(
        workers=workers,
        start_s=start_s,
        run_s=run_s,
        clips_a_second=clips / run_s,
        cores_busy=found.pop("busy_s") / run_s,
        **found,
    )


@contextmanager
def _runner(workers: int) -> Iterator[Runner]:
    if workers:
        with local_workers(workers) as found:
            yield found
    else:
        yield InProcess()


def empty(batch: Batch, files: Sequence[Path]) -> bytes:
    """A batch that does nothing, with what is sent for one that does."""
    return b""


def scheduler_s(workers: Workers, sources: Sequence[ClipSource]) -> float:
    """Seconds that a batch without work takes from being submitted to being known as done."""
    batch, files = Batch(places=range(len(sources)), sources=sources), [file_of(source) for source in sources]
    began_s = time.monotonic()
    futures = [workers.client.submit(empty, batch, files, pure=False) for _ in range(EMPTY_BATCHES)]
    workers.client.gather(futures)
    return (time.monotonic() - began_s) / EMPTY_BATCHES


class _Kept(ResultFolder):
    """Parts that stay, so that their bytes and the time to read them can be measured."""

    def remove(self) -> None:
        """Nothing goes."""


def costs(deployment: Deployment, sources: Sequence[ClipSource], batch: int, **options: Any) -> Costs:
    """What batches of this size cost beside their work."""
    with tempfile.TemporaryDirectory() as folder:
        kept = _Kept(Path(folder) / FOLDER)
        run(deployment, sources, results=kept, largest_batch=batch, **options)
        parts = [file.read_bytes() for file in sorted(kept.folder.iterdir())]
    began_s = time.monotonic()
    sum((decode(part, sources)[0].tally for part in parts), Tally())
    adding_s = (time.monotonic() - began_s) / len(parts)
    with local_workers(1) as workers:
        waiting_s = scheduler_s(workers, sources[:batch])
    return Costs(
        scheduler_s=waiting_s,
        adding_s=adding_s,
        clip_bytes=sum(file_of(source).stat().st_size for source in sources) / len(sources),
        result_bytes=sum(map(len, parts)) / len(sources),
    )


def draw(found: Sequence[Measured], of_a_core: float, limits: dict[str, float], made: Provenance, path: Path) -> None:
    """Left what was measured, right what the sums on paper say."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    here, paper = figure.subplots(1, 2)
    spread = [point for point in found if point.workers]
    here.plot([p.workers for p in spread], [p.clips_a_second for p in spread], "o-", color=LINE, label="measured")
    ideal = [spread[0].clips_a_second * p.workers / spread[0].workers for p in spread]
    here.plot([p.workers for p in spread], ideal, "--", color="0.6", label="in proportion")
    here.set(xlabel=f"workers on {os.cpu_count()} cores", ylabel="clips a second", ylim=(0, None), title="measured")
    here.set_xticks([p.workers for p in spread])
    here.legend(frameon=False)
    counts = [2**i for i in range(11) if 2**i <= LARGEST] + [LARGEST]
    paper.loglog(counts, [min(count * of_a_core, *limits.values()) for count in counts], color=LINE, label="on paper")
    reached = {name: bound for name, bound in limits.items() if bound <= LARGEST * of_a_core}  # the table has all
    for name, bound in reached.items():
        paper.axhline(bound, color=BOUND, lw=0.8, ls=":")
        paper.annotate(name, (1, bound), va="bottom", fontsize="x-small", color=BOUND)
    paper.set(xlabel="workers with a core each", ylabel="clips a second", title="on paper, and what limits it")
    for panel in (here, paper):
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{made.processor}, {os.cpu_count()} cores, {made.date}, commit {made.commit}", fontsize="medium")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def print_tables(found: Sequence[Measured], costs: Costs, limits: dict[str, float], console: Console) -> None:
    table = Table("workers", "start, s", "run, s", "clips a second", "cores busy", "a worker, MB", "the client, MB")
    for p in found:
        memory = f"{p.worker_mb:.0f}" if p.workers else ""
        figures = (f"{p.start_s:.1f}", f"{p.run_s:.1f}", f"{p.clips_a_second:.2f}", f"{p.cores_busy:.2f}")
        table.add_row(str(p.workers or "none"), *figures, memory, f"{p.client_mb:.0f}")
    console.print(table)
    console.print(
        f"a batch costs the scheduler {1e3 * costs.scheduler_s:.2f} ms and the process that adds up "
        f"{1e3 * costs.adding_s:.2f} ms; a clip is {costs.clip_bytes / 1e3:.1f} kB on the disk, "
        f"{costs.result_bytes / 1e3:.1f} kB as a result"
    )
    for name, rate in sorted(limits.items(), key=lambda item: item[1]):
        console.print(f"on paper {name}: at most {rate:,.0f} clips a second")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python benchmarks/scale.py", description=__doc__)
    add = parser.add_argument
    add("--clips", type=positive_int, default=96, help="of the procedural set (default: 96)")
    add("--batch", type=positive_int, default=8, help="clips of a batch (default: 8)")
    add("--workers", type=positive_int, nargs="+", default=[1, 2, 4], metavar="N", help="(default: 1 2 4)")
    add("--backend", choices=tuple(BACKENDS), default="lava", help="(default: lava)")
    add("--network-gbit", type=positive_float, default=10.0, metavar="G", help="on paper (default: 10)")
    add("--disk-mb-s", type=positive_float, default=1000.0, metavar="MB", help="on paper (default: 1000)")
    add("--out", type=Path, help="write all figures as JSON")
    add("--picture", type=Path, help="draw them, .png or .svg")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    console, made = new_console(), provenance(LIBRARIES)
    prepared = prepare(Request(dataset=DatasetChoice(name="procedural"), limit=arguments.clips))
    deployment = pipeline.deploy(prepared.graph, prepared.calibration, console.print)
    clips, options = prepared.clips, {"backend": arguments.backend, "keep": 1}

    def work(runner: Runner) -> Tally:
        return run(deployment, clips, runner=runner, largest_batch=arguments.batch, **options)

    found = [measure(work, workers, len(clips)) for workers in track([0, *arguments.workers], "workers")]
    beside = costs(deployment, clips, arguments.batch, **options)
    of_a_core = max(point.clips_a_second for point in found) / (os.cpu_count() or 1)
    cluster = Cluster(network_gbit=arguments.network_gbit, disk_mb_s=arguments.disk_mb_s)
    limits = bounds(of_a_core, beside, arguments.batch, cluster)
    print_tables(found, beside, limits, console)
    if arguments.out:
        values = {"measured": [dataclasses.asdict(p) for p in found], "costs": dataclasses.asdict(beside)}
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(json.dumps({**vars(made), **values, "limits": limits}, indent=2) + "\n")
    if arguments.picture:
        draw(found, of_a_core, limits, made, arguments.picture)


if __name__ == "__main__":
    sys.exit(run_cli(main))
