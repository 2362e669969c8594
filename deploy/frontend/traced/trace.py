"""A model becomes a graph of core ATen in which every neuron is one operation; the model stays as it was.

The model runs once as it is, so that it is known what its neurons return; then `torch.export` follows it with another
`forward` in their place. Whatever either leaves in the modules is undone.
"""

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from deploy.frontend.traced.axes import ModelError

# torch says of every custom operation that it looked for Triton kernels in it and has no Triton.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
aten = torch.ops.aten
NEURON, POTENTIAL = "svformer_loihi.neuron.default", "svformer_loihi.potential.default"
KEPT_WHOLE = (aten.select_scatter.default, aten.slice_scatter.default)  # so a buffer that a loop fills stays one


@torch.library.custom_op("svformer_loihi::neuron", mutates_args=())
def _neuron(x: Tensor, states: list[Tensor], name: str) -> Tensor:
    return torch.empty_like(x)


@_neuron.register_fake
def _(x: Tensor, states: list[Tensor], name: str) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("svformer_loihi::potential", mutates_args=())
def _potential(like: Tensor, x: Tensor, name: str) -> Tensor:
    return torch.empty_like(like)


@_potential.register_fake
def _(like: Tensor, x: Tensor, name: str) -> Tensor:
    return torch.empty_like(like)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a neuron returned in one call: how its parts are arranged, and the first tensor, its spikes."""

    parts: list[Any]
    spec: pytree.TreeSpec
    spikes: Tensor


class State:
    """Stands for a neuron's state that is no tensor."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a model as it is: the tensors that it returned, and the calls of every neuron by its path."""

    outputs: list[Tensor]
    calls: Mapping[str, list[Call]]
    noise: Mapping[str, list[Tensor]]  # that was added to the inputs of the neurons, call by call; empty: none


@dataclass(frozen=True, kw_only=True)
class Traced:
    """The graph of a model, and the run that showed what its neurons return."""

    program: ExportedProgram
    calls: Mapping[str, list[Call]]


def trace(model: nn.Module, example: Tensor, neurons: Mapping[str, nn.Module]) -> Traced:
    """Follow the model with an example. Raises `ModelError` for what cannot be traced."""
    table = torch.export.default_decompositions()
    for operation in KEPT_WHOLE:
        table.pop(operation, None)
    calls = run_as_it_is(model, example, neurons).calls
    with unchanged(model), torch.no_grad(), opaque(neurons, calls), _silent(), _followed(model) as inside:
        try:
            program = torch.export.export(model, (example.clone(),), strict=False).run_decompositions(table)
        except GuardOnDataDependentSymNode as error:
            raise ModelError(
                f"{_named(model, inside)}: forward branches on values of its input, its signals or its weights, so no "
                "graph holds for all clips; allowed: branches on shapes and settings"
            ) from error
        except RuntimeError as error:
            why = f"torch.export cannot follow its forward: {_first_line(error)}"
            raise ModelError(f"{_named(model, inside)}: {why}; allowed: operations of torch on tensors") from error
    return Traced(program=program, calls=calls)


@contextlib.contextmanager
def _followed(model: nn.Module) -> Iterator[list[str]]:
    """Inside the block, the paths of the modules in whose forward torch is; where one raises, they stay."""
    inside: list[str] = []
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        handles.append(module.register_forward_hook(lambda *_: (inside.pop(), None)[1]))
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


def _named(model: nn.Module, inside: list[str]) -> str:
    """The module in which torch is, as refusals name it."""
    path = inside[-1] if inside else ""
    return f"{path or 'forward'} ({type(model.get_submodule(path)).__name__})"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Inside the block torch keeps to itself what it prints of a model that it cannot follow; the error says it."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "The tensor attributes? .* assigned during export", UserWarning)
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def run_as_it_is(model: nn.Module, x: Tensor, neurons: Mapping[str, nn.Module], *, noise: float | None = None) -> Run:
    """Run the model from rest, and leave it as it was; with `noise` up to this added to the input of every neuron."""
    with unchanged(model), torch.no_grad():
        for module in neurons.values():
            _reset(module)
        calls: dict[str, list[Call]] = {}
        added: dict[str, list[Tensor]] = {}
        handles = [_recorded(name, module, calls) for name, module in neurons.items()]
        if noise is not None:
            source = torch.Generator().manual_seed(0)
            handles += [_disturbed(name, module, added, noise, source) for name, module in neurons.items()]
        try:
            outputs = model(x.clone())
        except ModelError:
            raise
        except Exception as error:  # whatever the user's own code raises
            what = f"the model does not run on an input of shape {list(x.shape)}, {x.dtype}"
            raise ModelError(f"{what}: {type(error).__name__}: {_first_line(error)}") from error
        finally:
            for handle in handles:
                handle.remove()
    returned = [part for part in pytree.tree_leaves(outputs) if isinstance(part, Tensor)]
    return Run(outputs=returned, calls=calls, noise=added)


def _reset(module: nn.Module) -> None:
    """Put a neuron to rest, in the way of its library: SpikingJelly's `reset`, snnTorch's `reset_mem`, sinabs' .."""
    for name in ("reset", "reset_mem", "reset_states"):
        reset = getattr(module, name, None)
        if callable(reset) and not any(p.default is p.empty for p in inspect.signature(reset).parameters.values()):
            reset()


def _recorded(name: str, module: nn.Module, calls: dict[str, list[Call]]) -> torch.utils.hooks.RemovableHandle:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        parts, spec = pytree.tree_flatten(output)
        spikes = next((part for part in parts if isinstance(part, Tensor)), None)
        if spikes is None:
            raise ModelError(f"{name} returns no tensor; allowed: spikes, or spikes and states behind them")
        calls.setdefault(name, []).append(Call(parts=parts, spec=spec, spikes=spikes.detach().clone()))

    return module.register_forward_hook(hook)


def _disturbed(
    name: str, module: nn.Module, added: dict[str, list[Tensor]], most: float, source: torch.Generator
) -> torch.utils.hooks.RemovableHandle:
    """Add noise to the first tensor that enters a neuron."""

    def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        parts, spec = pytree.tree_flatten((inputs, named))
        first = next(i for i, part in enumerate(parts) if isinstance(part, Tensor))
        x = parts[first]
        noise = ((2 * torch.rand(x.shape, generator=source, dtype=torch.float64) - 1) * most).to(x)
        added.setdefault(name, []).append(noise)
        parts[first] = x + noise
        return pytree.tree_unflatten(parts, spec)

    return module.register_forward_pre_hook(hook, with_kwargs=True)


@contextlib.contextmanager
def opaque(neurons: Mapping[str, nn.Module], calls: Mapping[str, list[Call]]) -> Iterator[None]:
    """Inside the block a neuron is one operation, and returns what it returned, arranged alike."""

    def stand_in(name: str) -> Any:
        waiting = iter(calls.get(name, []))

        def forward(*inputs: Any, **named: Any) -> Any:
            x, *states = (part for part in pytree.tree_leaves((inputs, named)) if isinstance(part, Tensor))
            call = next(waiting)
            spikes = torch.ops.svformer_loihi.neuron(x, states, name)
            first = next(i for i, part in enumerate(call.parts) if isinstance(part, Tensor))
            behind = [_state(part, x, name) for part in call.parts]
            return pytree.tree_unflatten([*behind[:first], spikes, *behind[first + 1 :]], call.spec)

        return forward

    for name, module in neurons.items():
        module.__dict__["forward"] = stand_in(name)
    try:
        yield
    finally:
        for module in neurons.values():
            module.__dict__.pop("forward", None)


def _state(part: Any, x: Tensor, name: str) -> Any:
    """What stands for a part that a neuron returned beside its spikes."""
    if isinstance(part, Tensor):
        like = x.new_zeros(part.shape)
        return torch.ops.svformer_loihi.potential(like, x, name)
    return part if isinstance(part, (int, float, bool, str, type(None))) else State()


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Behind the block every module has the attributes, states and hooks that it had before it."""
    saved = [(module, _copy(module.__dict__)) for module in model.modules()]
    values = [(tensor, tensor.detach().clone()) for tensor in _states(model)]
    try:
        yield
    finally:
        for module, attributes in saved:
            _restore(module.__dict__, attributes)
        with torch.no_grad():
            for tensor, value in values:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


def _states(model: nn.Module) -> list[Tensor]:
    """Tensors beside the parameters that a run could overwrite in place."""
    kept = {id(parameter) for parameter in model.parameters()}
    found = [value for module in model.modules() for value in pytree.tree_leaves(_plain(module.__dict__))]
    return [value for value in found if isinstance(value, Tensor) and id(value) not in kept]


def _plain(attributes: dict[str, Any]) -> list[Any]:
    return [value for name, value in attributes.items() if name != "_modules" and isinstance(value, (dict, Tensor))]


def _copy(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) for name, value in attributes.items()}


def _copied(value: Any) -> tuple[Any, Any]:
    """A value, and what it held."""
    return (value, value.copy()) if type(value) in (dict, list, set) or hasattr(value, "move_to_end") else (value, None)


def _restore(attributes: dict[str, Any], saved: dict[str, tuple[Any, Any]]) -> None:
    attributes.clear()
    for name, (value, held) in saved.items():
        if isinstance(value, list):
            value[:] = held
        elif held is not None:
            value.clear()
            value.update(held)
        attributes[name] = value
