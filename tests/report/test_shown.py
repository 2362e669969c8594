"""Clips on the page: which have room, what is drawn of them, and the table and the matrix that name them."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.clips.source import ClipSource, names_of
from deploy.ir.linear import attend
from deploy.report import page as page_module
from deploy.report.clip_rows import places_to_show, wrong_first
from deploy.report.clip_view import clip_view
from deploy.report.confusion import CLASSES_DRAWN, confusion
from deploy.report.keys.run import ClipSummary
from deploy.report.shown import ShownClip, attention_maps, counted_pairs, shown_clips
from pages import rendered

SCRIPT = "<script>alert(1)</script>"


def clip(label: str | None, logits: tuple[float, ...], source: str = "a.avi", **changes: Any) -> ClipSummary:
    best = str(int(np.argmax(logits)))
    found = ClipSummary(
        source=source,
        start=0.5,
        crop=0.5,
        label=label,
        prediction=best,
        logits=logits,
        float_prediction=best,
        steps=4,
        seconds=0.1,
        counts={},
    )
    return dataclasses.replace(found, **changes)


def with_clips(run: Any, *clips: ClipSummary, classes: tuple[str, ...] = ()) -> Any:
    network = dataclasses.replace(run.report.network, classes=classes)
    return dataclasses.replace(run.report, clips=clips, network=network)


def test_pairs_are_tokens_at_which_both_spike() -> None:
    """One head, one channel of each of q, k, v, two tokens: k = 1 1, v = 0 1, so one pair, and q = 1 0 selects it."""
    qkv_TCHW = np.array([[[1, 0]], [[1, 1]], [[0, 1]]], np.uint8).reshape(1, 3, 1, 2)
    assert counted_pairs(qkv_TCHW, heads=1).tolist() == [[[[1.0]]]]
    assert attend(qkv_TCHW.astype(float), heads=1).tolist() == [[[[1.0, 0.0]]]]


@given(heads=st.integers(1, 3), width=st.integers(1, 3), tokens=st.integers(1, 5), seed=st.integers(0, 99))
def test_what_q_selects_is_q_times_the_pairs(heads: int, width: int, tokens: int, seed: int) -> None:
    qkv = np.random.default_rng(seed).integers(0, 2, (2, 3 * heads * width, 1, tokens))
    q = qkv[:, : heads * width].reshape(2, heads, width, tokens)
    selected = np.einsum("thcn,thcd->thdn", q, counted_pairs(qkv, heads))
    assert np.array_equal(selected.reshape(2, heads * width, 1, tokens), attend(qkv.astype(float), heads=heads))


def test_the_shipped_network_has_maps_of_its_attention(shipped_run: Any) -> None:
    first = next(shown_clips(shipped_run.deployment, shipped_run.tally))
    assert len(first.attention) == 2
    for found in first.attention:
        assert found.selected.shape[0] == shipped_run.report.network.frames
        assert len(found.products) == found.heads
    assert not list(attention_maps(shipped_run.deployment, {}))


def test_differences_are_those_that_the_report_counts(shipped_run: Any) -> None:
    """Over both clips, a layer's share of equal states is what its map leaves."""
    clips = list(shown_clips(shipped_run.deployment, shipped_run.tally))
    views = [clip_view(shown, shipped_run.report) for shown in clips]
    layers = {layer.name: layer.spike_match for layer in shipped_run.report.layers}
    for maps in zip(*(view.differences for view in views), strict=True):
        assert 1 - np.mean([drawn.share for drawn in maps]) == pytest.approx(layers[maps[0].name])


def test_every_kept_clip_can_be_chosen(shipped_run: Any) -> None:
    html = rendered(shipped_run)
    assert re.findall(r'<template data-clip="(\d+)">', html) == ["1"]
    options = re.findall(r'<option value="(\d+)">(.*?)</option>', html)
    assert [(place, text.partition(":")[0]) for place, text in options] == [
        (str(i), found.source) for i, found in enumerate(shipped_run.report.clips)
    ]
    assert "spikes.h5 holds them all" not in html


def test_clips_without_room_are_left_out_and_it_is_said(shipped_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = len(rendered(shipped_run).encode())
    monkeypatch.setattr(page_module, "PAGE_BYTES", full - 1)
    html = rendered(shipped_run)
    assert len(html.encode()) < full
    assert "<template" not in html
    assert "1 clip of 2 kept ones has room on this page; spikes.h5 holds them all" in html


def test_clips_are_named_by_their_path_below_what_all_share() -> None:
    paths = ("set/walk/1.avi", "set/run/1.avi", "set/run/more/2.npz#3")
    assert names_of([ClipSource(path=Path(path), label=None) for path in paths]) == [
        "walk/1.avi", "run/1.avi", "run/more/2.npz#3"
    ]  # fmt: skip
    assert names_of([ClipSource(path=Path("anywhere/a.avi"), label=None)]) == ["a.avi"]


def test_matrix_by_hand(foreign_run: Any) -> None:
    """Three videos of class a, of which one is taken for b; the one of b is right; the last has no class of these."""
    report = with_clips(
        foreign_run,
        clip("a", (2.0, 1.0), "1"),
        clip("a", (2.0, 1.0), "2"),
        clip("a", (0.0, 1.0), "3"),
        clip("b", (0.0, 1.0), "4"),
        clip("other", (0.0, 1.0), "5"),
        classes=("a", "b"),
    )
    found = confusion(report)
    assert found is not None
    assert found.columns == ("a", "b")
    assert [(row.name, row.videos, row.right, row.counts) for row in found.rows] == [
        ("a", 3, 2, (2, 1)),
        ("b", 1, 1, (0, 1)),
    ]
    assert [(cell.label, cell.taken_for, cell.videos) for cell in found.mistakes] == [("a", "b", 1)]
    assert (found.videos, found.right) == (4, 3)


def test_matrix_averages_the_views_of_a_video(foreign_run: Any) -> None:
    """Softmax scores of (3, 0) and (0, 1): 0.95 + 0.27 of 2 for the first class, which is the prediction."""
    views = clip("1", (3.0, 0.0), "v"), clip("1", (0.0, 1.0), "v"), clip("1", (0.0, 1.0), "w")
    found = confusion(with_clips(foreign_run, *views))
    assert found is not None
    assert [(row.name, row.counts) for row in found.rows] == [("1", (1, 1))]


def test_one_video_has_no_matrix(foreign_run: Any) -> None:
    assert confusion(with_clips(foreign_run, clip("0", (1.0, 0.0)))) is None
    assert confusion(foreign_run.report) is None


def test_the_diagonal_is_the_accuracy(shipped_run: Any) -> None:
    found, accuracy = confusion(shipped_run.report), shipped_run.report.accuracy
    assert found is not None
    assert (found.videos, found.right / found.videos) == (accuracy.videos, accuracy.deployed_top1)


def test_many_classes_are_listed_by_their_mistakes(foreign_run: Any) -> None:
    outputs = CLASSES_DRAWN + 1
    clips = [clip(str(k), tuple(np.eye(outputs)[(k + 1) % outputs]), str(k)) for k in range(outputs)]
    found = confusion(with_clips(foreign_run, *clips))
    assert found is not None
    assert not found.is_drawn
    assert len(found.mistakes) == outputs


def test_wrong_clips_come_first(foreign_run: Any) -> None:
    report = with_clips(
        foreign_run,
        clip(None, (1.0, 0.0), "unknown"),
        clip("0", (1.0, 0.0), "right"),
        clip("1", (1.0, 0.0), "wrong"),
        clip("1", (1.0, 0.0), "wrong, too", float_prediction="1"),
    )
    rows = wrong_first(report)
    assert [row.clip.source for row in rows] == ["wrong", "wrong, too", "right", "unknown"]
    assert [row.right for row in rows] == [False, False, True, None]
    assert [row.float_right for row in rows] == [False, True, True, None]


def test_wrong_clips_have_room_before_right_ones(foreign_run: Any) -> None:
    """Of five, four are kept: the first, then the third, which is wrong, then the others in order."""
    labels = ("0", "0", "1", "0", "1")
    report = with_clips(foreign_run, *(clip(label, (1.0, 0.0), str(i)) for i, label in enumerate(labels)))
    assert places_to_show(dataclasses.replace(report, kept_clips=4)) == [0, 2, 1, 3]


def test_the_clips_that_are_asked_for_are_shown(shipped_run: Any) -> None:
    shown = shown_clips(shipped_run.deployment, shipped_run.tally, [1])
    assert [one.place for one in shown] == [1]


def test_a_class_may_be_called_as_it_likes(shipped_run: Any) -> None:
    """Neither table, matrix, filter, choice nor player takes a name for markup."""
    other = shipped_run.report.network.classes[1:]
    clips = tuple(
        dataclasses.replace(found, label=SCRIPT, prediction=SCRIPT, float_prediction=SCRIPT)
        for found in shipped_run.report.clips
    )
    network = dataclasses.replace(shipped_run.report.network, classes=(SCRIPT, *other))
    html = rendered(shipped_run, clips=clips, network=network)
    assert SCRIPT not in html
    assert html.count("<script") == rendered(shipped_run).count("<script")
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_the_policy_allows_this_script_alone(shipped_run: Any) -> None:
    html = rendered(shipped_run)
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in policy
    assert "default-src &#39;none&#39;" in policy
    assert not re.search(r"<[^>]* on\w+=", html), "no script in an attribute"


def test_sections_are_folded_away(foreign_run: Any, shipped_run: Any) -> None:
    """The table of one clip, too; that of several is what a data set is looked at for."""
    assert "<details open" not in rendered(foreign_run)
    assert re.findall(r'<section id="(\w+)">\s*<details class="fold" open>', rendered(shipped_run)) == ["clips"]


def test_a_clip_of_which_nothing_is_kept_has_no_picture(foreign_run: Any) -> None:
    view = clip_view(ShownClip(), foreign_run.report)
    assert (view.player, view.rasters, view.differences, view.attention) == (None, (), (), ())
