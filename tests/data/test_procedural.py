"""The procedural data set: the motions are what their names say, one picture never suffices, files are safe."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.data import procedural
from svformer.data.procedural import CLASSES, generate, main
from svformer.data.synthetic import scenes
from svformer.data.synthetic.scenes import HEIGHT_PX, MOTIONS, draw_clip, draw_scene, trajectory

SAMPLE_S = 4 / 30


def path_of(action: str, seed: int, tempo: float = 0.5) -> dict[str, np.ndarray]:
    time_s = np.arange(16) * SAMPLE_S
    values = trajectory(MOTIONS[action], time_s, tempo, np.random.default_rng(seed))
    return dict(zip(("x", "y", "angle", "size"), np.broadcast_arrays(*values, time_s)[:4], strict=True))


MOVING = {  # which of the four quantities change in a class
    "Bob": {"y"},
    "DownhillSway": {"x", "y"},
    "FigureEight": {"x", "y"},
    "UphillSway": {"x", "y"},
    "DriftDown": {"y"},
    "DriftLeft": {"x"},
    "DriftRight": {"x"},
    "DriftUp": {"y"},
    "OrbitLeft": {"x", "y"},
    "OrbitRight": {"x", "y"},
    "Pulse": {"size"},
    "Sway": {"x"},
}


@pytest.mark.parametrize("action", CLASSES)
def test_a_class_moves_what_its_name_says_and_nothing_else(action: str) -> None:
    for seed in range(5):
        path = path_of(action, seed)
        assert {name for name, values in path.items() if np.ptp(values) > 1e-9} == MOVING[action]


@pytest.mark.parametrize(
    ("action", "name", "sign"),
    [
        ("DriftLeft", "x", -1),
        ("DriftRight", "x", 1),
        ("DriftUp", "y", -1),  # rows count downwards
        ("DriftDown", "y", 1),
    ],
)
def test_drifts_and_rotations_go_the_named_way(action: str, name: str, sign: int) -> None:
    assert (sign * np.diff(path_of(action, 0)[name]) > 0).all()


@pytest.mark.parametrize(("action", "sign"), [("OrbitLeft", 1), ("OrbitRight", -1)])
def test_orbits_go_round_the_named_way(action: str, sign: int) -> None:
    path = path_of(action, 0)
    step_x, step_y = np.diff(path["x"]), -np.diff(path["y"])  # y up
    turns_left = step_x[:-1] * step_y[1:] - step_y[:-1] * step_x[1:]
    assert (sign * turns_left > 0).all()


def test_left_is_anticlockwise_in_the_picture() -> None:
    """The drop's tip points right at angle 0 and up, to smaller rows, after a quarter turn to the left."""
    for angle, column, row in ((0.0, 1, 0), (np.pi / 2, 0, -1), (np.pi, -1, 0)):
        place = np.array([[36.0], [36.0], [12.0], [angle]])
        cover = scenes._cover("drop", *place, period_px=HEIGHT_PX)[0]
        tip_px = 0.85 * 12
        assert cover[int(36 + row * tip_px), int(36 + column * tip_px)] > 0.5
        assert cover[int(36 - 1.05 * row * 12), int(36 - 1.05 * column * 12)] < 0.5


@pytest.mark.parametrize("tempo", [0.0, 1.0])
def test_motions_are_neither_too_fast_nor_too_slow_for_a_clip(tempo: float) -> None:
    orbit = path_of("OrbitLeft", 0, tempo)
    centre = {name: (orbit[name].min() + orbit[name].max()) / 2 for name in ("x", "y")}
    turned = np.abs(np.diff(np.unwrap(np.arctan2(orbit["y"] - centre["y"], orbit["x"] - centre["x"]))))
    assert (np.rad2deg(turned) < 60).all()
    assert turned.sum() > np.deg2rad(270)
    drift_px = np.ptp(path_of("DriftRight", 0, tempo)["x"])
    assert drift_px >= 0.5 * HEIGHT_PX - 1e-9
    assert drift_px <= 1.2 * HEIGHT_PX + 1e-9
    for name, action in (("x", "Sway"), ("size", "Pulse")):
        turning_points = np.diff(np.sign(np.diff(path_of(action, 0, tempo)[name])))
        assert 2 <= np.count_nonzero(turning_points) <= 5  # one to two and a half periods in two seconds


def test_a_single_picture_tells_next_to_nothing() -> None:
    """Orientation and size are distributed alike in every class, and all motions are centred on the same place.

    What is left is how far from the centre the object can be; `svformer.evaluate` measures what a network makes of it.
    """
    count = 600
    for action in CLASSES:
        at = {name: [] for name in ("x", "y", "angle", "size")}
        for seed in range(count):
            for name, values in path_of(action, seed).items():
                at[name].append(values[len(values) // 2])
        resultant = np.exp(1j * np.array(at["angle"])).mean()
        assert abs(resultant) < 0.12, action  # uniform: 1 / sqrt(600) = 0.04 in the mean
        for name, centre in (("x", scenes.WIDTH_PX / 2), ("y", HEIGHT_PX / 2)):
            assert np.mean(at[name]) == pytest.approx(centre, abs=2.5), (action, name)  # 19 / sqrt(600) = 0.8
        assert np.mean(at["size"]) == pytest.approx(1, abs=0.04)
        assert np.std(at["size"]) == pytest.approx(scenes.SIZE_SWING / np.sqrt(2), abs=0.02)


def test_every_square_crop_shows_the_whole_object_once() -> None:
    """The world repeats every picture height, so the covered area is the same in each crop of that width."""
    for x in (3.0, 40.0, 70.0):
        cover = scenes._cover("wedge", *np.array([[x], [2.0], [14.0], [0.7]]), period_px=HEIGHT_PX)[0]
        areas = [cover[:, left : left + HEIGHT_PX].sum() for left in (0, 12, 24)]
        assert areas == pytest.approx([areas[0]] * 3, rel=1e-4)


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_shapes_have_no_rotational_symmetry_and_fill_their_radius(shape: str) -> None:
    def cover(angle: float) -> np.ndarray:
        return scenes._cover(shape, *np.array([[36.0], [36.0], [16.0], [angle]]), period_px=HEIGHT_PX)[0][:, :72]

    upright = cover(0.0)
    rows, columns = np.nonzero(upright > 0.5)
    reach = np.hypot(rows + 0.5 - 36, columns + 0.5 - 36).max()
    assert 0.8 * 16 < reach < 1.35 * 16
    for turn_degrees in (60, 72, 90, 120, 144, 180):
        assert np.abs(cover(np.deg2rad(turn_degrees)) - upright).sum() > 0.25 * upright.sum()


def test_the_object_stands_out_from_its_ground() -> None:
    for group in range(1, 26):
        scene = draw_scene(0, group)
        assert abs(scene.object_rgb.mean() - scene.ground_rgb.mean()) > 40
        assert 2 * scene.radius_px * (1 - scenes.SIZE_SWING) / HEIGHT_PX > 0.24
        assert 2 * scene.radius_px * (1 + scenes.SIZE_SWING) / HEIGHT_PX < 0.55


def test_clips_are_the_same_for_the_same_seed_only() -> None:
    first = draw_clip("Sway", seed=0, group=1, clip=1)
    assert first.shape[1:] == (72, 96, 3)
    assert 64 <= len(first) <= 80
    assert np.array_equal(first, draw_clip("Sway", seed=0, group=1, clip=1))
    for other in ({"seed": 1, "group": 1, "clip": 1}, {"seed": 0, "group": 1, "clip": 2}):
        assert not np.array_equal(first[:60], draw_clip("Sway", **other)[:60])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("procedural"), groups=2, clips_per_group=1, workers=1)


def test_files_are_xvid_in_avi_at_25_frames_per_second(root: Path) -> None:
    with av.open(str(root / "UCF-101" / "Pulse" / "v_Pulse_g02_c01.avi")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.codec_tag) == ("mpeg4", "XVID")
        assert (stream.width, stream.height, stream.average_rate) == (96, 72, 25)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    drawn = draw_clip("Pulse", seed=0, group=2, clip=1)
    assert len(decoded) == len(drawn)
    assert np.abs(np.array(decoded, np.float32) - drawn).mean() < 8


def test_two_processes_write_the_same_bytes_as_one(root: Path, tmp_path: Path) -> None:
    generate(tmp_path, groups=2, clips_per_group=1, workers=2)
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((root / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_an_interrupted_run_leaves_no_half_written_clip_and_the_next_one_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw(action: str, *, seed: int, group: int, clip: int) -> Iterator[np.ndarray]:
        drawn.append((action, group, clip))
        yield from draw_clip(action, seed=seed, group=group, clip=clip)[:4]
        if len(drawn) == 6:
            raise KeyboardInterrupt

    monkeypatch.setitem(procedural.WORLDS, "easy", dataclasses.replace(procedural.WORLDS["easy"], draw_clip=draw))
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    kept = [path for path in (tmp_path / "UCF-101").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == sorted(f"v_{a}_g{g:02d}_c{c:02d}.avi" for a, g, c in drawn[:5])
    assert not (tmp_path / "ucfTrainTestlist").exists()  # the lists come last
    generate(tmp_path, groups=2, clips_per_group=1, workers=1)
    assert len(drawn) == 6 + 24 - 5  # what was complete is kept
    assert (tmp_path / "ucfTrainTestlist" / "testlist03.txt").exists()


def test_lists_never_split_a_group_and_follow_ucf101(tmp_path: Path) -> None:
    jobs = [(action, group, clip) for action in CLASSES for group in range(1, 26) for clip in (1, 2)]
    procedural._write_lists(tmp_path, CLASSES, jobs, 25)

    def groups(name: str) -> set[int]:
        return {int(number) for number in re.findall(r"_g(\d\d)_", (tmp_path / name).read_text())}

    for split, tested in ((1, range(1, 8)), (2, range(8, 15)), (3, range(15, 22))):
        assert groups(f"testlist0{split}.txt") == set(tested)
        assert groups(f"trainlist0{split}.txt") == set(range(1, 26)) - set(tested)
    train = (tmp_path / "trainlist01.txt").read_text().splitlines()
    assert len(train) == 12 * 18 * 2
    assert train[0] == "Bob/v_Bob_g08_c01.avi 1"
    assert (tmp_path / "testlist01.txt").read_text().splitlines()[-1] == "UphillSway/v_UphillSway_g07_c02.avi"
    assert (tmp_path / "classInd.txt").read_text().splitlines()[-1] == "12 UphillSway"


def test_more_groups_add_to_what_is_there(root: Path, tmp_path: Path) -> None:
    generate(tmp_path, groups=3, clips_per_group=1, workers=1)
    name = Path("UCF-101") / "Bob" / "v_Bob_g02_c01.avi"
    assert (tmp_path / name).read_bytes() == (root / name).read_bytes()


def test_clips_of_two_seeds_never_mix(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"procedural\.json: not the easy set with seed 1 of this version; use its set and seed"
    ):
        generate(root, groups=2, clips_per_group=1, seed=1, workers=1)


@pytest.mark.parametrize("wrong", [["--groups", "1"], ["--clips-per-group", "0"], ["--jobs", "0"]])
def test_the_command_refuses_wrong_counts_with_code_2(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(main, [str(tmp_path / "out"), *wrong]) == 2
    message = capsys.readouterr().err
    assert "allowed: " in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_some_classes_alone_are_the_same_clips(tmp_path: Path, root: Path) -> None:
    """Asking for fewer writes fewer, and asking for all later adds the others."""
    generate(tmp_path, classes=("Pulse", "Bob"), groups=2, clips_per_group=1, workers=1)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.avi"))
    assert [name.split("/")[1] for name in written] == ["Bob", "Bob", "Pulse", "Pulse"]
    assert all((tmp_path / name).read_bytes() == (root / name).read_bytes() for name in written)
    assert (tmp_path / "ucfTrainTestlist" / "classInd.txt").read_text() == "1 Pulse\n2 Bob\n"


@pytest.mark.parametrize("classes", [("Bob", "Spin"), ()])
def test_unknown_classes_are_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"Spin|\(none\).*not in the easy world; allowed: Bob, Down"):
        generate(tmp_path, classes=classes)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_set_that_the_data_set_of_this_name_has() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(generate).parameters.items()}
    said = vars(procedural.parse_arguments(["out"]))
    assert {name: said[name] for name in ("groups", "clips_per_group", "seed")} == {
        name: defaults[name] for name in ("groups", "clips_per_group", "seed")
    }
