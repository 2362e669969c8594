"""All epochs of a run: progress, curve, logs, saved states, and messages for what can go wrong."""

import dataclasses
import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from svformer.common.errors import InputError
from svformer.common.files import atomic_path
from svformer.common.shortage import shortage_explained
from svformer.common.terminal import duration, new_console, size
from svformer.common.terminal import progress as progress_bars
from svformer.data.clip_dataset import ClipDataset
from svformer.evaluation.curve import Point, best_point, write_curve
from svformer.training.held_out import held_out_top1
from svformer.training.request import STATE
from svformer.training.trainer import Trainer

LOGS = "tensorboard"
SPACE_FOR_STATES = 3  # states: the old one, the new one beside it, and as much for all other results


def train(
    trainer: Trainer,
    out: Path,
    *,
    save_every: int = 0,
    held_out: ClipDataset | None = None,
    evaluate_every: int = 1,
    on_best: Callable[[Point], None] = lambda point: None,
    on_epoch: Callable[[], None] = lambda: None,
) -> None:
    """Run the epochs that are left; the state is saved after each, and after every `save_every` steps of one (0: none).

    With `held_out` clips the accuracy on them is added to the curve after every `evaluate_every` epochs and the last;
    `on_best` is called where it is higher than ever before, `on_epoch` after every epoch, both in the process that
    writes.
    A run that is stopped or killed loses what came after the last saved state; `Trainer.load` goes on from there.
    Raises `InputError` on a full disk and where memory does not suffice.
    """
    if len(trainer.curve) == trainer.recipe.epochs:
        return
    check_space(trainer, out)
    with ExitStack() as stack:
        stack.enter_context(failures_explained(trainer, out))
        progress = stack.enter_context(_progress(trainer))
        log = stack.enter_context(opened_log(trainer, out)) if trainer.processes.writes else None
        steps = trainer.steps_per_epoch * trainer.recipe.epochs
        total = progress.add_task("all steps", total=steps, completed=trainer.steps_done)

        def after_step() -> None:
            progress.advance(total)
            if save_every and trainer.step % save_every == 0:
                trainer.save(out / STATE)

        while len(trainer.curve) < trainer.recipe.epochs:
            point = trainer.run_epoch(progress, after_step)
            last = point.epoch == trainer.recipe.epochs
            if held_out is not None and (last or point.epoch % evaluate_every == 0):
                _keep(trainer, out)  # an evaluation that is stopped or fails loses no training
                point = dataclasses.replace(point, test_top1=held_out_top1(trainer, held_out))
                trainer.curve[-1] = point
                if trainer.processes.writes and best_point(trainer.curve) is point:
                    on_best(point)
            _keep(trainer, out)
            if log:
                log(point)
                progress.console.print(_line(point))  # an epoch that is told is one that --resume has
            if trainer.processes.writes:
                on_epoch()


def _keep(trainer: Trainer, out: Path) -> None:
    """Write curve.csv, curve.png and the state; of several processes one writes."""
    from svformer.pictures.plot import draw_curve  # matplotlib takes a second to import, and only the loop draws

    if trainer.processes.writes:
        write_curve(trainer.curve, out)
        with atomic_path(out / "curve.png") as temporary:
            draw_curve(trainer.curve, temporary)
    trainer.save(out / STATE)


def _progress(trainer: Trainer) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return progress_bars(*columns, on=new_console(), show=trainer.processes.writes)


def _line(point: Point) -> str:
    test = "" if point.test_top1 is None else f", held-out top-1 {100 * point.test_top1:.1f} %"
    training = f"loss {point.loss:.3f}, training top-1 {100 * point.train_top1:.1f} %"
    return f"epoch {point.epoch}: {training}{test}, {duration(point.seconds)}"


@contextmanager
def opened_log(trainer: Trainer, out: Path) -> Iterator[Callable[[Point], None]]:
    """Yield a function that adds a point to the TensorBoard logs; `tensorboard --logdir OUT` shows them.

    A run that goes on from a saved state declares void the later steps that an earlier process has logged.
    """
    from tensorboardX import SummaryWriter  # imported here: a second that only this needs

    done = trainer.steps_done
    with SummaryWriter(str(out / LOGS), purge_step=done + 1, filename_suffix=f".{done}") as writer:

        def log(point: Point) -> None:
            for name in ("loss", "train_top1", "test_top1", "lr", "seconds"):
                value = getattr(point, name)
                if value is not None:
                    writer.add_scalar(name, value, point.step)
            writer.flush()

        yield log


# Failures


def state_bytes(trainer: Trainer) -> int:
    """Bytes of a saved state: weights, two moments of AdamW, and the running mean of the weights where there is one."""
    parameters = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    return parameters * (3 if trainer.average is None else 4)


def check_space(trainer: Trainer, out: Path) -> None:
    """Raise `InputError` before the first step where the disk has no room for the run's states."""
    folder = next(path for path in (out, *out.absolute().parents) if path.is_dir())
    needed, free = SPACE_FOR_STATES * state_bytes(trainer), shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{out}: {size(free)} are free, a run of this size takes {size(needed)}; "
            "free space, or choose an --out on another disk"
        )


@contextmanager
def failures_explained(trainer: Trainer, out: Path) -> Iterator[None]:
    """Turn a full disk and too little memory into an `InputError` that says what to change."""
    try:
        with memory_explained(trainer):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{out}: the disk is full after step {trainer.steps_done}; free {size(state_bytes(trainer))} and "
            "go on from the last saved state with --resume (or move the folder and name it with --out)"
        ) from error


def memory_explained(trainer: Trainer) -> AbstractContextManager[None]:
    """Turn too little memory into an `InputError` that says what to change."""
    recipe = trainer.recipe
    work = f"{trainer.clips_at_once} clips x {recipe.repeats} at once on {trainer.processes.device}"
    advice = (
        f"raise --accumulate (now {recipe.accumulate}), add --checkpoint-activations or --precision bf16, take more "
        "processes, or lower --batch-size; --dry-run estimates the memory"
    )
    return shortage_explained(work, advice, workers=trainer.workers)
