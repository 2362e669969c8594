"""What the fields of a node in a file may hold, told before `nir` makes a node of them.

`nir`'s constructors take what they get, and fail later, without the node's name. Every rule here is about one field by
itself; whether a node fits its neighbours is said in shapes.py.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

import nir
import numpy as np

from deploy.ir.extension import LEAST, ExtensionNode
from deploy.ir.nodes import EXTENSIONS
from deploy.ir.types import IntArray

Fields = Mapping[str, Any]
Rule = Callable[[str, Any], str | None]  # of the kind of node and the values: what is wrong with them

# What damaged files make NumPy, h5py and nir raise, none of which names an error of its own.
DAMAGED = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

OPTIONAL = ("input_shape", "input_type", "v_reset", "metadata", "version")
WRITTEN_AS = {"Input": {"input_type": "shape"}, "Output": {"output_type": "shape"}}  # names in a file
RANKS = {"Conv1d": 3, "Conv2d": 4}  # of weights
LARGEST = 2**31 - 1  # of sizes, strides and paddings
TEXTS = ("same", "valid")  # paddings


def problems_of(kind: str, fields: Fields) -> list[str]:
    """What is wrong with the fields of a node of a known kind: missing, unknown, or of values that cannot be."""
    names = _names(kind)
    missing = [f"the field {name} is missing" for name, needed in names.items() if needed and name not in fields]
    unknown = [name for name in fields if name not in (*names, "type")]
    own = [name for name in names if name != "metadata"]
    found = [f"the field {name} is unknown; allowed: {', '.join(own)}" for name in unknown]
    for name, value in fields.items():
        if name in names and (problem := _problem(kind, name, value)):
            found.append(f"{name}: {problem}")
    return [*missing, *found] or list(_together(kind, fields))


def _names(kind: str) -> dict[str, bool]:
    """Names of a node's fields in a file, and whether it has to have them."""
    cls: Any = EXTENSIONS.get(kind) or getattr(nir, kind)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    renamed = WRITTEN_AS.get(kind, {})
    defaults = (dataclasses.MISSING, dataclasses.MISSING)
    return {
        renamed.get(name, name): (f.default, f.default_factory) == defaults and name not in OPTIONAL
        for name, f in fields.items()
    }


def _problem(kind: str, name: str, value: Any) -> str | None:
    if name == "metadata":
        return None if isinstance(value, dict) else f"{_shown(value)}; allowed: a group"
    if name == "padding" and kind in RANKS and _text(value) is not None:
        return None if _text(value) in TEXTS else f"{_shown(value)}; allowed: {' or '.join(TEXTS)}, or whole numbers"
    values = _numbers(value)
    if values is None:
        return f"{_shown(value)}; allowed: real numbers"
    if not values.size:
        return "no values"
    rule = RULES.get(name) or _rule_of_ours(kind, name)
    return None if rule is None else rule(kind, values)


def _numbers(value: Any) -> Any:
    """The value as an array of real numbers; None for what is none."""
    if isinstance(value, (dict, str, bytes)):
        return None
    values = np.asarray(value)
    return values if values.dtype.kind in "biuf" else None


def _text(value: Any) -> str | None:
    word = value.decode(errors="replace") if isinstance(value, bytes) else value
    return word if isinstance(word, str) else None


def _shown(value: Any) -> str:
    """A value in a few letters."""
    if isinstance(value, dict):
        return f"a group ({', '.join(map(str, value))})"
    if (word := _text(value)) is not None:
        return f"the text '{word}'"
    values = np.asarray(value)
    return f"{values.dtype} values" if values.dtype.kind not in "biuf" else str(values.tolist())


def _whole(least: int, *sizes: int) -> Rule:
    """Whole numbers from `least`; as many as one of `sizes` says, where it says any."""

    def problem(kind: str, values: Any) -> str | None:
        if not np.isfinite(values).all() or (values < least).any() or (values != np.rint(values)).any():
            return f"{values.tolist()}; allowed: whole numbers from {least}"
        if (values > LARGEST).any():
            return f"{values.tolist()}; allowed: whole numbers up to {LARGEST:,}"
        allowed = (1,) if kind == "Conv1d" else sizes
        if sizes and values.size not in allowed:
            return f"{values.tolist()}; allowed: {' or '.join(map(str, allowed))} of them"
        return None

    return problem


def _rank(kind: str, values: Any) -> str | None:
    rank = RANKS.get(kind)
    if values.ndim == rank or (rank is None and values.ndim >= 2):
        return None
    return f"shape {list(values.shape)}; allowed: {rank or 'at least 2'} dimensions"


def _axis(kind: str, values: Any) -> str | None:
    whole = values.size == 1 and np.isfinite(values).all() and (values == np.rint(values)).all()
    return None if whole else f"{values.tolist()}; allowed: one whole number"


def _number(kind: str, values: Any) -> str | None:
    finite = values.size == 1 and np.isfinite(values).all()
    return None if finite else f"{values.tolist()}; allowed: one finite number"


def _rule_of_ours(kind: str, name: str) -> Rule | None:
    """What a node of ours says by the type of its field: whole numbers, or one number."""
    cls = EXTENSIONS.get(kind)
    if cls is None or not issubclass(cls, ExtensionNode):
        return None
    hint, (own,) = get_type_hints(cls)[name], [f for f in dataclasses.fields(cls) if f.name == name]
    least = own.metadata.get(LEAST, 0)
    return {int: _whole(least, 1), IntArray: _whole(least), float: _number}.get(hint)


def _shape(kind: str, values: Any) -> str | None:
    if values.ndim > 1:
        return f"{values.tolist()}; allowed: a list of whole numbers"
    return _whole(-1 if kind == "Output" else 1)(kind, values)  # what arrives tells the shape of an Output


RULES: dict[str, Rule] = {
    "weight": _rank,
    "stride": _whole(1, 1, 2),
    "dilation": _whole(1, 1, 2),
    "kernel_size": _whole(1, 1, 2),
    "padding": _whole(0, 1, 2),
    "groups": _whole(1, 1),
    "shape": _shape,
    "input_shape": _whole(1),
    "output_shape": _whole(1),
    "start_dim": _axis,
    "end_dim": _axis,
}


def _together(kind: str, fields: Fields) -> Iterator[str]:
    """Fields that have to agree with each other: the outputs of weights with groups and bias."""
    if kind not in ("Affine", "Conv1d", "Conv2d"):
        return
    weight, bias = np.asarray(fields["weight"]), np.asarray(fields["bias"])
    outputs = weight.shape[-2:-1] if kind == "Affine" else weight.shape[:1]
    full = (*weight.shape[:-2], *outputs) if kind == "Affine" else outputs
    if bias.size != 1 and bias.shape != full:
        yield f"bias: shape {list(bias.shape)}; allowed: {list(full)}, a value for every output of the weights"
    groups = int(np.asarray(fields.get("groups", 1)).item())
    if kind != "Affine" and outputs[0] % groups:
        yield f"groups: {groups}; allowed: a divisor of the {outputs[0]} outputs of the weights"
