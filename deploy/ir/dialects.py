"""Dialects: what the files of a framework leave out about its neurons, and what is assumed for it.

NIR's equations are continuous in time and reset to a value; frameworks compute in time steps, some with an exact decay,
some with a reset that subtracts, and begin a clip at different potentials. A graph may say its dialect in its metadata,
by the name of the framework or property by property; `--from` and `--reset` write it there.

    reset        value          v <- v_reset
                 subtract       v <- v - v_threshold
                 subtract-late  the same in the next time step, behind the decay: v - v_threshold / (1 - dt / tau)
    decay        euler          v <- v + dt / tau (v_leak - v + r u)
                 exponential    v <- v + (1 - exp(-dt / tau)) (v_leak - v + r u), and so u
                 leak           the leak is exponential, what is added is not: dt / tau r u
    start        rest           v_leak (v_reset for IF; 0 for I)
                 zero           0
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from svformer.common.errors import InputError

DIALECT = "dialect"  # key in a graph's metadata
CHOICES = {
    "reset": ("value", "subtract", "subtract-late"),
    "decay": ("euler", "exponential", "leak"),
    "start": ("rest", "zero"),
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the neurons of a file are meant; see above."""

    reset: str = "value"
    decay: str = "euler"
    start: str = "rest"


NIR = Dialect()
DIALECTS = {
    "norse": NIR,
    "snntorch": Dialect(reset="subtract-late", start="zero"),
    "spikingjelly": NIR,
    "sinabs": Dialect(reset="subtract", decay="exponential", start="zero"),
    "rockpool": Dialect(reset="subtract", decay="leak", start="zero"),
    "nengo": Dialect(decay="exponential", start="zero"),
    "spyx": Dialect(reset="subtract-late", start="zero"),
}


def dialect_of(metadata: Mapping[str, Any]) -> Dialect:
    """The dialect that a graph's metadata say; raises `InputError` for one that there is not."""
    name = metadata.get(DIALECT)
    if name is not None and name not in DIALECTS:
        raise InputError(f"{DIALECT} {name}; allowed: {', '.join(DIALECTS)}")
    said = {key: str(metadata[key]) for key in CHOICES if key in metadata}
    for key, value in said.items():
        if value not in CHOICES[key]:
            raise InputError(f"{key} {value}; allowed: {', '.join(CHOICES[key])}")
    return replace(DIALECTS[name] if name else NIR, **said)


def dialect_notes(dialect: Dialect) -> list[str]:
    """What differs from NIR's own equations, a line each."""
    return [WORDS[getattr(dialect, f.name)] for f in fields(Dialect) if getattr(dialect, f.name) != f.default]


WORDS = {
    "subtract": "a reset subtracts the threshold",
    "subtract-late": "a reset subtracts the threshold in the next time step",
    "exponential": "potentials and currents decay by exp(-dt / tau)",
    "leak": "potentials and currents decay by exp(-dt / tau), what is added counts dt / tau",
    "zero": "every clip begins with potentials of 0",
}
