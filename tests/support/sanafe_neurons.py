"""The LIF layers of an integer network as neurons of SANA-FE's Loihi: `leaky_integrate_fire` of its own loihi.yaml.

Convolutions of spikes between LIF layers become synapses there, with the weights of the network, over which SANA-FE's
own spikes travel. Nothing in SANA-FE carries a value: what graded messages and attention bring to a layer is given, as
a part of its bias of every time step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import sanafe
from numpy.typing import NDArray

import unrolled
from deploy.ir.integer import IntConnection, IntNetwork
from deploy.ir.machine import DECAY_ONE, STATE_UNIT
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.lif import IntLif
from deploy.ir.types import Signals

ROOM = 1024  # neurons of a core


@dataclass(frozen=True, kw_only=True)
class Fired:
    """What SANA-FE's neurons did: by layer its spikes, bool [T, neurons], and the synapses between the layers."""

    spikes: dict[str, NDArray[np.bool_]]
    synapses: int


def fired(network: IntNetwork, signals: Signals) -> Fired:
    """Spikes of all LIF layers for the first clip of the messages that a run sent."""
    layers = {name: p for name, p in network.populations.items() if isinstance(p, IntLif)}
    links = [c for c in network.connections if c.target in layers and _is_synapses(c, layers)]
    begins = _begins(list(layers), links)
    arch = sanafe.load_arch(str(files("sanafe.examples") / "loihi.yaml"))
    net, cores = sanafe.Network(), iter(arch.cores())
    groups = {name: _group(net, cores, name, layer) for name, layer in layers.items()}
    synapses = sum(_connect(groups, link) for link in links)
    chip = sanafe.SpikingChip(arch)
    chip.load(net)
    given = {name: _given(network, name, links, signals) for name in layers}
    return Fired(spikes=_run(chip, given, begins), synapses=synapses)


def _is_synapses(link: IntConnection, layers: Mapping[str, IntLif]) -> bool:
    weighted = isinstance(link.operation, IntConvolution) and link.operation.exponent >= 0
    return link.source in layers and weighted and link.gain is None and not link.delay


def _begins(layers: list[str], links: list[IntConnection]) -> dict[str, int]:
    """The step at which every layer has its first frame: a spike takes one, and paths that meet are equally long."""
    found = dict.fromkeys(layers, 0)
    for link in sorted(links, key=lambda link: layers.index(link.target)):
        found[link.target] = found[link.source] + 1
    if any(found[link.target] != found[link.source] + 1 for link in links):
        raise ValueError("spikes of one frame would reach a layer at different steps")
    return found


def _group(net: Any, cores: Any, name: str, layer: IntLif) -> Any:
    """The neurons of a layer, on cores of their own."""
    if layer.current_decay is not None or layer.start is not None or layer.start_current is not None:
        raise ValueError(f"{name}: SANA-FE rounds no current that has a memory, and begins at rest")
    if layer.subtract is not None and not np.array_equal(layer.subtract, layer.threshold):
        raise ValueError(f"{name}: SANA-FE's reset by subtraction takes the threshold")
    decays, thresholds = (np.broadcast_to(v, layer.shape).ravel() for v in (layer.decay, layer.threshold))
    group = net.create_neuron_group(
        name,
        len(decays),
        default_synapse_hw_name="loihi_conv_synapse",
        default_dendrite_hw_name="loihi_dendrites",
        soma_hw_name="loihi_lif",
    )
    always = {
        "reset_mode": "hard" if layer.subtract is None else "soft",
        "reverse_threshold": -1e9,
        "force_update": True,
    }
    for i, neuron in enumerate(group):
        leak = (DECAY_ONE - int(decays[i])) / DECAY_ONE
        attributes = {**always, "threshold": int(thresholds[i]), "leak_decay": leak, "bias": 0}
        neuron.set_attributes(model_attributes=attributes, log_spikes=True)
        if i % ROOM == 0:
            core = next(cores)
        neuron.map_to_core(core)
    return group


def _connect(groups: Mapping[str, Any], link: IntConnection) -> int:
    operation = link.operation
    assert isinstance(operation, IntConvolution)
    pairs, weights = unrolled.weighted_pairs(operation.geometry, operation.mantissa << operation.exponent)
    groups[link.source].connect_neurons_sparse(groups[link.target], {"w": weights.tolist()}, pairs.tolist())
    return len(weights)


def _given(network: IntNetwork, name: str, links: list[IntConnection], signals: Signals) -> NDArray[np.float64]:
    """Bias of every time step in the unit of the weights, and what arrives over no synapse, [T, neurons]."""
    layer = network.receivers[name]
    others = [c for c in network.into(name) if c not in links]
    arrived = sum((c(signals[c.source][:1])[0] for c in others), start=np.zeros((network.frames, *layer.shape)))
    return (arrived + layer.bias_by_step(network.frames) / STATE_UNIT).reshape(network.frames, -1)


def _run(
    chip: Any, given: Mapping[str, NDArray[np.float64]], begins: Mapping[str, int]
) -> dict[str, NDArray[np.bool_]]:
    spikes = {name: np.zeros(bias.shape, dtype=bool) for name, bias in given.items()}
    neurons = {name: list(chip.mapped_neuron_groups[name]) for name in given}
    frames = len(next(iter(given.values())))
    for step in range(frames + max(begins.values())):
        for name, begin in begins.items():
            if 0 <= step - begin < frames:
                for neuron, bias in zip(neurons[name], given[name][step - begin].tolist(), strict=True):
                    neuron.set_attributes(model_attributes={"bias": bias})
        found = chip.sim(1, timing_model="simple", processing_threads=1, spike_trace=True)
        for address in found["spike_trace"][0]:
            frame = step - begins[address.group_name]
            if frame < frames:
                spikes[address.group_name][frame, address.neuron_offset] = True
    return spikes
