"""All networks of a comparison, one after the other, on the same clips."""

from rich.console import Console

from deploy.clips.choose import held_out_clips, training_clips
from deploy.comparison.request import ComparisonRequest
from deploy.comparison.rows import Row, judged, rows_of
from deploy.passes.merge_linear_chains import read_merge


def compare(request: ComparisonRequest, console: Console) -> list[Row]:
    """The rows of all checkpoints; `console` gets every step of their deployments.

    Raises `InputError`, before any network is deployed, for a chip or a data set that cannot be read.
    """
    read_merge(request.merge)
    clips, calibration = held_out_clips(request.dataset, request.limit), training_clips(request.dataset)
    rows = [row for path in request.checkpoints for row in rows_of(path, clips, calibration, request, console)]
    return judged(rows)
