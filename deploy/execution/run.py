"""A run of clips through a deployed network, in batches.

Every batch goes through three executions (float NIR interpreter, integer interpreter, a backend), each compared with
the one before (`deploy.execution.batch`), here or on workers; what a batch leaves is added up
(`deploy.execution.collect`), so memory does not grow with the data set.
"""

from collections.abc import Callable, Sequence

from deploy.arguments import KEPT_CLIPS, Check
from deploy.clips.source import ClipSource, check_fits
from deploy.costs.placing import NOWHERE, Placing
from deploy.execution.backends import RunOptions, backend_of
from deploy.execution.batch import BATCH
from deploy.execution.checked import checked_places
from deploy.execution.collect import InProcess, Runner, collect
from deploy.execution.deployment import Deployment
from deploy.execution.memory import (
    MemoryNeed,
    float_need,
    message_bytes,
    require_memory,
)
from deploy.execution.resume import ResultFolder
from deploy.execution.spec import RunSpec
from deploy.execution.tally import Tally
from deploy.ir.integer import IntNetwork
from svformer.common.errors import InputError
from svformer.common.room import available_bytes
from svformer.common.terminal import size


def run(
    deployment: Deployment,
    sources: Sequence[ClipSource],
    *,
    backend: str,
    options: RunOptions | None = None,
    runner: Runner | None = None,
    results: ResultFolder | None = None,
    largest_batch: int = BATCH,
    keep: int = KEPT_CLIPS,
    check: Check | None = None,
    placing: Placing = NOWHERE,
    on_clips: Callable[[float], None] = lambda clips: None,
) -> Tally:
    """Run clips, as many at the same time as there is memory for, at most `largest_batch`; `on_clips` is called with
    how many are done. The spikes of the first `keep` clips are kept; `check` says how many clips the interpreters run,
    too (`deploy.execution.checked`).

    `placing` says on which chips energy and time of the placed network are counted (default: on none).
    `runner` says where (default: in this process); what comes out depends on it in its times alone. What finished
    batches leave is kept in `results`, as long as there is more than one of them, and what lies there is not run again.

    Raises `GateError` when a backend and the integers differ, `InputError` when not even one clip fits into the memory.
    """
    spec = RunSpec(
        graph=deployment.graph,
        integer=deployment.integer,
        plan=deployment.plan,
        wanted=deployment.input_format,
        backend=backend,
        options=options or RunOptions(),
        fused=deployment.fused if deployment.form == "chip" else None,
        keep=keep,
        checked=checked_places(sources, check, keep=keep),
        placing=placing,
    )
    for source in sources:
        check_fits(source, spec.wanted)
    runner = runner or InProcess()
    at_once = batch_size(
        spec.integer,
        len(sources),
        backend=backend,
        options=spec.options,
        workers=runner.workers,
        largest=largest_batch,
        available=runner.available_bytes,
        keep=keep,
    )
    return collect(spec, sources, size=at_once, runner=runner, results=results, on_clips=on_clips)


def batch_size(
    network: IntNetwork,
    clips: int,
    *,
    backend: str = "lava",
    options: RunOptions | None = None,
    workers: int = 1,
    largest: int = BATCH,
    available: int | None = None,
    keep: int = KEPT_CLIPS,
) -> int:
    """Clips that stream through all executions at a time; they are independent, so results do not depend on it.

    `available` bytes are what each of the workers may take (default: what there is here); a batch has at most `largest`
    clips.
    """
    messages = MemoryNeed(
        fixed=min(clips, keep) * message_bytes(network), per_clip=message_bytes(network)
    )  # those for spikes.h5, and those of the integer interpreter while the backend runs
    by_layer = (options or RunOptions()).by_layer(network)  # the most processes that a run has, for its first clip
    need = float_need(network) + messages + backend_of(backend).need(network, by_layer)
    if available is None:
        require_memory(need, 1, "one clip in all executions")
        available = available_bytes()
    if not (fit := need.clips_in(available)):
        raise InputError(
            f"{workers} workers: one clip in each needs about {size(need.of(1))} of memory, {size(available)} are free "
            "for each; start fewer of them, or take a machine or container with more"
        )
    return min(largest, -(-clips // workers), fit)
