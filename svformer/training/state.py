"""The saved state of a run: written whole or not at all, and accepted by the same run only."""

import io
from pathlib import Path
from typing import Any

import torch

from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.tensors import load_tensors

FORMAT = "svformer-training/2"
State = dict[str, Any]


def write_state(path: Path, state: State, *, run: dict[str, Any]) -> None:
    """Write a state; `run` has the values that must be the same when it is read."""
    content = io.BytesIO()
    torch.save({"format": FORMAT, "run": run, **state}, content)
    write_bytes(path, content.getbuffer())


def read_state(path: Path, *, run: dict[str, Any]) -> State:
    """Read the state of this run; no code of the file is executed.

    Raises `InputError` where there is no state, or one that was saved with other values of `run`.
    """
    if not path.is_file():
        raise InputError(f"{path}: nothing to resume; start without --resume")
    try:
        state: State = load_tensors(path)
        found, saved = state["format"], state.get("run")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the state of a training run; start anew with --force") from error
    if found != FORMAT or saved is None:
        raise InputError(f"{path}: a run of another version ({found}); start anew with --force")
    epochs_differ = saved.get("epochs") != run.get("epochs")
    changes = [f"{name} {saved.get(name)} then, {now} now" for name, now in run.items() if saved.get(name) != now]
    if changes:
        rates = " (the rate of every step follows from their number: no run grows longer)" if epochs_differ else ""
        raise InputError(
            f"{path}: saved by another run: {'; '.join(changes)}{rates}; every step depends on all of it, so resume "
            "with the same options, or start another run in another --out"
        )
    return state
