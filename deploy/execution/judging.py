"""The interpreters as judges of a batch: integers against the backend bit for bit, real numbers beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploy.clips.source import Frames
from deploy.exchange.real_numbers import in_real_numbers
from deploy.execution.backends import INTEGER, RunOptions, backend_of
from deploy.execution.simulate import Simulation, Travelled, run_on
from deploy.execution.spec import RunSpec
from deploy.execution.tally import Verdict
from deploy.gates.agreement import Agreement, require_equal
from deploy.ir.readout import read_out
from deploy.ir.types import Signals


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the interpreters say of the clips in `rows` of a batch."""

    rows: list[int]
    float_spikes: Signals
    float_logits: NDArray[np.float64]
    integer_logits: NDArray[np.float64]
    exact: Agreement | None = None  # of the integer interpreter's messages with the backend's; None: it is the backend
    travelled: Travelled | None = None  # of the first clip with a process for every layer

    def verdict(self, row: int) -> Verdict | None:
        """Of the clip in this row of the batch; None where it was not checked."""
        if row not in self.rows:
            return None
        place = self.rows.index(row)
        return Verdict(float_logits=self.float_logits[place], integer_logits=self.integer_logits[place])

    def of(self, signals: Signals) -> Signals:
        """Signals of the batch, of these clips."""
        return {name: signal[self.rows] for name, signal in signals.items()}


def judge(
    spec: RunSpec, frames: Frames, places: Sequence[int], result: Simulation, options: RunOptions, *, first: bool
) -> Judged:
    """Both interpreters on the clips of a batch that are to be checked; `result` is what the backend has made of all
    with these options.

    `places` are those of the clips in the list of the run, `first` says whether the batch is its first.

    Raises `GateError` where the backend's messages are not those of the integer interpreter.
    """
    network = spec.integer
    rows = [row for row, place in enumerate(places) if spec.checked is None or place in spec.checked]
    if first and 0 not in rows:
        rows.insert(0, 0)  # a clip that was to be checked cannot be read
    found = _in_real_numbers(spec, frames, result, rows)
    backend = backend_of(spec.backend)
    if not backend.judged or not rows:
        return found
    judged = run_on(INTEGER, network, spec.plan, frames[rows], spec.options)
    clips, travelled = [places[row] for row in rows], None
    exact = _equal(spec, judged.signals, found.of(result.signals), clips, _named(spec, options))
    by_layer = replace(options.by_layer(network), on_progress=None)
    if first and backend.has_processes and options.processes < by_layer.processes:
        # So every message of a clip goes through a channel of the backend.
        alone = run_on(backend, network, spec.plan, frames[rows[:1]], by_layer)
        expected = {name: signal[:1] for name, signal in judged.signals.items()}
        _equal(spec, expected, alone.signals, clips, _named(spec, by_layer))
        travelled = alone.travelled
    return replace(found, integer_logits=judged.logits, exact=exact, travelled=travelled)


def _in_real_numbers(spec: RunSpec, frames: Frames, result: Simulation, rows: list[int]) -> Judged:
    """The float interpreter on these clips; integers are the backend's."""
    network, layers = spec.integer, spec.integer.neuron_layers
    integers = {name: result.signals[name][rows] for name in layers}
    if not rows:
        nothing = result.logits[rows]
        return Judged(rows=rows, float_spikes=integers, float_logits=nothing, integer_logits=nothing)
    expected = in_real_numbers(spec.graph, spec.fused or network, frames[rows], [*layers, network.output])
    return Judged(
        rows=rows,
        float_spikes={name: expected[name].reshape(integers[name].shape) for name in layers},
        float_logits=read_out(expected[network.output], network.readout),
        integer_logits=result.logits[rows],
    )


def _named(spec: RunSpec, options: RunOptions) -> str:
    """The backend in a message."""
    split = ", a process for every layer," if options.processes >= len(spec.integer.populations) else ""
    return f"{backend_of(spec.backend).title}{split}"


def _equal(spec: RunSpec, expected: Signals, found: Signals, clips: Sequence[int], who: str) -> Agreement:
    names, between = list(spec.integer.populations), f"integer interpreter and {who}"
    return require_equal(expected, found, names=names, between=between, clips=clips)
