"""What lava-dl's netx can hold of a network: a chain of dense and convolutional layers of CUBA neurons.

`not_held` looks at the form alone, so a network in real numbers is refused before it is calibrated and rounded;
`numbers_not_held` at the integers.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from deploy.exchange.netx.content import Values
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import STATE_SHIFT
from deploy.ir.network import Network
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.operations.identity import IntIdentity
from deploy.ir.populations.base import IntReceiver, changes_with_time
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import IntArray
from hardware.geometry import ConvGeometry, Geometry
from svformer.common.errors import InputError

LARGEST = 252  # units of the largest weight: every exponent up to 2 leaves it within the 254 of a synapse with a sign
HELD = "Allowed: dense and convolutional layers of neurons, each behind the one before; a .nir holds every network"


def require_held(network: Network | IntNetwork) -> None:
    """Raise `InputError` that names every layer which netx cannot hold, and why."""
    problems = list(not_held(network))
    if isinstance(network, IntNetwork) and not problems:
        problems = list(numbers_not_held(network))
    if problems:
        raise InputError(f"a .net file cannot hold this network: {'; '.join(problems)}. {HELD}")


def is_dense(geometry: Geometry) -> bool:
    """Whether every input reaches every output through a weight of its own."""
    if not isinstance(geometry, ConvGeometry):
        return geometry.in_shape[1:] == (1, 1)  # an identity of vectors, as a matrix
    whole = geometry.kernel == geometry.in_shape[1:] and geometry.out_shape[1:] == (1, 1)
    return whole and geometry.groups == 1 and geometry.padding == (0, 0)


def not_held(network: Network | IntNetwork) -> Iterator[str]:
    """Populations and connections that have no place in a chain of layers."""
    names, flat = [network.input_name, *network.receivers], False
    if network.output != names[-1]:
        yield f"{network.output}: the result is not the last layer"
    for before, name in itertools.pairwise(names):
        found = [*_kind(network, name, last=name == names[-1]), *_sources(network, before, name)]
        entering = [c for c in network.into(name) if c.source != name]
        if not found:
            dense = all(is_dense(c.operation.geometry) for c in entering)
            found = [] if dense else list(_convolution(network, name, flat=flat))
            flat = flat or dense
        if found:
            yield f"{name}: {', '.join(found)}"


def _kind(network: Network | IntNetwork, name: str, *, last: bool) -> Iterator[str]:
    population = network.populations[name]
    if population.kind not in ("lif", "integrator"):
        yield population.kind
    elif population.kind == "integrator" and not last:
        yield "neurons that send their potential, in front of other layers"
    if getattr(population, "subtract", None) is not None:
        yield "a reset by subtraction"
    if getattr(population, "start", None) is not None or getattr(population, "start_current", None) is not None:
        yield "a start of a clip other than 0"


def _sources(network: Network | IntNetwork, before: str, name: str) -> Iterator[str]:
    others = {c.source for c in network.into(name)} - {before, name}
    if others:
        yield f"hears {' and '.join(sorted(others))}"
    elif not any(c.source == before for c in network.into(name)):
        yield f"hears nothing of {before}"
    for c in network.into(name):
        geometry = c.operation.geometry
        if geometry.multiplies_signals:
            yield "attention"
        elif not isinstance(geometry, ConvGeometry) and c.operation.in_shape != c.operation.out_shape:
            yield "an identity of another shape"
        if c.gain is not None:
            yield "a gain"
        if c.source == name and (c.delay != 1 or not is_dense(geometry)):
            yield "a loop other than a dense one, a time step late"
    if any(c.source == name for c in network.into(name)) and any(
        c.source != name and c.delay for c in network.into(name)
    ):
        yield "delays in front of a loop, at which netx loses the exponent of its weights"


def _convolution(network: Network | IntNetwork, name: str, *, flat: bool) -> Iterator[str]:
    entering = network.into(name)
    if flat:
        yield "a convolution behind a dense layer"
    if any(c.delay for c in entering):
        yield "a delay in front of a convolution, which netx passes over"
    if len(entering) > 1:
        yield "several connections from one layer"


def numbers_not_held(network: IntNetwork) -> Iterator[str]:
    """Integers that netx has no place for; of a network whose form it holds."""
    entry = network.input
    if entry.scale != 1:
        yield f"{network.input_name}: values in steps of 1/{entry.scale:g}; netx takes whole numbers"
    yield from _carried_on(network)
    for name, receiver in network.receivers.items():
        yield from (f"{name}: {line}" for line in _neurons(receiver))
        shifts = [c.operation.exponent for c in network.into(name) if c.operation.exponent < 0]
        if shifts:
            yield f"{name}: weights with an exponent of {min(shifts)}; netx has whole ones"
        else:
            yield from (f"{name}: {line}" for line in _synapses(name, network.into(name)))


def _carried_on(network: IntNetwork) -> Iterator[str]:
    """Layers of netx run before the first frame reaches them; what biases make them fire then must not arrive later."""
    fires = False
    for name, receiver in network.receivers.items():
        entering, own = network.into(name), bool((receiver.stored_bias > 0).any())
        late = any(c.delay and (fires if c.source != name else fires or own) for c in entering)
        fires = fires or own
        if late:
            yield f"{name}: spikes that biases cause before the first frame, which netx lets through a delay or loop"


def _synapses(name: str, connections: list[IntConnection]) -> Iterator[str]:
    if not is_dense(connections[0].operation.geometry):
        yield from _weights(weight_of(connections[0]), dense=False)
        return
    own, recurrent = ([matrix(c) for c in connections if (c.source == name) == loop] for loop in (False, True))
    if len({c.delay for c in connections if c.source != name}) > 1 and (sum(m != 0 for m in own) > 1).any():
        yield "synapses with several delays each"
    yield from _weights(np.concatenate([np.sum(own, axis=0).ravel(), *(m.ravel() for m in recurrent)]), dense=True)


def weight_of(connection: IntConnection) -> Values:
    """Weights in whole units, for exponents from 0; those of an identity are one."""
    operation = connection.operation
    if isinstance(operation, IntIdentity):
        return np.array([operation.multiplier << operation.exponent])
    assert isinstance(operation, IntConvolution)
    return operation.mantissa.astype(np.int64) << operation.exponent


def matrix(connection: IntConnection) -> Values:
    """Weights [O, I] of a dense connection in whole units."""
    weight, inputs = weight_of(connection), int(np.prod(connection.operation.in_shape))
    if isinstance(connection.operation, IntIdentity):
        return weight * np.eye(inputs, dtype=np.int64)
    return weight.reshape(-1, inputs)


def _weights(weight: Values, *, dense: bool) -> Iterator[str]:
    low, high, odd = int(weight.min()), int(weight.max()), bool((weight % 2).any())
    if not (low >= -256 and high <= 254) or (odd and not (low >= -128 and high <= 127)):
        yield f"weights from {low} to {high}; netx holds -128 to 127, or even ones from -256 to 254"
    if dense and not weight.any():
        yield "weights that are all 0, at which netx fails"


def _neurons(receiver: IntReceiver) -> Iterator[str]:
    assert isinstance(receiver, (IntLif, IntIntegrator))
    if changes_with_time(receiver.bias_mantissa):
        yield "a bias of every time step"
    elif ((receiver.bias_mantissa << receiver.bias_exponent) % (1 << STATE_SHIFT)).any():
        yield "a bias that is no whole number of units; netx counts biases in those"
    parameters: dict[str, IntArray | None] = {"decay": receiver.decay, "current_decay": receiver.current_decay}
    if isinstance(receiver, IntLif):
        parameters["threshold"] = receiver.threshold
    for what, values in parameters.items():
        if values is not None and by_channel(values) is None:
            yield f"a {what} that differs within a channel"


def by_channel(values: IntArray) -> Values | None:
    """The value of all, [1], or of every channel, [C], of values that broadcast to (C, H, W); None for more of them."""
    if np.ptp(values) == 0:
        return values.reshape(-1)[:1]
    rows = values.reshape(len(values), -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None
