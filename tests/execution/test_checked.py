"""What the interpreters judge: all clips of a small run, a spread sample of a large one; the rest is the backend's."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.clips.source import ClipSource
from deploy.errors import GateError
from deploy.execution import checked
from deploy.execution.backends import BACKENDS, INTEGER, Backend, RunOptions
from deploy.execution.batch import run_batch
from deploy.execution.checked import checked_places
from deploy.execution.deployment import Deployment
from deploy.execution.resume import decode, encode
from deploy.execution.run import run
from deploy.execution.simulate import Simulation
from deploy.execution.spec import RunSpec
from deploy.execution.tally import Tally
from deploy.ir.integer import IntNetwork
from deploy.ir.plan import Plan
from deploy.ir.types import Frames
from deploy.report.record import record
from deploy.report.rows import top1


def videos(count: int, views: int) -> list[ClipSource]:
    return [ClipSource(path=Path(f"{i}.avi"), label=None, start=v / views) for i in range(count) for v in range(views)]


def test_the_places_of_a_sample_by_hand() -> None:
    """Of 10 videos 4 are at 0, 2, 5 and 7; the two kept clips beside. Of 4 videos of 3 views 5 clips are 2 videos."""
    assert checked_places(videos(10, 1), 4, keep=2) == {0, 2, 5, 7} | {0, 1}
    assert checked_places(videos(4, 3), 5, keep=1) == {0, 1, 2, 6, 7, 8}


def test_small_runs_are_judged_whole_and_large_ones_by_a_sample() -> None:
    assert checked_places(videos(checked.SMALL, 1), None, keep=8) is None
    large = videos(checked.SMALL + 100, 1)
    sample = checked_places(large, None, keep=0)
    assert sample == checked_places(large, "sample", keep=0) == {6 * i for i in range(checked.SAMPLE)}
    assert checked_places(large, "all", keep=8) is None
    assert checked_places(videos(7, 1), 7, keep=0) is None


@given(count=st.integers(1, 60), views=st.integers(1, 4), wanted=st.integers(1, 80), keep=st.integers(0, 10))
def test_a_sample_is_whole_videos_evenly_spread(count: int, views: int, wanted: int, keep: int) -> None:
    sources = videos(count, views)
    found = checked_places(sources, wanted, keep=keep)
    if wanted >= len(sources):
        assert found is None
        return
    assert found is not None
    assert found >= set(range(min(keep, len(sources))))
    spread = checked_places(sources, wanted, keep=0)
    assert spread is not None
    assert wanted <= len(spread) < wanted + views
    chosen = sorted({place // views for place in spread})
    assert spread == {views * video + view for video in chosen for view in range(views)}
    gaps = np.diff(chosen)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


@pytest.fixture(scope="module")
def whole(deployment: Deployment, sources: list[ClipSource]) -> Tally:
    return run(deployment, sources, backend="integer", keep=2)


def test_clips_that_are_not_judged_have_the_same_results(
    deployment: Deployment, sources: list[ClipSource], whole: Tally
) -> None:
    """Of 11 clips 3 are at 0, 3 and 7, and clip 1 is kept; however the list is cut."""
    for size in (1, 4, 11):
        found = run(deployment, sources, backend="integer", keep=2, check=3, largest_batch=size)
        assert [i for i, clip in enumerate(found.clips) if clip.verdict] == [0, 1, 3, 7]
        for one, two in zip(found.clips, whole.clips, strict=True):
            np.testing.assert_array_equal(one.logits, two.logits)
            assert one.counts == two.counts
            if one.verdict and two.verdict:
                np.testing.assert_array_equal(one.verdict.float_logits, two.verdict.float_logits)
        for name, layer in whole.layers.items():
            assert found.layers[name].compared * len(sources) == 4 * layer.compared
            np.testing.assert_array_equal(found.kept_differences[name], whole.kept_differences[name])
        assert found.counts == whole.counts


def test_a_report_says_what_share_was_judged(deployment: Deployment, sources: list[ClipSource]) -> None:
    labelled = [dataclasses.replace(source, label="0") for source in sources]
    report = record(deployment, run(deployment, labelled, backend="integer", keep=1, check=2), backend="integer")
    assert (report.parity.clips_checked, report.accuracy.videos, report.accuracy.checked_videos) == (2, 11, 2)
    assert [clip.float_prediction is None for clip in report.clips] == [i not in (0, 5) for i in range(11)]
    assert "top-1 over 11 clips: deployed" in top1(report)
    assert "; over 2 checked ones: float" in top1(report)
    spiking = [layer for layer in report.layers if layer.float_rate is not None]
    assert spiking
    assert all(0 <= layer.float_rate <= 1 for layer in spiking if layer.float_rate is not None)


def test_a_part_with_clips_that_were_not_judged_survives_the_disk(
    deployment: Deployment, sources: list[ClipSource]
) -> None:
    spec = RunSpec(
        graph=deployment.graph,
        integer=deployment.integer,
        plan=deployment.plan,
        wanted=deployment.input_format,
        backend="integer",
        keep=1,
        checked=frozenset({0, 2}),
    )
    part = run_batch(spec, sources[:4])
    found, _ = decode(encode(part), sources)
    for one, two in zip(part.tally.clips, found.tally.clips, strict=True):
        assert (one.verdict is None) == (two.verdict is None)
        if one.verdict and two.verdict:
            np.testing.assert_array_equal(one.verdict.integer_logits, two.verdict.integer_logits)
            np.testing.assert_array_equal(one.verdict.float_logits, two.verdict.float_logits)
    alone = run_batch(spec, sources[5:7], places=[5, 6])
    assert not alone.tally.verdicts
    assert decode(encode(alone), sources)[0].tally.layers == alone.tally.layers


def test_a_backend_that_errs_is_found_out_where_it_is_judged(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment, sources: list[ClipSource]
) -> None:
    """It sends one spike more or less in every clip but the first; the message has the clip's place in the list."""
    batches: list[int] = []

    def errs(network: IntNetwork, plan: Plan, frames: Frames, options: RunOptions) -> Simulation:
        right = INTEGER.run(network, plan, frames, options)
        name = network.neuron_layers[0]
        right.signals[name][1 if not batches else 0 :, 0] ^= 1
        batches.append(len(frames))
        return right

    monkeypatch.setitem(BACKENDS, "errs", Backend(name="errs", title="Errs", need=INTEGER.need, run=errs))
    with pytest.raises(GateError, match=r"integer interpreter and Errs differ first in layer .* of clip 5 "):
        run(deployment, sources, backend="errs", keep=1, check=2, largest_batch=4)
    batches.clear()
    found = run(deployment, sources, backend="errs", keep=1, check=1, largest_batch=4)
    assert found.exact is not None
    assert (found.exact.different, len(found.verdicts)) == (0, 1)
    parity = record(deployment, found, backend="errs").parity
    assert parity.exact == parity.integer_vs_backend
    assert (parity.integer_vs_backend.bit_exact, parity.integer_vs_lava.bit_exact) == (True, None)
