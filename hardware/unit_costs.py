"""What the events of a placed network take, unit by unit: energy and time by one source (`events` of a chip file)."""

from typing import Annotated

from pydantic import Field, model_validator

from hardware.figures import Sourced, Strict, Text


class UnitCost(Strict):
    """What one event in one unit of a core takes; 0 where the source says nothing of it or counts it elsewhere."""

    pj: Annotated[float, Field(ge=0)]
    ns: Annotated[float, Field(ge=0)]
    note: Text | None = None


class CaseCost(UnitCost):
    """A cost, and what the same source says of other cases."""

    others: list[UnitCost] = Field(default_factory=list)


class Barrier(Strict):
    """How long the chip takes to end a time step, where at least so many tiles are used."""

    tiles: Annotated[int, Field(ge=1)]
    ns: Annotated[float, Field(gt=0)]


class UnitCosts(Sourced):
    """Energies and times of the events of a placed network, all from one source, so that none is counted twice."""

    name: Text
    synapse: CaseCost  # one synapse that a message reaches
    soma_access: UnitCost  # every neuron, every time step
    soma_update: UnitCost  # and more for one that is updated; all are taken to be
    spike: UnitCost  # a neuron that sends
    message_out: UnitCost  # one message, to one core
    message_in: UnitCost  # one message, at the core that takes it
    hop_east_west: UnitCost  # one message one tile further; its time is in no bound of a step
    hop_north_south: UnitCost
    barrier: Annotated[list[Barrier], Field(min_length=1)]  # ascending

    @model_validator(mode="after")
    def _barriers_ascend(self) -> "UnitCosts":
        tiles = [step.tiles for step in self.barrier]
        if tiles != sorted(set(tiles)) or tiles[0] != 1:
            raise ValueError(f"barrier is given for {tiles} tiles; begin with 1, and go up")
        return self

    @property
    def cases(self) -> list["UnitCosts"]:
        """These costs, and the same with each other case of a synapse."""
        named = ((f"{self.name}, {other.note or 'another synapse'}", other) for other in self.synapse.others)
        others = (
            self.model_copy(update={"name": name, "synapse": CaseCost(**other.model_dump())}) for name, other in named
        )
        return [self, *others]

    def barrier_s(self, tiles: int) -> float:
        """Seconds that the end of a time step takes with so many tiles in use."""
        return max((step for step in self.barrier if step.tiles <= tiles), key=lambda step: step.tiles).ns * 1e-9
