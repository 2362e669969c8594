"""Chips as data: published figures with unit, source, year, process node and how they were obtained.

The shipped files lie in `hardware/chips/`; a user's own file has the same form and is loaded by its path.
A figure that is not published is left out, and the notes beside a total say what that means for it.
"""

from collections.abc import Hashable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from hardware.errors import ChipError

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


class Energy(Strict):
    """Energy per operation. Only the synaptic operation is required."""

    synaptic_op: PerOperation  # one addition of a weight because of a binary spike
    multiply_accumulate: PerOperation | None = None  # one weight times one graded value, added
    product: PerOperation | None = None  # one product of 8 x 8 bits, where the figure above is the addition alone
    gain_mac: PerOperation | None = None  # a wide current times the gain of its time step
    attention_op: PerOperation | None = None  # one addition of a count in Q (K^T V)
    relay_add: PerOperation | None = None  # one graded shortcut current added, or compared with another
    bias_add: PerOperation | None = None
    weight_bit_read: PerOperation | None = None  # one bit of a weight from the memory beside the arithmetic
    memory_access: PerOperation | None = None  # one value read or written, however large the memory
    parameter_access: PerOperation | None = None  # one parameter read, where it is another figure
    memory_access_per_bit: EnergyFigure[Literal["pJ/bit"]] | None = None  # and more for each bit that the memory holds
    event_address: PerOperation | None = None  # finding the weight and the potential of one operation
    message_address: PerOperation | None = None  # finding the first of them for one message
    neuron_update: PerOperation | None = None
    relay_update: PerOperation | None = None  # one sum taken up and sent, on a chip whose relays are neurons
    spike: PerOperation | None = None  # one message to a neighbouring core, in the same tile
    hop_east_west: PerOperation | None = None  # one message one tile further
    hop_north_south: PerOperation | None = None
    static_power: Figure[Literal["mW/chip"]] | None = None
    note: Text | None = None  # what the figures include, for a reader of the total

    @model_validator(mode="after")
    def _counts_memory_once(self) -> "Energy":
        if self.weight_bit_read and self.memory_access:
            raise ValueError("weight_bit_read and memory_access both price the reading of a weight; give one of them")
        if self.memory_access_per_bit and not self.memory_access:
            raise ValueError("memory_access_per_bit is a part of memory_access, which is missing")
        if self.product and not self.multiply_accumulate:
            raise ValueError("product is a part of multiply_accumulate, which is missing")
        return self


Memory = CountFigure[Literal["KiB/core", "64-bit words/core"]]
MEMORY_BITS = {"KiB/core": 8 * 1024, "64-bit words/core": 64}


class Limits(Strict):
    """What fits. A limit left out is not published, or does not exist on this chip."""

    cores: CountFigure[Literal["cores/chip"]]
    neurons: CountFigure[Literal["neurons/core"]]
    neuron_groups: CountFigure[Literal["groups/core"]] | None = None  # sets of decay and threshold that differ
    fan_in_axons: CountFigure[Literal["axons/core"]] | None = None
    fan_out_axons: CountFigure[Literal["axons/core"]] | None = None
    synapse_memory: Memory | None = None  # for synapses alone
    core_memory: Memory | None = None  # shared by synapses and neuron state
    weight_bits: CountFigure[Literal["bits"]] | None = None
    weights_of_a_neuron: CountFigure[Literal["weights/neuron"]] | None = None  # that differ, zero left out
    message_bits: CountFigure[Literal["bits"]] | None = None  # 1: binary spikes only
    delay: CountFigure[Literal["steps"]] | None = None  # that a synapse holds a message back


class RelayedDelays(Sourced):
    """Says that no synapse holds messages back, so that a layer of relays stands for every time step of a delay."""


class Traits(Strict):
    """How a chip does what another does otherwise. What is left out is as on a chip with a plain crossbar."""

    # Input axons that a convolution takes in a core, however many neurons send; else every sending neuron is one.
    convolution_axons: CountFigure[Literal["axons/convolution"]] | None = None
    relayed_delays: RelayedDelays | None = None  # else the synapses hold messages back


class Mesh(Strict):
    """Where the cores of a chip lie: tiles in rows and columns, each with a router that its cores share."""

    columns: CountFigure[Literal["tiles"]]
    rows: CountFigure[Literal["tiles"]]
    cores: CountFigure[Literal["cores/tile"]]


class Anchor(Sourced):
    """A network that was measured on the chip as a whole."""

    network: Text
    dynamic_mj: Annotated[float, Field(gt=0)]  # an inference, without static power
    synapses: Annotated[int, Field(gt=0)]  # pairs of neurons that a weight connects
    neurons: Annotated[int, Field(gt=0)]  # those of the input among them
    steps: Annotated[int, Field(gt=0)]  # time steps of an inference


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


UNITS = ("synapse", "soma_access", "soma_update", "spike", "message_out", "message_in")


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


class Chip(Strict):
    """One target: what its operations cost (or why that is unknown) and what fits on it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
    title: Text
    energy: Energy | None = None
    no_energy_because: Text | None = None
    anchor: Anchor | None = None
    limits: Limits | None = None
    no_limits_because: Text | None = None  # what is priced is no chip; else limits are left out because nobody looked
    traits: Traits = Traits()
    mesh: Mesh | None = None
    events: list[UnitCosts] = Field(default_factory=list)  # of a placed network, by source, the one to show first
    no_times_because: Text | None = None  # where there are none

    @model_validator(mode="after")
    def _events_have_places(self) -> "Chip":
        if self.events and (self.no_times_because or not (self.mesh and self.limits)):
            raise ValueError("events need limits and a mesh to place a network on, and no no_times_because")
        if self.events and self.traits.relayed_delays:
            raise ValueError("events of a chip that relays delays are not modelled: leave one of them out")
        return self

    @property
    def why_no_times(self) -> str:
        """Why no latency can be said of this chip; empty where it can."""
        return "" if self.events else self.no_times_because or "its chip file gives no times"

    @model_validator(mode="after")
    def _mesh_holds_all_cores(self) -> "Chip":
        if self.mesh and self.limits:
            places = self.mesh.columns.value * self.mesh.rows.value * self.mesh.cores.value
            if places != self.limits.cores.value:
                raise ValueError(f"the mesh has {places} places for {self.limits.cores.value} cores")
        return self

    @model_validator(mode="after")
    def _has_limits_or_none(self) -> "Chip":
        if self.limits and self.no_limits_because:
            raise ValueError("limits and no_limits_because are both given; give one of them")
        return self

    @model_validator(mode="after")
    def _says_why_energy_is_missing(self) -> "Chip":
        if (self.energy is None) == (self.no_energy_because is None):
            raise ValueError("give either energy, or no_energy_because with the reason")
        return self


def shipped_chips() -> list[str]:
    """Names of the chips that ship with the project, sorted."""
    files = (file.name for file in _chip_folder().iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def load_chip(name_or_path: str | Path) -> Chip:
    """Load a shipped chip by its name, or a user's own file by its path.

    Raises ChipError, which lists everything that is wrong with the file: unknown and missing keys, keys given
    twice, figures without unit or source, numbers of the wrong type.
    """
    where = str(name_or_path)
    if where in shipped_chips():
        return _parse(_chip_folder().joinpath(f"{where}.yaml").read_text("utf-8"), where=where)
    try:
        return _parse(Path(where).read_text("utf-8"), where=where)
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(shipped_chips())
        raise ChipError(
            f"chip {where}: not the name of a shipped chip and not a readable file ({error}); "
            f"give one of {names}, or the path of a .yaml file"
        ) from error


def _chip_folder() -> Any:  # importlib's Traversable, whose home differs between Python 3.11 and 3.14
    return resources.files("hardware").joinpath("chips")


def _parse(text: str, *, where: str) -> Chip:
    loader = _DuplicateKeyLoader(text)
    try:
        data = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ChipError(f"chip {where}: not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()
    problems = loader.duplicates
    try:
        chip = Chip.model_validate(data)
    except ValidationError as error:
        problems = problems + [_problem(detail["loc"], detail["msg"]) for detail in error.errors()]
    if problems:
        raise ChipError(f"chip {where}: {len(problems)} to correct: {'; '.join(problems)}")
    return chip


def _problem(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in location) or 'file'}: {message}"


class _DuplicateKeyLoader(yaml.SafeLoader):
    """YAML lets a later key overwrite an earlier one without a word; here that is a mistake."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct as usual, and note every key that was given before in the same mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                self.duplicates.append(f"{key.value}: given twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
