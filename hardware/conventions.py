"""How many readings of the published log come out at the paper's 21 mJ: every combination of six conventions.

Each of them is in use somewhere. The figures are millijoules per video of one view at 45 nm FP32 (0.9 pJ an addition,
4.6 pJ a multiply-accumulate); `hardware.paper` prints the result.
"""

import itertools
from dataclasses import dataclass

from hardware import paper_layers
from hardware.counts import OpCounts
from hardware.energy import PJ_PER_MJ
from hardware.paper_layers import PaperLayer, load_layers, total
from hardware.paper_ledger import NORM, PAPER_MJ_PER_VIDEO, add_and_mac_pj, ledger

PADDING = ("padding is work", "padding is none")
GRADED = ("graded inputs as MACs", "the stem as MACs, other graded inputs as additions", "graded inputs left out")
BIASES = ("no biases", "biases as logged", "biases as additions")
ATTENTION = (
    "no attention",
    "attention as additions by the authors' formula",
    "the same as MACs",
    "attention as dense MACs, k^T v first",
    "attention as dense MACs, q k^T first",
)
NEURONS = ("no neurons", "a neuron update as an addition", *(f"a neuron update as {n} MACs" for n in (1, 2, 3, 4)))
NORMS = ("norm folded", "norm as a MAC an element", "norm as two MACs an element")
ROUNDED_MJ = 0.5  # figures nearer than this round to the same whole number
AXES = (PADDING, GRADED, BIASES, ATTENTION, NEURONS, NORMS)


@dataclass(frozen=True, kw_only=True)
class _Log:
    """The published layers and what an addition and a multiply-accumulate of them cost."""

    layers: tuple[PaperLayer, ...]
    counts: OpCounts
    add_pj: float
    mac_pj: float


def all_readings() -> dict[tuple[str, ...], float]:
    """Energy by every combination of a choice of each axis, in mJ."""
    layers, (add_pj, mac_pj) = load_layers(), add_and_mac_pj()
    log = _Log(layers=layers, counts=total(layers), add_pj=add_pj, mac_pj=mac_pj)
    weighted = {choice: _weighted(log, *choice) for choice in itertools.product(PADDING, GRADED)}
    others = {
        **dict(zip(BIASES, _biases(log), strict=True)),
        **dict(zip(ATTENTION, _attention(log), strict=True)),
        **dict(zip(NEURONS, _neurons(log), strict=True)),
        **dict(zip(NORMS, _norms(), strict=True)),
    }
    return {
        choices: weighted[choices[0], choices[1]] + sum(others[choice] for choice in choices[2:])
        for choices in itertools.product(*AXES)
    }


def near_the_paper(readings: dict[tuple[str, ...], float], within_mj: float) -> int:
    """How many readings differ from the paper's figure by less."""
    return sum(abs(mj - PAPER_MJ_PER_VIDEO) < within_mj for mj in readings.values())


def _weighted(log: _Log, padding: str, graded: str) -> float:
    """Weighted layers: additions at their published rates, and graded inputs as one of `GRADED`."""
    found_pj = 0.0
    for layer in log.layers:
        counts, as_macs = layer.counts, graded == GRADED[0] or layer.name == "stem.conv"
        inside = 1.0 if padding == PADDING[0] or not counts.padded_macs else counts.dense_macs / counts.padded_macs
        graded_pj = 0.0 if graded == GRADED[2] else log.mac_pj if as_macs else log.add_pj
        found_pj += inside * (counts.synaptic_ops * log.add_pj + counts.macs * graded_pj)
    return found_pj / PJ_PER_MJ


def _biases(log: _Log) -> tuple[float, ...]:
    logged = sum(term.mj for term in ledger() if term.name.startswith("biases"))
    return 0.0, logged, log.counts.bias_adds * log.add_pj / PJ_PER_MJ


def _attention(log: _Log) -> tuple[float, ...]:
    by_rate = paper_layers.attention_ops(log.layers)
    dense, quadratic = (paper_layers.dense_attention_ops(log.layers, q_k_first=order) for order in (False, True))
    found_pj = (0.0, by_rate * log.add_pj, by_rate * log.mac_pj, dense * log.mac_pj, quadratic * log.mac_pj)
    return tuple(pj / PJ_PER_MJ for pj in found_pj)


def _neurons(log: _Log) -> tuple[float, ...]:
    units_pj = (0.0, log.add_pj, *(macs * log.mac_pj for macs in (1, 2, 3, 4)))
    return tuple(log.counts.neuron_updates * pj / PJ_PER_MJ for pj in units_pj)


def _norms() -> tuple[float, ...]:
    two = next(term.mj for term in ledger() if term.name == NORM)
    return 0.0, two / 2, two
