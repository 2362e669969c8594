"""A traced graph becomes a draft, operation by operation; what is refused is collected, and told at once."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import nir
import numpy as np
import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind

from deploy.frontend.traced.axes import Axis, Dim, ModelError, Refused, new_dim
from deploy.frontend.traced.draft import Draft
from deploy.frontend.traced.hints import OTHERS, WHOLE, hint
from deploy.frontend.traced.known import Kind, numbers
from deploy.frontend.traced.rules import RULES
from deploy.frontend.traced.rules.table import Rule
from deploy.frontend.traced.signals import Image, Potential, Signal, Unknown, Value
from deploy.frontend.traced.trace import NEURON, Traced
from deploy.frontend.traced.walk import At, Walk
from svformer.common.errors import InputError

VALUES = get_args(Value)
INPUT = "input"
NAMED = 4  # modules of one kind that are named


@dataclass(kw_only=True)
class Reader:
    """A walk through the nodes of a traced graph, in their order."""

    traced: Traced
    walk: Walk
    entry: Signal
    values: dict[torch.fx.Node, Any] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)  # what was found -> the modules where it was

    def outputs(self) -> list[Any]:
        """The values that the model returns; raises `ModelError` for all that was refused."""
        self._describe_neurons()
        constants = self._constants()
        for node in self.traced.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = constants.get(node.name, self.entry)
            elif node.op == "call_function":
                self.values[node] = self._called(node)
        if self.problems:
            raise ModelError(_told([f"{_names(paths)} {why}" for why, paths in self.problems.items()]))
        return self._returned()

    def _describe_neurons(self) -> None:
        """Collect the neurons that have no node, those that the walk does not reach for another reason included."""
        for name in self.traced.calls:
            module, kind = self.walk.neurons[name]
            try:
                neuron = kind.describe(module)
                sent = torch.cat([call.spikes.unique() for call in self.traced.calls[name]]).unique()
                if (problem := neuron.problem(numbers(sent))) is not None:
                    raise Refused(problem)
                neuron.require_node()
            except (Refused, InputError) as why:
                self._tell(name, type(module).__name__, str(why))

    def _constants(self) -> dict[str, Tensor]:
        """Parameters, buffers and constants of the program, by the name of their placeholder."""
        program, signature = self.traced.program, self.traced.program.graph_signature
        held = {**dict(program.named_parameters()), **dict(program.named_buffers()), **program.constants}
        inputs = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        return {name: held[target].detach() for name, target in inputs.items()}

    def _returned(self) -> list[Any]:
        named = {node.name: value for node, value in self.values.items()}
        kinds = self.traced.program.graph_signature.output_specs
        names = [spec.arg.name for spec in kinds if spec.kind == OutputKind.USER_OUTPUT and hasattr(spec.arg, "name")]
        return [named.get(name) for name in names]

    def _called(self, node: torch.fx.Node) -> Any:
        arguments = torch.fx.map_arg((node.args, node.kwargs), lambda found: self.values[found])
        entering = [value for value in _leaves(arguments) if isinstance(value, VALUES)]
        if not entering and str(node.target) != NEURON:
            return _constant(node, *arguments)
        if node.meta.get("val") is None:
            return None  # an assertion about a tensor
        try:
            lost = [value for value in entering if isinstance(value, Unknown)]
            if lost and isinstance(node.meta["val"], (torch.SymInt, torch.SymFloat, torch.SymBool)):
                return lost[0]  # a size that depends on what was refused
            _rule(node)
            if lost:
                return lost[0]
            if str(node.target) != NEURON and (inside := [value for value in entering if isinstance(value, Potential)]):
                return inside[0]
            return self._made(node, *arguments)
        except Refused as why:
            self._refuse(node, str(why))
            return Unknown()

    def _made(self, node: torch.fx.Node, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        value = node.meta["val"]
        first = value[0] if isinstance(value, (list, tuple)) else value
        if not all(isinstance(size, int) for size in first.shape):
            raise Refused("the size of its result depends on values; allowed: sizes that follow from shapes")
        at = At(name=_path(node) or node.name, shape=tuple(first.shape))
        rule = _rule(node)
        try:
            inspect.signature(rule).bind(self.walk, at, *args, **named)
        except TypeError as error:
            raise Refused(f"operation {node.target} in a form that has no rule ({error}); {OTHERS}") from error
        return rule(self.walk, at, *args, **named)

    def _refuse(self, node: torch.fx.Node, why: str) -> None:
        for whole, kind in _modules(node):
            if kind in WHOLE:
                self._tell(whole, kind, WHOLE[kind])
                return
        path = str(node.args[-1]) if str(node.target) == NEURON else _path(node)
        kind = type(self.walk.neurons[path][0]).__name__ if str(node.target) == NEURON else _kind(node)
        self._tell(path or "forward", kind, why)

    def _tell(self, path: str, kind: str, why: str) -> None:
        paths = self.problems.setdefault(f"({kind}): {why}", [])
        if path not in paths:
            paths.append(path)


def _told(lines: Sequence[str]) -> str:
    """All that was refused, in one line; of several each with its number."""
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} refusals: " + "; ".join(f"({number}) {line}" for number, line in enumerate(lines, start=1))


def _names(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED} others" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more


def _constant(node: torch.fx.Node, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What an operation on constants alone gives; memory that is not written yet is zeros."""
    if str(node.target).startswith("aten.empty"):
        return torch.zeros_like(node.meta["val"], device="cpu")
    return node.target(*args, **named)  # type: ignore[operator]


def _rule(node: torch.fx.Node) -> Rule:
    operation = str(node.target)
    if operation not in RULES:
        raise Refused(f"operation {operation} has no counterpart; {hint(operation)}")
    return RULES[operation]


def _leaves(arguments: Any) -> list[Any]:
    if isinstance(arguments, (list, tuple)):
        return [leaf for part in arguments for leaf in _leaves(part)]
    if isinstance(arguments, dict):
        return _leaves(list(arguments.values()))
    return [arguments]


def _stack(node: torch.fx.Node) -> list[tuple[str, Any]]:
    return list((node.meta.get("nn_module_stack") or {}).values())


def _path(node: torch.fx.Node) -> str:
    """The path of the module in which an operation stands."""
    stack = _stack(node)
    return stack[-1][0] if stack else ""


def _modules(node: torch.fx.Node) -> list[tuple[str, str]]:
    """Path and class of the modules in which an operation stands, the outermost first."""
    return [(path, str(getattr(kind, "__name__", kind)).rsplit(".", 1)[-1]) for path, kind in _stack(node)]


def _kind(node: torch.fx.Node) -> str:
    modules = _modules(node)
    return modules[-1][1] if modules else "model"


def reader(
    traced: Traced, example: Tensor, axes: str, neurons: Mapping[str, tuple[nn.Module, Kind]], steps: int | None
) -> Reader:
    """A reader at the beginning of a traced graph, of a model of so many time steps (None: not known yet)."""
    sizes = dict(zip(axes, example.shape, strict=True))
    walk = Walk(
        draft=Draft(),
        neurons=neurons,
        total_calls={name: len(calls) for name, calls in traced.calls.items()},
        clips=Axis(sizes["B"], "clips") if sizes.get("B", 1) > 1 else None,
        time=Axis(steps, "time") if steps is not None and steps > 1 else None,
        steps=steps,
        timed_input="T" in axes,
    )
    image, dims = _entry(walk, axes, sizes)
    walk.draft.add(INPUT, nir.Input(np.array(image.shape)), shape=image.shape)
    return Reader(traced=traced, walk=walk, entry=Signal(node=INPUT, dims=dims, image=image))


def possible_steps(traced: Traced, neurons: Mapping[str, tuple[nn.Module, Kind]]) -> list[int | None]:
    """Time steps of a clip, as the calls of neurons show them; the likely ones first where they do not say it.

    A neuron of the user's own that is called once got all time steps, or the only one.
    """
    known, likely = set[int](), set[int]()
    for name, calls in traced.calls.items():
        module: Any
        module, kind = neurons[name]
        time, shape = kind.time(module), (*calls[0].spikes.shape, 1, 1)
        if time == "any":
            continue
        if len(calls) > 1 or time == "one":
            known.add(len(calls))
        elif time == "with clips":
            steps = int(module.num_timesteps)
            known.add(steps if steps > 0 else shape[0] // int(module.batch_size))
        elif time == "second":
            known.add(shape[1])
        else:
            (known if time == "all" else likely).add(shape[0])
    return [max(known)] if known else [*sorted(likely), None]


def _entry(walk: Walk, axes: str, sizes: Mapping[str, int]) -> tuple[Image, tuple[Dim, ...]]:
    """The image of the input, [C, H, W], or a vector or a line of channels; and the dimensions of its tensor."""
    channels = "N" if "C" not in axes else "C"
    rows, columns = ("", "N") if "N" in axes and channels == "C" else ("H", "W")
    places = {letter: new_dim(size) for letter, size in sizes.items() if letter not in "TB"}
    dim_of = {**places, "B": (walk.clips,) if walk.clips else (), "T": (walk.time,) if walk.time else ()}
    image = Image(channels=places.get(channels, ()), rows=places.get(rows, ()), columns=places.get(columns, ()))
    return image, tuple(dim_of[letter] for letter in axes)
