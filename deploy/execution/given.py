"""Steps of `deploy.pipeline.STEPS` that differ for integers of a file: these are taken as they are, and proven."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from deploy.costs.budget import require_neurons
from deploy.exchange.integers import TAKEN, integers_of
from deploy.exchange.netx.holds import require_held
from deploy.execution.draft import Draft
from deploy.execution.memory import clips_at_once
from deploy.ir.exact import exact_network
from deploy.ir.storage import widest_weight_bits
from deploy.passes.bounds import prove, proven
from deploy.passes.defaults import Step
from deploy.passes.lowering import LoweringStep


def _take(draft: Draft) -> Iterator[str]:
    given = integers_of(draft.graph)
    if draft.for_netx:
        require_held(given)
    draft.unmerged = replace(exact_network(given), notes=(*given.notes, TAKEN))
    clips_at_once(draft.unmerged, len(draft.clips))  # refuses here what has no memory for one clip
    draft.rates, draft.integer = {}, given
    draft.lowered = [LoweringStep(name="integers", what="The integers of the file.", network=draft.unmerged)]
    if draft.max_cores is not None:
        require_neurons({name: int(np.prod(r.shape)) for name, r in given.receivers.items()}, draft.max_cores)
    yield TAKEN


def _nothing(draft: Draft) -> Iterator[str]:
    yield from ()


def _prove(draft: Draft) -> Iterator[str]:
    draft.headroom = prove(draft.integer)
    yield f"{widest_weight_bits(draft.integer)}-bit weights; {proven(draft.headroom)}"


STEPS: dict[Step, Callable[[Draft], Iterator[str]]] = {
    "read": _take,
    **dict.fromkeys(("rate", "lower", "calibrate", "quantize", "tune"), _nothing),
    "prove": _prove,
}
