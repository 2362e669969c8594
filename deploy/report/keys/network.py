"""What is known of a deployed network before anything runs."""

from dataclasses import dataclass, field
from typing import Literal

from deploy.report.keys.placement import PlacementSummary
from hardware.fit import LayerFit
from hardware.keys import key, optional_key

Kind = Literal["input", "lif", "integrator", "relay", "gate", "constant"]


@dataclass(frozen=True, kw_only=True)
class TuningSummary:
    """How weights and biases were trained in the integers that are run (`--tune`)."""

    clips: int = field(metadata=key("clips that it was trained on"))
    checked_clips: int = field(
        metadata=key("clips that chose the best epoch: kept back, or the same where there are few")
    )
    epochs: int = field(metadata=key("how often every clip was seen"))
    best_epoch: int = field(metadata=key("epoch whose network is deployed; 0: the network before the first"))
    same_before: float = field(metadata=key("share of the checked clips predicted as in real numbers, before"))
    same_after: float = field(metadata=key("the same of the network that is deployed"))
    right_before: float | None = field(
        metadata=key("share of the checked clips with a class that are predicted right; null: none")
    )
    right_after: float | None = field(metadata=key("the same of the network that is deployed"))


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """What was deployed."""

    name: str = field(metadata=key("model of the graph's metadata; SVFormer where the graph has its attention"))
    nodes: int = field(metadata=key("nodes of the NIR graph"))
    populations: int = field(metadata=key("populations that they become"))
    neurons: int = field(metadata=key("LIF neurons and integrators"))
    parameters: int = field(metadata=key("weights and biases as deployed, those of a kernel counted once"))
    weight_bits: int = field(metadata=key("the widest weight that is stored, sign included", "bits"))
    synapse_memory_kib: float = field(metadata=key("weights, each kernel stored once", "KiB"))
    frames: int = field(metadata=key("T, time steps of a clip, the longest where they differ"))
    input_shape: tuple[int, ...] = field(metadata=key("shape of a frame"))
    dt_s: float = field(metadata=key("duration of a time step", "s"))
    readout: str = field(
        metadata=key("what of the output over a clip is its result: count, last, mean, max or first-spike")
    )
    trained_on: str | None = field(metadata=key("data set of the graph's metadata; null: it has none"))
    classes: tuple[str, ...] = field(metadata=key("names of the outputs; empty where the graph has none"))
    calibration_clips: int = field(
        metadata=key("clips by which scales were chosen; 0 for integers of a file, taken as they are")
    )
    tuning: TuningSummary | None = field(default=None, metadata=optional_key("with --tune: training in integers"))
    notes: tuple[str, ...] = field(metadata=key("what the passes decided"))


@dataclass(frozen=True, kw_only=True)
class DelayLine:
    """Messages that wait in the synapses of a layer, from one source."""

    source: str = field(metadata=key("population that sends them"))
    steps: int = field(metadata=key("longest wait", "time steps"))
    bytes: int = field(metadata=key("the line in the CPU backend: a byte a spike, four a graded message", "bytes"))


@dataclass(frozen=True, kw_only=True)
class RegisterShare:
    """The register of a layer that comes closest to its limit."""

    worst: int | float = field(metadata=key("largest magnitude, whatever the input", "least significant bits"))
    limit: int = field(metadata=key("largest magnitude that the register takes", "least significant bits"))
    share: float = field(metadata=key("`worst` / `limit`"))


@dataclass(frozen=True, kw_only=True)
class RegisterPlace:
    """A value of the integer network."""

    where: str = field(metadata=key("population, or source -> target"))
    what: str = field(metadata=key("which value"))


@dataclass(frozen=True, kw_only=True)
class FilledRegister(RegisterShare, RegisterPlace):
    """A value of the integer network, and how full its register can be."""


@dataclass(frozen=True, kw_only=True)
class PlannedLayer:
    """A population in the plan."""

    name: str = field(metadata=key("population, as in the .nir file where it is a node of it"))
    kind: Kind = field(metadata=key("input, lif (spikes), integrator (sends its potential), relay (passes a sum on)"))
    shape: tuple[int, ...] = field(metadata=key("C, H, W"))
    first_step: int = field(metadata=key("time step at which it sees frame 0 and is reset, from 1"))
    delay_lines: tuple[DelayLine, ...] = field(metadata=key("messages that wait for a longer path"))
    weight_kib: float = field(metadata=key("weights of its synapses, each kernel stored once", "KiB"))
    state_kib: float = field(metadata=key("its potentials or sums", "KiB"))
    current: RegisterShare | None = field(metadata=key("input current in the worst case; null: it has none"))
    sum: RegisterShare | None = field(metadata=key("synaptic sum in the worst case; null: it has none"))


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """When every population sees each frame."""

    depth: int = field(metadata=key("synapses on the longest path"))
    first_step: dict[str, int] = field(metadata=key("by population: time step at which it sees frame 0, from 1"))
    longest_delay: int = field(metadata=key("longest wait of all delay lines", "time steps"))
    layers: tuple[PlannedLayer, ...] = field(metadata=key("every population, in order of execution"))


@dataclass(frozen=True, kw_only=True)
class MappedPart:
    """A part of the network, and what holds it on Loihi 2."""

    where: str = field(metadata=key("population, or source -> target"))
    what: str = field(metadata=key("which part"))
    process: str = field(metadata=key("process of Intel's Lava extension; empty where none holds it"))
    microcode: str = field(metadata=key("what a neuron program would have to do; empty where none is needed"))
    neurons: int = field(
        metadata=key("that it takes; of a delay, those beyond what other connections of its source have taken")
    )


@dataclass(frozen=True, kw_only=True)
class NetworkResources:
    """What the whole network asks of a chip."""

    neurons: int = field(metadata=key("neurons and relays"))
    synapse_memory_kib: float = field(metadata=key("weights, each kernel stored once", "KiB"))
    synapses: int = field(metadata=key("synapses, if each were stored by itself"))
    fan_in_axons: int = field(metadata=key("axons that end in its layers"))
    fan_out_axons: int = field(metadata=key("axons that leave its layers"))


@dataclass(frozen=True, kw_only=True)
class FittedChip:
    """Cores and chips by the rule of hardware/fit.py, and what stands in the way."""

    chip: str = field(metadata=key("name of the chip file"))
    layers: tuple[LayerFit, ...] = field(metadata=key("cores of every layer"))
    delay_lines: tuple[LayerFit, ...] = field(
        metadata=key("cores of the relays that hold messages of a population back; empty where synapses do that")
    )
    delay_neurons: int = field(metadata=key("neurons of these delay lines, beside those of `needs`"))
    cores: int = field(metadata=key("cores of all layers and delay lines"))
    chips: int = field(metadata=key("chips that these cores fill"))
    obstacles: tuple[str, ...] = field(metadata=key('"layer: what" for all that the chip cannot hold'))
    unchecked: tuple[str, ...] = field(metadata=key("limits that the chip file does not give"))
    needs: NetworkResources = field(metadata=key("what the network asks for"))
    advice: str = field(metadata=key("the layer that takes most cores, and what would shrink it"))
    placement: PlacementSummary | None = field(
        metadata=key("cores by placement in place of the rule; null where one neuron asks for more than a core has")
    )
    unplaced: str | None = field(
        default=None, metadata=optional_key("why there is no placement: the layer, and what its neuron asks for")
    )
