"""What fixed point costs a network, layer by layer, known before anything runs on a simulator or chip.

Rounding is read off the two networks, overflow off the proven bounds; what it does to the layers is measured on the
calibration clips, float against integers. A layer that falls silent, a leak or weights that came out far from what
they were, potentials that hit the ends of their registers: each is a warning with its margin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.ir import integer, network
from deploy.ir.integer import IntConnection, IntInput, IntLif, IntMembrane, IntNetwork, run_integer
from deploy.ir.machine import DECAY_ONE, STATE_LIMIT, STATE_SHIFT
from deploy.ir.network import Attention, Connection, Convolution, Lif, Membrane, Network, run_float
from deploy.passes.bounds import Headroom, prove
from deploy.passes.probes import SpikeCounts, Watch
from deploy.passes.rounding import round_gain
from deploy.passes.statistics import chunks

Values = NDArray[Any]

OF_24_BITS = ("synaptic sum", "graded message", "potential", "threshold")  # names of `deploy.passes.bounds`
OF_CURRENT = "input current"
POOR_DECAY = 0.05  # a time constant 5 % off
POOR_WEIGHTS = 0.1  # rounding leaves 10 % of the weights' size
POOR_THRESHOLD = 0.05


@dataclass(frozen=True, kw_only=True)
class LayerFidelity:
    """One population in fixed point; errors are shares, None where there is nothing to round."""

    name: str
    kind: str  # "neurons", "integrators" or "relay"
    scale: float  # least significant bits that stand for 1.0
    weight_error: float | None  # root mean square, of the connection that is rounded worst
    weights_clipped: float  # share of weights that the exponent cuts off
    threshold_error: float | None
    decay_error: float | None
    current_decay_error: float | None
    headroom: float  # how full its fullest register gets in the worst case; 1 is full
    fullest_register: str
    sum_headroom: float | None  # the same of its 24-bit registers (synaptic sums, messages, potentials)
    current_headroom: float | None  # and of the 2^17 that an input current may reach
    saturated: float | None  # share of potentials at the ends of their register, on the calibration clips
    float_rate: float | None  # spikes of a neuron in a time step, on the calibration clips
    rate: float | None
    peak: float | None  # largest potential on the calibration clips, as a share of the threshold
    float_peak: float | None

    @property
    def silenced(self) -> bool:
        """Whether it fires in real numbers, but never in integers."""
        return self.rate == 0 and bool(self.float_rate)


def fidelity(
    exact: Network, rounded: IntNetwork, frames_NTCHW: NDArray[Any], *, at_once: int | None = None
) -> list[LayerFidelity]:
    """Compare a network with what `quantize` made of it, on calibration clips, so many at the same time (None: all)."""
    spiking = [name for name in rounded.populations if rounded.spiking(name)]
    float_watch, float_spikes = Watch(exact.begin), SpikeCounts(spiking)
    watch, spikes = Watch(rounded.begin, limit=STATE_LIMIT - 1), SpikeCounts(spiking)
    for part in chunks(frames_NTCHW, at_once):
        run_float(exact, part, float_watch.begin, keep=(), on_population=float_spikes.add)
        run_integer(rounded, part, watch.begin, keep=(), on_population=spikes.add)
    headroom = prove(rounded)
    layers = []
    for name, population in rounded.populations.items():
        if isinstance(population, IntInput):
            continue
        before = exact.populations[name]
        layers.append(
            LayerFidelity(
                name=name,
                kind=_kind(population),
                scale=population.scale,
                **_rounding_of_weights(exact, rounded, name),
                **_rounding_of_neurons(before, population),
                **_fullest(headroom, name),
                saturated=watch.saturated(name),
                float_rate=float_spikes.rates.get(name),
                rate=spikes.rates.get(name),
                peak=_peak(watch, name, population),
                float_peak=_peak(float_watch, name, before),
            )
        )
    return layers


def _kind(population: integer.IntPopulation) -> str:
    if isinstance(population, IntLif):
        return "neurons"
    return "integrators" if isinstance(population, IntMembrane) else "relay"


def summary(layers: Iterable[LayerFidelity]) -> str:
    """The largest errors of all layers, in one line."""
    layers = list(layers)
    worst = [
        f"{what} off by at most {100 * max(values):.2g} % ({where})"
        for what, field in (("weights", "weight_error"), ("leaks", "decay_error"), ("thresholds", "threshold_error"))
        if (values := [error for layer in layers if (error := getattr(layer, field)) is not None])
        and (where := max(layers, key=lambda layer: getattr(layer, field) or 0.0).name)
    ]
    rates = [(a, b) for layer in layers if (a := layer.rate) is not None and (b := layer.float_rate) is not None]
    worst += [f"firing rates by {max(abs(rate - before) for rate, before in rates):.2g}"] if rates else []
    return f"fixed point: {', '.join(worst)}"


def warnings(layers: Iterable[LayerFidelity]) -> list[str]:
    """One line for everything that a user must know before trusting the fixed-point network."""
    return [f"{layer.name}: {line}" for layer in layers for line in _warnings(layer)]


def _warnings(layer: LayerFidelity) -> list[str]:
    found = []
    if layer.silenced:
        found.append(
            f"falls silent: {layer.float_rate:.3g} spikes a neuron and step in real numbers, none in integers, whose "
            f"potential reaches {layer.peak:.3g} x the threshold ({layer.float_peak:.3g} x in real numbers)"
        )
    for what, error, limit in (
        ("leak", layer.decay_error, POOR_DECAY),
        ("leak of the current", layer.current_decay_error, POOR_DECAY),
        ("threshold", layer.threshold_error, POOR_THRESHOLD),
        ("weights", layer.weight_error, POOR_WEIGHTS),
    ):
        if error is not None and error > limit:
            found.append(f"{what} off by {100 * error:.1f} % (1.0 is {layer.scale:.3g} least significant bits)")
    if layer.saturated:
        found.append(f"{100 * layer.saturated:.3g} % of its potentials at the end of their 24 bits")
    return found


def _peak(watch: Watch, name: str, population: Any) -> float | None:
    """Largest potential of a spiking layer, as a share of the threshold."""
    if not isinstance(population, (Lif, IntLif)):
        return None
    threshold = population.threshold if isinstance(population, Lif) else population.threshold << STATE_SHIFT
    return float((watch.highest[name] / threshold).max())


def _rounding_of_weights(exact: Network, rounded: IntNetwork, name: str) -> dict[str, Any]:
    pairs = zip(exact.connections, rounded.connections, strict=True)
    errors = [_connection_error(a, b, rounded) for a, b in pairs if a.target == name]
    weighted = [error for error, _ in errors if error is not None]
    return {
        "weight_error": max(weighted, default=None),
        "weights_clipped": max((clipped for _, clipped in errors), default=0.0),
    }


def _connection_error(exact: Connection, rounded: IntConnection, net: IntNetwork) -> tuple[float | None, float]:
    """Relative error of the weights (or the one factor) of a connection, and the share of them that is cut off."""
    source, target = net.populations[exact.source], net.populations[exact.target]
    assert not isinstance(target, IntInput)
    factor = target.scale / (1.0 if isinstance(source, IntLif) else source.scale)
    exponent = rounded.operation.exponent
    if exact.gain is not None and rounded.gain is not None:  # the shift stands behind the gain
        exponent = rounded.gain.exponent - round_gain(exact.gain).exponent
    step = 2.0**exponent / factor
    if isinstance(exact.operation, Convolution):
        assert isinstance(rounded.operation, integer.IntConvolution)
        error = rounded.operation.mantissa * step - exact.operation.weight
        size = float(np.sqrt(np.mean(exact.operation.weight**2)))
        cut = float((np.abs(error) > step * (0.5 + 1e-6)).mean())
        return (float(np.sqrt(np.mean(error**2))) / size if size else 0.0), cut
    assert not isinstance(rounded.operation, integer.IntConvolution)
    scale = exact.operation.scale if isinstance(exact.operation, Attention) else 1.0
    return abs(rounded.operation.multiplier * step / scale - 1), 0.0


def _rounding_of_neurons(exact: network.Population, rounded: integer.IntPopulation) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("threshold_error", "decay_error", "current_decay_error"))
    if isinstance(exact, Membrane) and isinstance(rounded, IntMembrane):
        found["decay_error"] = _relative(rounded.decay / DECAY_ONE, exact.decay)
        if exact.current_decay is not None and rounded.current_decay is not None:
            found["current_decay_error"] = _relative(rounded.current_decay / DECAY_ONE, exact.current_decay)
    if isinstance(exact, Lif) and isinstance(rounded, IntLif):
        found["threshold_error"] = _relative(rounded.threshold / rounded.scale, exact.threshold)
    return found


def _relative(found: Values, exact: Values) -> float | None:
    """Largest relative error, where there is a value at all."""
    there = exact > 0
    return float(np.abs(found[there] / exact[there] - 1).max()) if there.any() else None


def _fullest(headroom: Sequence[Headroom], name: str) -> dict[str, Any]:
    own = [h for h in headroom if h.where.split(" -> ")[-1] == name]
    fullest = max(own, key=lambda h: h.share)
    return {
        "headroom": fullest.share,
        "fullest_register": f"{fullest.what} ({fullest.where})",
        "sum_headroom": max((h.share for h in own if h.what in OF_24_BITS), default=None),
        "current_headroom": max((h.share for h in own if h.what == OF_CURRENT), default=None),
    }
