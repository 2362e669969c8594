"""Command lines: options that exist with values that belong to them, or to others, or to nobody."""

import argparse
import contextlib
import importlib
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzzing import networks, odd
from fuzzing.kind import Kind
from svformer.common.errors import InputError

RUN = "deploy.run_lava"
READ_ALONE = (
    *("deploy.compare", "deploy.export_nir", "svformer.train", "svformer.evaluate", "svformer.convert"),
    *(
        "svformer.fold_time",
        "svformer.sizes",
        "svformer.ann2snn",
        "svformer.data.procedural",
        "svformer.data.lookalike",
    ),
)
# What would change the machine, wait for others, take minutes, or run Lava.
LEFT_OUT = ("--clear-cache", "--scheduler", "--workers", "--dataset", "--download", "--backend", "--processes", "-h")
LEFT_OUT_TOO = ("--help", "--models", "--blocks", "--stop-after", "--estimate", "--why", "--model", "--why")
VALUES = ("0", "1", "2", "3", "8", "-1", "1e-3", "0.5", "n.nir", "c.npy", "out", "missing", "5x3", "all", "lif", ".")


def make(rng: Random, folder: Path) -> None:
    """A small network, a clip, and the words of a command."""
    (folder / "n.nir").write_bytes(networks.written(_graph()))
    np.save(folder / "c.npy", np.ones((3, 3), dtype=np.float32))
    module = RUN if rng.random() < 0.7 else rng.choice(READ_ALONE)
    words = ["--nir", "n.nir", "--clip", "c.npy", *_ending(rng)] if module == RUN and rng.random() < 0.8 else []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        words += _option(rng, rng.choice(_options(module)))
    (folder / "argv.json").write_text(json.dumps({"module": module, "argv": words}))


def _graph() -> Any:
    return networks.graph(Random(3))


def _ending(rng: Random) -> list[str]:
    stops = (["--stop-after", rng.choice(("read", "lower", "quantize", "schedule"))], ["--estimate"])
    return rng.choice((*stops, *stops, ["--backend", "integer", "--out", "out"]))


def _option(rng: Random, action: argparse.Action) -> list[str]:
    """An option with as many values as it takes, or not."""
    name = rng.choice(action.option_strings) if action.option_strings else ""
    count = 0 if action.nargs == 0 else rng.choice((1, 1, 1, 2)) if action.nargs in ("+", "*") else 1
    count = rng.choice((0, 1, 2)) if rng.random() < 0.05 else count
    known = [str(choice) for choice in action.choices or ()]
    pools = (known or VALUES, VALUES, [str(number) for number in odd.NUMBERS], odd.NAMES)
    return [*([name] if name else []), *(rng.choice(rng.choice(pools)) for _ in range(count))]


@cache
def _options(module: str) -> list[argparse.Action]:
    """The options of a command, as its parser has them."""
    found = list[argparse.Action]()

    class Read(Exception):  # noqa: N818 (it ends the reading)
        pass

    def parse_args(self: argparse.ArgumentParser, *_: Any, **__: Any) -> argparse.Namespace:
        found.extend(self._actions)
        raise Read

    from svformer.common.cli import ArgumentParser

    whole = ArgumentParser.parse_args
    ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]
    try:
        with contextlib.suppress(Read):
            importlib.import_module(module).parse_arguments([])
    finally:
        ArgumentParser.parse_args = whole  # type: ignore[method-assign]
    return [action for action in found if not {*LEFT_OUT, *LEFT_OUT_TOO} & {*action.option_strings}]


def read(folder: Path) -> None:
    """Run `run_lava.py` with such words, or read those of another command; what is refused must leave nothing."""
    said = json.loads((folder / "argv.json").read_text())
    module, before = importlib.import_module(said["module"]), {*folder.rglob("*")}
    try:
        with contextlib.chdir(folder), contextlib.suppress(SystemExit):
            if said["module"] == RUN and "--nir" in said["argv"]:
                module.main([*said["argv"], "--no-cache"])
            else:
                module.parse_arguments(said["argv"])
    except InputError as error:
        if left := {*folder.rglob("*")} - before:
            raise AssertionError(f"refused, but left {sorted(map(str, left))} behind") from error
        raise


KINDS = {"command": Kind(about="command lines", make=make, read=read)}
