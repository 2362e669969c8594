"""What the command line tools share: exit codes, one line for an error, files that are whole or not there."""

import argparse
import dataclasses
import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from processes import run_python
from svformer import InputError
from svformer.common.cli import INTERRUPTED, UNWRITABLE, ArgumentParser, command_line, run_cli
from svformer.common.errors import UserFacingError
from svformer.common.files import atomic_path, require_new, write_bytes
from svformer.common.options import (
    at_least,
    between,
    fields_of,
    positive_float,
    positive_int,
    positive_seconds,
    share,
    views,
)

Capture = pytest.CaptureFixture[str]


class GateError(UserFacingError):
    """Stands for those of `deploy`: run_cli knows the exit code from the class only."""

    exit_code = 3


class SimulatorError(UserFacingError):
    exit_code = 4


Main = Callable[[Sequence[str] | None], None]


def raising(error: BaseException) -> Main:
    def main(argv: Sequence[str] | None) -> None:
        raise error

    return main


def test_success_prints_what_main_prints(capsys: Capture) -> None:
    assert run_cli(lambda argv: print("done")) == 0
    assert capsys.readouterr() == ("done\n", "")


def test_the_words_of_the_command_line_are_handed_on(capsys: Capture) -> None:
    assert run_cli(lambda argv: print(argv), ["--json"]) == 0
    assert run_cli(lambda argv: print(argv)) == 0
    assert capsys.readouterr().out == "['--json']\nNone\n"


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("x"), 2), (GateError("x"), 3), (SimulatorError("x"), 4), (UserFacingError("x"), 1)]
)
def test_an_error_for_the_user_is_one_line_and_its_exit_code(
    error: UserFacingError, code: int, capsys: Capture
) -> None:
    assert run_cli(raising(error)) == code
    assert capsys.readouterr() == ("", "error: x\n")


def test_notes_follow_the_error(capsys: Capture) -> None:
    error = InputError("a.avi: damaged")
    error.add_note("while clip 3 of 5 was read")
    error.add_note("the first two are in runs/tiny")
    assert run_cli(raising(error)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: a.avi: damaged",
        "while clip 3 of 5 was read",
        "the first two are in runs/tiny",
    ]


def test_an_interruption_has_the_code_of_the_shell(capsys: Capture) -> None:
    answered = signal.getsignal(signal.SIGINT)
    assert run_cli(raising(KeyboardInterrupt())) == INTERRUPTED == 130
    assert capsys.readouterr().err == "interrupted: nothing half-written was left\n"
    assert signal.getsignal(signal.SIGINT) is answered, "a caller in Python can still be interrupted"


ENDING = """
    import atexit, os, signal, sys
    from svformer.common.cli import run_cli

    def main(argv=None):
        if sys.argv[1:]:
            raise KeyboardInterrupt

    atexit.register(os.kill, os.getpid(), signal.SIGINT)  # while the interpreter ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_cli(main))
"""


@pytest.mark.parametrize(
    ("words", "expected"), [(["stop"], (130, "interrupted: nothing half-written was left\n")), ([], (0, ""))]
)
def test_a_ctrl_c_while_the_interpreter_ends_says_nothing(words: list[str], expected: tuple[int, str]) -> None:
    """A second one, and one behind a command that is done."""
    done = run_python(ENDING, *words)
    assert (done.returncode, done.stderr) == expected


CLEANED_UP = """
    import os, signal, sys, time, weakref
    from svformer.common.cli import run_cli

    def interrupts(reference):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(9):
            pass  # here the interpreter answers

    class Thing:
        pass

    def main(argv=None):
        thing = Thing()
        reference = weakref.ref(thing, interrupts)
        del thing
        time.sleep(600)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_cli(main))
"""


def test_a_ctrl_c_is_not_lost_while_an_object_goes() -> None:
    """Python says "Exception ignored in" there, and goes on."""
    done = run_python(CLEANED_UP)
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing half-written was left\n")


def test_what_else_python_ignores_is_still_told(capsys: Capture) -> None:
    def main(argv: object) -> None:
        class Fails:
            def __del__(self) -> None:
                raise KeyError("gone")

        Fails()

    before = sys.unraisablehook
    told = list[object]()
    sys.unraisablehook = lambda unraisable: told.append(unraisable.exc_type)
    try:
        assert run_cli(main) == 0
    finally:
        sys.unraisablehook = before
    assert told == [KeyError]


def test_a_reader_that_is_killed_while_it_is_ended_is_not_told(capsys: Capture) -> None:
    def main(argv: object) -> None:
        class Loader:
            def __del__(self) -> None:
                raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

        Loader()

    assert run_cli(main) == 0
    assert capsys.readouterr().err == ""


def test_no_further_thread_is_one_line(capsys: Capture) -> None:
    assert run_cli(raising(RuntimeError("can't start new thread"))) == 2
    expected = "error: no further thread can start here; free memory, or allow more (ulimit -v, -u)\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(RuntimeError, match="another"):
        run_cli(raising(RuntimeError("another")))


@pytest.mark.parametrize("number", sorted(UNWRITABLE))
def test_a_disk_that_takes_nothing_is_told_in_one_line(number: int, capsys: Capture) -> None:
    assert run_cli(raising(OSError(number, os.strerror(number), "runs/report.json"))) == 2
    expected = f"error: cannot write runs/report.json: {os.strerror(number)}; free space or choose another folder\n"
    assert capsys.readouterr().err == expected


def test_a_full_disk_that_names_no_file(capsys: Capture) -> None:
    """As `write` does: the file was opened long before."""
    assert run_cli(raising(OSError(errno.ENOSPC, "No space left on device"))) == 2
    assert capsys.readouterr().err.startswith("error: cannot write the output folder: No space left on device;")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_real_full_disk(capsys: Capture) -> None:
    def main(argv: Sequence[str] | None) -> None:
        with Path("/dev/full").open("w") as file:
            file.write("x")

    assert run_cli(main) == 2
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "I/O error"), RuntimeError(), SystemExit(0)])
def test_other_errors_keep_their_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_cli(raising(error))


def test_a_wrong_option_is_one_line_that_names_the_help(capsys: Capture) -> None:
    parser = ArgumentParser(prog="python -m tool")
    parser.add_argument("--number", type=int)
    for arguments in (["--number", "x"], ["--nubmer", "3"], ["--number"]):
        assert run_cli(lambda argv: print(parser.parse_args(argv)), arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.endswith("; see python -m tool --help\n")
        assert err.count("\n") == 1
    with pytest.raises(SystemExit) as done:
        parser.parse_args(["--help"])
    assert done.value.code == 0


# What options take


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (positive_int, "1", 1),
        (at_least(0), "0", 0),
        (between(2, 8), "2", 2),
        (between(2, 8), "8", 8),
        (positive_float, "1e-4", 1e-4),
        (share, "0", 0.0),
        (share, "1", 1.0),
        (views, "5x3", (5, 3)),
        (views, "1x1", (1, 1)),
        (views, "10x2", (10, 2)),
    ],
)
def test_what_is_allowed_is_read(kind: Callable[[str], object], text: str, value: object) -> None:
    parser = ArgumentParser(prog="tool")
    parser.add_argument("--option", type=kind)
    assert parser.parse_args(["--option", text]).option == value


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        (positive_int, "0", "1 or more"),
        (positive_int, "2.5", "1 or more"),
        (positive_int, "many", "1 or more"),
        (at_least(3), "2", "3 or more"),
        (between(2, 8), "9", "2 to 8"),
        (positive_float, "0", "a positive number"),
        (positive_float, "nan", "a positive number"),
        (positive_seconds, "inf", "a positive number of seconds"),
        (positive_seconds, "-1", "a positive number of seconds"),
        (share, "1.01", "a share from 0 to 1"),
        (share, "nan", "a share from 0 to 1"),
        (views, "0x3", "temporal x spatial counts from 1, such as 5x3"),
        (views, "5", "temporal x spatial counts from 1, such as 5x3"),
        (views, "x3", "temporal x spatial counts from 1, such as 5x3"),
        (views, "5x3x1", "temporal x spatial counts from 1, such as 5x3"),
        (views, "5 x 3", "temporal x spatial counts from 1, such as 5x3"),
    ],
)
def test_what_is_not_is_one_line_that_names_option_and_value(
    kind: Callable[[str], object], text: str, allowed: str, capsys: Capture
) -> None:
    parser = ArgumentParser(prog="tool")
    parser.add_argument("--option", type=kind)
    assert run_cli(lambda argv: print(parser.parse_args(argv)), ["--option", text]) == 2
    assert capsys.readouterr() == ("", f"error: --option {text}; allowed: {allowed}\n")


def test_python_code_is_held_to_the_same() -> None:
    positive_int.check("--limit", 3)
    positive_int.check("--limit", None)  # not given
    with pytest.raises(InputError, match=r"^--limit 0; allowed: 1 or more$"):
        positive_int.check("--limit", 0)


@dataclasses.dataclass(kw_only=True)
class Asked:
    out: str
    limit: int = 3


def test_options_become_the_fields_of_a_request() -> None:
    arguments = argparse.Namespace(out="runs", json=True)
    assert Asked(**fields_of(Asked, arguments, apart=("json",))) == Asked(out="runs")
    with pytest.raises(TypeError, match="options without an effect: json"):
        fields_of(Asked, arguments)


def test_the_command_line_of_a_record_can_be_typed_again() -> None:
    assert command_line("python -m tool", ["--out", "my runs", "-q"]) == "python -m tool --out 'my runs' -q"


# Files


def test_a_result_is_not_overwritten_unasked(tmp_path: Path) -> None:
    new, taken = tmp_path / "new.json", tmp_path / "taken.json"
    taken.touch()
    require_new(new, force=False)
    require_new(new, taken, force=True)
    with pytest.raises(InputError, match=r"taken\.json: exists; choose another --out, or --force to overwrite it"):
        require_new(new, taken, force=False)


# atomic_path


def test_the_file_appears_at_the_end_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "curve.png"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".png"  # some writers choose the format by it
        assert temporary.parent == path.parent  # a rename is atomic within one file system only
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("half-way"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_leaves_what_was_there(error: BaseException, old: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    if old is not None:
        path.write_text(old)
    with pytest.raises(type(error)), atomic_path(path) as temporary:  # noqa: PT012 (the body is what fails)
        temporary.write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_success_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old and longer")
    with atomic_path(str(path)) as temporary:
        temporary.write_text("new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


def test_a_writer_that_renames_over_the_temporary_file_works_too(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        (tmp_path / "other").write_text("whole")
        (tmp_path / "other").replace(temporary)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_result_is_an_ordinary_file(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.touch()
        assert os.umask(umask) == umask  # reading the mask did not change it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer one ends last
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
    import os, signal, sys
    from svformer.common.files import atomic_path

    with atomic_path(sys.argv[1]) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    """Other files stay: those of another name, and those that only look alike."""
    path = tmp_path / "a.txt"
    (tmp_path / ".a-unfinished-notes.txt").touch()
    assert run_python(KILLED, tmp_path / "b.txt").returncode == -signal.SIGKILL
    others = set(tmp_path.iterdir())
    assert run_python(KILLED, path).returncode == -signal.SIGKILL
    (left,) = set(tmp_path.iterdir()) - others
    assert left.name.startswith(".a-unfinished-")
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {*others, path}


@pytest.mark.parametrize("place", ["runs/run.json", "runs/tiny/run.json"])
def test_a_folder_that_cannot_be_made_is_told_to_the_user(place: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "runs").write_text("not a folder")

    def main(argv: Sequence[str] | None) -> None:
        with atomic_path(tmp_path / place):
            raise AssertionError("nothing can be written there")

    assert run_cli(main) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {(tmp_path / place).parent}: cannot be made (")
    assert error.count("\n") == 1
    assert (tmp_path / "runs").read_text() == "not a folder"


def test_a_name_that_no_file_can_have_is_told_to_the_user(tmp_path: Path, capsys: Capture) -> None:
    assert run_cli(lambda argv: write_bytes(tmp_path / f"{'n' * 300}.json", b"x")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_folders_and_devices_are_not_replaced(make: Callable[[Path], None], tmp_path: Path, capsys: Capture) -> None:
    make(tmp_path / "special")
    assert run_cli(lambda argv: write_bytes(tmp_path / "special", b"x")) == 2
    assert "special: not a regular file; choose another name" in capsys.readouterr().err
    assert not (tmp_path / "special").is_file()


@pytest.mark.parametrize("content", [b"new", memoryview(b"new"), b""])
def test_bytes_made_in_memory_are_written_whole(content: bytes | memoryview, tmp_path: Path) -> None:
    path = tmp_path / "new" / "spikes.h5"
    write_bytes(path, content)
    assert path.read_bytes() == bytes(content)
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spikes.h5"
    write_bytes(path, b"old")

    def fill_up(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
