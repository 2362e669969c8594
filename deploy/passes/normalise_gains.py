"""Move what a gain has in common at all time steps into the weights in front of it.

Before:  [w] -> gain g[t, c]
After:   [w * m] -> gain g[t, c] / m,  m[c] the root mean square of g over time

So the weights of all channels are as large as they would be without gains for every time step, and share one exponent
well; a gain that is the same at every time step disappears.
"""

from dataclasses import replace

import numpy as np

from deploy.ir.network import Connection, Network


def normalise_gains(network: Network) -> Network:
    """Scale kernels so that the gains behind them are about 1; the network computes the same."""
    return replace(network, connections=tuple(_normalised(c) for c in network.connections))


def _normalised(connection: Connection) -> Connection:
    gain = connection.gain
    if gain is None or gain.shape[2:] != (1, 1):
        return connection
    static = len(gain) == 1
    common = gain if static else np.sqrt((gain**2).mean(axis=0, keepdims=True))  # [1, C, 1, 1]
    scaled = connection.operation.with_output_factors(common.ravel())
    if scaled is None:
        return connection
    if static:
        return replace(connection, operation=scaled, gain=None)
    relative = np.divide(gain, common, out=np.zeros_like(gain), where=common > 0)
    return replace(connection, operation=scaled, gain=relative)
