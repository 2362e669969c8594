"""Lava on today's Python: lava-nc 0.10.0 and lava-dl 0.6.0 on Python 3.11 to 3.13 with numpy 2.

Both declare Python < 3.11 and numpy < 2 and are archived upstream, so what fails on newer versions is mended
here, one function for each cause. Nothing outside Lava changes: what has to be replaced in the standard
library is replaced while the one Lava module that trips over it is imported, and is put back.
"""

import contextlib
import dataclasses
import functools
import importlib
import logging
import multiprocessing
import multiprocessing.managers
import operator
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from svformer.common.errors import InputError

INSTALL_COMMAND = "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0"
# What Lava and lava-dl import for a convolution that torch cannot do, and for pictures; longer than all the rest takes.
SELDOM_USED = ("scipy.signal", "matplotlib.pyplot", "matplotlib.animation")
OBJECT_DETECTION = "lava.lib.dl.slayer.object_detection"


class ModelMap(dict[type, type]):
    """Process class -> process model class, for `exception_proc_model_map` of Lava's run configurations.

    Lava's compiler asks this map for process instances, and where it holds one, it does not search the
    folder of the process for models. The search would re-execute every module of that folder once for each
    process of the network, and would not find a model that lives elsewhere.
    """

    def __contains__(self, process: object) -> bool:
        return super().__contains__(_class_of(process))

    def __getitem__(self, process: Any) -> type:
        return super().__getitem__(_class_of(process))


def _class_of(process: object) -> type:
    return process if isinstance(process, type) else type(process)


@functools.cache
def activate() -> None:
    """Import lava-nc with what it needs on this Python. Calls after the first do nothing.

    Raises:
        InputError: Lava, or a package it imports, is not installed.
    """
    with _missing_module_explained():
        with _replaced(dataclasses, "dataclass", _dataclass_with_hashable_byte_encoder):
            importlib.import_module("lava.magma.compiler.var_model")
        with _replaced(multiprocessing, "set_start_method", _leave_start_method):
            importlib.import_module("lava.magma.runtime.message_infrastructure.multiprocessing")
        importlib.import_module("lava.magma.core.process.process")
        importlib.import_module("lava.magma.compiler.compiler")
    _fork_actors_only()
    _reshape_by_position()
    _keep_no_registers()
    _add_no_log_handlers()


@functools.cache
def load_lava_dl() -> ModuleType:
    """Import lava-dl's `slayer` and `netx` and return the package `lava.lib.dl` that holds them.

    `slayer` imports its subpackage for object detection, which alone needs OpenCV and torchvision. It gets an
    empty module instead; a later import of that subpackage by the user finds the real one.

    Raises:
        InputError: lava-dl, or a package it imports, is not installed.
    """
    activate()
    stub = ModuleType(OBJECT_DETECTION, "Stands in while lava-dl is imported.")
    sys.modules.setdefault(OBJECT_DETECTION, stub)
    try:
        with _missing_module_explained(), _later(*SELDOM_USED):
            importlib.import_module("lava.proc.conv.utils")
            importlib.import_module("lava.lib.dl.slayer")
            importlib.import_module("lava.lib.dl.netx")
    finally:
        if sys.modules[OBJECT_DETECTION] is stub:
            del sys.modules[OBJECT_DETECTION]
    return sys.modules["lava.lib.dl"]


class _Later(ModuleType):
    """Stands for a module and imports it at the first name that is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of one who looks through all modules
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _later(*names: str) -> Iterator[None]:
    """Let modules of these names, which the imports inside the block ask for, be imported when they are used."""
    stand_ins = {name: _Later(name) for name in names if name not in sys.modules}
    for name, stand_in in stand_ins.items():
        package, _, part = name.rpartition(".")
        setattr(importlib.import_module(package), part, stand_in)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            package, _, part = name.rpartition(".")
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
            if vars(sys.modules[package]).get(part) is stand_in:
                delattr(sys.modules[package], part)


@contextlib.contextmanager
def _missing_module_explained() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "lava").partition(".")[0]
        command = INSTALL_COMMAND if package == "lava" else f"pip install {package}"
        raise InputError(
            f"the Lava backend needs the Python package {package!r}, which is not installed; "
            f"install it with `{command}`, or choose the integer backend, which needs no Lava"
        ) from error


@contextlib.contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


_dataclass: Callable[..., Any] = dataclasses.dataclass


def _dataclass_with_hashable_byte_encoder(cls: Any = None, /, **options: Any) -> Any:
    """`dataclasses.dataclass`, which since Python 3.11 refuses a default that has no hash.

    Lava writes `x: ByteEncoder = ByteEncoder()` in `var_model.py`. Only that class gets a hash.
    """
    if cls is None:
        return functools.partial(_dataclass_with_hashable_byte_encoder, **options)
    if (cls.__module__, cls.__qualname__) == ("lava.magma.compiler.var_model", "ByteEncoder"):
        options["unsafe_hash"] = True
    return _dataclass(cls, **options)


def _leave_start_method(method: str, force: bool = False) -> None:
    """In place of `multiprocessing.set_start_method`, which Lava calls with "fork" while it is imported.

    The call fails after any earlier use of multiprocessing and would otherwise change the user's default; see
    `_fork_actors_only` for what Lava needs instead.
    """


def _fork_actors_only() -> None:
    """Bind what Lava takes from multiprocessing to "fork", whatever the start method of the user is.

    Lava's actors hold open channels and cannot be pickled: they can only be forked.
    """
    from lava.magma.compiler.channels import pypychannel, watchdog
    from lava.magma.runtime import runtime
    from lava.magma.runtime.message_infrastructure import multiprocessing as actors
    from lava.magma.runtime.message_infrastructure import shared_memory_manager

    fork = multiprocessing.get_context("fork")
    actors.SystemProcess._start_method = "fork"
    actors.SystemProcess._Popen = staticmethod(fork.Process._Popen)
    manager = functools.partial(multiprocessing.managers.SharedMemoryManager, ctx=fork)
    shared_memory_manager.managers = SimpleNamespace(SharedMemoryManager=manager)
    runtime.Queue = fork.Queue
    pypychannel.Semaphore = fork.Semaphore
    for name in ("Process", "Event", "Queue", "Manager"):
        setattr(watchdog, name, getattr(fork, name))


def _reshape_by_position() -> None:
    """Reshape without the keyword `newshape`, which numpy 2.1 deprecated and numpy 2.4 removed."""
    from lava.magma.core.process.ports.ports import ReshapePort

    ReshapePort.get_transform_func_fwd = lambda port: operator.methodcaller("reshape", port.shape)
    ReshapePort.get_transform_func_bwd = lambda port: operator.methodcaller("reshape", port.old_shape)


def _keep_no_registers() -> None:
    """Number processes and variables without keeping each, and its weights, until Python ends."""
    from lava.magma.core.process.process import ProcessServer
    from lava.magma.core.process.variable import VarServer

    for server in (ProcessServer, VarServer):
        server.register = lambda server, _member: server.get_next_id()


def _add_no_log_handlers() -> None:
    """Undo that each process adds a handler to the root logger, so that a message is printed as often."""
    from lava.magma.compiler import compiler
    from lava.magma.core.process.process import AbstractProcess

    AbstractProcess.__init__ = _keeping_handlers(AbstractProcess.__init__, logging.getLogger())
    compiler.Compiler.__init__ = _keeping_handlers(compiler.Compiler.__init__, logging.getLogger(compiler.__name__))


def _keeping_handlers(init: Callable[..., None], logger: logging.Logger) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        handlers = logger.handlers[:]
        init(*args, **kwargs)
        logger.handlers[:] = handlers

    return wrapped
