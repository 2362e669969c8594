"""Classes of clips: from a table, and as the numbers of a network's outputs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from deploy.clips.arrays import read_rows
from deploy.clips.source import ClipSource, file_of
from svformer.common.errors import InputError


def with_labels(sources: Sequence[ClipSource], table: Path) -> list[ClipSource]:
    """The clips with the classes of a table: rows of a file's name (FILE#0, FILE#1, .. of one that holds several clips)
    or its path, and a class. Rows of other files, such as a heading, have no effect.

    Raises `InputError` for a row of another form, two classes for a clip, and clips without a class.
    """
    named = Counter(source.path.name for source in set(sources))
    rows: dict[str, str] = {}
    for number, row in read_rows(table):
        if len(row) != 2 or not row[1]:
            raise InputError(f"{table}, row {number}: {', '.join(row)}; allowed: a file name and its class")
        if rows.setdefault(row[0], row[1]) != row[1]:
            raise InputError(f"{table}, row {number}: {row[0]} has another class already, {rows[row[0]]}")
    labelled = list[ClipSource]()
    for source in sources:
        label = next((rows[name] for name in _names(source, table) if name in rows), None)
        if label is None:
            like = _nearly(source.path.name, rows.keys() - named.keys())
            raise InputError(
                f"{table}: no row for {source.path.name}{like}; allowed: for each clip, its file and class"
            )
        if named[source.path.name] > 1 and not any(name in rows for name in _names(source, table)[:-1]):
            raise InputError(f"{table}: several clips are called {source.path.name}; write their paths into the table")
        labelled.append(replace(source, label=label))
    return labelled


def _nearly(name: str, rows: Iterable[str]) -> str:
    like = get_close_matches(name, list(rows), 1, cutoff=0.85)
    return f" (is the row {like[0]} meant for it?)" if like else ""


def _names(source: ClipSource, table: Path) -> list[str]:
    """What a row may call a clip, its bare name last."""
    path, folder = source.path.absolute(), table.absolute().parent
    inside = [path.relative_to(folder).as_posix()] if path.is_relative_to(folder) else []
    return [str(source.path), path.as_posix(), *inside, source.path.name]


def class_number(label: str | None, classes: Sequence[str], outputs: int) -> int | None:
    """The output that a class stands for: the place of its name, or the number that it is; None where it is neither."""
    if label is None:
        return None
    if label in classes:
        return classes.index(label)
    number = int(label) if label.isdecimal() else -1
    return number if 0 <= number < outputs else None


def require_classes(
    sources: Sequence[ClipSource], classes: Sequence[str], outputs: int, *, said_by: str | Path | None = None
) -> None:
    """Raise `InputError` for the first clip whose class is none of the network's; `said_by` is the table with it."""
    for source in sources:
        if source.label is not None and class_number(source.label, classes, outputs) is None:
            names = f", or {', '.join(classes)}" if classes else ""
            raise InputError(
                f"{said_by or file_of(source)}: class {source.label} of {source.path.name}; this network has the "
                f"numbers 0 to {outputs - 1}{names}"
            )
