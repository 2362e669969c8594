"""What a campaign has found so far, in a file that every round renews, so that it goes on where it was stopped."""

import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from svformer.common.errors import InputError
from svformer.common.files import write_bytes

FILE, LOCK = "faults.json", ".lock"


@dataclass(kw_only=True)
class Struck:
    """What became of the rounds of a kind."""

    rounds: int = 0
    hit: int = 0  # the fault was there while the command ran
    failed: int = 0
    slowest_s: float = 0.0  # from the fault to the end
    codes: Counter[int] = field(default_factory=Counter)

    def plain(self) -> dict[str, Any]:
        codes = {str(code): count for code, count in sorted(self.codes.items())}
        slowest_s = round(self.slowest_s, 1)
        return {"rounds": self.rounds, "hit": self.hit, "failed": self.failed, "slowest_s": slowest_s, "codes": codes}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Struck":
        codes = Counter({int(code): count for code, count in plain["codes"].items()})
        return cls(**{**plain, "codes": codes})


@dataclass(kw_only=True)
class Record:
    """Results by kind; `next` is the number of the first round that was not struck."""

    seed: int
    out: Path
    next: int = 0
    kinds: dict[str, Struck] = field(default_factory=dict)

    @classmethod
    def read(cls, out: Path, seed: int) -> "Record":
        """What an earlier campaign of this seed has found; raises `InputError` for one of another seed."""
        if not (out / FILE).is_file():
            return cls(seed=seed, out=out)
        plain = json.loads((out / FILE).read_text("utf-8"))
        if plain["seed"] != seed:
            raise InputError(f"{out / FILE}: of seed {plain['seed']}; choose another --out for seed {seed}")
        kinds = {name: Struck.of(found) for name, found in plain["kinds"].items()}
        return cls(seed=seed, out=out, next=plain["next"], kinds=kinds)

    def of(self, kind: str) -> Struck:
        return self.kinds.setdefault(kind, Struck())

    def failed(self, kind: str, number: int, problems: list[str]) -> None:
        """Count and keep a round that failed."""
        self.of(kind).failed += 1
        write_bytes(self.out / "failures" / f"{number}.txt", "\n".join([kind, *problems]).encode())

    def plain(self) -> dict[str, Any]:
        kinds = {name: struck.plain() for name, struck in self.kinds.items()}
        return {"seed": self.seed, "next": self.next, "kinds": kinds}

    def write(self) -> None:
        write_bytes(self.out / FILE, json.dumps(self.plain(), indent=1).encode())

    @property
    def failures(self) -> int:
        return sum(struck.failed for struck in self.kinds.values())

    def table(self) -> Table:
        shown = Table("fault", "rounds", "hit", "survived", "slowest end, s", "exit codes")
        for name, struck in self.kinds.items():
            codes = ", ".join(f"{code} ({count})" for code, count in sorted(struck.codes.items()))
            counts = (struck.rounds, struck.hit, struck.rounds - struck.failed)
            shown.add_row(name, *map(str, counts), f"{struck.slowest_s:.1f}", codes)
        return shown


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """The only campaign in a folder; raises `InputError` where another one is at work there."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{out}: another campaign is at work there; choose another --out") from error
        try:
            yield
        finally:
            (out / LOCK).unlink()
