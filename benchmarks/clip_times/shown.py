"""The table and the picture of `lava_clip.py`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from svformer.common.files import atomic_path
from svformer.common.terminal import print_wide, size
from svformer.pictures.palette import BLUE, GREY, ORANGE, SOFT, VERMILLION

COLOURS = {"torch": VERMILLION, "spikingjelly": ORANGE, "lava": BLUE, "interpreter": GREY}


@dataclass(frozen=True)
class Row:
    """An execution: seconds a clip, or why there are none."""

    kind: str  # a key of COLOURS
    name: str
    seconds: float | None
    skipped: str | None = None
    remark: str = ""


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """All executions of a result of `lava_clip.measure`."""
    for peer in found["peers"]:
        kind = "torch" if peer["framework"] == "PyTorch" else "spikingjelly"
        name = f"{peer['framework']}: {peer['way']}, batch {peer['batch']}"
        remark = "" if not peer["error"] else f"logits differ by up to {100 * peer['error']:.2g} %"
        yield Row(kind, name, peer["seconds"], peer["skipped"], remark)
    if found["spikingjelly_skipped"]:
        yield Row("spikingjelly", "SpikingJelly", None, found["spikingjelly_skipped"])
    yield Row("interpreter", "integer interpreter (NumPy)", found["integer_s_per_clip"])
    for form in found["forms"]:
        if form["skipped"]:
            yield Row("lava", f"Lava, {form['form']}", None, form["skipped"])
            continue
        remark = f"built in {form['build_s']:.2f} s, {size(1e6 * form['peak_mb'])} of all processes together"
        yield Row("lava", f"Lava, {form['form']}, one clip", form["single_s"])
        streamed = f"Lava, {form['form']}, {found['streamed_clips']} clips streamed"
        yield Row("lava", streamed, form["streamed_s_per_clip"], remark=remark)
        yield Row("lava", f"{streamed}, the result alone recorded", form["result_s_per_clip"])
    if "stock_s_per_clip" in found:
        yield Row("lava", "stock Lava Conv, synapses alone, one core", found["stock_s_per_clip"])


def print_result(found: dict[str, Any], console: Console) -> None:
    """Every execution and both limits beside the fastest PyTorch."""
    fastest_s = found["fastest_s_per_clip"]
    table = Table(
        "execution", "s a clip", "x fastest PyTorch", "remark", title=f"{found['neurons']:,} neurons, one clip"
    )
    for row in rows(found):
        times = ("-", "-") if row.seconds is None else (f"{row.seconds:.3f}", f"{row.seconds / fastest_s:.2f}")
        table.add_row(row.name, *times, row.skipped or row.remark)
    for limit in found["limits"]:
        seconds = limit["seconds"]
        times = ("-", "-") if seconds is None else (f"{seconds:.2g}", f"{seconds / fastest_s:.2g}")
        table.add_row(limit["name"], *times, limit["reason"] or limit_in_words(limit))
    print_wide(table, console)
    console.print(f"mean firing rate {100 * found['mean_rate']:.1f} %; {_where(found)}")


def limit_in_words(limit: dict[str, Any]) -> str:
    """What a limit is made of."""
    return f"{limit['operations'] / 1e9:.3g} G {limit['unit']} at {limit['rate'] / 1e9:.3g} G/s: {limit['by']}"


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds a clip as bars on a logarithmic axis, the limits as lines."""
    shown = [(row, row.seconds) for row in rows(found) if row.seconds is not None]
    figure = Figure(figsize=(10, 1.6 + 0.24 * len(shown)), layout="constrained")
    ax = figure.subplots()
    ax.barh(range(len(shown)), [seconds for _, seconds in shown], color=[COLOURS[row.kind] for row, _ in shown])
    ax.set_yticks(range(len(shown)), [row.name for row, _ in shown], fontsize="small")
    ax.invert_yaxis()
    ax.set_xscale("log")
    for place, (_, seconds) in enumerate(shown):
        ax.text(seconds, place, f" {seconds / found['fastest_s_per_clip']:.2f}", va="center", fontsize="small")
    for limit, style in zip(found["limits"], ("--", ":"), strict=True):
        if limit["seconds"] is not None:
            label = f"{limit['name']}: {limit['seconds']:.2g} s, {limit['operations'] / 1e9:.3g} G {limit['unit']}"
            ax.axvline(limit["seconds"], color=SOFT, linestyle=style, label=label)
    ax.set_xlabel("seconds a clip; at the bars: times the fastest PyTorch")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=2)
    figure.suptitle(f"One clip, {found['neurons']:,} neurons\n{_where(found)}", fontsize="medium")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix("."))


def _where(found: dict[str, Any]) -> str:
    made = found["provenance"]
    return f"{made['processor']}, {found['threads']} of {os.cpu_count()} cores, {made['date']}, commit {made['commit']}"
