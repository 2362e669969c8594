"""How the page writes numbers: with units, three digits where they are measured, all digits where they are counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from svformer.common.terminal import counted

NONE = "–"
NARROW = "\N{NARROW NO-BREAK SPACE}"  # between a number and its unit

ENERGY_UNITS = (("J", 1e-3), ("mJ", 1.0), ("µJ", 1e3), ("nJ", 1e6), ("pJ", 1e9))  # per millijoule


@dataclass(frozen=True, kw_only=True)
class BarPart:
    """Part of a stacked bar, in per cent of the bar's full width."""

    name: str
    start: float
    width: float
    value: float


def count(value: float | None) -> str:
    """A count, or the mean of counts over clips: "6,554,475", "15.2"."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as per cent; a share that only rounds to 0 or 100 does not pretend to be it."""
    if share is None:
        return NONE
    smallest = 0.5 * 10.0**-digits
    if 0 < 100 * share < smallest:
        return f"<{NARROW}{10.0**-digits:g}{NARROW}%"
    if 100 - smallest <= 100 * share < 100:
        return f">{NARROW}{100 - 10.0**-digits:g}{NARROW}%"
    return f"{100 * share:.{digits}f}{NARROW}%"


def energy(mj: float | None, digits: int = 3) -> str:
    """Millijoule in the unit that needs no leading zeros: "37.2 µJ"."""
    if mj is None:
        return NONE
    if mj == 0:
        return "0"
    unit, factor = next((u for u in ENERGY_UNITS if abs(mj) * u[1] >= 0.9995), ENERGY_UNITS[-1])
    return f"{significant(mj * factor, digits)}{NARROW}{unit}"


def significant(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, never an exponent: "0.0372", "1,230"."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:#.{digits}g}".rstrip(".")


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{significant(1000 * seconds)}{NARROW}ms" if seconds < 1 else f"{significant(seconds)}{NARROW}s"


def size(shape: list[int] | tuple[int, ...]) -> str:
    """A shape as "3 × 64 × 64"."""
    return f"{NARROW}×{NARROW}".join(map(str, shape))


def stacked(parts: Mapping[str, float], full: float) -> list[BarPart]:
    """Parts of a bar one after the other, where `full` is 100 %; empty parts are left out."""
    segments, start = list[BarPart](), 0.0
    for name, value in parts.items():
        width = 100 * value / full if full else 0.0
        if width:
            segments.append(BarPart(name=name, start=start, width=width, value=value))
        start += width
    return segments


def words(key: str) -> str:
    """A key of a chip file as words: "fan in axons"."""
    return key.replace("_", " ")


def total(parts: Mapping[str, float]) -> float:
    return sum(parts.values())


FILTERS: dict[str, Callable[..., Any]] = {
    "count": count,
    "percent": percent,
    "energy": energy,
    "significant": significant,
    "duration": duration,
    "size": size,
    "counted": counted,
    "stacked": stacked,
    "words": words,
    "total": total,
}
