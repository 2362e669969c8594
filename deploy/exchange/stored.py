"""Any dataclass of the integer machine as plain values, field by field, and back: docs/integer_files.md.

An object is a group with the name of its class under `kind` and one entry for each field; a field that is None is left
out. A new population is stored once its class stands in `POPULATIONS`, an operation or a geometry without a line here.
"""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from deploy.ir.integer import IntConnection, IntGain
from deploy.ir.operations.base import IntOperation
from deploy.ir.operations.table import OPERATORS
from deploy.ir.populations.input import IntInput
from deploy.ir.populations.integrator import IntIntegrator
from deploy.ir.populations.lif import IntLif
from deploy.ir.populations.relay import IntRelay
from hardware.geometry import GEOMETRIES

KIND = "kind"
POPULATIONS = (IntInput, IntRelay, IntLif, IntIntegrator)
OPERATIONS = tuple(operator.integer for operator in OPERATORS)
KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (*POPULATIONS, *OPERATIONS, *GEOMETRIES, IntConnection, IntGain)
}

Plain = Any  # numbers, texts, arrays, and dictionaries of them


def stored(value: Any) -> Plain:
    """Plain values of a dataclass of `KINDS`; raises `ValueError` for another."""
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__
        if kind not in KINDS:
            raise ValueError(f"{kind} has no form in a file")
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {KIND: kind, **{name: stored(item) for name, item in found.items() if item is not None}}
    return np.asarray(value, dtype=np.int64) if isinstance(value, tuple) else value


def restored(plain: Plain, *, allowed: tuple[type, ...] = ()) -> Any:
    """The dataclass of plain values; `allowed` are the kinds that it may be (default: all).

    Raises `ValueError` that names the field, what was found there and what is allowed.
    """
    if not isinstance(plain, Mapping) or not isinstance(plain.get(KIND), str):
        raise ValueError(f"no {KIND}; allowed: a group with one")
    kind = KINDS.get(plain[KIND])
    if kind is None or (allowed and not issubclass(kind, allowed)):
        names = [name for name, known in KINDS.items() if not allowed or issubclass(known, allowed)]
        raise ValueError(f"{KIND} {plain[KIND]}; allowed: {', '.join(names)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := plain.keys() - fields.keys() - {KIND}:
        raise ValueError(f"{plain[KIND]} has no {', '.join(sorted(unknown))}; allowed: {', '.join(fields)}")
    hints, found = get_type_hints(kind), dict[str, Any]()
    for name, field in fields.items():
        if name in plain:
            found[name] = _of(hints[name], plain[name], name)
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"{plain[KIND]} needs {name}, which is not there")
    return kind(**found)


def same(a: Plain, b: Plain) -> bool:
    """Whether plain values are equal, types of arrays included."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(type(a) is type(b) and a == b)


def _of(hint: Any, plain: Plain, name: str) -> Any:
    """A value of the type that a field has."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (option for option in get_args(hint) if option is not type(None))
    try:
        if isinstance(plain, Mapping):
            return restored(plain, allowed=OPERATIONS if hint is IntOperation else (hint,))
        if get_origin(hint) is tuple:
            return _numbers(hint, plain)
        if get_origin(hint) is np.ndarray:
            return _array(hint, plain)
        return _single(hint, plain)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _numbers(hint: Any, plain: Plain) -> tuple[int, ...]:
    found, any_number = np.asarray(plain), Ellipsis in get_args(hint)
    length = found.size if any_number else len(get_args(hint))
    if found.dtype.kind not in "iu" or found.shape != (length,):
        raise ValueError(f"{found.dtype} of shape {list(found.shape)}; allowed: {length} whole numbers")
    return tuple(found.tolist())


def _array(hint: Any, plain: Plain) -> Any:
    """An array of the type that the machine works with; no value may change on the way."""
    wanted, found = np.dtype(get_args(get_args(hint)[1])[0]), np.asarray(plain)
    if (found.dtype.kind == "b") != (wanted.kind == "b") or found.dtype.kind not in "iub" or not found.size:
        raise ValueError(f"{found.dtype} of shape {list(found.shape)}; allowed: values of {wanted}")
    turned = found.astype(wanted)
    if (turned != found).any():
        raise ValueError(f"values from {found.min()} to {found.max()}; allowed: those of {wanted}")
    return turned


def _single(hint: Any, plain: Plain) -> Any:
    found = np.asarray(plain)
    kinds = {int: "iu", float: "f", str: "U", bool: "b"}.get(str if get_origin(hint) is Literal else hint)
    if kinds is None or found.shape or found.dtype.kind not in kinds:
        raise ValueError(f"{found.dtype} of shape {list(found.shape)}; allowed: {getattr(hint, '__name__', hint)}")
    return found.item()
