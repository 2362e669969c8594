"""Quantised networks of earlier runs, in the user's cache folder: the same network, clips, options and code again.

An entry is a NIR file that holds the integers (docs/integer_files.md) and, as JSON, what was measured on the
calibration clips. It is read with all checks of such a file; one that cannot be read is removed, and the network is
quantised anew. A tuning that was stopped is an entry, too (`deploy.tuning.unfinished`).
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from deploy.exchange.integers import graph_of, integers_of, same_networks
from deploy.execution import fingerprint
from deploy.execution.draft import Draft, Known
from deploy.execution.entries import TUNING, Entries
from deploy.gates.fidelity import Fidelity, LayerFidelity
from deploy.gates.predictions import KeptPredictions
from deploy.ir.graph import read_nir, write_nir
from deploy.ir.interpreter import graph_dt_s
from deploy.ir.shapes import infer_shapes
from deploy.tuning.outcome import Tuned
from hardware import Chip

MEASURED = "measured"  # key of the metadata


class QuantisationCache:
    """Quantised networks among the entries of the user's cache folder, or of a folder of one's own."""

    def __init__(self, entries: Entries | None = None) -> None:
        self.entries = entries or Entries()

    def find(self, draft: Draft) -> Known | None:
        """What an earlier run made of the same; None where there was none, or its file is damaged."""
        return self.entries.find(_key(draft), _known)

    def keep(self, draft: Draft) -> None:
        """Keep what a draft has come to; where nothing can be written, the next run quantises anew."""

        def write(path: Path) -> None:
            shape, dt_s = infer_shapes(draft.graph)[next(iter(draft.graph.inputs))], graph_dt_s(draft.graph)
            graph = graph_of(draft.integer, dt_s=dt_s, input_shape=shape, metadata=draft.graph.metadata)
            graph.metadata[MEASURED] = json.dumps(_measured(draft), default=_plain)
            write_nir(graph, path)
            if not same_networks(draft.integer, _known(path).integer):
                path.unlink()
            if draft.unfinished is not None:
                draft.unfinished.unlink(missing_ok=True)

        self.entries.keep(_key(draft), write)

    def unfinished(self, draft: Draft) -> Path:
        """The file for a tuning of a draft while it goes on; it is removed when the network is kept."""
        return self.entries.path(_key(draft)).with_suffix(TUNING)


def _key(draft: Draft) -> str:
    """Of all that decides what quantisation makes of a network."""
    merge = draft.merge.model_dump_json() if isinstance(draft.merge, Chip) else draft.merge
    graph, options = draft.graph, (draft.weight_bits, draft.fine_layers, merge, draft.search, draft.for_netx)
    examples = draft.examples if isinstance(draft.examples, np.ndarray) else fingerprint.of_clips(list(draft.examples))
    return fingerprint.fingerprint(
        [
            fingerprint.versions(),
            graph.nodes,
            graph.edges,
            graph.metadata,
            draft.clips,
            draft.input_range,
            options,
            draft.tuning,
            examples,
        ]
    )


def _measured(draft: Draft) -> dict[str, Any]:
    found = draft.fixed_point
    return {
        "rates": draft.rates,
        "layers": [dataclasses.asdict(layer) for layer in found.layers],
        "predictions": dataclasses.asdict(found.predictions),
        "tuned": dataclasses.asdict(draft.tuned) if draft.tuned else None,
    }


def _plain(value: np.generic) -> bool | int | float:
    return value.item()


def _known(path: Path) -> Known:
    graph = read_nir(path)
    measured = json.loads(graph.metadata[MEASURED])
    return Known(
        rates=measured["rates"],
        integer=integers_of(graph),
        fixed_point=Fidelity(
            layers=[LayerFidelity(**layer) for layer in measured["layers"]],
            predictions=KeptPredictions(**measured["predictions"]),
        ),
        tuned=Tuned.of(measured["tuned"]) if measured["tuned"] else None,
    )
