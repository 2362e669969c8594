"""Integer network -> plan: the time step at which every population sees each frame.

Every synapse takes one time step. A population with `depth` synapses in front of it (on the longest path) sees frame
f at step 1 + depth + f; a shorter path waits in a delay line inside the synapse that it enters, so that all branches
deliver the same frame at the same step. A population is reset exactly when the first frame of a clip reaches it,
which lets clips follow each other without a pause: T steps a clip, and `depth` more for the last to come out.

A loop gives its synapses the steps that its delays hold back anyway: a spike that reaches its own layer one time step
late passes one synapse on the way.
"""

from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.loops import grouped
from deploy.ir.machine import MAX_DELAY
from deploy.ir.plan import Plan
from deploy.passes.loop_speed import require_time
from svformer.common.errors import InputError


def schedule(network: IntNetwork) -> Plan:
    """Balance all paths; raises `InputError` when a delay is longer than a synapse can hold, or a loop too fast."""
    require_time(network.connections)
    depths = _depths(network)
    lags = tuple(_lag(network, depths, c) for c in network.connections)
    long = [_explain(c, lag) for c, lag in zip(network.connections, lags, strict=True) if lag > MAX_DELAY]
    if long:
        raise InputError(f"delays above {MAX_DELAY} time steps: {'; '.join(long)}; a synapse cannot hold them")
    return Plan(depths=depths, connections=network.connections, lags=lags, frames=network.frames)


def _lag(network: IntNetwork, depths: dict[str, int], connection: IntConnection) -> int:
    """Time steps that a connection waits; what sends the same in every time step is never late."""
    if network.populations[connection.source].kind == "constant":
        return 0
    return depths[connection.target] - depths[connection.source] - 1 + connection.delay


def _depths(network: IntNetwork) -> dict[str, int]:
    """Synapses on the longest path to every population.

    In a loop a delay of the model is time that its synapses may take: they need as many steps of it as they are.
    """
    groups = grouped(network.populations, ((c.source, c.target) for c in network.connections))
    group_of = {name: i for i, group in enumerate(groups) for name in group}
    depths: dict[str, int] = {}
    for i, group in enumerate(groups):
        entering = [c for name in group for c in network.into(name) if group_of[c.source] != i]
        inner = [c for name in group for c in network.into(name) if group_of[c.source] == i]
        depths |= {name: _least_depth(network, name) for name in group}
        for c in entering:
            depths[c.target] = max(depths[c.target], depths[c.source] + 1)
        _settle(depths, inner, group)
    return {name: depths[name] for name in network.populations}


def _least_depth(network: IntNetwork, name: str) -> int:
    """Depth of a population that nothing reaches: frames come from outside at depth 0, neurons begin behind that."""
    return 0 if network.populations[name].kind in ("input", "constant") else 1


def _settle(depths: dict[str, int], loop: list[IntConnection], group: tuple[str, ...]) -> None:
    """Raise the depths in a loop until every synapse has its step; that ends where no way round has too few delays."""
    for _ in group:
        for c in loop:
            depths[c.target] = max(depths[c.target], depths[c.source] + 1 - c.delay)


def _explain(connection: IntConnection, lag: int) -> str:
    return f"{connection.source} -> {connection.target} {lag} ({connection.delay} of the model)"
