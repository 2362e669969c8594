"""Tables that have to go together, and what a new entry gets without a line elsewhere."""

from typing import Any

import nir
import numpy as np
import pytest

import graphs
import ints
from deploy.engine.kernels import FAMILIES, variants
from deploy.engine.ranges import SPIKES
from deploy.execution.backends import BACKENDS, INTEGER, Backend
from deploy.execution.simulate import simulate
from deploy.ir import nodes
from deploy.ir.extension import ExtensionNode, LoweredNode
from deploy.ir.interpreter import interpret
from deploy.ir.network import run_float
from deploy.ir.nodes import EXTENSIONS
from deploy.ir.operations.attention import IntAttention
from deploy.ir.operations.identity import Identity, IntIdentity
from deploy.ir.primitives import PRIMITIVES
from deploy.ir.types import Array, Shape
from deploy.passes.from_nir import RULES
from deploy.passes.lowering import lower
from processes import HANG_S
from svformer.common.errors import InputError


def kinds(table: dict[Any, Any]) -> set[type]:
    return {kind for key in table for kind in (key if isinstance(key, tuple) else (key,))}


def test_every_primitive_that_is_interpreted_is_lowered_too() -> None:
    assert kinds(PRIMITIVES) - {nir.Input} == kinds(RULES)


class Doubled(ExtensionNode):
    """A node of a test: twice its input."""

    def __init__(self) -> None:
        self.input_type, self.output_type = {"input": np.array([2])}, {"output": np.array([2])}
        self.metadata: dict[str, Any] = {}

    def run(self, x_NT: Array) -> Array:
        return 2 * x_NT

    def lowered(self, in_shape: Shape, out_shape: Shape, frames: int) -> LoweredNode:
        same = Identity(in_shape=in_shape, out_shape=out_shape)
        return LoweredNode(operation=same, gain=np.full((1, *out_shape), 2.0))


def test_a_new_node_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interpreter, its shape and its place in the network follow from the class."""
    monkeypatch.setitem(nodes.EXTENSIONS, "Doubled", Doubled)
    graph = graphs.chain({"in": graphs.entry(2), "twice": Doubled(), "out": graphs.result(2)})
    graph.metadata |= {"dt": 1e-3, "T": 3}
    frames = np.random.default_rng(0).normal(size=(2, 3, 2))
    expected = interpret(graph, frames)["out"]
    np.testing.assert_array_equal(expected, 2 * frames)
    found = run_float(lower(graph), frames.reshape(2, 3, 2, 1, 1))["out"]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert EXTENSIONS is nodes.EXTENSIONS


class Shuffled(IntIdentity):
    """An operation of a test that the engine has never seen: channels in reverse order."""

    def __call__(self, x_NCHW: Any, /) -> Any:
        return super().__call__(x_NCHW)[:, ::-1]


@pytest.mark.lava
def test_an_operation_without_a_kernel_runs_as_the_interpreter_defines_it() -> None:
    assert Shuffled not in FAMILIES
    operation = Shuffled(in_shape=(3, 1, 1), out_shape=(3, 1, 1))
    assert list(variants(operation, SPIKES)) == ["interpreted"]
    assert "interpreted" not in variants(ints.attention((3, 2, 2)), SPIKES)
    assert IntAttention in FAMILIES
    network = ints.network(
        {"in": ints.entry((3, 1, 1)), "lif": ints.lif((3, 1, 1))}, ints.link("in", "lif", operation), frames=4
    )
    clips = np.random.default_rng(0).integers(0, 2, size=(2, 4, 3, 1, 1)).astype(float)
    expected = simulate(network, clips, backend="integer").signals["lif"]
    np.testing.assert_array_equal(expected, clips[:, :, ::-1])
    np.testing.assert_array_equal(simulate(network, clips, timeout_s=HANG_S).signals["lif"], expected)


def test_a_new_backend_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers like the interpreter is compared with it under its own title; one that errs is found out."""
    network = ints.network({"in": ints.entry(), "lif": ints.lif()}, ints.link("in", "lif", ints.same()), frames=3)
    clips = np.ones((1, 3, 1, 1, 1))
    echo = Backend(name="echo", title="Echo", need=INTEGER.need, run=INTEGER.run)
    monkeypatch.setitem(BACKENDS, "echo", echo)
    expected = simulate(network, clips, backend="integer").signals["lif"]
    np.testing.assert_array_equal(simulate(network, clips, backend="echo").signals["lif"], expected)
    with pytest.raises(InputError, match="backend 'other'; allowed: 'lava', 'integer', 'torch', 'echo'"):
        simulate(network, clips, backend="other")
