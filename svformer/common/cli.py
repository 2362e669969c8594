"""What all command line tools share: options, help, completion, exit codes, one clear line for an error (DESIGN).

Results go to standard output, progress and errors to standard error: `svformer.common.terminal`.
"""

import argparse
import atexit
import errno
import gc
import os
import re
import shlex
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from svformer.common.errors import InputError, UserFacingError
from svformer.common.terminal import SCREEN

# What the user's disk and paths can lead to; any other OSError is a bug and keeps its traceback.
UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EFBIG),
}
NO_THREAD = "can't start new thread"  # Python's words
READER_KILLED = "DataLoader worker (pid"  # torch's
AGAIN_S = 0.01
MADE_BETWEEN = 50_000  # objects, from one search for cycles of the youngest to the next; Python's own: 700
TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
INTERRUPTED = 130  # the shell's convention for Ctrl-C
READER_GONE = 141  # and for a reader that went, as `head` does
STARTS = ("python ", "torchrun ")  # of a paragraph with examples
REFUSED = re.compile(r"argument ([^:]+): (.+; allowed: .+)")  # of the types of `svformer.common.options`
EXIT_CODES = "exit codes: 0 done, 2 bad input, 3 a gate found a mismatch, 4 the simulator failed, 130 interrupted"


class ArgumentParser(argparse.ArgumentParser):
    """argparse with the manners that all commands share.

    `description` is the docstring of the command's module: its first paragraph stands at the head of --help, the
    examples and all others behind the options. Complaints are one line, like every other error. Tab completes
    where the shell asks argcomplete.
    """

    def __init__(self, *, description: str = "", **options: Any) -> None:
        summary, *paragraphs = description.strip().split("\n\n")
        examples = [part for part in paragraphs if part.lstrip().startswith(STARTS)]
        shown = [f"examples:\n{textwrap.indent(textwrap.dedent(part), '    ')}" for part in examples]
        remarks = [part for part in paragraphs if part not in examples]
        super().__init__(
            description=summary,
            epilog="\n\n".join([*shown, *remarks, EXIT_CODES]),
            formatter_class=_Filled,
            **options,
        )
        screen = self.add_argument_group("screen")
        screen.add_argument("-q", "--quiet", action="store_true", help="no progress, no remarks: warnings and errors")
        screen.add_argument("--no-color", action="store_true", help="no colours; the variable NO_COLOR does the same")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As in argparse; what is about the screen goes to `svformer.common.terminal.SCREEN` and no further."""
        _complete(self)
        parsed = super().parse_args(args, namespace)
        SCREEN.quiet, SCREEN.json = vars(parsed).pop("quiet"), vars(parsed).get("json", False)
        SCREEN.color = not vars(parsed).pop("no_color")
        return parsed

    def error(self, message: str) -> NoReturn:
        refused = REFUSED.fullmatch(message)
        raise InputError(f"{refused[1]} {refused[2]}" if refused else f"{message}; see {self.prog} --help")


def add_device_argument(parser: argparse._ActionsContainer) -> None:
    """For commands that compute; `svformer.common.devices` reads it."""
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU where torch can use one)")


class _Filled(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and leaves indented ones and lists of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            part if "\n  " in part or part[:1] in " -" else textwrap.fill(part, width) for part in paragraphs
        )


def complete_with(action: argparse.Action, words: Callable[[], Iterable[str]]) -> None:
    """Let Tab offer these words for an option that takes others, too; `words` is called only where Tab asks."""
    action.completer = lambda **_: words()  # type: ignore[attr-defined]  # argcomplete looks for it


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that asks what Tab can mean, and end."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # only then needed

        argcomplete.autocomplete(parser)


# Running a command


def command_line(program: str, argv: Sequence[str] | None) -> str:
    """How a command was called, for the record of its run; `argv` is that of its `main`."""
    return shlex.join([*program.split(), *(sys.argv[1:] if argv is None else argv)])


def one_line(text: object) -> str:
    """A text from names and words of files as one line that a terminal shows and does not obey."""
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in str(text))


def _look_seldom_for_cycles() -> None:
    """Python looks through all that torch and the others make while they are imported, half a second of such an import,
    and once more at its end, where nothing is worth collecting.
    """
    gc.set_threshold(MADE_BETWEEN)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


@contextmanager
def _no_interruption_lost() -> Iterator[None]:
    """Let a Ctrl-C come again that struck while Python cleaned up behind an object.

    There Python cannot raise it: it would be a remark on standard error, and the command would go on.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            main = threading.main_thread().ident
            again = threading.Timer(AGAIN_S, signal.pthread_kill, [main, signal.SIGINT])  # at once it would strike here
            again.daemon = True
            again.start()
        elif not str(unraisable.exc_value).startswith(READER_KILLED):  # while it is ended, all read
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def run_cli(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run `main` with the words of a command line (None: those of this process).

    Errors meant for the user become one line on standard error; returns the exit code.
    """
    _look_seldom_for_cycles()
    try:
        with _no_interruption_lost():
            main(argv)
            sys.stdout.flush()
    except UserFacingError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupted:
        print(f"interrupted: {interrupted if interrupted.args else 'nothing half-written was left'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        return READER_GONE
    except MemoryError as error:
        said = f" ({one_line(error)})" if str(error) else ""
        print(f"error: out of memory{said}; free some, allow more (ulimit -v), or give less at a time", file=sys.stderr)
        return InputError.exit_code
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        print("error: no further thread can start here; free memory, or allow more (ulimit -v, -u)", file=sys.stderr)
        return InputError.exit_code
    except OSError as error:
        if error.errno in TOO_MANY_OPEN:
            print("error: too many files are open here; allow more with `ulimit -n 4096`", file=sys.stderr)
            return InputError.exit_code
        if error.errno not in UNWRITABLE:
            raise
        where = error.filename or "the output folder"
        print(
            f"error: cannot write {one_line(where)}: {error.strerror}; free space or choose another folder",
            file=sys.stderr,
        )
        return InputError.exit_code
    finally:
        # While the interpreter ends, a Ctrl-C would be a traceback of whatever cleans up.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return 0
