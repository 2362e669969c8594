"""The integer machine of docs/integer_files.md, from its page: what every population of a stored network sends.

It shares nothing with the simulators of `deploy`, so that it can tell whether spikes of a run follow from its files.

Legend: N clips, T time steps, C channels, H rows, W columns.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hardware.errors import ChipError
from hardware.geometry import ConvGeometry
from hardware.integers import Ints, StoredConnection, StoredNetwork, StoredPopulation

LIMIT = 2**23 - 1
SHIFT = 6  # potentials count in 1/64
NO_VALUE = np.iinfo(np.int64).min


def sent_by_all(network: StoredNetwork, input_NTCHW: Ints) -> dict[str, Ints]:
    """Messages [N, T, C, H, W] of every population for what the input sends.

    Raises ChipError for operations that have no meaning here.
    """
    _require_known(network)
    clips, frames = input_NTCHW.shape[:2]
    sent = {
        name: np.zeros((clips, frames, *population.shape), dtype=np.int64)
        for name, population in network.populations.items()
    }
    into = {name: network.into(name) for name in network.populations}
    membranes = {name: _Membrane(p) for name, p in network.populations.items() if "decay" in p.fields}
    for t in range(frames):
        for name, population in network.populations.items():
            if population.kind == "IntInput":
                sent[name][:, t] = input_NTCHW[:, t]
                continue
            arrived: Ints = np.zeros((clips, *population.shape), dtype=np.int64)
            for connection in into[name]:
                if t >= connection.delay:
                    arrived = arrived + _through(connection, sent[connection.source][:, t - connection.delay], t)
            relayed = name not in membranes
            sent[name][:, t] = arrived + _at(population.bias, t) if relayed else membranes[name].step(arrived, t)
    return sent


def _require_known(network: StoredNetwork) -> None:
    unknown = [f"{c.source} -> {c.target} ({c.kind})" for c in network.connections if c.kind not in _OPERATIONS]
    if unknown:
        raise ChipError(f"operations that are not known here: {', '.join(unknown)}; allowed: {', '.join(_OPERATIONS)}")


class _Membrane:
    """Neurons or integrators of a population, with what they keep."""

    def __init__(self, population: StoredPopulation) -> None:
        self.population, self.fields = population, population.fields
        self.u: Any = self.fields.get("start_current", 0)
        self.v: Any = self.fields.get("start", 0)

    def step(self, arrived: Ints, t: int) -> Ints:
        fields = self.fields
        kept = _towards_zero(self.u, fields["current_decay"]) if "current_decay" in fields else 0
        self.u = kept + (arrived << SHIFT)
        bias = _at(fields["bias_mantissa"], t) << fields["bias_exponent"]
        self.v = np.clip(_towards_zero(self.v, fields["decay"]) + self.u + bias, -LIMIT, LIMIT)
        if not self.population.spiking:
            return np.asarray((self.v + 32) >> SHIFT)
        fires = self.v > fields["threshold"] << SHIFT
        left = self.v - (fields["subtract"] << SHIFT) if "subtract" in fields else 0
        self.v = np.where(fires, left, self.v)
        return fires.astype(np.int64)


def _towards_zero(x: Any, decay: Any) -> Any:
    return np.sign(x) * ((np.abs(x) * (4096 - decay)) >> 12)


def _at(values: Ints, t: int) -> Ints:
    """A value for every time step, or for all."""
    return values[t % len(values)] if values.ndim == 4 else values


def _through(connection: StoredConnection, message_NCHW: Ints, t: int) -> Ints:
    """What arrives of one frame."""
    operation = connection.operation
    total = _OPERATIONS[connection.kind](message_NCHW, operation) * operation.get("multiplier", 1)
    found = _shifted(total, operation["exponent"])
    if connection.gain is None:
        return found
    product, exponent = found * _at(connection.gain["multiplier"], t), connection.gain["exponent"]
    return product << exponent if exponent >= 0 else (product + (1 << (-exponent - 1))) >> -exponent


def _shifted(total: Ints, exponent: int) -> Ints:
    return total << exponent if exponent >= 0 else total >> -exponent


def _windows(x_NCHW: Ints, g: ConvGeometry, outside: int) -> Ints:
    """[N, C, H', W', kh, kw]: what every output sees, and `outside` around the image."""
    rows, columns = g.padding
    padded = np.pad(x_NCHW, [(0, 0), (0, 0), (rows, rows), (columns, columns)], constant_values=outside)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel, strict=True))
    seen = sliding_window_view(padded, spans, axis=(2, 3))  # type: ignore[call-overload]
    return np.asarray(seen[:, :, :: g.stride[0], :: g.stride[1], :: g.dilation[0], :: g.dilation[1]])


def _convolution(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    """Exact: float64 holds whole numbers up to 2^53, sums here have 24 bits."""
    g, weight = operation["geometry"], operation["mantissa"].astype(np.float64)
    seen = _windows(x_NCHW, g, 0).astype(np.float64)
    grouped = seen.reshape(len(seen), g.groups, -1, *seen.shape[2:])
    weight = weight.reshape(g.groups, -1, *weight.shape[1:])
    total = np.einsum("ngcyxkl,gockl->ngoyx", grouped, weight, optimize=True)
    return total.reshape(len(seen), *g.out_shape).astype(np.int64)


def _max_pool(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    return np.asarray(_windows(x_NCHW, operation["geometry"], NO_VALUE).max(axis=(4, 5)))


def _attention(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    g = operation["geometry"]
    q, k, v = np.moveaxis(x_NCHW.reshape(len(x_NCHW), 3, g.heads, g.head_dim, g.tokens), 1, 0)
    found = np.einsum("nhct,nhcs,nhds->nhdt", q, k, v, optimize=True)
    return found.reshape(len(x_NCHW), -1, *x_NCHW.shape[2:])


def _identity(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    return x_NCHW.reshape(len(x_NCHW), *operation["out_shape"])


def _segment(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    values, out_shape, first = x_NCHW.reshape(len(x_NCHW), -1), operation["out_shape"], operation["first"]
    behind = int(np.prod(out_shape)) - first - values.shape[1]
    return np.pad(values, [(0, 0), (first, behind)]).reshape(len(x_NCHW), *out_shape)


def _permutation(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    axes = x_NCHW.reshape(len(x_NCHW), *operation["sizes"]).transpose(0, *(1 + operation["order"]))
    return axes.reshape(len(x_NCHW), *operation["out_shape"])


def _product(x_NCHW: Ints, operation: dict[str, Any]) -> Ints:
    """Exact, as a convolution is: the axes of both operands are those of einsum, the clip in front."""
    g, flat = operation["geometry"], x_NCHW.reshape(len(x_NCHW), -1).astype(np.float64)
    axes = [[0, *(1 + axis for axis in row)] for row in (g.left, g.right, g.output)]
    values: Any = flat[:, : g.values].reshape(len(flat), *(g.sizes[axis] for axis in g.left))
    spikes: Any = (flat[:, g.values :] != 0).reshape(len(flat), *(g.sizes[axis] for axis in g.right))
    total = np.einsum(values, axes[0], spikes, axes[1], axes[2], optimize=True)
    return np.asarray(total.reshape(len(flat), *g.out_shape).astype(np.int64))


_OPERATIONS = {
    "IntConvolution": _convolution,
    "IntMaxPool": _max_pool,
    "IntAttention": _attention,
    "IntIdentity": _identity,
    "IntSegment": _segment,
    "IntPermutation": _permutation,
    "IntProduct": _product,
}
