"""NTU RGB+D 60: names, the two official splits, what is no part of it, and the look-alike through every command."""

import json
from pathlib import Path

import pytest

from deploy import run_lava
from deploy.clips.files import from_files
from deploy.frontend.export import export_checkpoint
from deploy.ir.graph import write_nir
from svformer import evaluate, train
from svformer.common.cli import run_cli
from svformer.common.errors import InputError
from svformer.config import PRESETS, SVFormerConfig
from svformer.data.clips import decode_video
from svformer.data.ntu60 import CLASSES, LAST, TRAINING_PERFORMERS, Ntu60, VideoName, parse_name
from svformer.data.synthetic import lookalikes

REAL_CLIP = Path(__file__).parents[3] / "shared" / "clips" / "S001C001P001R001A001_rgb.avi"
needs_real_clip = pytest.mark.skipif(not REAL_CLIP.is_file(), reason="the shared real clip of NTU RGB+D is not here")

TINY = SVFormerConfig(
    num_classes=2, image_size=32, frames=4, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three actions of two performers in three cameras."""
    return lookalikes.ntu60(tmp_path_factory.mktemp("ntu60"), actions=3)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_classes_are_the_official_ones() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 60
    assert [CLASSES[i] for i in (0, 8, 24, 48, 59)] == [
        "A001 drink water",
        "A009 standing up (from sitting position)",
        "A025 put something inside pocket / take out something from pocket",
        "A049 use a fan (with hand or paper)/feeling warm",
        "A060 walking apart from each other",
    ]


def test_a_name_says_what_is_in_the_file() -> None:
    sample = parse_name("S017C003P040R002A060_rgb.avi")
    assert sample == VideoName(setup=17, camera=3, performer=40, replication=2, action=60) == LAST
    assert sample.label == 59
    assert sample.file_name == "S017C003P040R002A060_rgb.avi"


@pytest.mark.parametrize(
    "name",
    [
        "S018C001P001R001A001_rgb.avi",  # NTU RGB+D 120 begins at setup 18
        "S001C001P001R001A061_rgb.avi",  # .. and at action 61
        "S001C004P001R001A001_rgb.avi",
        "S001C001P041R001A001_rgb.avi",
        "S001C001P001R003A001_rgb.avi",
        "S000C001P001R001A001_rgb.avi",
        "S001C001P001R001A000_rgb.avi",
        "S001C001P001R001A001_depth.avi",
        "S001C001P001R001A001.avi",
        "S1C1P1R1A1_rgb.avi",
        "notes.txt",
    ],
)
def test_other_names_are_no_part_of_it(name: str, tmp_path: Path) -> None:
    assert parse_name(name) is None
    touch(tmp_path, "S001C001P001R001A001_rgb.avi", name)
    assert [entry.name for entry in Ntu60(tmp_path, train=True).entries] == ["S001C001P001R001A001_rgb.avi"]


def test_cross_subject_goes_by_the_performer(tmp_path: Path) -> None:
    """20 performers train, the other 20 test, whatever the camera."""
    touch(tmp_path, *(f"S001C{camera:03d}P{p:03d}R001A001_rgb.avi" for camera in (1, 2) for p in range(1, 41)))
    parts = {part: Ntu60(tmp_path, split="xsub", train=part).entries for part in (True, False)}
    assert {part: len(entries) for part, entries in parts.items()} == {True: 40, False: 40}
    tested = sorted({int(entry.name[9:12]) for entry in parts[False]})
    assert tested == [3, 6, 7, 10, 11, 12, 20, 21, 22, 23, 24, 26, 29, 30, 32, 33, 36, 37, 39, 40]
    assert len(TRAINING_PERFORMERS) == 20


def test_cross_view_goes_by_the_camera(tmp_path: Path) -> None:
    touch(tmp_path, *(f"S001C{camera:03d}P{p:03d}R001A001_rgb.avi" for camera in (1, 2, 3) for p in (1, 3)))
    for part, cameras in ((True, ["002", "002", "003", "003"]), (False, ["001", "001"])):
        entries = Ntu60(tmp_path, split="xview", train=part).entries
        assert [entry.name[5:8] for entry in sorted(entries, key=lambda entry: entry.name[5:8])] == cameras


def test_videos_lie_at_any_depth_and_missing_skeletons_do_not_matter(tmp_path: Path) -> None:
    """S001C002P005R002A008 is the first name in the official list of samples with missing skeletons."""
    touch(
        tmp_path,
        "S001C002P005R002A008_rgb.avi",
        "setup2/nturgb+d_rgb/S002C003P001R001A060_rgb.avi",
        "NTU_RGBD_samples_with_missing_skeletons.txt",
    )
    entries = Ntu60(tmp_path, train=True).entries
    assert [(entry.name, entry.label) for entry in entries] == [
        ("S001C002P005R002A008_rgb.avi", 7),
        ("S002C003P001R001A060_rgb.avi", 59),
    ]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split 1: .* allowed: xsub, xview"):
        Ntu60(tmp_path, split="1", train=True)
    with pytest.raises(InputError, match=r"0 videos of NTU RGB\+D 60, none of them in the training part of split xsub"):
        Ntu60(tmp_path, train=True)
    touch(tmp_path, "S001C001P001R001A001_rgb.avi")
    with pytest.raises(InputError, match=r"1 videos .* none of them in the test part of split xsub"):
        Ntu60(tmp_path, train=False)
    touch(tmp_path, "again/S001C001P001R001A001_rgb.avi")
    with pytest.raises(InputError, match="one video twice; remove one"):
        Ntu60(tmp_path, train=True)


@needs_real_clip
def test_the_real_clip_is_read_by_its_name() -> None:
    """1920 x 1080, 103 pictures at 30 a second; performer 1 trains in cross-subject, camera 1 tests in cross-view."""
    data = Ntu60(REAL_CLIP.parent, split="xsub", train=True, size=32)
    assert [entry.path for entry in data.entries] == [REAL_CLIP]
    clip, label = data[0]
    assert clip.shape == (16, 3, 32, 32)
    assert clip.float().std() > 20
    assert data.classes[label] == "A001 drink water"
    assert len(Ntu60(REAL_CLIP.parent, split="xview", train=False)) == 1
    assert [source.label for source in from_files([REAL_CLIP])] == ["A001 drink water"]


def test_the_look_alike_has_official_names_and_odd_sizes(root: Path) -> None:
    counts = {
        (split, part): len(Ntu60(root, split=split, train=part))
        for split in ("xsub", "xview")
        for part in (True, False)
    }
    assert counts == {("xsub", True): 9, ("xsub", False): 9, ("xview", True): 12, ("xview", False): 6}
    for path in (root / "nturgb+d_rgb").glob("S001C00?P001R001A001_rgb.avi"):
        video = decode_video(path, size=32)
        sample = parse_name(path.name)
        assert sample is not None
        width, height = lookalikes.NTU_SIZES_PX[sample.camera]
        assert width % 2 == height % 2 == 1
        assert video.frames_NCHW.shape[2:] == (32, round(width * 32 / height))
        assert 64 <= len(video.times_s) <= 80
    with pytest.raises(InputError, match="there already"):
        lookalikes.ntu60(root)


def run(tool: object, *arguments: object) -> int:
    return run_cli(tool.main, [*map(str, arguments)])  # type: ignore[attr-defined]


def test_train_evaluate_and_deploy_the_look_alike(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    data = ("--dataset", "ntu60", "--root", root, "--split", "xview")
    assert run(train, *data, "--epochs", 2, "--batch-size", 2, "--out", tmp_path) == 0
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert json.loads((tmp_path / "run.json").read_text())["classes"] == list(CLASSES)
    capsys.readouterr()
    assert run(evaluate, "--checkpoint", checkpoint, *data) == 0
    assert "on 6 held-out clips" in capsys.readouterr().out
    _, graph = export_checkpoint(checkpoint)
    write_nir(graph, tmp_path / "model.nir")
    options = ("--nir", tmp_path / "model.nir", "--backend", "integer", "--json", "--out", tmp_path / "lava")
    assert run(run_lava, *data, *options, "--limit", 2) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accuracy"]["videos"] == 2
    assert [clip["label"] for clip in report["clips"]] == list(CLASSES[:2])
    assert [clip["source"] for clip in report["clips"]] == [
        "S001C001P001R001A001_rgb.avi",
        "S001C001P003R001A002_rgb.avi",  # the third of the two performers' clips, by class: 1 3, 1 3, 1 3
    ]
