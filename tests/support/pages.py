"""Pages of a run, for tests: rendered with other values in its report or in the clips that it shows."""

import dataclasses
from typing import Any

from deploy.report.network_picture import network_pictures
from deploy.report.page import render
from deploy.report.shown import shown_clips


def rendered(run: Any, shown: dict[str, Any] | None = None, *, with_pictures: bool = False, **changes: Any) -> str:
    """The page of a `Recorded` run; `shown` replaces fields of every clip that is drawn, `changes` of the report."""
    clips = shown_clips(run.deployment, run.tally)
    report = dataclasses.replace(run.report, **changes)
    pictures = network_pictures(run.deployment, run.report) if with_pictures else ()
    return render(report, (dataclasses.replace(clip, **(shown or {})) for clip in clips), pictures)
