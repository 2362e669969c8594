"""The manners of all commands: help that teaches, output for people, machines and logs, completion in a shell."""

import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from svformer.common import terminal
from svformer.common.cli import EXIT_CODES, READER_GONE, ArgumentParser, run_cli
from svformer.common.terminal import (
    SCREEN,
    Screen,
    counting,
    duration,
    new_console,
    progress,
    say,
    size,
    track,
    working,
)

ROOT = Path(__file__).parents[2]
FOLDERS = ("deploy", "svformer", "hardware", "benchmarks")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def screen() -> Screen:
    """As at the start of a process."""
    SCREEN.quiet, SCREEN.json, SCREEN.color = False, False, True
    return SCREEN


# Every command


def commands() -> list[str]:
    """Files that parse a command line, by what they do rather than by a list that somebody has to keep."""
    files = (file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))
    return [
        file.relative_to(ROOT).as_posix()
        for file in files
        if (source := file.read_text("utf-8"))
        .rstrip()
        .endswith(("sys.exit(run_cli(main))", "sys.exit(command())", "    main()"))
        and "__main__" in source
    ]


def module_of(place: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if place.startswith("benchmarks/"):
        monkeypatch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module(Path(place).stem)
    return importlib.import_module(place.removesuffix(".py").replace("/", "."))


def invocation(place: str) -> str:
    """How the command is called from the root of the repository."""
    if place.startswith(("deploy/", "benchmarks/")) and place != "deploy/report/schema.py":
        return f"python {place}"
    return f"-m {place.removesuffix('.py').replace('/', '.')}"


def help_of(place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as done:
        run_cli(module_of(place, monkeypatch).main, ["--help"])
    assert done.value.code == 0
    return capsys.readouterr().out


def examples(text: str) -> list[str]:
    """The command lines under "examples:", without what a comment or a pipe adds."""
    lines = re.findall(r"^    ((?:python|torchrun) .*)$", text.partition("examples:\n")[2], re.MULTILINE)
    return [line.partition(" #")[0].partition(" | ")[0].strip() for line in lines]


def test_all_commands_are_found() -> None:
    found = commands()
    assert {"deploy/run_lava.py", "deploy/export_nir.py", "deploy/compare.py", "hardware/paper.py"} < set(found)
    assert {f"svformer/{name}.py" for name in ("train", "evaluate", "convert", "sizes", "fold_time")} < set(found)
    assert {"svformer/data/procedural.py", "svformer/data/lookalike.py", "benchmarks/lava_clip.py"} < set(found)


@pytest.mark.parametrize("place", commands())
def test_the_help_teaches_by_two_to_five_examples(place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    shown = examples(help_of(place, monkeypatch, capsys))
    assert 2 <= len(shown) <= 5
    assert sum(invocation(place) in line for line in shown) >= len(shown) - 1


class Parsed(Exception):  # noqa: N818 (it stops a command, nothing is wrong)
    """Raised in place of going on behind the command line."""


@pytest.mark.parametrize("place", commands())
def test_every_example_is_one_that_the_command_takes(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    shown, module = examples(help_of(place, monkeypatch, capsys)), module_of(place, monkeypatch)
    parsers = ArgumentParser, __import__("argparse").ArgumentParser
    for parser in parsers:
        original = parser.parse_args

        def stop(self, args=None, namespace=None, original=original):  # type: ignore[no-untyped-def]
            original(self, args, namespace)
            raise Parsed

        monkeypatch.setattr(parser, "parse_args", stop)
    for line in shown:
        if invocation(place) not in line:
            continue
        words = shlex.split(line.partition(invocation(place))[2])
        with pytest.raises(Parsed):
            module.main(words)


@pytest.mark.parametrize("place", [place for place in commands() if place != "hardware/paper.py"])
def test_shared_options_exit_codes_and_completion(place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    shown = help_of(place, monkeypatch, capsys)
    assert "--quiet" in shown
    assert "--no-color" in shown
    assert " ".join(shown.split()).endswith(EXIT_CODES)
    assert "PYTHON_ARGCOMPLETE_OK" in (ROOT / place).read_text("utf-8")[:1024]  # where argcomplete looks for it


# What goes where


def parser() -> ArgumentParser:
    made = ArgumentParser(prog="tool", description="Does it.\n\n    python tool.py\n\nWords.")
    made.add_argument("--json", action="store_true")
    return made


def test_remarks_go_to_standard_output(capsys: Capture) -> None:
    assert vars(parser().parse_args([])) == {"json": False}  # what is about the screen goes no further
    new_console().print("a table")
    say("a line")
    assert capsys.readouterr() == ("a table\na line\n", "")


@pytest.mark.parametrize("option", ["--quiet", "-q", "--json"])
def test_quiet_and_json_silence_remarks(option: str, capsys: Capture) -> None:
    parser().parse_args([option])
    new_console().print("a table")
    say("a line")
    assert capsys.readouterr() == ("", "")


def test_json_leaves_standard_error_to_progress_and_quiet_does_not() -> None:
    parser().parse_args(["--json"])
    assert not new_console(stderr=True).quiet
    parser().parse_args(["--quiet"])
    assert new_console(stderr=True).quiet
    parser().parse_args([])
    assert not new_console().quiet


def on_a_terminal(**options: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    made = new_console()
    return Console(file=file, force_terminal=True, force_interactive=True, no_color=made.no_color, **options), file


def test_colours_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def printed() -> str:
        console, file = on_a_terminal()
        console.print("[red]7 spikes[/red]")
        return file.getvalue()

    parser().parse_args([])
    assert "\x1b[31m" in printed()
    parser().parse_args(["--no-color"])
    assert "\x1b[31m" not in printed()
    parser().parse_args([])
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in printed()


def test_a_bar_is_for_who_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    console, file = on_a_terminal()
    with progress(on=console) as bar:
        list(bar.track(range(3), description="three clips"))
    assert "three clips" in file.getvalue()
    assert not progress(on=console, show=True).disable
    assert progress(on=console, show=False).disable  # another process writes
    assert progress(on=Console(file=io.StringIO())).disable  # a file or a pipe
    assert progress(on=on_a_terminal(quiet=True)[0]).disable


def test_no_bar_reaches_a_pipe(capsys: Capture) -> None:
    assert list(track(range(3), "reading")) == [0, 1, 2]
    with counting(4, "clips") as done, working("waiting"):
        done(2.5)
    assert capsys.readouterr() == ("", "")


def test_bars_in_a_command_that_is_piped(tmp_path: Path) -> None:
    """As a user has it: standard output and error into files, nothing in them but the result."""
    command = [sys.executable, "-m", "svformer.data.procedural", "out", "--groups", "5", "--clips-per-group", "1"]
    done = subprocess.run([*command, "--jobs", "1"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "")
    quiet = subprocess.run([*command, "--quiet"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_reader_that_goes_is_no_traceback() -> None:
    """`command | head -1`: the shell's code for it, and not a word."""
    code = "import sys, svformer.common.cli as c; sys.exit(c.run_cli(lambda argv: print('x\\n' * 1_000_000)))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == READER_GONE == 141


# JSON


def test_sizes_as_json(capsys: Capture) -> None:
    from svformer import sizes

    assert run_cli(sizes.main, ["--preset", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiny"]["parameters"] == 169_317


def test_the_ledger_as_json(capsys: Capture) -> None:
    from hardware import paper

    paper.main(["--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["recomputed_mj"] == pytest.approx(15.95, abs=0.01)  # README
    weighted = [term["mj"] for term in found["terms"][:2]]  # 3.38 behind spikes, 12.57 graded
    assert found["recomputed_mj"] == pytest.approx(sum(weighted))
    assert found["chips_mj"]["loihi1"]["total"] == pytest.approx(sum(found["chips_mj"]["loihi1"]["by_cause"].values()))


# Tab completion


def completed(line: str, module: str = "svformer.sizes") -> list[str]:
    """What a shell gets from argcomplete for a command line whose cursor is at its end."""
    script = f"import sys; sys.argv[0] = 'x'; import {module} as m, svformer.common.cli as c; c.run_cli(m.main)"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    read, write = os.pipe()
    done = subprocess.run(
        ["bash", "-c", f'exec 8>&{write} 9>/dev/null; exec "$0" -c "$1"', sys.executable, script],
        env={**os.environ, **asked},
        pass_fds=[write],
        check=True,
        capture_output=True,
        timeout=120,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        return [word.strip() for word in answer.read().splitlines()] if done.returncode == 0 else []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_tab_completes_options_and_choices() -> None:
    assert "--preset" in completed("sizes --pre")
    assert {"tiny", "ucf101", "ntu60", "dvs128_gesture"} <= set(completed("sizes --preset "))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_tab_completes_the_chips_that_can_decide() -> None:
    offered = completed("run_lava --merge ", "deploy.run_lava")
    assert {"always", "never", "cmos45_fp32", "loihi1"} <= set(offered)
    assert "loihi2" not in offered  # has no published energy
    assert completed("run_lava --merge cmos45_i", "deploy.run_lava") == ["cmos45_int8", "cmos45_int8_sram"]


SLOW = re.compile(r"^import time:.*\|\s+(torch|norse|numba|nir|lava|matplotlib|tonic)$", re.MULTILINE)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("place", [place for place in commands() if place.startswith(("deploy/", "svformer/"))])
@pytest.mark.parametrize("asked", ["help", "completion"])
def test_what_takes_long_to_import_is_imported_after_the_command_line(place: str, asked: str) -> None:
    """Neither --help nor Tab waits for torch: by what Python imports, not by the clock."""
    command = [place] if invocation(place).startswith("python ") else invocation(place).split()
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": str(ROOT)}
    if asked == "completion":
        line = f"{command[-1]} --"
        environment |= {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    shell = 'exec 8>&1 9>&2; exec "$@"'  # where argcomplete answers
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, *command, *(["--help"] if asked == "help" else [])],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    assert "argparse" in done.stderr  # what is imported is seen at all
    assert SLOW.findall(done.stderr) == []


# Units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (718_432, "718 kB"),
        (1_940_000, "1.9 MB"),
        (105_300_000, "105 MB"),
        (3_060_000_000, "3.1 GB"),
        (2_000_000_000_000, "2,000 GB"),
    ],
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.0095, "9.5 ms"),
        (0.1, "0.10 s"),
        (9.87, "9.87 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (657, "10 min 57 s"),
        (7_500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_place_makes_the_consoles() -> None:
    """Every other file asks `common.terminal` for its console and bars, so that all of them heed the options."""
    makers = re.compile(r"(?<![\w.])(?:Console|Progress)\((?!file=console\.file)|rich\.progress import .*\btrack\b")
    sources = {
        file: file.read_text("utf-8") for folder in ("deploy", "svformer") for file in (ROOT / folder).rglob("*.py")
    }
    found = [file.relative_to(ROOT).as_posix() for file, source in sources.items() if makers.search(source)]
    assert found == [Path(terminal.__file__).relative_to(ROOT).as_posix()]
