"""The ways to round a network that are columns of `precision_table.py`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a network is rounded."""

    title: str
    weight_bits: int = 8
    tuned: bool = False
    fine_layers: int = 0
    slayer: bool = False  # by lava-dl's rule, in real numbers
    slayer_fits: bool = False  # with the finest scale of each connection that clips nothing


WAYS = {
    "8": Way(title="8 bits"),
    "8_tuned": Way(title="8 bits, tuned", tuned=True),
    "4": Way(title="4 bits", weight_bits=4),
    "4_tuned": Way(title="4 bits, tuned", weight_bits=4, tuned=True),
    "8_fine": Way(title="8 bits, 3 fine layers", fine_layers=3),
    "slayer": Way(title="rounded as slayer does, scale 64", slayer=True),
    "slayer_fit": Way(title="rounded as slayer does, own scales", slayer=True, slayer_fits=True),
}
USUAL = ("8", "8_tuned", "4", "4_tuned")
