"""The commands that are struck, and two that exist for the campaign alone: a small training, and a Lava that fails.

`programs.py small_training WORDS` takes the words of svformer.train, `programs.py failing_lava WORDS` those
of run_lava.py.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LAVA_FAULT = (
    "SVFORMER_FAULTS_LAVA"  # a file, "HOW after N": what is done in place of the Nth message and all later ones
)
SENDS = "SVFORMER_FAULTS_SENDS"  # a file with a byte for every message that Lava processes have sent
MARK = "SVFORMER_FAULTS_MARK"  # a file that is there once the fault was there
RAISES, SLEEPS, WRONG_SHAPE = "raises", "sleeps", "wrong shape"
Main = Callable[[Sequence[str] | None], None]


def run_lava(argv: Sequence[str] | None = None) -> None:
    from deploy.run_lava import main

    main(argv)


def small_training(argv: Sequence[str] | None = None) -> None:
    """`python -m svformer.train`, with a geometry that trains in seconds in place of the preset tiny."""
    from svformer.config import PRESETS
    from svformer.train import main

    PRESETS["tiny"] = dataclasses.replace(
        PRESETS["tiny"], image_size=32, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, frames=4
    )
    main(argv)


def failing_lava(argv: Sequence[str] | None = None) -> None:
    """`run_lava.py`, whose Lava processes fail while they send, once the file of LAVA_FAULT says how."""
    import deploy.lava_network.simulate  # noqa: F401 (it imports Lava as that has to be)
    from deploy.run_lava import main

    # isort: split
    from lava.magma.core.model.py.ports import PyOutPortVectorDense

    send, said, mark = PyOutPortVectorDense.send, Path(os.environ[LAVA_FAULT]), Path(os.environ[MARK])

    def failing(port: Any, values: Any) -> None:
        how, _, after = said.read_text().partition(" after ") if said.exists() else ("", "", "")
        with open(os.environ[SENDS], "ab") as file:  # of all processes
            file.write(b".")
            how = how if how and file.tell() > int(after) else ""
        if how:
            mark.touch()
        if how == RAISES:
            raise ValueError("a Lava process raises")
        if how == SLEEPS:
            time.sleep(3600)
        send(port, values.reshape(-1)[:-1] if how == WRONG_SHAPE else values)

    PyOutPortVectorDense.send = failing
    main(argv)


def scheduler(argv: Sequence[str] | None = None) -> None:
    from distributed.cli.dask_scheduler import main

    main(argv, standalone_mode=False)


def worker(argv: Sequence[str] | None = None) -> None:
    from distributed.cli.dask_worker import main

    main(argv, standalone_mode=False)


PROGRAMS: dict[str, Main] = {
    main.__name__: main for main in (run_lava, small_training, failing_lava, scheduler, worker)
}

if __name__ == "__main__":
    from svformer.common.cli import run_cli

    sys.exit(run_cli(PROGRAMS[sys.argv[1]], sys.argv[2:]))
