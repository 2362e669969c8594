"""The clips that a run takes, and those that it is calibrated on."""

import argparse
import functools
from pathlib import PurePath

import nir

from deploy.clips.files import from_files, shipped, with_views
from deploy.clips.source import ClipSource, input_format, takes, takes_video
from svformer.assets import CALIBRATION_CLIPS, DEMO_CLIPS
from svformer.common.errors import InputError
from svformer.data.arguments import BINNINGS
from svformer.data.catalogue import open_dataset
from svformer.evaluation.views import parse_views

CALIBRATION_VIDEOS = 16  # of the training part of a data set


def choose_clips(arguments: argparse.Namespace, graph: nir.NIRGraph) -> list[ClipSource]:
    """The clips to run, every view of them."""
    if arguments.clip:
        sources = from_files(arguments.clip, events_by=arguments.events_by or BINNINGS[0])
    elif arguments.dataset:
        sources = dataset_clips(arguments, train=False)[: arguments.limit]
    elif takes_video(wanted := input_format(graph, 1)):
        sources = shipped(DEMO_CLIPS)
    else:
        shape = ", ".join(map(str, wanted.shape))
        events = ", or a recording of events (.aedat, .npy)" if takes(wanted, channels=2) else ""
        raise InputError(f"this graph takes no video; give --clip FILE.npy of shape [T, {shape}]{events}")
    return with_views(sources, *parse_views(arguments.views))


def calibration_clips(
    arguments: argparse.Namespace, graph: nir.NIRGraph, sources: list[ClipSource]
) -> list[ClipSource]:
    """Clips to choose scales by: training videos of the data set that is run; without one the shipped clips for a
    network that takes video, and the clips to run for any other.
    """
    if arguments.dataset:
        return spread(dataset_clips(arguments, train=True), CALIBRATION_VIDEOS)
    return shipped(CALIBRATION_CLIPS) if takes_video(input_format(graph, 1)) else sources


def spread(sources: list[ClipSource], count: int) -> list[ClipSource]:
    """At most so many of the clips, evenly spread over their list."""
    step = max(1, len(sources) // count)
    return sources[::step][:count]


def dataset_clips(arguments: argparse.Namespace, *, train: bool) -> list[ClipSource]:
    """The clips of the training or held-out part of a data set, with their classes."""
    data = open_dataset(arguments, size=1, frames=1, train=train, cache=False)  # only its list is used
    return [
        ClipSource(
            path=entry.path.with_name(PurePath(entry.name).name),
            label=data.classes[entry.label],
            entry=entry,
            leave_out=functools.partial(data.unreadable.add, index),
        )
        for index, entry in enumerate(data.entries)
    ]
