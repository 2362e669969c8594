"""What all command line tools share: exit codes and one clear line for an error (DESIGN, interfaces)."""

import argparse
import errno
import sys
from collections.abc import Callable
from typing import NoReturn

from svformer.errors import InputError, UserFacingError

# What the user's disk and paths can lead to; any other OSError is a bug and keeps its traceback.
UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}
INTERRUPTED = 130  # the shell's convention for Ctrl-C


class ArgumentParser(argparse.ArgumentParser):
    """argparse whose complaints are one line, like every other error of the command line tools."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def run_cli(main: Callable[[], None]) -> int:
    """Run `main`; errors meant for the user become one line on standard error and their exit code."""
    try:
        main()
    except UserFacingError as error:
        print(f"error: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(note, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = error.filename or "the output folder"
        print(f"error: cannot write {where}: {error.strerror}; free space or choose another folder", file=sys.stderr)
        return InputError.exit_code
    return 0
