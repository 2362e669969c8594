"""What rounded weights add to mean currents, taken back where a chip has a bias: by neurons, not by relays in front.

Biases take back what rounding adds on average (`deploy.passes.quantize`). That of a relay without a bias of its own
(`deploy.passes.move_biases`) would need one again; so the neurons that hear it take it back in its place.
"""

from collections.abc import Mapping

import numpy as np

from deploy.ir.network import Connection, Network
from deploy.ir.populations.base import changes_with_time
from deploy.ir.types import Array, Shape
from deploy.passes.move_biases import passes_constants_on

NO_DRIFT: Array = np.zeros((1, 1, 1))


def pass_drifts_on(network: Network, drifts: Mapping[str, Array]) -> dict[str, Array]:
    """Mean currents by target, [O, 1, 1] each, with those of such relays at what hears them.

    They stay where several readers have no bias yet: each would need one in the place of the relay's.
    """
    found = dict(drifts)
    for name, receiver in network.receivers.items():
        drift = found.get(name, NO_DRIFT)
        bare = receiver.kind == "relay" and not receiver.bias.any() and not changes_with_time(drift)
        if bare and drift.any() and passes_constants_on(network, name) and not _unbiased(network, name, found):
            for c in network.out_of(name):
                found[c.target] = found.get(c.target, NO_DRIFT) + _behind(c, drift, receiver.shape)
            found[name] = NO_DRIFT
    return found


def _unbiased(network: Network, name: str, drifts: Mapping[str, Array]) -> set[str]:
    """Readers of a relay that have no bias, and nothing to take back by one."""
    readers = {c.target for c in network.out_of(name)}
    return {t for t in readers if not (network.receivers[t].bias.any() or drifts.get(t, NO_DRIFT).any())}


def _behind(connection: Connection, drift: Array, shape: Shape) -> Array:
    """A mean current behind a connection, on average over positions, [O, 1, 1]."""
    arrived = connection.operation(np.broadcast_to(drift, shape)[np.newaxis])
    arrived = arrived if connection.gain is None else arrived * connection.gain
    return np.asarray(arrived[0].mean(axis=(1, 2), keepdims=True))
