"""The record of a run: run.json beside the results, written when the run begins and completed when it ends."""

import dataclasses
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from svformer.common.digest import source_digest
from svformer.common.files import atomic_path
from svformer.common.provenance import SOURCES, library_versions
from svformer.evaluation.accuracy import Accuracy
from svformer.training.trainer import Trainer

LIBRARIES = ("torch", "norse", "numpy", "av", "pillow")
RunFacts = dict[str, Any]  # the content of run.json


def begin_record(trainer: Trainer, out: Path, *, dataset: str, command: str) -> RunFacts:
    """Write the facts that are known when a run begins or is resumed; `sessions` has an entry for every such start.

    Of several processes one writes.
    """
    facts: RunFacts = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(trainer),
        "versions": versions(),
        "recipe": dataclasses.asdict(trainer.recipe),
        "config": dataclasses.asdict(trainer.model.config),
        "dataset": dataset,
        **({"stride": str(trainer.data.sampling.stride)} if trainer.data.channels == 3 else {}),
        "clips": len(trainer.data),
        "classes": list(trainer.data.classes),
    }
    session = {name: facts[name] for name in ("command", "date", "machine", "versions")}
    path = out / "run.json"
    earlier = json.loads(path.read_text())["sessions"] if trainer.steps_done and path.is_file() else []
    facts["sessions"] = [*earlier, {**session, "first_step": trainer.steps_done}]
    if trainer.processes.writes:
        _write(facts, path)
    return facts


def end_record(facts: RunFacts, trainer: Trainer, accuracy: Accuracy, out: Path) -> RunFacts:
    """Write the facts with duration and accuracy, and return them."""
    seconds = round(sum(point.seconds for point in trainer.curve))
    facts = {**facts, "seconds": seconds, "accuracy": dataclasses.asdict(accuracy)}
    _write(facts, out / "run.json")
    return facts


def as_texts(facts: RunFacts) -> dict[str, str]:
    """Facts as the metadata of a checkpoint."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def machine(trainer: Trainer) -> str:
    """GPU or kind of processor, threads of a process, and number of processes."""
    device = trainer.processes.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, {trainer.processes.count} processes"


def versions() -> dict[str, str]:
    """Of Python, the libraries and this package, whose sources have a digest of their own."""
    found = {"python": platform.python_version(), **library_versions(LIBRARIES)}
    found["torch"] = torch.__version__  # with the kind of build
    return {**found, "svformer": source_digest(SOURCES)}


def _write(facts: RunFacts, path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
