"""What the published rates of the SVFormer network add up to, term by term, and the same for a network run here.

The arithmetic behind the paper's 21 mJ is not published. All sums here are computed from the table of `paper_layers`
and the chip files; no term is chosen to come out at 21. `python -m hardware.paper` prints them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hardware import paper_layers
from hardware.chip_files import load_chip
from hardware.counts import OpCounts
from hardware.energy import PJ_PER_MJ, price
from hardware.keys import key
from hardware.paper_layers import PAPER_TIME_STEPS, PaperLayer, load_layers, total
from hardware.shown import CONVENTION, WITH_MEMORY

PAPER_MJ_PER_VIDEO = 21.0
PAPER_ACCURACY = {1: 80.73, 15: 84.03}  # UCF101 top-1 in %, by views; operations were logged with one view
PAPER_IMAGE_SIZE = (224, 224)
PAPER_PARAMETERS = 13_801_612  # 101 classes, norms with parameters of their own for each time step
SAME_WORK = 0.01  # share of the dense work by which a network of the paper's geometry may differ
NORM = "batch norm not folded, two MACs an element"


@dataclass(frozen=True, kw_only=True)
class LedgerTerm:
    """One term that an energy figure may include: `count` operations of `unit_pj` each."""

    name: str
    count: int
    unit_pj: float
    here: str | None  # name of the same count in `OpCounts`; None: a network that is run here has nothing like it

    @property
    def mj(self) -> float:
        """Energy in millijoule."""
        return self.count * self.unit_pj / PJ_PER_MJ


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One term of the paper's network and of one whose spikes were counted here, with the running sums."""

    term: str = field(metadata=key("what is counted"))
    unit_pj: float = field(metadata=key("energy of one of them", "pJ"))
    paper_count: int = field(metadata=key("operations of the paper's network, one view"))
    paper_mj: float = field(metadata=key("energy of these operations", "mJ"))
    paper_sum_mj: float = field(metadata=key("this term and those above it", "mJ"))
    here_count: int = field(metadata=key("operations of this network, one clip, counted in simulation"))
    here_mj: float = field(metadata=key("energy of these operations", "mJ"))
    here_sum_mj: float = field(metadata=key("this term and those above it", "mJ"))


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What an energy per video depends on first of all."""

    image_size: tuple[int, int]  # H, W
    time_steps: int
    parameters: int
    padded_macs: int  # dense multiply-accumulates of the weighted layers per clip, padding counted as work


def paper_counts() -> dict[str, OpCounts]:
    """Operations of every layer per video of one view; the log has no attention products."""
    return {layer.name: layer.counts for layer in load_layers()}


def paper_network() -> NetworkSize:
    """The size of the paper's network."""
    return NetworkSize(
        image_size=PAPER_IMAGE_SIZE,
        time_steps=PAPER_TIME_STEPS,
        parameters=PAPER_PARAMETERS,
        padded_macs=total(load_layers()).padded_macs,
    )


def ledger() -> tuple[LedgerTerm, ...]:
    """Energy per video of one view at 45 nm FP32: first what papers count, then what they leave out.

    Biases are charged as the log does: those of binary layers scaled with the firing rate, those of graded layers as
    multiply-accumulates. (One addition each would be 0.088 in place of 0.128 mJ.)
    """
    layers = load_layers()
    counts = total(layers)
    scaled, whole = _logged_biases(layers)
    add_pj, mac_pj = add_and_mac_pj()
    terms = (
        ("additions, layers with binary input", counts.synaptic_ops, add_pj, "synaptic_ops"),
        ("multiply-accumulates, layers with graded input", counts.macs, mac_pj, "macs"),
        ("biases of binary layers, times the rate", scaled, add_pj, "bias_adds"),
        ("biases of graded layers, as MACs", whole, mac_pj, None),
        ("attention, additions", paper_layers.attention_ops(layers), add_pj, "attention_ops"),
        ("shortcuts, one addition a value", 0, add_pj, "relay_adds"),
        ("neuron updates, one addition each", counts.neuron_updates, add_pj, "neuron_updates"),
        (NORM, 2 * _normed_elements(layers), mac_pj, "gain_macs"),
        ("neuron updates, the multiplication of the leak", counts.neuron_updates, mac_pj - add_pj, "neuron_updates"),
    )
    return tuple(LedgerTerm(name=name, count=count, unit_pj=pj, here=same) for name, count, pj, same in terms)


def beside(counts: OpCounts) -> tuple[LedgerRow, ...]:
    """The paper's ledger and that of a network with these counts, term by term, per video of one view.

    Its biases are one addition each, its norm is folded unless it has gains of every time step, and
    its shortcuts, which the paper's log does not have, are the values that its relays add.
    """
    rows, paper_sum, here_sum = list[LedgerRow](), 0.0, 0.0
    for term in ledger():
        count = getattr(counts, term.here) if term.here else 0
        mj = count * term.unit_pj / PJ_PER_MJ
        paper_sum, here_sum = paper_sum + term.mj, here_sum + mj
        rows.append(
            LedgerRow(
                term=term.name,
                unit_pj=term.unit_pj,
                paper_count=term.count,
                paper_mj=term.mj,
                paper_sum_mj=paper_sum,
                here_count=count,
                here_mj=mj,
                here_sum_mj=here_sum,
            )
        )
    return tuple(rows)


def other_readings() -> dict[str, float]:
    """Millijoule per video of one view by other readings of the same log; many more can be thought of."""
    layers, (_, mac_pj) = load_layers(), add_and_mac_pj()
    mj = {term.name: term.mj for term in ledger()}
    biased = recomputed_mj() + sum(value for name, value in mj.items() if name.startswith("biases"))
    normed = biased + mj[NORM]
    dense = paper_layers.dense_attention_ops(layers) * mac_pj / PJ_PER_MJ
    neuron_mac = total(layers).neuron_updates * mac_pj / PJ_PER_MJ
    quadratic = paper_layers.dense_attention_ops(layers, q_k_first=True) * mac_pj / PJ_PER_MJ
    counts = total(layers)
    dense_mj = counts.padded_macs * mac_pj / PJ_PER_MJ
    return {
        "stem as MACs, all others as additions, attention (the formula of Spikformer and SDT)": _of_spikformer(layers),
        "the authors' own tool on corrected counts: biases as logged, attention as additions": biased
        + mj["attention, additions"],
        "every dense MAC at 4.6 pJ times the mean rate of all neurons; no addition is one then": dense_mj
        * counts.spikes
        / counts.neuron_updates,
        "biases, norm, dense attention as MACs, a neuron update as one MAC": normed + dense + neuron_mac,
        "the same, a neuron update as four MACs": normed + dense + 4 * neuron_mac,
        "biases, and attention as dense (q k^T) v": biased + quadratic,
        "the log as printed, every convolution over-counted by C_out / 16": logged_mj(),
    }


def _of_spikformer(layers: Sequence[PaperLayer]) -> float:
    """E = 4.6 pJ x MACs of the first convolution + 0.9 pJ x all other operations; graded inputs count as additions."""
    add_pj, mac_pj = add_and_mac_pj()
    stem = next(layer for layer in layers if layer.name == "stem.conv").counts.macs
    counts = total(layers)
    additions = counts.synaptic_ops + counts.macs - stem + paper_layers.attention_ops(layers)
    return (stem * mac_pj + additions * add_pj) / PJ_PER_MJ


def span_of_rates() -> tuple[float, float]:
    """Weighted layers of the paper's network if no neuron fired, and if all fired at every time step, mJ."""
    names = [layer.name for layer in load_layers() if layer.neurons]
    none, every = (at_paper_geometry_mj(dict.fromkeys(names, rate)) for rate in (0.0, 1.0))
    return none, every


def recomputed_mj() -> float:
    """What papers count (weighted layers alone) from the corrected log, mJ per video of one view: 15.95."""
    return price(total(load_layers()), load_chip(CONVENTION)).weighted_layers_mj


def at_paper_geometry_mj(rates: Mapping[str, float]) -> float:
    """Weighted layers of the paper's network if its neurons fired at these rates (see `paper_layers.at_rates`)."""
    return price(paper_layers.at_rates(load_layers(), rates), load_chip(CONVENTION)).weighted_layers_mj


def logged_mj() -> float:
    """The log as printed, in mJ per video of one view: wrong, since it over-counts every convolution."""
    add_pj, mac_pj = add_and_mac_pj()
    return sum(layer.logged_acs * add_pj + layer.logged_macs * mac_pj for layer in load_layers()) / PJ_PER_MJ


def memory_mj() -> tuple[float, float]:
    """Memory accesses by Lemaire et al. 2022 at 8 bits, mJ per video of one view: behind spikes, and of all layers.

    Every layer has memories of its own, as large as its parameters and its potentials. Messages are not in it.
    """
    layers, chip = load_layers(), load_chip(WITH_MEMORY)
    shown = ("parameter_access", "parameter_memory_size", "state_access", "state_memory_size")

    def of(chosen: Iterable[PaperLayer]) -> float:
        priced = price(total([*chosen]), chip).by_cause_mj()
        return sum(priced[cause] for cause in shown)

    return of(layer for layer in layers if layer.binary or layer.neurons), of(layers)


def geometry_difference(here: NetworkSize) -> str:
    """Say in plain words how far `here` is from the paper's network, for the line beside the energy."""
    paper = paper_network()
    sizes = f"This network: {_size_words(here)}. Paper: {_size_words(paper)}."
    share = here.padded_macs / paper.padded_macs
    same = (here.image_size, here.time_steps) == (paper.image_size, paper.time_steps)
    if same and abs(share - 1) < SAME_WORK:
        return f"{sizes} Both do the same dense work per clip, but for {abs(share - 1):.2%}."
    return (
        f"{sizes} This one does {share:.3%} of the paper's dense work per clip, "
        f"so its millijoules do not test the paper's {PAPER_MJ_PER_VIDEO:g} mJ per video."
    )


def _logged_biases(layers: Sequence[PaperLayer]) -> tuple[int, int]:
    """Biases of binary layers scaled with the rate of their input, and those of graded layers."""
    scaled = sum(layer.counts.bias_adds * layer.rate for layer in layers if layer.binary)
    return round(scaled), sum(layer.counts.bias_adds for layer in layers if layer.counts.macs)


def add_and_mac_pj() -> tuple[float, float]:
    """Energy of an addition and of a multiply-accumulate, the convention of SNN papers."""
    unit_pj = {line.cause: line.figure.pj for line in price(OpCounts(), load_chip(CONVENTION)).causes}
    return unit_pj["synaptic_ops"], unit_pj["graded_macs"]


def _normed_elements(layers: Sequence[PaperLayer]) -> int:
    """Every output element of a weighted layer has one bias addition, so these count the elements."""
    return sum(layer.counts.bias_adds for layer in layers if layer.normed)


def _size_words(size: NetworkSize) -> str:
    height, width = size.image_size
    return (
        f"{height} x {width} pixels, T = {size.time_steps}, {size.parameters:,} parameters, "
        f"{size.padded_macs / 1e9:.4g} G dense MACs per clip"
    )
