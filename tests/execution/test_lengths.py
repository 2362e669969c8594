"""Clips of any length: each has its own time steps, batches hold one length, and results are in the order of the list.

The judge of a shorter clip is the longer one: a network is causal, so a clip that zeros make as long as the longest
has to give the same messages for as long as it lasts.
"""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import graphs
from deploy.clips.files import from_files
from deploy.clips.fit import FrameChoice, fitted
from deploy.clips.read import load_clips
from deploy.clips.source import ClipSource, input_format
from deploy.execution.collect import InProcess, batches_left
from deploy.execution.deployment import Deployment
from deploy.execution.resume import ResultFolder
from deploy.execution.run import run
from deploy.execution.tally import Tally
from deploy.ir.integer import run_integer
from deploy.ir.operations.identity import GainBias
from deploy.passes.defaults import Form
from deploy.pipeline import deploy
from deploy.report.record import record
from results import assert_same
from svformer.common.errors import InputError

LENGTHS = (5, 9, 5, 2, 9, 2, 5, 5, 9, 2)
NOTHING = FrameChoice()


def network(**metadata: Any) -> nir.NIRGraph:
    """Four inputs, current-based neurons with a bias (it builds up over time), a delay of two steps, three sums."""
    rng = np.random.default_rng(0)
    return graphs.chain(
        {
            "in": graphs.entry(4),
            "fc": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.3),
            "hidden": graphs.cubalif(5, v_threshold=0.3),
            "wait": nir.Delay(np.full(5, 2 * graphs.DT_S)),
            "fc2": nir.Affine(rng.normal(size=(3, 5)), np.array([0.2, 0.0, -0.1])),
            "late": nir.Delay(np.full(3, graphs.DT_S)),
            "sum": nir.I(r=np.full(3, 100.0)),
            "out": graphs.result(3),
        },
        **metadata,
    )


def chip_network() -> nir.NIRGraph:
    """What a chip form takes: no current that begins a clip, no delay; the last layer is a relay with a bias."""
    rng = np.random.default_rng(0)
    return graphs.chain(
        {
            "in": graphs.entry(4),
            "fc": nir.Affine(rng.normal(size=(5, 4)), rng.normal(size=5) * 0.3),
            "hidden": graphs.lif(5, v_threshold=0.3),
            "fc2": nir.Affine(rng.normal(size=(3, 5)), np.array([0.2, 0.0, -0.1])),
            "out": graphs.result(3),
        }
    )


@pytest.fixture
def clips(tmp_path: Path) -> list[ClipSource]:
    rng = np.random.default_rng(1)
    for i, frames in enumerate(LENGTHS):
        np.save(tmp_path / f"{i}.npy", (rng.random((frames, 4)) < 0.4).astype(np.float32))
    return from_files([tmp_path / f"{i}.npy" for i in range(len(LENGTHS))])


def deployed(clips: list[ClipSource], form: Form = "fused") -> tuple[Deployment, list[ClipSource]]:
    graph = network() if form == "fused" else chip_network()
    (timed,) = fitted(graph, [clips], NOTHING)
    return deploy(graph, timed, lambda line: None, form=form), timed


# What a clip lasts


def test_every_clip_has_its_own_time_steps_and_the_graph_the_longest(clips: list[ClipSource]) -> None:
    graph = network(T=100)  # only what a clip without a length would have
    (timed,) = fitted(graph, [clips], NOTHING)
    assert tuple(clip.frames for clip in timed) == LENGTHS
    assert graph.metadata["T"] == 9


def test_clips_that_scales_are_chosen_by_count_too(clips: list[ClipSource]) -> None:
    graph = network()
    first, others = fitted(graph, [clips[3:4], clips], NOTHING)
    assert [clip.frames for clip in first] == [2]
    assert len(others) == len(LENGTHS)
    assert graph.metadata["T"] == 9
    assert load_clips(others, input_format(graph, 9)).shape == (10, 9, 4)


def test_a_short_clip_begins_anew_beside_a_longer_one(tmp_path: Path) -> None:
    """For the choice of scales: zeros behind its end would be silence that it does not hold."""
    np.save(tmp_path / "a.npy", np.array([[1.0], [2.0]]))
    np.save(tmp_path / "b.npy", np.full((5, 1), 7.0))
    graph = graphs.chain({"in": graphs.entry(1), "out": graphs.result(1)})
    (timed,) = fitted(graph, [from_files([tmp_path / "a.npy", tmp_path / "b.npy"])], NOTHING)
    found = load_clips(timed, input_format(graph, 5))
    assert found[..., 0].tolist() == [[1, 2, 1, 2, 1], [7, 7, 7, 7, 7]]


@pytest.mark.parametrize("kind", ["parameters of every time step", "SVFormer"])
def test_T_that_is_part_of_the_network_is_kept(kind: str, tmp_path: Path) -> None:
    graph = graphs.chain({"in": graphs.entry(1, 1, 1), "out": graphs.result(1, 1, 1)}, T=3)
    if kind == "SVFormer":
        graph.metadata["model"] = "SVFormer"
    else:
        gain = np.arange(3.0).reshape(3, 1, 1, 1)
        node = GainBias(np.array([1, 1, 1]), gain=gain, bias=np.zeros((1, 1, 1, 1)))
        graph = graphs.chain({"in": graphs.entry(1, 1, 1), "gain": node, "out": graphs.result(1, 1, 1)})
    for frames in (3, 2):
        np.save(tmp_path / f"{frames}.npy", np.ones((frames, 1, 1, 1)))
    (timed,) = fitted(graph, [from_files([tmp_path / "3.npy"])], NOTHING)
    assert [clip.frames for clip in timed] == [None]
    assert graph.metadata["T"] == 3
    with pytest.raises(InputError, match=r"2\.npy: shape \[2, 1.* \[3, 1, .*; T is part of this network"):
        fitted(graph, [from_files([tmp_path / "2.npy"])], NOTHING)
    with pytest.raises(InputError, match="--frames 4: T is part of this network, 3; leave it out"):
        fitted(graph, [from_files([tmp_path / "3.npy"])], FrameChoice(frames=4))


def test_a_choice_without_an_effect_is_refused(clips: list[ClipSource]) -> None:
    for choice, option in (
        (FrameChoice(frames=3), "--frames 3: arrays have time steps of their own"),
        (FrameChoice(bin_ms=1.0), "--bin-ms is for recordings of events"),
        (FrameChoice(sensor=(4, 4)), "--sensor is for recordings of events"),
    ):
        with pytest.raises(InputError, match=option):
            fitted(network(), [clips], choice)


# What comes of it


@pytest.mark.parametrize("form", ["fused", "chip"])
def test_a_short_clip_gives_the_beginning_of_a_long_one(clips: list[ClipSource], form: Form) -> None:
    deployment, timed = deployed(clips, form)
    longest = load_clips(timed[1:2], deployment.input_format)
    for frames in (1, 2, 5, 9):
        short = deployment.integer.lasting(frames)
        found = run_integer(short, longest[:, :frames].reshape(1, frames, 4, 1, 1))
        whole = run_integer(deployment.integer, longest.reshape(1, 9, 4, 1, 1))
        for name, messages in found.items():
            assert np.array_equal(messages, whole[name][:, :frames]), name
    with pytest.raises(ValueError, match="10 time steps; the registers of this network are proven for 9"):
        deployment.integer.lasting(10)


def test_results_are_in_the_order_of_the_clips(clips: list[ClipSource]) -> None:
    """Each clip by itself is the judge; behind its end a shorter one has no spikes."""
    deployment, timed = deployed(clips)
    tally = run(deployment, timed, backend="integer", largest_batch=2)
    assert [clip.source for clip in tally.clips] == timed
    for place, clip in enumerate(tally.clips):
        alone = run(deployment, [timed[place]], backend="integer")
        assert np.array_equal(clip.logits, alone.clips[0].logits)
        if place < 8:
            spikes, frames = tally.kept["hidden"][place], LENGTHS[place]
            assert np.array_equal(spikes[:frames], alone.kept["hidden"][0])
            assert not spikes[frames:].any()
    assert tally.frames(9) == sum(LENGTHS) == 53


def test_batches_hold_clips_of_one_length(clips: list[ClipSource]) -> None:
    _, timed = deployed(clips)
    assert [list(batch.places) for batch in batches_left(timed, [], 3)] == [[0, 2, 6], [1, 4, 8], [3, 5, 9], [7]]


@pytest.mark.parametrize("size", [1, 2, 32])
def test_any_cut_gives_the_same_report(size: int, clips: list[ClipSource]) -> None:
    deployment, timed = deployed(clips)
    whole = run(deployment, timed, backend="integer", largest_batch=3)
    assert_same(run(deployment, timed, backend="integer", largest_batch=size), whole, deployment)


def test_a_stopped_run_goes_on(clips: list[ClipSource], tmp_path: Path) -> None:
    """The first batch of each length is stored; the run is stopped behind the second."""
    deployment, timed = deployed(clips)
    whole = run(deployment, timed, backend="integer")

    class Stopped(InProcess):
        def run(self, *arguments: Any) -> Any:
            running = super().run(*arguments)
            yield next(running)
            yield next(running)
            raise KeyboardInterrupt

    options: dict[str, Any] = {"backend": "integer", "largest_batch": 2}
    with pytest.raises(KeyboardInterrupt, match="4 of 10 clips are done"):
        run(deployment, timed, runner=Stopped(), results=ResultFolder(tmp_path / "parts"), **options)
    stored = ResultFolder(tmp_path / "parts", resume=True)
    assert_same(run(deployment, timed, results=stored, **options), whole, deployment)


def test_counts_are_those_of_the_mean_clip(clips: list[ClipSource]) -> None:
    """Five neurons are updated in each of the 53 time steps of ten clips: 26.5 a clip; rates are shares of 53 x 5."""
    deployment, timed = deployed(clips)
    tally = run(deployment, timed, backend="integer")
    report = record(deployment, tally, backend="integer")
    assert [clip.steps for clip in report.clips] == list(LENGTHS)
    hidden = next(layer for layer in report.layers if layer.name == "hidden")
    assert hidden.neuron_updates == 5 * 53 / 10
    assert hidden.rate == pytest.approx(hidden.spikes * 10 / (53 * 5))
    assert hidden.spikes > 0
    updates = report.by_step["hidden"]["neuron_updates"]
    assert updates == pytest.approx([5.0] * 2 + [5 * 7 / 10] * 3 + [5 * 3 / 10] * 4)  # clips of 2, 5 and 9 steps


def test_tallies_of_other_lengths_add_up() -> None:
    short, long = (Tally(kept={"a": np.full((1, frames), 1)}) for frames in (1, 3))
    assert (short + long).kept["a"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert (long + short).kept["a"].tolist() == [[1, 1, 1], [1, 0, 0]]
