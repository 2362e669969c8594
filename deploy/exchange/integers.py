"""A network of integers in a NIR graph, and out of it: docs/integer_files.md is the specification.

The graph's nodes say what the network computes in real numbers (`view`); the group `integer` of the graph's metadata
holds the integers themselves (`stored`). They are read as they are: nothing is calibrated or rounded again.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from deploy.exchange.checks import problems_of
from deploy.exchange.stored import POPULATIONS, restored, same, stored
from deploy.exchange.view import view_of
from deploy.ir.canonical import canonical
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.model import stated_frames
from deploy.ir.primitives import as_shape
from deploy.ir.readout import READOUT, choose_readout
from deploy.ir.types import NodeShape
from hardware import ChipError
from svformer.common.errors import InputError

INTEGER, VERSION = "integer", 1
TAKEN = "integers are taken as they stand in the file: nothing was calibrated or rounded"
KEPT = ("model", "dataset", "classes", "nir", "svformer")  # of the metadata of the graph that was deployed
FIRST_STEP = {"start": "zero"}  # neurons begin a clip at 0 (`deploy.ir.dialects`)

Metadata = Mapping[str, Any]


def graph_of(network: IntNetwork, *, dt_s: float, input_shape: NodeShape, metadata: Metadata) -> nir.NIRGraph:
    """The graph of a network whose clips have `input_shape`; of the `metadata` its model, classes and data set stay.

    Raises `ValueError` for what has no form in a file (`deploy.passes.chip_form`).
    """
    nodes, edges = view_of(network, dt_s=dt_s, input_shape=input_shape)
    said = {key: value for key, value in metadata.items() if key in KEPT}
    own = {
        "dt": dt_s,
        "T": network.frames,
        READOUT: network.readout,
        **FIRST_STEP,
        INTEGER: group_of(network) | {"dt": dt_s},
    }
    return canonical(nir.NIRGraph(nodes, edges, metadata=said | own, type_check=False))


def holds_integers(graph: nir.NIRGraph) -> bool:
    """Whether a graph is that of a network of integers."""
    return INTEGER in graph.metadata


def integers_of(graph: nir.NIRGraph) -> IntNetwork:
    """The network of integers that a graph holds, for clips of its T and with its readout.

    Raises `InputError` for integers that are damaged, that the machine cannot hold, or that the nodes contradict.
    """
    try:
        network = _network(graph.metadata[INTEGER])
        network = replace(network, frames=stated_frames(graph) or network.frames)
        if problems := problems_of(network):
            raise ValueError("; ".join(problems))
        _require_nodes(graph, network)
        readout = choose_readout(graph.metadata.get(READOUT), spiking=network.spiking(network.output))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ChipError) as error:
        raise InputError(f"integers of the graph: {error}; write the file again") from error
    return replace(network, readout=readout)


def same_networks(a: IntNetwork, b: IntNetwork) -> bool:
    """Whether two networks are equal, value by value."""
    return same(group_of(a), group_of(b))


def group_of(network: IntNetwork) -> dict[str, Any]:
    """The group `integer` of a file, in plain values; raises `ValueError` for what has no form in one."""
    return {
        "version": VERSION,
        "output": network.output,
        "frames": network.frames,
        "readout": network.readout,
        "order": json.dumps(list(network.populations)),
        "notes": json.dumps(network.notes),
        "populations": {name: stored(population) for name, population in network.populations.items()},
        "connections": {f"{i:05}": stored(connection) for i, connection in enumerate(network.connections)},
    }


def _network(group: Any) -> IntNetwork:
    if not isinstance(group, Mapping):
        raise ValueError(f"metadata {INTEGER} is no group")
    if missing := {"version", "dt", "output", "frames", "readout", "order", "populations"} - group.keys():
        raise ValueError(f"{', '.join(sorted(missing))} missing")
    if (version := np.asarray(group["version"]).tolist()) != VERSION:
        raise ValueError(f"version {version}; allowed: {VERSION}")
    populations, order = group["populations"], _texts(group["order"], "order")
    if not isinstance(populations, Mapping) or sorted(populations) != sorted(order):
        raise ValueError("order does not name every population once")
    connections = group.get("connections", {})
    frames = np.asarray(group["frames"])
    if frames.shape or frames.dtype.kind not in "iu" or frames < 1:
        raise ValueError(f"frames {frames.tolist()}; allowed: a whole number from 1")
    return IntNetwork(
        populations={name: _restored(f"populations/{name}", populations[name], POPULATIONS) for name in order},
        connections=tuple(
            _restored(f"connections/{place}", connections[place], (IntConnection,)) for place in sorted(connections)
        ),
        output=str(group["output"]),
        frames=int(frames),
        notes=tuple(_texts(group.get("notes", "[]"), "notes")),
        readout=choose_readout(group["readout"], spiking=True),
    )


def _texts(given: Any, what: str) -> list[str]:
    try:
        found = json.loads(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is no JSON list of texts") from error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{what} is no JSON list of texts")
    return found


def _restored(place: str, plain: Any, allowed: tuple[type, ...]) -> Any:
    try:
        return restored(plain, allowed=allowed)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _require_nodes(graph: nir.NIRGraph, network: IntNetwork) -> None:
    """Raise `ValueError` where a node is not what the integers make of it: one of both was changed by itself."""
    shape = as_shape(next(iter(graph.inputs.values())).input_type["input"])
    dt_s = float(np.asarray(graph.metadata[INTEGER]["dt"]).item())
    nodes, edges = view_of(network, dt_s=dt_s, input_shape=shape)
    expected = canonical(nir.NIRGraph(nodes, edges, metadata={}, type_check=False))
    different = [
        name
        for name in {**expected.nodes, **graph.nodes}
        if not _alike(expected.nodes.get(name), graph.nodes.get(name))
    ]
    if different or sorted(expected.edges) != sorted((str(a), str(b)) for a, b in graph.edges):
        raise ValueError(f"nodes and integers contradict each other ({', '.join(different) or 'edges'})")


def _alike(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    names = [
        field.name for field in dataclasses.fields(a) if field.name not in ("metadata", "input_type", "output_type")
    ]
    return all(np.array_equal(np.asarray(getattr(a, name)), np.asarray(getattr(b, name))) for name in names)
