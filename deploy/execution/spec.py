"""What is done with every batch of clips of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import nir

from deploy.arguments import KEPT_CLIPS
from deploy.clips.source import ClipSource, InputFormat
from deploy.costs.placing import NOWHERE, Placing
from deploy.execution.backends import RunOptions
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What is done with every batch; it is sent to workers as it is.

    `fused` is the network before its chip form, whose operations are counted, too; None where it has none. `placing`
    says on which chips energy and time of the placed network are counted.
    """

    graph: nir.NIRGraph
    integer: IntNetwork
    plan: Plan
    wanted: InputFormat
    backend: str  # of `deploy.execution.backends`
    options: RunOptions = field(default_factory=RunOptions)
    fused: IntNetwork | None = None
    keep: int = KEPT_CLIPS  # clips of the run whose spikes are kept
    checked: frozenset[int] | None = None  # places of the clips that the interpreters run, too; None: all
    placing: Placing = NOWHERE

    def of(self, sources: Sequence[ClipSource]) -> "RunSpec":
        """The same for clips that are all as long as the first, and no longer than the network lasts."""
        frames = sources[0].frames or self.plan.frames
        if frames == self.plan.frames:
            return self
        integer = self.integer.lasting(frames)
        return replace(
            self,
            integer=integer,
            plan=self.plan.lasting(integer),
            wanted=replace(self.wanted, frames=frames),
            fused=None if self.fused is None else self.fused.lasting(frames),
        )
