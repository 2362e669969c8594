"""Parts of a run on disk, so that a run that was stopped or killed goes on where it was.

A part is one .npz file without pickled objects, written beside and renamed; every array in it has a checksum. The same
bytes are what a worker of `deploy.execution.cluster` sends. A part is taken up again only if its fingerprint says that
it comes from the same network, clips, backend and code.
"""

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.clips.source import ClipSource
from deploy.costs.placing import PlacedClips
from deploy.execution import fingerprint
from deploy.execution.batch import BatchResult
from deploy.execution.spec import RunSpec
from deploy.execution.tally import ClipResult, Tally, Verdict
from deploy.gates.agreement import Agreement
from hardware import OpCounts
from svformer.common import npy
from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.terminal import counted

FORMAT = "svformer-part/7"
FOLDER = "parts"  # in the out folder
OPS = [field.name for field in dataclasses.fields(OpCounts)]
PLAIN = ("float_spikes", "build_s", "run_s", "peak_rss_mb", "time_steps", "clipped_inputs", "inputs", "saturated")
JUDGES = ("float_logits", "integer_logits")  # of the clips that were checked
DAMAGED = (*npy.DAMAGED, AttributeError, ArithmeticError, InputError)

Arrays = dict[str, NDArray[Any]]
Fingerprint = Callable[[Sequence[int]], str]  # of the clips at these places of the list


def encode(part: BatchResult, mark: str = "") -> bytes:
    """A part as the bytes of a file; `mark` is the fingerprint of what it depends on."""
    tally = part.tally
    values = {
        "format": FORMAT,
        "fingerprint": mark,
        "taken": part.taken,
        "places": part.places,
        "left_out": list(part.left_out.items()),
        "seconds": [clip.seconds for clip in tally.clips],
        "counts": [[getattr(clip.counts, op) for op in OPS] for clip in tally.clips],
        "ops": OPS,
        "steps": {name: [[getattr(s, op) for op in OPS] for s in steps] for name, steps in tally.steps.items()},
        "layers": {name: dataclasses.asdict(found) for name, found in tally.layers.items()},
        "exact": None if tally.exact is None else dataclasses.asdict(tally.exact),
        "checked": [clip.verdict is not None for clip in tally.clips],
        "placed": {name: found.plain() for name, found in tally.placed.items()},
        "kept": {name: signal.shape for name, signal in tally.kept.items()},
        **{name: getattr(tally, name) for name in PLAIN},
    }
    arrays: Arrays = {f"kept/{i}": np.packbits(signal) for i, signal in enumerate(tally.kept.values())}
    arrays |= {"logits": np.array([clip.logits for clip in tally.clips])}
    arrays |= {name: np.array([getattr(verdict, name) for verdict in tally.verdicts]) for name in JUDGES}
    arrays |= {f"differences/{i}": counts for i, counts in enumerate(tally.kept_differences.values())}
    arrays |= {} if tally.kept_results is None else {"results": tally.kept_results}
    content = io.BytesIO()
    text = np.frombuffer(json.dumps(values).encode(), dtype=np.uint8)
    np.savez_compressed(content, part=text, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def decode(content: bytes, sources: Sequence[ClipSource]) -> tuple[BatchResult, str]:
    """A part of a run over these clips, and its fingerprint.

    Raises `ValueError` where the bytes are damaged, `LookupError` where they are of another version or longer list.
    """
    try:
        arrays = npy.load_npz(io.BytesIO(content), "a part of a run")
        values = json.loads(arrays.pop("part").tobytes())
        if (values["format"], values["ops"]) != (FORMAT, OPS) or max(values["taken"]) >= len(sources):
            raise LookupError(f"not a part of this run ({values['format']})")
        part = BatchResult(
            taken=tuple(values["taken"]),
            places=tuple(values["places"]),
            left_out=dict(values["left_out"]),
            tally=_tally(values, arrays, sources),
        )
        return part, values["fingerprint"]
    except DAMAGED as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _tally(values: dict[str, Any], arrays: Arrays, sources: Sequence[ClipSource]) -> Tally:
    return Tally(
        clips=_clips(values, arrays, sources),
        steps={
            name: [OpCounts(**dict(zip(OPS, step, strict=True))) for step in steps]
            for name, steps in values["steps"].items()
        },
        layers={name: Agreement(**found) for name, found in values["layers"].items()},
        exact=None if values["exact"] is None else Agreement(**values["exact"]),
        placed={name: PlacedClips.of(found) for name, found in values["placed"].items()},
        kept={
            name: np.unpackbits(arrays[f"kept/{i}"], count=int(np.prod(shape))).reshape(shape)
            for i, (name, shape) in enumerate(values["kept"].items())
        },
        kept_differences={
            name: arrays[f"differences/{i}"] for i, name in enumerate(values["kept"]) if f"differences/{i}" in arrays
        },
        kept_results=arrays.get("results"),
        **{name: values[name] for name in PLAIN},
    )


def _clips(values: dict[str, Any], arrays: Arrays, sources: Sequence[ClipSource]) -> list[ClipResult]:
    facts = [values[name] for name in ("places", "seconds", "counts", "checked")]
    judged = zip(*(arrays[name] for name in JUDGES), strict=True)
    verdicts = (Verdict(**dict(zip(JUDGES, logits, strict=True))) for logits in judged)
    return [
        ClipResult(
            source=sources[place],
            seconds=seconds,
            counts=OpCounts(**dict(zip(OPS, counts, strict=True))),
            logits=logits,
            verdict=next(verdicts) if checked else None,
        )
        for place, seconds, counts, checked, logits in zip(*facts, arrays["logits"], strict=True)
    ]


class ResultFolder:
    """The parts of one run, in a folder of their own, which goes with the last of them.

    With `resume` those of an earlier run that match are taken up; without, `InputError` says that there are some, or
    the first of the new run replace them (`force`).
    """

    def __init__(self, folder: Path, *, resume: bool = False, force: bool = False) -> None:
        if resume and not folder.is_dir():
            raise InputError(f"{folder}: nothing to resume; start without --resume")
        if not (resume or force) and (stopped := list(folder.glob("part-*.npz"))):
            raise InputError(
                f"{folder}: holds what a run that was stopped has done ({counted(len(stopped), 'file')}); go on with "
                "--resume, choose another --out, or start anew with --force"
            )
        self.folder, self.resume = folder, resume
        self.clips = 0  # that lie there, or were left out
        self._mark: Fingerprint = lambda places: ""

    def open(self, spec: RunSpec, sources: Sequence[ClipSource]) -> list[BatchResult]:
        """Get ready for the parts of this run; returns those that are there already, in order."""
        of_run = fingerprint.of_spec(spec)
        self._mark = lambda places: fingerprint.fingerprint(
            [of_run, fingerprint.of_clips([sources[place] for place in places])]
        )
        if not self.resume:
            self.remove()  # of a run that was stopped and is given up
        found = list(self._read(sources)) if self.resume else []
        self.clips = sum(part.count for part in found)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made ({error.strerror}); choose another --out") from error
        return found

    def add(self, part: BatchResult) -> None:
        write_bytes(self.folder / f"part-{part.first:06}.npz", encode(part, self._mark(part.taken)))
        self.clips += part.count

    def remove(self) -> None:
        """Remove all parts, half-written ones of a killed run too, and the folder, unless something else is in it."""
        for file in (*self.folder.glob("part-*.npz"), *self.folder.glob(".part-*.npz")):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _read(self, sources: Sequence[ClipSource]) -> Iterator[BatchResult]:
        others, taken = 0, set[int]()
        for file in sorted(self.folder.glob("part-*.npz")):
            try:
                part, mark = decode(file.read_bytes(), sources)
                if not taken.isdisjoint(part.taken) or mark != self._mark(part.taken):
                    raise LookupError(f"{file}: of another run")
            except LookupError:
                others += 1
            except ValueError as error:
                print(f"{file}: damaged ({error}); its clips are run again", file=sys.stderr)
            else:
                taken |= {*part.taken}
                yield part
        if others:
            print(
                f"{self.folder}: {others} parts are of another run (network, clips, options or version of the code); "
                "their clips are run again",
                file=sys.stderr,
            )
