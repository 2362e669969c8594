"""Energy of this machine's processor while something runs, by its own counters (RAPL), what it draws idle subtracted.

Linux shows the counters of Intel's and AMD's processors in /sys/class/powercap, one a socket. They are read here in a
few lines: of the libraries that do it, those that do this alone are no longer kept. The counters belong to the whole
processor, so nothing else may run beside the work. Many virtual machines have none, and often only root may read them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.errors import ChipError

POWERCAP = Path("/sys/class/powercap")
UJ_PER_J = 1e6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What some work took."""

    joule: float  # of all sockets
    seconds: float
    idle_watt: float  # before the work

    @property
    def net_joule(self) -> float:
        """Without what the processor would have drawn anyway."""
        return self.joule - self.idle_watt * self.seconds


def measured(
    work: Callable[[], object],
    *,
    idle_s: float = 5.0,
    folder: Path = POWERCAP,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Measured:
    """Run `work`, after a rest of `idle_s` seconds that shows what the processor draws idle.

    Raises ChipError where the machine has no counters, or they cannot be read.
    """
    sockets = [_Socket(place) for place in _packages(folder)]
    idle_joule, idle_seconds = _spent(lambda: sleep(idle_s), sockets, clock)
    joule, seconds = _spent(work, sockets, clock)
    return Measured(joule=joule, seconds=seconds, idle_watt=idle_joule / idle_seconds)


def _packages(folder: Path) -> list[Path]:
    places = [place for place in sorted(folder.glob("*-rapl:*")) if _text(place / "name").startswith("package")]
    if not places:
        raise ChipError(f"{folder}: this machine shows no energy counter (RAPL); measure on one that does")
    return places


class _Socket:
    """The counter of one socket, which begins again at 0 behind its largest value."""

    def __init__(self, place: Path) -> None:
        self.counter, self.largest = place / "energy_uj", int(_text(place / "max_energy_range_uj"))

    def read(self) -> int:
        return int(_text(self.counter))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise ChipError(f"{file}: cannot be read ({error.strerror}); energy counters are often root's alone") from error


def _spent(work: Callable[[], object], sockets: list[_Socket], clock: Callable[[], float]) -> tuple[float, float]:
    begin, before = clock(), [socket.read() for socket in sockets]
    work()
    after, end = [socket.read() for socket in sockets], clock()
    spans = zip(sockets, before, after, strict=True)
    turned = (now - was + (socket.largest if now < was else 0) for socket, was, now in spans)
    return sum(turned) / UJ_PER_J, end - begin
