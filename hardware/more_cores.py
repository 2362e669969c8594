"""What more cores buy a placed network: the slowest layer is dealt out over one core more, again and again."""

from dataclasses import dataclass, field

from hardware.keys import key
from hardware.placed import Activity, PlacedNetwork, Work
from hardware.unit_costs import UnitCosts


@dataclass(frozen=True, kw_only=True)
class WithCores:
    """Time and energy of a clip on so many cores."""

    layer: str = field(metadata=key("the layer that got the last core"))
    cores: int = field(metadata=key("cores of the whole network"))
    clip_s: float = field(metadata=key("time of a clip, at least", "s"))
    mj: float = field(metadata=key("energy of a clip by all units", "mJ"))


def slowest(network: PlacedNetwork, work: Work, costs: UnitCosts) -> list[str]:
    """All layers, that with the busiest core first."""
    seconds = network.layer_s(work, costs)
    return sorted(seconds, key=lambda name: -seconds[name])


def one_more(
    network: PlacedNetwork, work: Work, name: str, activity: Activity, *, travelled: bool = True
) -> tuple[PlacedNetwork, Work]:
    """The network with another core for one layer, and its work; `work` is that of the network as it is."""
    moved = network.moved(network.spread.with_one_more(name))
    return moved, moved.work(activity, travelled=travelled, known=work)


def with_cores(network: PlacedNetwork, work: Work, layer: str, costs: UnitCosts) -> WithCores:
    """Time and energy of a network whose layer got the last core."""
    return WithCores(
        layer=layer,
        cores=network.spread.cores,
        clip_s=float(work.step_s(costs).sum()),
        mj=sum(work.events.energy_mj(costs).values()),
    )


def fill(network: PlacedNetwork, work: Work, activity: Activity, costs: UnitCosts, most: int) -> WithCores | None:
    """The slowest layer gets a core until `most` are taken, or it has one for each neuron; None: no core is left."""
    last = None
    while network.spread.cores < most:
        layer = slowest(network, work, costs)[0]
        if network.spread.numbers[layer] >= activity[layer].shape[1]:
            break
        network, work = one_more(network, work, layer, activity, travelled=False)
        last = layer
    return None if last is None else with_cores(network, network.work(activity, known=work), last, costs)
