"""What a result depends on, as one number: values of any kind, and the code that computes them."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deploy.clips.source import ClipSource, absolute, file_of
from deploy.execution.spec import RunSpec
from svformer.common.digest import source_digest
from svformer.common.provenance import library_versions

ROOT = Path(__file__).parents[2]  # the folder that the packages lie in

# What comes out may depend on these.
LIBRARIES = ("av", "lava-nc", "nir", "norse", "numba", "numpy", "pillow", "scipy", "torch")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def fingerprint(value: Any) -> str:
    """Of plain values, bytes, arrays, paths, and dataclasses, lists and mappings of them; the same in every process.

    Raises `TypeError` for anything else, whose text may differ from process to process.
    """
    digest = hashlib.sha256()
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: _Hash, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        digest.update(type(value).__qualname__.encode())
        _add(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare})
    elif isinstance(value, dict):
        digest.update(f"dict{len(value)}".encode())
        for name, item in value.items():
            _add(digest, name)
            _add(digest, item)
    elif isinstance(value, list | tuple | frozenset):
        items = sorted(value) if isinstance(value, frozenset) else value
        digest.update(f"list{len(items)}".encode())
        for item in items:
            _add(digest, item)
    elif isinstance(value, np.generic):
        _add(digest, value.item())
    elif isinstance(value, bytes):  # texts of HDF5 files
        digest.update(f"bytes{len(value)}:".encode() + value)
    elif value is None or isinstance(value, bool | int | float | str | Path):
        text = repr(value) if isinstance(value, float) else str(value)
        digest.update(f"{type(value).__name__}{len(text)}:{text}".encode())
    else:
        raise TypeError(f"{type(value).__name__}: no fingerprint of this kind of value")


def of_spec(spec: RunSpec) -> str:
    """Of all that decides what comes out of a clip; how fast it does is left out."""
    return fingerprint(
        [
            json.dumps(versions()),
            spec.graph.nodes,
            spec.graph.edges,
            spec.integer,
            spec.wanted,
            spec.backend,
            spec.options.blocks,
            spec.keep,
            None if spec.checked is None else sorted(spec.checked),
            spec.placing.order,
            [chip.model_dump_json() for chip in spec.placing.timed],
        ]
    )


def of_clips(sources: list[ClipSource]) -> str:
    """Of clips of a list: where they are, how they are read and labelled, and whether their files have changed."""
    return fingerprint([[absolute(source), _state(file_of(source))] for source in sources])


def _state(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


@functools.cache
def versions() -> dict[str, str]:
    """Of the libraries, and of this project's sources, whether or not they come from a repository."""
    sources = (ROOT / package for package in ("deploy", "hardware", "svformer"))
    return {**library_versions(LIBRARIES), "this project": source_digest(*sources)}
