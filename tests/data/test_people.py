"""The harder procedural set: actions are what their names say, look-alikes share poses, the figure stays in sight."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from svformer.common.errors import InputError
from svformer.data import catalogue as datasets
from svformer.data import procedural
from svformer.data.catalogue import open_dataset
from svformer.data.choice import DatasetChoice
from svformer.data.procedural import generate
from svformer.data.synthetic import people
from svformer.data.synthetic.actions import ACTIONS, CLASSES, Build, Joint, skeleton
from svformer.data.synthetic.people import draw_clip, draw_scene
from svformer.data.synthetic.scenes import HEIGHT_PX, WIDTH_PX

TIME_S = np.arange(75) / 25
CYCLES = np.linspace(0, 1, 40, endpoint=False)
Parts = dict[str, np.ndarray]
END = (slice(None), 1)  # of a part: hand, foot, crown


def seen(action: str, seed: int = 0) -> Parts:
    """Ends of all parts around the place of the hips, x to the right and y up in pixels, limbs named as seen."""
    rng = np.random.default_rng(seed)
    parts, way_px = people.figure(action, draw_scene(0, 1), TIME_S, rng)
    about = {
        name: (ends - np.stack([way_px, np.zeros_like(way_px)], axis=-1)[:, None]) * [1, -1]
        for name, ends in parts.items()
    }
    return about if about["right_thigh"][0, 0, 0] > about["left_thigh"][0, 0, 0] else swapped(about)


def swapped(parts: Parts) -> Parts:
    other = {"left": "right", "right": "left"}
    return {"_".join([other.get(word, word) for word in name.split("_")]): ends for name, ends in parts.items()}


def mirrored(parts: Parts) -> Parts:
    return swapped({name: ends * [-1, 1] for name, ends in parts.items()})


def moves(parts: Parts, name: str) -> bool:
    return bool(np.ptp(parts[name][END], axis=0).max() > 1)


def test_there_are_20_classes_in_alphabetical_order() -> None:
    assert len(CLASSES) == 20
    assert list(CLASSES) == sorted(CLASSES)


def test_a_joint_swings_around_its_mean() -> None:
    """30 degrees and 10 more at a quarter of a cycle; with a quarter of delay that is the start."""
    joint = Joint(mean=30, swing=10)
    quarters = np.array([0, 0.25, 0.5, 0.75])
    assert np.rad2deg(joint.angle(quarters)) == pytest.approx([30, 40, 30, 20])
    assert np.rad2deg(joint.later(0.25).angle(quarters)) == pytest.approx([40, 30, 20, 30])
    assert np.rad2deg(joint.mirrored().angle(quarters, vigour=0.5)) == pytest.approx([-30, -35, -30, -25])
    assert np.rad2deg(joint.hold().angle(quarters, held_at=0.25)) == pytest.approx([40] * 4)
    assert np.rad2deg(Joint(spins=1).angle(quarters)) == pytest.approx([0, 90, 180, 270])


def test_parts_hang_together_and_keep_their_length() -> None:
    build = Build()
    for action in ACTIONS.values():
        parts = skeleton(action.move, build, CYCLES)
        for upper, lower in (("arm", "forearm"), ("thigh", "shin")):
            for side in ("left", "right"):
                assert np.allclose(parts[f"{side}_{upper}"][:, 1], parts[f"{side}_{lower}"][:, 0])
        assert np.allclose(parts["trunk"][:, 1], parts["head"][:, 0])
        for name, length in (("trunk", build.trunk), ("left_forearm", build.arm), ("right_shin", build.leg)):
            assert np.hypot(*(parts[name][:, 1] - parts[name][:, 0]).T) == pytest.approx(length)


@pytest.mark.parametrize("action", CLASSES)
def test_a_foot_is_on_the_ground_except_in_a_jump(action: str) -> None:
    parts = skeleton(ACTIONS[action].move, Build(), CYCLES)
    lower_foot = np.minimum(parts["left_shin"], parts["right_shin"])[:, 1, 1]
    assert lower_foot.max() == pytest.approx(0.2 if action == "Jump" else 0, abs=1e-9)
    assert lower_foot.min() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("action", "left", "right"),
    [("WaveLeft", True, False), ("WaveRight", False, True), ("WaveTogether", True, True), ("WaveInTurn", True, True)],
)
def test_waves_move_the_named_arm_and_no_leg(action: str, left: bool, right: bool) -> None:
    for seed in range(4):
        parts = seen(action, seed)
        assert (moves(parts, "left_forearm"), moves(parts, "right_forearm")) == (left, right)
        assert not moves(parts, "left_shin")
        assert not moves(parts, "right_shin")


@pytest.mark.parametrize(
    ("action", "first", "second", "correlation"),
    [
        ("WaveTogether", ("left_forearm", 1), ("right_forearm", 1), 1),  # both hands up at once
        ("WaveInTurn", ("left_forearm", 1), ("right_forearm", 1), -1),
        ("PunchTogether", ("left_forearm", 0), ("right_forearm", 0), 1),  # both fists out at once
        ("PunchInTurn", ("left_forearm", 0), ("right_forearm", 0), -1),
        ("JumpingJack", ("right_forearm", 1), ("right_shin", 0), 1),  # hands up while feet go apart
        ("CrossJack", ("right_forearm", 1), ("right_shin", 0), -1),
        ("WalkRight", ("left_forearm", 0), ("right_shin", 0), 1),  # each arm with the opposite leg
        ("March", ("left_thigh", 1), ("right_thigh", 1), -1),
    ],
)
def test_limbs_go_together_or_in_turn(
    action: str, first: tuple[str, int], second: tuple[str, int], correlation: int
) -> None:
    for seed in range(4):
        parts = seen(action, seed)
        tracks = [parts[name][:, 1, axis] - parts["trunk"][:, 0, axis] for name, axis in (first, second)]
        assert correlation * np.corrcoef(tracks)[0, 1] > 0.75


@pytest.mark.parametrize(("action", "sign"), [("WindmillLeft", 1), ("WindmillRight", -1)])
def test_windmills_turn_the_named_way(action: str, sign: int) -> None:
    parts = seen(action)
    for name in ("left_arm", "right_arm"):
        along = parts[name][:, 1] - parts[name][:, 0]
        assert (sign * np.diff(np.unwrap(np.arctan2(along[:, 1], along[:, 0]))) > 0).all()


@pytest.mark.parametrize("gait", ["Walk", "Run", "Back"])
def test_who_goes_somewhere_goes_the_named_way_and_pushes_off_the_other(gait: str) -> None:
    for action, sign in ((f"{gait}Left", -1), (f"{gait}Right", 1)):
        parts, way_px = people.figure(action, draw_scene(0, 1), TIME_S, np.random.default_rng(0))
        assert (sign * np.diff(way_px) > 0).all()
        feet = np.stack([parts["left_shin"][END], parts["right_shin"][END]], axis=1) - parts["trunk"][:, :1]
        standing = feet[:-1, :, 1].argmax(axis=1)  # y down
        steps = np.diff(feet[:, :, 0], axis=0)[np.arange(len(standing)), standing]
        assert sign * steps.mean() < 0


def test_who_goes_nowhere_stays() -> None:
    for action in set(CLASSES) - {f"{gait}{way}" for gait in ("Walk", "Run", "Back") for way in ("Left", "Right")}:
        assert not people.figure(action, draw_scene(0, 1), TIME_S, np.random.default_rng(0))[1].any()


def test_walking_backwards_is_walking_in_reverse() -> None:
    """Pose for pose, so that a single picture does not distinguish them."""
    for back, walk in (("BackLeft", "WalkRight"), ("BackRight", "WalkLeft")):
        assert ACTIONS[back] == dataclasses.replace(ACTIONS[walk], reverse=True)


def test_a_windmill_has_the_same_poses_in_both_directions() -> None:
    """The mirror image, which is what turns the other way, shows the poses in reverse."""
    one, other = ACTIONS["WindmillLeft"], ACTIONS["WindmillRight"]
    assert (one.move, one.facing) == (other.move, -other.facing)
    poses, backwards = skeleton(one.move, Build(), CYCLES), skeleton(one.move, Build(), -CYCLES)
    assert all(np.allclose(mirrored(poses)[name], backwards[name]) for name in poses)


def test_held_arms_take_every_place_of_the_swing() -> None:
    """So that one picture of a waving figure does not show which arm moves."""
    still = [seen("WaveLeft", seed)["right_forearm"][0, 1, 1] for seed in range(40)]
    moving = seen("WaveRight", 0)["right_forearm"][:, 1, 1]
    assert np.ptp(still) > 0.8 * np.ptp(moving)


@pytest.mark.parametrize("action", CLASSES)
def test_the_trunk_stays_in_the_central_square(action: str) -> None:
    margin_px = (WIDTH_PX - HEIGHT_PX) / 2
    for seed in range(12):
        rng = np.random.default_rng(seed)
        parts, way_px = people.figure(action, draw_scene(0, seed), TIME_S, rng)
        trunk = people.camera_following(way_px, TIME_S, rng).picture(parts["trunk"])
        assert (np.abs(trunk[..., 0] - WIDTH_PX / 2) < WIDTH_PX / 2 - margin_px - 2).mean() > 0.95
        assert ((trunk[..., 1] > 0) & (trunk[..., 1] < HEIGHT_PX)).all()


def test_a_painted_capsule_covers_its_area() -> None:
    """A bar of 20 by 2 * 4 pixels and a disc of radius 4: 160 + 50.3 pixels, all of them of the colour 100."""
    pictures = np.zeros((1, 40, 60, 3), np.float32)
    people.paint(pictures, np.array([[[[20.0, 20.0], [40.0, 20.0]]]]), np.array([4.0]), np.full(3, 100.0))
    assert pictures.max() == 100
    assert pictures[0, ..., 0].sum() / 100 == pytest.approx(160 + np.pi * 16, rel=0.02)


def test_a_figure_stands_out_from_its_place() -> None:
    for group in range(1, 26):
        scene = draw_scene(0, group)
        ground = scene.strip.mean(axis=(0, 1))
        assert all(np.abs(rgb - ground).mean() > 30 for rgb in scene.clothes.values())


def test_clips_are_the_same_for_the_same_arguments_only() -> None:
    first = draw_clip("Squat", seed=0, group=1, clip=1)
    assert first.dtype == np.uint8
    assert first.shape[1:] == (72, 96, 3)
    assert 64 <= len(first) <= 80
    assert np.array_equal(first, draw_clip("Squat", seed=0, group=1, clip=1))
    for action, other in (
        ("Squat", {"seed": 1, "group": 1, "clip": 1}),
        ("Squat", {"seed": 0, "group": 2, "clip": 1}),
        ("Squat", {"seed": 0, "group": 1, "clip": 2}),
        ("Jump", {"seed": 0, "group": 1, "clip": 1}),
    ):
        assert not np.array_equal(first[:60], draw_clip(action, **other)[:60])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of the hard set, so that a test need not draw all."""
    world = dataclasses.replace(procedural.WORLDS["hard"], classes=("Bow", "Jump"))
    monkeypatch.setitem(procedural.WORLDS, "hard", world)


@pytest.mark.usefixtures("few")
def test_sets_never_mix_in_a_folder(tmp_path: Path) -> None:
    root = generate(tmp_path / "hard", world="hard", groups=2, clips_per_group=1, workers=1)
    assert len(list(root.rglob("*.avi"))) == 4
    with pytest.raises(InputError, match=r"procedural\.json: not the easy set with seed 0 of this version"):
        generate(root, groups=2, clips_per_group=1, workers=1)


def test_every_class_is_in_both_parts_of_every_split(tmp_path: Path) -> None:
    jobs = [(action, group, clip) for action in CLASSES for group in range(1, 51) for clip in (1, 2)]
    procedural._write_lists(tmp_path, CLASSES, jobs, 50)
    for split in (1, 2, 3):
        for part, count in (("train", 72), ("test", 28)):  # 1440 and 560 clips
            names = (tmp_path / f"{part}list0{split}.txt").read_text().splitlines()
            found = [name.split("/")[0] for name in names]
            assert {action: found.count(action) for action in CLASSES} == dict.fromkeys(CLASSES, count)


def test_a_world_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="world 'harder': no such set of clips; allowed: easy, hard"):
        generate(tmp_path / "out", world="harder")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("few")
def test_the_data_set_is_generated_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "generate", functools.partial(generate, groups=2))
    monkeypatch.setattr(procedural.os, "cpu_count", lambda: 1)  # no processes for eight clips
    choice = DatasetChoice(name="procedural_hard", split=1)
    data = open_dataset(choice, size=32, frames=4, train=True, cache=False)
    assert data.classes == ("Bow", "Jump")
    assert len(data) == 4
    assert data.entries[0].path.is_relative_to(Path("data") / "procedural_hard")
    assert not data.flip  # left and right are classes
