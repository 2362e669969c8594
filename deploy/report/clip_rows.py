"""Rows of the table of clips, and which of their predictions say nothing."""

from dataclasses import dataclass

from deploy.clips.labels import class_number
from deploy.report.confusion import class_name
from deploy.report.keys.report import Report
from deploy.report.keys.run import ClipSummary
from svformer.common.terminal import counted

SILENT_SHOWN = 4  # names of layers
ORDER = {False: 0, True: 1, None: 2}  # of `right`


@dataclass(frozen=True, kw_only=True)
class ListedClip:
    """A row of the table of clips."""

    place: int  # in the report
    clip: ClipSummary
    written: str | None  # its class as predictions are written; None: it is none of the network's

    @property
    def right(self) -> bool | None:
        """Whether the deployed network recognises it; None: there is nothing to recognise."""
        return None if self.written is None else self.clip.prediction == self.written

    @property
    def float_right(self) -> bool | None:
        """The same of the float network; None also where the clip was not checked."""
        known = self.written is not None and self.clip.float_prediction is not None
        return self.clip.float_prediction == self.written if known else None


def wrong_first(report: Report) -> list[ListedClip]:
    """Every clip; wrong ones first, then right ones, then those without a class, each in the order of the run."""
    listed = [
        ListedClip(place=place, clip=clip, written=_written(clip, report.network.classes))
        for place, clip in enumerate(report.clips)
    ]
    return sorted(listed, key=lambda row: ORDER[row.right])


def places_to_show(report: Report) -> list[int]:
    """The kept clips in the order in which a page takes them in: the first, then wrong ones before all others."""
    kept = [row.place for row in wrong_first(report) if row.place < report.kept_clips]
    return sorted(kept, key=lambda place: place > 0)


def _written(clip: ClipSummary, classes: tuple[str, ...]) -> str | None:
    number = class_number(clip.label, classes, len(clip.logits))
    return None if number is None else class_name(number, classes)


def silent_layers(report: Report) -> str:
    """Which neuron layers never fired, so that nothing behind them depends on the clip; empty for none."""
    spiking = [layer for layer in report.layers if layer.rate is not None and layer.kind == "lif"]
    silent = [layer.name for layer in spiking if layer.rate == 0]
    if not silent:
        return ""
    names = ", ".join(silent[:SILENT_SHOWN]) + (", .." if len(silent) > SILENT_SHOWN else "")
    of_all = f"{len(silent):,} of {counted(len(spiking), 'spiking layer')}"
    return f"{of_all} never fired in any clip ({names}): no clip changes what they send"


def undecided(report: Report) -> str:
    """How many clips have the same result for every class, so that their prediction says nothing; empty for none."""
    same = sum(len(clip.logits) > 1 and len({*clip.logits}) == 1 for clip in report.clips)
    if not same:
        return ""
    silent = report.network.readout == "count" and not any(any(clip.logits) for clip in report.clips)
    why = "no neuron of the output fired in any clip" if silent else "all outputs have the same result"
    return (
        f"in {same:,} of {counted(len(report.clips), 'clip')} no class leads ({why}): the prediction is the first "
        "class, whatever the clip shows"
    )
