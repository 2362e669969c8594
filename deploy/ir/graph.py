"""NIR files: read and write. What their signals look like is in shapes.py."""

import io
from pathlib import Path
from typing import Any

import nir
from nir.serialization import hdf2dict

from deploy.ir.canonical import canonical
from deploy.ir.fields import DAMAGED
from deploy.ir.reading import graph_of
from deploy.ir.shapes import infer_shapes
from hardware.hdf5 import opened
from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.room import available_bytes


def write_nir(graph: nir.NIRGraph, path: str | Path) -> None:
    """Write a graph, extension nodes included, as compressed HDF5."""
    content = io.BytesIO()
    nir.write(content, graph)
    write_bytes(path, content.getbuffer())


def read_nir(path: str | Path) -> nir.NIRGraph:
    """Read a NIR file, ours or any other framework's, in the form of deploy.ir.canonical.

    Raises `InputError` when the file is missing, damaged, or holds node types that are neither NIR's nor ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python deploy/export_nir.py` writes one")
    content = _content(path)
    try:
        read = graph_of(content)
    except DAMAGED as error:
        raise InputError(f"{path}: {error}") from error
    try:
        graph = canonical(read)
        if not graph.inputs:
            raise ValueError("no Input node; a clip enters there")
        infer_shapes(graph)
    except DAMAGED as error:
        raise InputError(f"{path}: inconsistent graph: {error}") from error
    return graph


def _content(path: Path) -> dict[str, Any]:
    """What a file holds, without the meaning; raises `InputError` for what is no file of NIR."""
    try:
        with opened(path, room=available_bytes()) as file:
            found = sorted(file)
            content = hdf2dict(file["node"]) if "node" in file else None
    except (OSError, *DAMAGED) as error:
        raise InputError(f"{path}: not a readable NIR file ({error}); export it again") from error
    if content is None:
        if "layer" in found:
            raise InputError(f"{path}: not a NIR file but a network of lava-dl; give it with --net")
        held = ", ".join(found) or "nothing"
        raise InputError(
            f"{path}: not a NIR file but HDF5 with {held} inside; allowed: what nir.write makes; export it again from "
            "the model"
        )
    return content
