"""Errors that are meant for the user. Each class has the exit code with which a command ends (DESIGN: 0, 2, 3, 4)."""


class UserFacingError(Exception):
    """An error whose message is one complete line for the user; no traceback is shown for it."""

    exit_code = 1


class InputError(UserFacingError):
    """Bad input: the message says in one line what was found, what is allowed and what to do."""

    exit_code = 2
