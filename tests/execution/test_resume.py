"""However a list of clips is cut, stopped, killed and resumed, the report is the same, apart from times."""

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy import run_lava
from deploy.arguments import KEPT_CLIPS
from deploy.clips.source import ClipSource
from deploy.errors import SimulatorError
from deploy.execution.backends import RunOptions
from deploy.execution.batch import BatchResult, run_batch
from deploy.execution.collect import InProcess, batches_left, collect
from deploy.execution.deployment import Deployment
from deploy.execution.fingerprint import fingerprint, of_clips, of_spec
from deploy.execution.resume import ResultFolder, decode, encode
from deploy.execution.run import run
from deploy.execution.spec import RunSpec
from deploy.execution.tally import ClipResult, Tally
from deploy.ir.populations.lif import IntLif
from hardware import OpCounts
from processes import HANG_S, run_python
from results import assert_same, read_report, without_times
from svformer.common.cli import run_cli
from svformer.common.errors import InputError

ROOT = Path(__file__).parents[2]
CLIPS = 11  # of `small_run`


def work_of(deployment: Deployment) -> RunSpec:
    return RunSpec(
        graph=deployment.graph,
        integer=deployment.integer,
        plan=deployment.plan,
        wanted=deployment.input_format,
        backend="integer",
    )


@pytest.fixture(scope="module")
def whole(deployment: Deployment, sources: list[ClipSource]) -> Tally:
    return run(deployment, sources, backend="integer")


# Sums


@pytest.mark.parametrize("size", [1, 2, 3, 8, CLIPS])
def test_any_cut_gives_the_same_report(
    size: int, deployment: Deployment, sources: list[ClipSource], whole: Tally
) -> None:
    found = collect(work_of(deployment), sources, size=size, runner=InProcess())
    assert_same(found, whole, deployment)
    assert len(next(iter(found.kept.values()))) == KEPT_CLIPS


def test_parts_in_any_order_give_the_same_report(
    deployment: Deployment, sources: list[ClipSource], whole: Tally
) -> None:
    class Backwards(InProcess):
        def run(self, work: RunSpec, sources: Any, batches: Any, on_clips: Any) -> Any:
            yield from super().run(work, sources, batches[::-1], on_clips)

    assert_same(collect(work_of(deployment), sources, size=2, runner=Backwards()), whole, deployment)


def test_batches_are_cut_from_what_is_not_done(sources: list[ClipSource]) -> None:
    """Of 11 clips, 2 to 4 and 8 are done: 0 and 1, 5 to 7, 9 and 10 are left."""
    done = [BatchResult(taken=taken, places=(), left_out={}, tally=Tally()) for taken in ((2, 3, 4), (8,))]

    def places(size: int) -> list[list[int]]:
        return [[b.places[0], len(b.sources)] for b in batches_left(sources, done, size)]

    assert places(9) == [[0, 2], [5, 3], [9, 2]]
    assert places(2) == [[0, 2], [5, 2], [7, 1], [9, 2]]
    assert batches_left(sources, [], 6)[1].sources == sources[6:]


def test_clips_that_cannot_be_read_are_left_out_and_their_owner_is_told(
    deployment: Deployment, sources: list[ClipSource], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first and the ninth of 12: the spikes that are kept are those of clips 1 to 7 and 9, however they are cut."""
    told: list[str] = []
    damaged = tmp_path / "damaged.npy"
    damaged.write_bytes(b"no array")
    bad = ClipSource(path=damaged, label=None, leave_out=lambda error: told.append(str(error)))
    mixed = [bad, *sources[:7], dataclasses.replace(bad, path=tmp_path / "missing.npy"), *sources[7:10]]
    expected = run(deployment, sources[:10], backend="integer")
    for size in (1, 5, 12):
        told.clear()
        assert_same(collect(work_of(deployment), mixed, size=size, runner=InProcess()), expected, deployment)
        assert [Path(line.partition(":")[0]).name for line in told] == ["damaged.npy", "missing.npy"]
        assert capsys.readouterr().err == "2 of 12 clips cannot be read and are left out\n"
    with pytest.raises(InputError, match="1 of 1 clips cannot be read; nothing is left to run"):
        run(deployment, [bad], backend="integer")
    with pytest.raises(InputError, match=r"damaged\.npy: not a readable"):
        run(deployment, [dataclasses.replace(bad, leave_out=None)], backend="integer")


# On disk


def test_a_part_survives_the_disk_exactly(deployment: Deployment, sources: list[ClipSource]) -> None:
    part = run_batch(work_of(deployment), sources[3:], places=range(3, CLIPS))
    found, mark = decode(encode(part, "its mark"), sources)
    assert mark == "its mark"
    assert (found.first, found.count, found.places) == (3, 8, tuple(range(3, CLIPS)))
    for field in dataclasses.fields(Tally):
        one, two = getattr(found.tally, field.name), getattr(part.tally, field.name)
        if field.name not in ("clips", "kept", "kept_differences", "kept_results"):
            assert one == two, field.name
    assert part.tally.kept_results is not None
    assert np.array_equal(found.tally.kept_results, part.tally.kept_results)  # type: ignore[arg-type]
    assert np.array_equal(part.tally.kept_results[0, -1], part.tally.clips[0].logits)
    assert all(map(same_clip, found.tally.clips, part.tally.clips))
    for name, spikes in part.tally.kept.items():
        assert spikes.shape[0] == KEPT_CLIPS - 3
        assert np.array_equal(found.tally.kept[name], spikes)
        assert found.tally.kept[name].dtype == spikes.dtype
        assert np.array_equal(found.tally.kept_differences[name], part.tally.kept_differences[name])


def same_clip(one: ClipResult, two: ClipResult) -> bool:
    logits = np.array_equal(one.logits, two.logits) and all(
        np.array_equal(getattr(one.verdict, name), getattr(two.verdict, name))
        for name in ("float_logits", "integer_logits")
    )
    return logits and (one.source, one.seconds) == (two.source, two.seconds)


def test_large_counts_stay_exact(sources: list[ClipSource]) -> None:
    """Reads times bits of memory pass 64 bits at the published geometry."""
    tally = Tally(steps={"a": [OpCounts(state_reach=3 * 2**70)]})
    part = BatchResult(taken=(0,), places=(), left_out={0: "why"}, tally=tally)
    found, _ = decode(encode(part), sources)
    assert found.tally.steps == tally.steps
    assert found.left_out == {0: "why"}


def test_damage_and_other_versions_are_told_apart(deployment: Deployment, sources: list[ClipSource]) -> None:
    content = encode(run_batch(work_of(deployment), sources[:2]))
    for at in range(0, len(content), 97):  # every checksum and header
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        try:
            found, _ = decode(bytes(damaged), sources)
        except (ValueError, LookupError):
            continue
        assert found.count == 2  # where the format has bytes that say nothing
    for short in (b"", content[:-1], content[: len(content) // 2]):
        with pytest.raises(ValueError):
            decode(short, sources)
    with pytest.raises(LookupError):
        decode(content, sources[:1])


# What a part depends on


def test_fingerprints_tell_what_matters(deployment: Deployment, sources: list[ClipSource], tmp_path: Path) -> None:
    work = work_of(deployment)
    assert of_spec(work) == of_spec(dataclasses.replace(work, options=RunOptions(processes=4, timeout_s=9.0)))
    name = work.integer.neuron_layers[0]
    neurons = work.integer.populations[name]
    assert isinstance(neurons, IntLif)
    eager = dataclasses.replace(neurons, threshold=neurons.threshold - 1)
    others = (
        dataclasses.replace(work, backend="lava"),
        dataclasses.replace(work, options=RunOptions(blocks="stock")),
        dataclasses.replace(
            work,
            integer=dataclasses.replace(work.integer, populations={**work.integer.populations, name: eager}),
        ),
    )
    assert len({of_spec(one) for one in (work, *others)}) == 4
    clip = tmp_path / "clip.npy"
    clip.write_bytes(b"1")
    source = ClipSource(path=clip, label=None)
    marks = [of_clips([source]), of_clips([dataclasses.replace(source, start=0.0)]), of_clips([source, source])]
    clip.write_bytes(b"22")
    marks.append(of_clips([source]))
    assert len(set(marks)) == 4
    told = dataclasses.replace(source, leave_out=print)
    assert of_clips([told]) == of_clips([source])


def test_what_has_no_stable_text_has_no_fingerprint() -> None:
    assert fingerprint([1, "1", 1.0, None, True]) == fingerprint((1, "1", 1.0, None, True))
    values = (1, "1", b"1", 1.0, True, ["1"], np.ones(1), np.ones(1, np.int64))
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    for value in (object(), {1}, print):
        with pytest.raises(TypeError, match="no fingerprint"):
            fingerprint(value)


# Stopped and resumed


def stopping_after(parts: ResultFolder, count: int, error: BaseException) -> None:
    """Make a run end when `count` of its parts are stored."""
    original = parts.add
    left = [count]

    def add(part: BatchResult) -> None:
        original(part)
        left[0] -= 1
        if not left[0]:
            raise error

    parts.add = add  # type: ignore[method-assign]


class Counting(InProcess):
    """InProcess, and says how many clips it was given."""

    clips = 0

    def run(self, work: RunSpec, sources: Any, batches: Any, on_clips: Any) -> Any:
        self.clips += sum(len(batch.sources) for batch in batches)
        yield from super().run(work, sources, batches, on_clips)


def collected(deployment: Deployment, sources: list[ClipSource], parts: ResultFolder, size: int) -> tuple[Tally, int]:
    runner = Counting()
    return collect(work_of(deployment), sources, size=size, runner=runner, results=parts), runner.clips


def test_a_run_goes_on_where_it_was_also_in_other_batches(
    deployment: Deployment, sources: list[ClipSource], whole: Tally, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    parts = ResultFolder(folder)
    stopping_after(parts, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="4 of 11 clips are done; go on with the same command and --resume"):
        collected(deployment, sources, parts, size=2)
    found, clips = collected(deployment, sources, ResultFolder(folder, resume=True), size=3)
    assert clips == 5 + 2  # the part that was stored when Ctrl-C came counts
    assert_same(found, whole, deployment)
    found, clips = collected(deployment, sources, ResultFolder(folder, resume=True), size=CLIPS)
    assert clips == 0
    assert_same(found, whole, deployment)
    with pytest.raises(InputError, match=r"parts: holds what a run .* has done \(5 files\); go on with --resume"):
        ResultFolder(folder)
    parts.remove()
    assert not folder.exists()
    ResultFolder(folder)


def test_an_error_says_how_to_go_on(deployment: Deployment, sources: list[ClipSource], tmp_path: Path) -> None:
    parts = ResultFolder(tmp_path / "parts")
    stopping_after(parts, 1, SimulatorError("Lava process 'a' was killed"))
    with pytest.raises(SimulatorError) as caught:
        collected(deployment, sources, parts, size=3)
    assert caught.value.__notes__ == ["3 of 11 clips are done; go on with the same command and --resume"]


def test_one_batch_leaves_the_disk_alone(deployment: Deployment, sources: list[ClipSource], tmp_path: Path) -> None:
    run(deployment, sources, backend="integer", results=ResultFolder(tmp_path / "parts"))
    assert not (tmp_path / "parts").exists()


def test_parts_that_are_damaged_or_of_another_run_are_run_again(
    deployment: Deployment,
    sources: list[ClipSource],
    whole: Tally,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "parts"
    collected(deployment, sources, ResultFolder(folder), size=3)
    names = [f"part-{first:06}.npz" for first in (0, 3, 6, 9)]
    assert sorted(file.name for file in folder.iterdir()) == names
    (folder / names[1]).write_bytes((folder / names[1]).read_bytes()[:-100])
    found, clips = collected(deployment, sources, ResultFolder(folder, resume=True), size=3)
    assert clips == 3
    assert_same(found, whole, deployment)
    error = capsys.readouterr().err
    assert error.startswith(f"{folder / names[1]}: damaged (")
    assert error.endswith("; its clips are run again\n")
    assert error.count("\n") == 1
    found, clips = collected(deployment, sources[1:], ResultFolder(folder, resume=True), size=3)
    assert clips == 10
    assert capsys.readouterr().err == (
        f"{folder}: 4 parts are of another run (network, clips, options or version of the code); "
        "their clips are run again\n"
    )


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "part-000000.npz").touch()
    (tmp_path / ".part-000003-x1.npz").touch()  # half-written by a run that was killed
    (tmp_path / "mine.txt").touch()
    ResultFolder(tmp_path, resume=True).remove()
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


# As a user runs it

KILLED = """
import os, signal, sys
from deploy import run_lava
from deploy.execution.resume import ResultFolder
from svformer.common.cli import run_cli

add, left = ResultFolder.add, int(os.environ["PARTS"])

def add_and_die(self, part):
    global left
    add(self, part)
    left -= 1
    if not left:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))

ResultFolder.add = add_and_die
sys.exit(run_cli(run_lava.main))
"""


def command(folder: Path, out: Path, *options: str) -> list[str]:
    """Runs each of the 11 clips 7 times: 77 clips, in batches of 32, 32 and 13."""
    clips = [str(path) for path in sorted(folder.glob("*.npy"))] * 7
    network = ["--nir", str(folder / "small.nir"), "--dt", "1e-3", "--timeout", str(HANG_S)]
    return [*network, "--clip", *clips, "--out", str(out), *options]


Script = Callable[..., int]


@pytest.fixture
def script() -> Script:
    return lambda *arguments: run_cli(run_lava.main, arguments)


@pytest.mark.lava
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_killed_run_is_resumed_to_the_same_report(
    sent: signal.Signals,
    code: int,
    small_run: Path,
    sources: list[ClipSource],
    tmp_path: Path,
    script: Script,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script(*command(small_run, tmp_path / "whole")) == 0
    done = run_python(KILLED, *command(small_run, tmp_path / "out"), PARTS="2", SIGNAL=str(int(sent)))
    assert done.returncode == code, done.stderr
    if sent == signal.SIGINT:
        expected = "interrupted: 64 of 77 clips are done; go on with the same command and --resume"
        assert done.stderr.strip() == expected
    stored = [
        decode(file.read_bytes(), sources * 7)[0] for file in sorted((tmp_path / "out" / "parts").glob("part-*.npz"))
    ]
    assert [(part.first, part.count) for part in stored] == [(0, 32), (32, 32)]
    assert not (tmp_path / "out" / "report.json").exists()
    assert script(*command(small_run, tmp_path / "out", "--resume")) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    seconds = [clip.seconds for part in stored for clip in part.tally.clips]
    assert [clip["seconds"] for clip in report["clips"][:64]] == seconds, "clips were run again"
    assert without_times(report) == read_report(tmp_path / "whole")
    assert (tmp_path / "out" / "spikes.h5").read_bytes() == (tmp_path / "whole" / "spikes.h5").read_bytes()
    assert not (tmp_path / "out" / "parts").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--resume"], "parts: nothing to resume; start without --resume"),
        (["--workers", "0"], "--workers 0; allowed: 1 or more"),
        (["--workers", "2", "--scheduler", "tcp://a:1"], "not allowed with argument --workers"),
        (["--workers", "2", "--estimate"], "--workers is for runs on Lava or the integers; leave it out"),
        (["--scheduler", ""], "--scheduler '': allowed: the address of a dask scheduler, tcp://HOST:8786"),
        (
            ["--scheduler", "tcp://10.0.0.7:8786"],
            "a plain connection to another machine, over which",
        ),
        (["--insecure"], "--insecure is for --scheduler; leave it out"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: list[str],
    expected: str,
    small_run: Path,
    tmp_path: Path,
    script: Script,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script(*command(small_run, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
