"""NIR graph -> lowered network, one pass after the other; every network on the way can be looked at."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import nir

from deploy.ir.contracts import check_network
from deploy.ir.network import Convolution, Network, Relay
from deploy.passes.from_nir import from_nir
from deploy.passes.merge_linear_chains import Merge, merge_linear_chains
from deploy.passes.normalise_gains import normalise_gains
from deploy.passes.split_relays import split_relays


@dataclass(frozen=True, kw_only=True)
class LoweringStep:
    """The network after one pass, and how large it is."""

    name: str
    what: str  # first sentence of what the pass says about itself
    network: Network

    @property
    def populations(self) -> int:
        return len(self.network.populations)

    @property
    def relays(self) -> int:
        """Populations that pass on real numbers."""
        return sum(isinstance(population, Relay) for population in self.network.populations.values())

    @property
    def connections(self) -> int:
        return len(self.network.connections)

    @property
    def weights(self) -> int:
        """Values of all kernels."""
        operations = (c.operation for c in self.network.connections)
        return sum(operation.weight.size for operation in operations if isinstance(operation, Convolution))


def lowering_steps(
    graph: nir.NIRGraph,
    *,
    frames: int | None = None,
    dt_s: float | None = None,
    merge: Merge | None = None,
    rates: Mapping[str, float] | None = None,
) -> Iterator[LoweringStep]:
    """The network as read, then after every pass; raises `InputError` for what cannot be mapped exactly.

    `merge` decides about chains of convolutions: a chip by its energy at the firing `rates` of the layers (default: a
    rate that is assumed), "always" or "never" (see `merge_linear_chains`).
    """
    passes: dict[Callable[..., Network], dict[str, Any]] = {
        merge_linear_chains: {"merge": merge, "rates": rates},
        normalise_gains: {},
        split_relays: {},
    }
    network = from_nir(graph, frames=frames, dt_s=dt_s)
    yield _checked(network, "from_nir", "Every node becomes a population or a connection.")
    for lowering, options in passes.items():
        network = lowering(network, **options)
        documentation = str(sys.modules[lowering.__module__].__doc__)
        yield _checked(network, lowering.__name__, documentation.split("\n\n")[0].replace("\n", " "))


def _checked(network: Network, name: str, what: str) -> LoweringStep:
    check_network(network, after=name)
    return LoweringStep(name=name, what=what, network=network)


def lower(
    graph: nir.NIRGraph,
    *,
    frames: int | None = None,
    dt_s: float | None = None,
    merge: Merge | None = None,
    rates: Mapping[str, float] | None = None,
) -> Network:
    """NIR graph -> network of populations, by all passes; the arguments and errors are those of `lowering_steps`."""
    *_, last = lowering_steps(graph, frames=frames, dt_s=dt_s, merge=merge, rates=rates)
    return last.network
