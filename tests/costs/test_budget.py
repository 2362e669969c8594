"""`--max-cores`: what takes more cores of Loihi 2 is refused in one line that says what would shrink it."""

import pytest

from deploy.costs.budget import require_cores, require_neurons
from hardware import ConvGeometry, IdentityGeometry, Incoming, LayerResources
from svformer.common.errors import InputError

CHAIN = [
    LayerResources(name="first", shape=(4096, 1, 1), inputs=(), outgoing=1),
    LayerResources(
        name="late",
        shape=(4096, 1, 1),
        inputs=(Incoming(source="first", geometry=IdentityGeometry(shape=(4096, 1, 1)), lag=3),),
        outgoing=0,
    ),
]


def test_two_layers_and_three_of_relays_take_five_cores() -> None:
    require_cores(CHAIN, 5)
    with pytest.raises(InputError) as caught:
        require_cores(CHAIN, 4)
    assert str(caught.value) == (
        "--max-cores 4: the network takes 5 cores of Intel Loihi 2, 12,288 relays of delay lines among them; with a "
        "core for each layer, the delay line of first takes most, 3 cores of 5: a shorter delay, or fewer channels in "
        "the layer"
    )
    assert caught.value.exit_code == 2


def test_neurons_alone_decide_before_anything_is_quantised() -> None:
    """3 x 4096 neurons and one more: four cores at least."""
    require_neurons({"a": 3 * 4096, "b": 1}, 4)
    with pytest.raises(InputError, match=r"12,289 neurons, at least 4 cores of Intel Loihi 2; a has most, 12,288"):
        require_neurons({"a": 3 * 4096, "b": 1}, 3)


def test_what_cannot_be_placed_is_refused_at_any_number() -> None:
    geometry = ConvGeometry(in_shape=(100_000, 1, 1), out_channels=1, kernel=(1, 1))
    head = LayerResources(name="head", shape=(1, 1, 1), inputs=(Incoming(source="in", geometry=geometry),), outgoing=0)
    with pytest.raises(InputError, match=r"--max-cores 128: head: one neuron takes 800,000 of the synapse memory"):
        require_cores([head], 128)
