"""What can end a deployment, beside bad input. Each class carries the exit code of the command line tools."""

from svformer.common.errors import UserFacingError


class GateError(UserFacingError):
    """Two executions that must agree do not; the message names the first layer, step and neuron."""

    exit_code = 3


class SimulatorError(UserFacingError):
    """The simulator failed, died or took too long.

    `child_traceback` is the traceback of the simulator process that failed, empty where there is none. It is
    a note of the exception too, so that Python prints it below an uncaught error.
    """

    exit_code = 4

    def __init__(self, message: str, *, child_traceback: str = "") -> None:
        super().__init__(message)
        self.child_traceback = child_traceback
        if child_traceback:
            self.add_note(child_traceback)
