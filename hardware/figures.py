"""One published figure: value, unit, and where it comes from. Files of chips and of devices are made of them."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

UnitT = TypeVar("UnitT")
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

PJ_PER = {"pJ": 1.0, "nJ": 1e3, "pJ/bit": 1.0}


class Strict(BaseModel):
    """Frozen, no key beyond the declared ones, no conversion of types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# How a figure was obtained. listed: in a survey or the press, basis unknown; compile log: counted by the vendor's
# compiler, in a log that was published; source code: written in the vendor's published programs; inferred: by us, from
# figures that the source gives.
Kind = Literal["measured", "simulated", "vendor", "estimate", "listed", "compile log", "source code", "inferred"]


class Sourced(Strict):
    """Where a fact comes from."""

    kind: Kind
    source: Text
    year: Annotated[int, Field(ge=1990, le=2100)]
    node: Text  # process node, "14 nm"
    note: Text | None = None

    @property
    def origin(self) -> str:
        """Kind, source, year, process node and note, on one line."""
        line = f"{self.kind}: {self.source} ({self.year}, {self.node})"
        return f"{line}; {self.note}" if self.note else line


class Figure(Sourced, Generic[UnitT]):
    """One published number."""

    value: Annotated[float, Field(gt=0)]
    unit: UnitT

    @property
    def provenance(self) -> str:
        """The number with its unit and where it comes from, on one line."""
        return f"{self.value:g} {self.unit}, {self.origin}"


class EnergyFigure(Figure[UnitT], Generic[UnitT]):
    """An energy; `others` are what other sources say, or the same source for another case."""

    others: list[Figure[UnitT]] = Field(default_factory=list)

    @property
    def pj(self) -> float:
        """The energy in picojoule."""
        return self.value * PJ_PER[str(self.unit)]

    @property
    def range_pj(self) -> tuple[float, float]:
        """Lowest and highest figure of all sources, in picojoule."""
        values = [self.pj, *(other.value * PJ_PER[str(other.unit)] for other in self.others)]
        return min(values), max(values)


PerOperation = EnergyFigure[Literal["pJ", "nJ"]]


class CountFigure(Figure[UnitT], Generic[UnitT]):
    """A limit that is a whole number."""

    value: Annotated[int, Field(gt=0)]
