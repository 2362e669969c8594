"""The one error of this package."""


class ChipError(ValueError):
    """A chip file, layer or recording that cannot be counted or priced; the message is one complete line.

    `exit_code` is the code with which the command line tools end on it (2: bad input).
    """

    exit_code = 2
