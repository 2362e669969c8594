"""What fixed point costs a network, layer by layer, known before anything runs on a simulator or chip.

Rounding is read off the two networks, overflow off the proven bounds; what it does to the layers is measured on the
calibration clips, float against integers. A layer that falls silent, a leak or weights that came out far from what
they were, potentials that hit the ends of their registers: each is a warning with its margin. Weights and rates are
judged output channel by output channel, which is neuron by neuron behind a dense layer: the mean of a layer hides one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.gates.predictions import KeptPredictions, Results
from deploy.ir.integer import IntConnection, IntNetwork, run_integer
from deploy.ir.intervals import CURRENT, OF_24_BITS, Headroom
from deploy.ir.machine import STATE_LIMIT
from deploy.ir.network import Connection, Network, run_float
from deploy.ir.populations.base import IntReceiver, Receiver
from deploy.ir.rounding import RoundingError, round_gain
from deploy.ir.types import Array, BoolArray, IntArray, Values
from deploy.passes.probes import PotentialProbe, SpikeCounts, SpikeMatch
from deploy.passes.statistics import MessageSums, chunks

POOR_DECAY = 0.05  # a time constant 5 % off
POOR_WEIGHTS = 0.1  # rounding leaves 10 % of the weights' size
POOR_THRESHOLD = 0.05
POOR_LOSS = 0.25  # weights that became 0 carry as much of the current that brings their neuron to its threshold
POOR_RATE = 0.25  # a channel fires so much more or less often
CHANCE = 3  # standard deviations of a count of spikes, which single flipped spikes can be
TELLING = 5  # spikes of a channel that falls silent


@dataclass(frozen=True, kw_only=True)
class LayerFidelity:
    """One population in fixed point; errors are shares, None where there is nothing to round."""

    name: str
    kind: str  # of `deploy.ir.populations.base.Kind`
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
    row_error: (
        float | None
    )  # as `weight_error`, of the currents of the worst output channel as a share of their own size
    worst_row: int | None  # that channel
    lost_current: float | None  # what weights that became 0 carry of the current that makes a neuron fire, at worst
    losing_row: int | None
    shifted_channel: int | None  # whose count of spikes rounding shifts most, beyond chance; None where there is none
    shifted_float_spikes: int | None  # its spikes on the calibration clips
    shifted_spikes: int | None
    peak: float | None  # largest potential on the calibration clips, as a share of the threshold
    float_peak: float | None
    spike_match: float | None  # share of neurons and time steps with the same message, spike or none
    heard_match: float | None  # the mean of it over the layers whose spikes it hears; 1 where it hears none

    @property
    def silenced(self) -> bool:
        """Whether it fires in real numbers, but never in integers."""
        return self.rate == 0 and bool(self.float_rate)


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What fixed point costs a network, on the calibration clips."""

    layers: list[LayerFidelity]
    predictions: KeptPredictions


def fidelity(
    exact: Network,
    rounded: IntNetwork,
    headroom: Sequence[Headroom],
    frames_NTCHW: Values,
    *,
    at_once: int | None = None,
) -> Fidelity:
    """Compare a network with what `quantize` made of it, on calibration clips, at most `at_once` at a time (None: all).

    `headroom` is what `deploy.passes.bounds.prove` found of `rounded`.
    """
    float_probe, float_spikes = PotentialProbe(exact.begin), SpikeCounts(rounded.neuron_layers)
    probe, spikes = PotentialProbe(rounded.begin, limit=STATE_LIMIT - 1), SpikeCounts(rounded.neuron_layers)
    match, results = SpikeMatch(rounded.neuron_layers), Results(exact=exact, rounded=rounded)
    sent = dict[str, MessageSums]()

    def add(name: str, messages: Values) -> None:
        float_spikes.add(name, messages)
        match.add_first(name, messages)
        for clip in map(MessageSums.of, messages):
            sent[name] = sent[name] + clip if name in sent else clip

    def compare(name: str, messages: Values) -> None:
        spikes.add(name, messages)
        match.add_second(name, messages)

    record = (exact.output,)
    for part in chunks(frames_NTCHW, at_once):
        wanted = run_float(exact, part, float_probe.begin, record=record, on_population=add)
        results.add(wanted, run_integer(rounded, part, probe.begin, record=record, on_population=compare))
    originals = exact.receivers
    mean_square = {name: sums.mean_square for name, sums in sent.items()}
    layers = [
        LayerFidelity(
            name=name,
            kind=receiver.kind,
            scale=receiver.scale,
            **_rounding_of_weights(exact, rounded, name, mean_square, _heard(name, float_spikes, spikes)),
            **_rounding_of_parameters(originals[name], receiver),
            **_fullest(headroom, name),
            saturated=probe.saturated(name),
            float_rate=float_spikes.rates.get(name),
            rate=spikes.rates.get(name),
            **_shifted(float_spikes.by_channel.get(name), spikes.by_channel.get(name)),
            peak=_peak(receiver.share_of_threshold, probe, name),
            float_peak=_peak(originals[name].share_of_threshold, float_probe, name),
            spike_match=match.shares.get(name),
            heard_match=_heard_match(exact, name, match.shares) if name in match.shares else None,
        )
        for name, receiver in rounded.receivers.items()
    ]
    return Fidelity(layers=layers, predictions=results.kept())


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
    elif layer.shifted_channel is not None:
        found.append(
            f"channel {layer.shifted_channel} fires otherwise: {layer.shifted_float_spikes} spikes in real numbers, "
            f"{layer.shifted_spikes} in integers"
        )
    for what, error, limit in (
        ("leak", layer.decay_error, POOR_DECAY),
        ("leak of the current", layer.current_decay_error, POOR_DECAY),
        ("threshold", layer.threshold_error, POOR_THRESHOLD),
        (f"weights of channel {layer.worst_row}", layer.row_error, POOR_WEIGHTS),
    ):
        if error is not None and error > limit:
            found.append(f"{what} off by {100 * error:.1f} % (1.0 is {layer.scale:.3g} least significant bits)")
    if layer.lost_current is not None and layer.lost_current > POOR_LOSS:
        found.append(
            f"weights of channel {layer.losing_row} that rounded to 0, next to far larger ones, carry "
            f"{100 * layer.lost_current:.3g} % of the current that makes it fire"
        )
    if layer.saturated:
        found.append(f"{100 * layer.saturated:.3g} % of its potentials at the end of their 24 bits")
    return found


def _peak(share_of_threshold: Callable[[Values], Array | None], probe: PotentialProbe, name: str) -> float | None:
    """Largest potential of a layer, as a share of the threshold; None for a layer without one."""
    if name not in probe.highest or (share := share_of_threshold(probe.highest[name])) is None:
        return None
    return float(share.max())


def _rounding_of_parameters(exact: Receiver, rounded: IntReceiver) -> dict[str, Any]:
    nothing = dict.fromkeys(("threshold_error", "decay_error", "current_decay_error"))
    return nothing | rounded.rounding_errors(exact)


def _rounding_of_weights(
    exact: Network, rounded: IntNetwork, name: str, mean_square: Mapping[str, Array], heard: BoolArray | None
) -> dict[str, Any]:
    pairs = zip(exact.connections, rounded.connections_beside(exact.connections), strict=True)
    errors = [_rounding_of(a, b, rounded, mean_square[a.source]) for a, b in pairs if a.target == name]
    channels = rounded.populations[name].shape[0]
    matters = np.ones(channels, dtype=np.bool_) if heard is None else heard
    rows = [np.where(matters, error.rows, 0.0) for error in errors]
    row_error, worst_row = _largest(np.max(rows, axis=0)) if rows else (None, None)
    currents, lost = exact.receivers[name].least_currents(exact.frames), [error.lost**2 for error in errors]
    lost_current, losing_row = None, None
    if currents is not None and lost:
        lost_current, losing_row = _largest(np.where(matters, np.sqrt(sum(lost)) / currents, 0.0))
    return {
        "weight_error": max((error.relative for error in errors), default=None),
        "weights_clipped": max((error.clipped for error in errors), default=0.0),
        "row_error": row_error,
        "worst_row": worst_row,
        "lost_current": lost_current,
        "losing_row": losing_row,
    }


def _rounding_of(exact: Connection, rounded: IntConnection, network: IntNetwork, mean_square: Array) -> RoundingError:
    """Errors of the weights (or the one factor) of a connection."""
    source, target = network.populations[exact.source], network.populations[exact.target]
    exponent = rounded.operation.exponent
    if exact.gain is not None and rounded.gain is not None:  # the shift stands behind the gain
        exponent = rounded.gain.exponent - round_gain(exact.gain)[1]
    step = 2.0**exponent * source.message_unit / target.scale
    return exact.operation.rounding_error(rounded.operation, step, mean_square)


def _heard_match(network: Network, name: str, shares: Mapping[str, float]) -> float:
    """Share of equal spikes of the layers that a layer hears, also through sums that pass on without a threshold."""
    heard, asked = set[str](), [name]
    while asked:
        here = asked.pop()
        new = {c.source for c in network.connections if c.target == here} - heard
        heard |= new
        asked += [source for source in new if source not in shares]
    found = [shares[source] for source in heard if source in shares and source != name]
    return float(np.mean(found)) if found else 1.0


def _largest(by_channel: Array) -> tuple[float, int]:
    """The largest value, and its channel."""
    channel = int(np.argmax(by_channel))
    return float(by_channel[channel]), channel


def _heard(name: str, *counts: SpikeCounts) -> BoolArray | None:
    """Channels that fire in one of the runs, [C]; None for what sends no spikes."""
    found = [count.by_channel[name] for count in counts if name in count.by_channel]
    return np.asarray(sum(found) > 0) if found else None


def _shifted(before: IntArray | None, after: IntArray | None) -> dict[str, Any]:
    """The channel whose count of spikes differs most, where that is beyond chance."""
    nothing: dict[str, Any] = dict.fromkeys(("shifted_channel", "shifted_float_spikes", "shifted_spikes"))
    if before is None or after is None:
        return nothing
    larger, off = np.maximum(before, after), np.abs(after - before)
    beyond = off > np.maximum(POOR_RATE * larger, CHANCE * np.sqrt(larger))
    beyond |= (after == 0) & (before >= TELLING)
    if not beyond.any():
        return nothing
    _, channel = _largest(np.where(beyond, off / np.maximum(larger, 1), 0.0))
    return {
        "shifted_channel": channel,
        "shifted_float_spikes": int(before[channel]),
        "shifted_spikes": int(after[channel]),
    }


def _fullest(headroom: Sequence[Headroom], name: str) -> dict[str, Any]:
    own = [h for h in headroom if h.where.split(" -> ")[-1] == name]
    fullest = max(own, key=lambda h: h.share)
    return {
        "headroom": fullest.share,
        "fullest_register": f"{fullest.what} ({fullest.where})",
        "sum_headroom": max((h.share for h in own if h.what in OF_24_BITS), default=None),
        "current_headroom": max((h.share for h in own if h.what == CURRENT), default=None),
    }
