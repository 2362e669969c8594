"""What a run over clips finds, as sums: of a batch, of some batches, of all of them."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy.clips.source import ClipSource
from deploy.costs.placing import PlacedClips
from deploy.execution.simulate import Travelled
from deploy.gates.agreement import Agreement
from hardware import OpCounts

Value = TypeVar("Value")
Signals = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the interpreters say of a clip: logits [K] in real numbers and in integers."""

    float_logits: NDArray[np.float64]
    integer_logits: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """One clip through the backend, and through the interpreters where it was checked."""

    source: ClipSource
    verdict: Verdict | None  # None: it was not checked
    logits: NDArray[np.float64]  # [K], of the backend that was asked for
    seconds: float  # share of the batch's run
    counts: OpCounts  # of all populations and time steps


@dataclass(kw_only=True)
class Tally:
    """What batches add up to, in the order of their clips; apart from times it does not depend on how they were cut."""

    clips: list[ClipResult] = field(default_factory=list)
    steps: dict[str, list[OpCounts]] = field(default_factory=dict)  # of every population, by time step of a clip
    fused: dict[str, OpCounts] = field(default_factory=dict)  # of the network before its chip form; empty without one
    layers: dict[str, Agreement] = field(default_factory=dict)  # float against integer, of the checked clips
    exact: Agreement | None = None  # integer interpreter against backend, of the same; None: the interpreter ran alone
    placed: dict[str, PlacedClips] = field(default_factory=dict)  # by chip with times
    float_spikes: dict[str, int] = field(default_factory=dict)  # of the checked clips
    kept: Signals = field(
        default_factory=dict
    )  # spikes of the first clips; behind the end of a shorter one there are none
    # Of the same clips, [clips, C, H, W]: time steps at which the float network's neuron does not do the same.
    kept_differences: Signals = field(default_factory=dict)
    # Of the same clips: logits, had they ended after each of their time steps, [clips, T, K]; behind the end 0.
    kept_results: NDArray[np.float64] | None = None
    build_s: float = 0.0
    run_s: float = 0.0  # of all batches, also of those that ran at the same time
    peak_rss_mb: float = 0.0  # of the largest process
    time_steps: int = 0
    travelled: Travelled | None = None  # the run of the most processes
    clipped_inputs: int = 0  # values outside the calibrated range
    inputs: int = 0
    saturated: int = 0  # messages of readouts at an end of their register

    @property
    def counts(self) -> dict[str, OpCounts]:
        """Operations of every population, all clips and time steps together."""
        return {name: sum(steps, OpCounts()) for name, steps in self.steps.items()}

    def frames(self, longest: int) -> int:
        """Time steps of all clips together; `longest` of those without a length of their own."""
        return sum(clip.source.frames or longest for clip in self.clips)

    @property
    def kept_clips(self) -> int:
        """Clips whose spikes are kept."""
        return len(next(iter(self.kept.values()), ()))

    @property
    def bit_exact(self) -> bool | None:
        return None if self.exact is None else self.exact.different == 0

    @property
    def verdicts(self) -> list[Verdict]:
        """Of the clips that the interpreters ran, too."""
        return [clip.verdict for clip in self.clips if clip.verdict is not None]

    def __add__(self, other: "Tally") -> "Tally":
        """Add the clips that come behind these."""
        return Tally(
            clips=self.clips + other.clips,
            steps=_united(self.steps, other.steps, _by_step),
            fused=_united(self.fused, other.fused, lambda one, two: one + two),
            layers=_united(self.layers, other.layers, lambda one, two: one + two),
            exact=other.exact if self.exact is None else self.exact + (other.exact or Agreement()),
            placed=_united(self.placed, other.placed, lambda one, two: one + two),
            float_spikes=_united(self.float_spikes, other.float_spikes, lambda one, two: one + two),
            kept=_united(self.kept, other.kept, _one_behind_the_other),
            kept_differences=_united(self.kept_differences, other.kept_differences, _below),
            kept_results=_joined(self.kept_results, other.kept_results),
            build_s=self.build_s + other.build_s,
            run_s=self.run_s + other.run_s,
            peak_rss_mb=max(self.peak_rss_mb, other.peak_rss_mb),
            time_steps=self.time_steps + other.time_steps,
            travelled=_larger(self.travelled, other.travelled),
            clipped_inputs=self.clipped_inputs + other.clipped_inputs,
            inputs=self.inputs + other.inputs,
            saturated=self.saturated + other.saturated,
        )

    def ordered(self, places: Sequence[int], keep: int) -> "Tally":
        """The same with clips that are at these places of a list in its order; its first `keep` are kept."""
        order = sorted(range(len(places)), key=places.__getitem__)
        kept = sorted(place for place in places if place < keep)
        was_kept = [place for place in places if place < keep]
        rows = [was_kept.index(place) for place in kept]
        return replace(
            self,
            clips=[self.clips[i] for i in order],
            kept={name: signal[rows] for name, signal in self.kept.items()},
            kept_differences={name: counts[rows] for name, counts in self.kept_differences.items()},
            kept_results=None if self.kept_results is None else self.kept_results[rows],
        )


def _one_behind_the_other(one: NDArray[Any], two: NDArray[Any]) -> NDArray[Any]:
    """Signals [N, T, ...] of both, as long as the longer."""
    frames = max(one.shape[1], two.shape[1])
    return np.concatenate([np.pad(s, [(0, 0), (0, frames - s.shape[1])] + [(0, 0)] * (s.ndim - 2)) for s in (one, two)])


def _below(one: NDArray[Any], two: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([one, two])


def _joined(one: NDArray[Any] | None, two: NDArray[Any] | None) -> NDArray[Any] | None:
    """Both, or the one that there is."""
    if one is None or two is None:
        return two if one is None else one
    return _one_behind_the_other(one, two)


def _larger(one: Travelled | None, two: Travelled | None) -> Travelled | None:
    if one is None or two is None:
        return one or two
    return max(one, two, key=lambda run: (run.processes, run.messages))


def _by_step(one: list[OpCounts], two: list[OpCounts]) -> list[OpCounts]:
    """Step by step, as many steps as the longer has."""
    return [a + b for a, b in itertools.zip_longest(one, two, fillvalue=OpCounts())]


def _united(one: dict[str, Value], two: dict[str, Value], add: Callable[[Value, Value], Value]) -> dict[str, Value]:
    """Both by name; what both have is added."""
    return one | {name: add(one[name], value) if name in one else value for name, value in two.items()}
