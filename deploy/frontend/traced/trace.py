"""A model becomes a graph of core ATen in which every neuron is one operation; the model stays as it was.

The model runs once as it is, so that it is known what its neurons return; then `torch.export` follows it with another
`forward` in their place. Whatever either leaves in the modules is undone.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from deploy.frontend.traced.axes import ModelError

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
class Traced:
    """The graph, and the calls of every neuron, by its path in the model."""

    program: ExportedProgram
    calls: Mapping[str, list[Call]]


def trace(model: nn.Module, example: Tensor, neurons: Mapping[str, nn.Module]) -> Traced:
    """Follow the model with an example. Raises `ModelError` for what cannot be traced."""
    table = torch.export.default_decompositions()
    for operation in KEPT_WHOLE:
        table.pop(operation, None)
    with unchanged(model), torch.no_grad():
        calls = observed(model, example, neurons)
    with unchanged(model), torch.no_grad(), opaque(neurons, calls):
        try:
            program = torch.export.export(model, (example.clone(),), strict=False).run_decompositions(table)
        except GuardOnDataDependentSymNode as error:
            raise ModelError(
                "forward branches on values of its input or of its signals, so no graph holds for all clips "
                f"({_first_line(error)}); allowed: branches on shapes and settings"
            ) from error
        except RuntimeError as error:
            raise ModelError(f"torch.export cannot follow this model: {_first_line(error)}") from error
    return Traced(program=program, calls=calls)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def observed(model: nn.Module, example: Tensor, neurons: Mapping[str, nn.Module]) -> dict[str, list[Call]]:
    """What the neurons return when the model runs as it is."""
    calls: dict[str, list[Call]] = {}

    def record(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            parts, spec = pytree.tree_flatten(output)
            spikes = next((part for part in parts if isinstance(part, Tensor)), None)
            if spikes is None:
                raise ModelError(f"{name} returns no tensor; allowed: spikes, or spikes and states behind them")
            calls.setdefault(name, []).append(Call(parts=parts, spec=spec, spikes=spikes.detach().clone()))

        return neurons[name].register_forward_hook(hook)

    handles = [record(name) for name in neurons]
    try:
        model(example.clone())
    finally:
        for handle in handles:
            handle.remove()
    return calls


@contextlib.contextmanager
def opaque(neurons: Mapping[str, nn.Module], calls: Mapping[str, list[Call]]) -> Iterator[None]:
    """Inside the block a neuron is one operation, and returns what it returned, arranged alike."""

    def stand_in(name: str) -> Any:
        waiting = iter(calls.get(name, []))

        def forward(*inputs: Any, **named: Any) -> Any:
            x, *states = (part for part in pytree.tree_leaves((inputs, named)) if isinstance(part, Tensor))
            call = next(waiting)
            spikes = torch.ops.svformer_loihi.neuron(x, states, name)
            return pytree.tree_unflatten([_returned(part, call, x, spikes, name) for part in call.parts], call.spec)

        return forward

    for name, module in neurons.items():
        module.__dict__["forward"] = stand_in(name)
    try:
        yield
    finally:
        for module in neurons.values():
            module.__dict__.pop("forward", None)


def _returned(part: Any, call: Call, x: Tensor, spikes: Tensor, name: str) -> Any:
    first = next(found for found in call.parts if isinstance(found, Tensor))
    if part is first:
        return spikes
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
