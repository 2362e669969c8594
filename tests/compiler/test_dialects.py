"""What files of other frameworks mean: resets, decays and starts by hand, in real numbers, integers and on Lava."""

import math
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy.execution.simulate import simulate
from deploy.ir.dialects import DIALECTS, Dialect, dialect_notes, dialect_of
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.passes.lowering import lower
from deploy.pipeline import quantize
from processes import HANG_S
from svformer.common.errors import InputError

FRAMES = 60


def layer(**metadata: Any) -> nir.NIRGraph:
    """Neurons of different thresholds that receive what comes in, tau of 5 time steps; r of 5 adds an input whole."""
    neurons = graphs.lif(4, tau=5 * graphs.DT_S, r=5.0, v_threshold=np.array([0.7, 1.0, 1.4, 2.0]))
    return graphs.chain({"in": graphs.entry(4), "lif": neurons, "out": graphs.result(4)}, T=FRAMES, **metadata)


def clip() -> np.ndarray:
    """Inputs [1, T, 4] between -0.5 and 1.5, whose sums come to no tie with a threshold."""
    return np.random.default_rng(0).uniform(-0.5, 1.5, (1, FRAMES, 4))


def snntorch_leaky(x_T4: np.ndarray, thresholds: np.ndarray, beta: float) -> np.ndarray:
    """Its default: mem <- beta mem + x - threshold where it fired in the step before; a spike above the threshold."""
    mem, spikes = np.zeros(4), np.zeros_like(x_T4)
    for t, x in enumerate(x_T4):
        fired = mem > thresholds
        mem = beta * mem + x - fired * thresholds
        spikes[t] = mem > thresholds
    return spikes


def snntorch_synaptic(x_T4: np.ndarray, thresholds: np.ndarray, *, delay: bool) -> np.ndarray:
    """Reset "zero", alpha 0.5, beta 0.8: syn <- alpha syn + x, mem <- beta mem + syn. With `reset_delay` the potential
    is 0 in the whole step behind a spike, whatever arrives in it; without, it is 0 at once.
    """
    syn, mem, spikes = np.zeros(4), np.zeros(4), np.zeros_like(x_T4)
    for t, x in enumerate(x_T4):
        fired, syn = mem > thresholds, 0.5 * syn + x
        mem = np.where(fired, 0.0, 0.8 * mem + syn)
        spikes[t] = mem > thresholds
        mem = mem if delay else np.where(spikes[t] > 0, 0.0, mem)
    return spikes


def sinabs_lif(x_T4: np.ndarray, thresholds: np.ndarray, tau_steps: float) -> np.ndarray:
    """Alpha = exp(-1 / tau): v <- alpha v + (1 - alpha) x; a spike takes the threshold off at once."""
    alpha, v, spikes = math.exp(-1 / tau_steps), np.zeros(4), np.zeros_like(x_T4)
    for t, x in enumerate(x_T4):
        v = alpha * v + (1 - alpha) * x
        spikes[t] = v > thresholds
        v = v - spikes[t] * thresholds
    return spikes


@pytest.mark.parametrize("dialect", ["snntorch", "sinabs"])
def test_spikes_are_those_of_the_framework(dialect: str) -> None:
    graph = layer(dialect=dialect)
    thresholds, x = graph.nodes["lif"].v_threshold, clip()
    expected = (
        snntorch_leaky(x[0], thresholds, beta=0.8) if dialect == "snntorch" else sinabs_lif(5 * x[0], thresholds, 5.0)
    )
    zeroed = interpret(layer(), x)["lif"][0]
    assert expected.sum() > 20
    assert (expected != zeroed).any(), "a reset to a value would give other spikes"
    np.testing.assert_array_equal(interpret(graph, x)["lif"][0], expected)
    lowered = lower(graph)
    image = x[..., np.newaxis, np.newaxis]
    np.testing.assert_array_equal(run_float(lowered, image)["lif"][0, ..., 0, 0], expected)
    integer = quantize(lowered, image)
    judged = simulate(integer, image, backend="integer").signals["lif"]
    assert (judged[0, ..., 0, 0] == expected).mean() > 0.98
    on_lava = simulate(integer, image, backend="lava", timeout_s=HANG_S).signals["lif"]
    np.testing.assert_array_equal(on_lava, judged)


@pytest.mark.parametrize("delay", [False, True])
def test_snntorchs_synaptic_resets_to_zero_at_once_here(delay: bool) -> None:
    """`--from snntorch --reset value` is its `reset_delay=False`; no reset of NIR or of this machine loses an input."""
    fields = {"tau_syn": 2e-3, "w_in": 2.0, "tau_mem": 5e-3, "r": 5.0}
    neurons = graphs.cubalif(4, **fields, v_threshold=np.array([0.7, 1.0, 1.4, 2.0]))
    graph = graphs.chain(
        {"in": graphs.entry(4), "lif": neurons, "out": graphs.result(4)}, dialect="snntorch", reset="value"
    )
    expected = snntorch_synaptic(clip()[0], neurons.v_threshold, delay=delay)
    assert expected.sum() > 20
    assert (interpret(graph, clip())["lif"][0] == expected).all() == (not delay)


def test_the_leak_alone_can_be_exponential() -> None:
    """One input of 1 with r 5, tau 5: v = 1, then exp(-1 / 5), exp(-2 / 5); or from 5 (1 - exp(-1 / 5))."""
    node = graphs.chain({"in": graphs.entry(1), "li": nir.LI(**graphs.filled((1,), tau=5e-3, r=5.0, v_leak=0.0))})
    x = np.array([1.0, 0, 0]).reshape(1, 3, 1)
    for decay, first in (("leak", 1.0), ("exponential", 5 * (1 - math.exp(-0.2))), ("euler", 1.0)):
        node.metadata["decay"] = decay
        keeps = 0.8 if decay == "euler" else math.exp(-0.2)
        found = interpret(node, x)["li"].ravel()
        np.testing.assert_allclose(found, [first, first * keeps, first * keeps**2], rtol=1e-12)


def test_a_clip_may_begin_at_zero() -> None:
    """From v_leak 0.9 nothing is needed; from 0 the potential is 0.9 (1 - 0.5), 0.9 (1 - 0.25), .."""
    node = nir.LI(**graphs.filled((1,), tau=2e-3, r=1.0, v_leak=0.9))
    graph = graphs.chain({"in": graphs.entry(1), "li": node}, start="zero")
    np.testing.assert_allclose(interpret(graph, np.zeros((1, 2, 1)))["li"].ravel(), [0.45, 0.675])
    graph.metadata["start"] = "rest"
    np.testing.assert_allclose(interpret(graph, np.zeros((1, 2, 1)))["li"].ravel(), [0.9, 0.9])


def test_a_late_reset_needs_a_potential_that_lasts() -> None:
    graph = graphs.chain({"in": graphs.entry(1), "lif": graphs.lif(1, tau=1e-3), "out": graphs.result(1)}, T=3)
    graph.metadata["reset"] = "subtract-late"
    with pytest.raises(InputError, match="lif: a reset a time step late, when nothing is left of the potential"):
        lower(graph)


def test_what_is_said_and_what_is_refused() -> None:
    assert dialect_of({}) == Dialect()
    assert dialect_of({"dialect": "snntorch", "reset": "value"}) == Dialect(start="zero")
    assert dialect_notes(DIALECTS["norse"]) == []
    assert dialect_notes(DIALECTS["sinabs"]) == [
        "a reset subtracts the threshold",
        "potentials and currents decay by exp(-dt / tau)",
        "every clip begins with potentials of 0",
    ]
    assert "a reset subtracts the threshold" in lower(layer(reset="subtract")).notes
    with pytest.raises(InputError, match="dialect brian; allowed: norse, snntorch, spikingjelly, sinabs, rockpool"):
        dialect_of({"dialect": "brian"})
    with pytest.raises(InputError, match="reset soft; allowed: value, subtract, subtract-late"):
        dialect_of({"reset": "soft"})
