"""Runs a Lava process network so that nothing hangs and nothing is left behind."""

import math
import time
from collections.abc import Callable, Mapping
from multiprocessing import connection
from typing import Any, Self

from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import RunConfig
from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal

from deploy.errors import SimulatorError
from deploy.lava_network.actors import WatchedRuntime, one_line, require_semaphores
from svformer.common.errors import InputError, UserFacingError

POLL_S = 0.2
REPORT_GRACE_S = 10.0  # how much later than the first sign of a failure its report may come; a busy machine takes long


class LavaRun:
    """A Lava network, built when the `with` block is entered and ended, without a trace, when it is left.

    Example:
        with LavaRun(process, run_cfg=run_cfg) as run:
            run.step(20, on_progress=print)

    A network can be built once only: make a new one for another block. `step` can be called again and again.
    Leave the block in the thread that entered it: the network is killed when that thread ends.

    Args:
        process: Any process of the network.
        run_cfg: Chooses the process models.
        compile_config: Options of Lava's compiler. By default a channel holds 1 message, not Lava's 64.
        timeout_s: How long the build, and each call of `step`, may take; None is without limit.
        clock: Seconds since some moment; a test hands in one that it puts forward.

    Attributes:
        build_s: How long compiling and starting the network took.
        processes: Lava processes of the network.
        channels: Channels between their ports.
        values_per_step: Values that all channels together take in a time step.

    Raises:
        InputError: There is no room for the network's semaphores or shared memory; nothing was started.
        SimulatorError: The network could not be built, one of its processes raised or died, or time is up. It
            carries the traceback of the process that raised.
    """

    def __init__(
        self,
        process: AbstractProcess,
        *,
        run_cfg: RunConfig,
        compile_config: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.build_s = 0.0
        self.processes = self.channels = self.values_per_step = 0
        self._process = process
        self._run_cfg = run_cfg
        self._compile_config = {"pypy_channel_size": 1, **(compile_config or {})}
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._clock = clock
        self._deadline_s = math.inf
        self._runtime: WatchedRuntime | None = None
        self._unanswered: list[Any] = []
        self._has_failed = False
        self._give_up_s = math.inf
        self._first_step = self._steps = 0

    def __enter__(self) -> Self:
        started_s = self._clock()
        try:
            self._build()
        except BaseException as error:
            self.close()
            if isinstance(error, Exception) and not isinstance(error, UserFacingError):
                raise SimulatorError(f"Lava could not build the network: {one_line(error)}") from error
            raise
        self.build_s = self._clock() - started_s
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def step(self, steps: int, *, on_progress: Callable[[int], None] | None = None) -> None:
        """Run `steps` time steps; `on_progress` gets those done, about five times a second and at the end."""
        self.start(steps)
        while not self.poll():
            if on_progress:
                on_progress(self.steps_done - self._first_step)
        if on_progress:
            on_progress(steps)

    def start(self, steps: int) -> None:
        """Let the network run `steps` time steps and return at once; `poll` tells when they are done."""
        if steps < 1:
            raise InputError(f"a Lava run of {steps} time steps was asked for; it needs at least 1")
        runtime = self._running
        self._first_step, self._steps = self.steps_done, steps
        self._unanswered = list(runtime.service_to_runtime)
        self._deadline_s = self._clock() + self._timeout_s
        runtime.start(RunSteps(num_steps=steps, blocking=False))

    def poll(self) -> bool:
        """Look after the network for at most `POLL_S`; return whether the steps of `start` are done."""
        runtime = self._running
        if self._unanswered:
            runtime.answered.wait(POLL_S)
            runtime.answered.clear()
        self._take_answers()
        self._check()
        runtime._is_running = bool(self._unanswered)  # once False, Lava lets variables be read
        return not self._unanswered

    @property
    def steps_done(self) -> int:
        """Time steps that every process has finished since the build."""
        return min((int(actor.steps[0]) for actor in self._running.actors if actor.counts_steps), default=0)

    def close(self) -> None:
        """End the network; the end of the `with` block does it, too."""
        if self._runtime:
            self._runtime.stop()
            self._process.runtime = self._runtime = None

    @property
    def _running(self) -> WatchedRuntime:
        if self._runtime is None:
            raise SimulatorError("this Lava network is not running; use it inside `with LavaRun(...) as run:`")
        return self._runtime

    def _build(self) -> None:
        self._deadline_s = self._clock() + self._timeout_s
        executable = self._process.compile(self._run_cfg, self._compile_config)
        require_semaphores(executable)
        self.processes, self.channels = len(executable.proc_builders), len(executable.channel_builders)
        sizes = (math.prod(channel.src_port_initializer.shape) for channel in executable.channel_builders)
        self.values_per_step = int(sum(sizes))
        self._runtime = runtime = WatchedRuntime(executable)
        executable.assign_runtime_to_all_processes(runtime)
        self._process.runtime = runtime
        runtime.initialize()
        while not_ready := [actor.report for actor in runtime.actors if not actor.is_ready]:
            connection.wait(not_ready, POLL_S)
            self._check()
        self._deadline_s = math.inf

    def _take_answers(self) -> None:
        for port in [port for port in self._unanswered if port.probe()]:
            if enum_equal(port.recv(), MGMT_RESPONSE.DONE):
                self._unanswered.remove(port)
            else:
                self._has_failed = True  # Lava's answer does not say what happened; the actor will
        if not self._unanswered:
            self._deadline_s = math.inf

    def _check(self) -> None:
        """Raise SimulatorError for what went wrong; what an actor says comes before what became of it."""
        now_s, actors = self._clock(), self._running.actors
        # Asked before the news are taken: whatever a dead actor had to say has arrived then.
        gone = [actor for actor in actors if actor.exit_code is not None]
        for actor in actors:
            actor.take_news()
        for actor in gone:
            if actor.exit_code != 0:
                raise actor.death
        if gone or self._has_failed:  # Lava ends all actors, with exit code 0, when one of them fails
            self._give_up_s = min(self._give_up_s, now_s + REPORT_GRACE_S)
        if now_s > self._give_up_s:
            raise gone[0].death if gone else SimulatorError("Lava ended the run early, without a reason")
        if now_s > self._deadline_s:
            raise SimulatorError(f"Lava took longer than the {self._timeout_s:g} s allowed, {self._progress}")

    @property
    def _progress(self) -> str:
        if not self._unanswered:
            return "before it was built; allow more"
        return f"at {self.steps_done - self._first_step} of {self._steps} time steps; allow more"
