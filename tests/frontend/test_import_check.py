"""What an import proves and what it leaves: negative controls, ties, the model as it was, the same graph again."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deploy
from deploy.errors import GateError
from deploy.frontend.traced.convert import Converted
from deploy.gates.imported import check_import
from foreign_models import Attention, Model, images, models, ready
from svformer.common.errors import InputError


@pytest.fixture(scope="module")
def given() -> Model:
    return models()["attention"]


def imported_of(given: Model) -> deploy.Imported:
    return deploy.from_torch(given.model, given.x, axes=given.axes)


def test_a_changed_weight_is_told_with_the_first_layer_behind_it(given: Model) -> None:
    """The graph is of one model, the spikes are of another whose convolution is larger by 1 %."""
    imported = imported_of(given)
    changed = copy.deepcopy(given.model)
    with torch.no_grad():
        changed.stem.layer[0].weight.mul_(1.01)
    with pytest.raises(GateError, match=r"differ first in layer first, time step \d, neuron \(\d, \d, \d\) of clip 0"):
        check_import(changed, imported_with(imported, changed), given.x)


def test_a_changed_time_constant_is_told_with_its_layer(given: Model) -> None:
    imported = imported_of(given)
    changed = copy.deepcopy(given.model)
    changed.lif.tau *= 1.02
    with pytest.raises(GateError, match="differ first in layer lif, "):
        check_import(changed, imported_with(imported, changed), given.x)


def test_a_changed_output_layer_is_told_where_all_spikes_are_the_same(given: Model) -> None:
    imported = imported_of(given)
    changed = copy.deepcopy(given.model)
    with torch.no_grad():
        changed.head.bias.add_(0.25)
    with pytest.raises(GateError, match=r"the same spikes for clip 0, but their outputs differ by 0\.25"):
        check_import(changed, imported_with(imported, changed), given.x)


def imported_with(imported: deploy.Imported, model: nn.Module) -> Converted:
    """The record of an import whose neurons are those of another model."""
    neurons = {path: model.get_submodule(path) for path in imported.converted.neurons}
    return dataclasses.replace(imported.converted, neurons=neurons)


def test_float32_has_ties_at_most(given: Model) -> None:
    """A potential that float32 rounds across the threshold is counted, not raised; what it changes is not hidden."""
    model = copy.deepcopy(given.model).float()
    imported = deploy.from_torch(model, given.x.float(), axes=given.axes)
    check = imported.check(given.x.float())
    assert check.ties <= check.spikes_compared // 1000
    assert check.output_error < 1e-4


def test_more_clips_than_the_example_has_and_fewer(given: Model) -> None:
    imported = imported_of(given)
    x = (images(3, *given.x.shape[1:]) > 0.5).double()
    assert imported.check(x).clips == 3
    assert imported.check(x[:1]).clips == 1
    assert imported.frames(x).shape == (3, 4, 2, 6, 6)
    with pytest.raises(
        InputError, match=r"shape \[3, 4, 2, 6, 5\]; allowed: \[2, 4, 2, 6, 6\], with any number of clips"
    ):
        imported.frames(x[..., :5])


def test_the_model_is_as_it_was(given: Model) -> None:
    """Methods, hooks, attributes and states, by identity and by value; with a state left over from a run before."""
    model = copy.deepcopy(given.model)
    called = []
    model.lif.register_forward_hook(lambda *_: called.append(1))
    model(given.x)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    hooks = {name: dict(module._forward_hooks) for name, module in model.named_modules()}
    state = model.lif.v.clone()
    deploy.from_torch(model, given.x, axes=given.axes).check(given.x)
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys(), name
        assert all(vars(module)[key] is value for key, value in before[name].items()), name
        assert dict(module._forward_hooks) == hooks[name], name
    torch.testing.assert_close(model.lif.v, state, rtol=0, atol=0)


def test_the_model_is_as_it_was_where_it_is_refused() -> None:
    model = ready(Attention(joint_time=True), models()["attention"].x, "BTCHW").model
    with pytest.raises(InputError):
        deploy.from_torch(model, models()["attention"].x, axes="BTCHW")
    assert all("forward" not in vars(module) for module in model.modules())


def test_two_imports_write_the_same_file(given: Model, tmp_path: Path) -> None:
    for name in ("a.nir", "b.nir"):
        deploy.write_nir(imported_of(given).graph, tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_the_graph_does_not_depend_on_the_batch(given: Model) -> None:
    one = deploy.from_torch(given.model, given.x[:1], axes=given.axes)
    two = imported_of(given)
    assert list(one.graph.nodes) == list(two.graph.nodes)
    assert sorted(one.graph.edges) == sorted(two.graph.edges)
    for name, node in one.graph.nodes.items():
        for key, value in vars(node).items():
            np.testing.assert_equal(value, getattr(two.graph.nodes[name], key), err_msg=f"{name} {key}")
    assert one.check(given.x).clips == len(given.x)


def test_what_was_written_is_read_back(given: Model, tmp_path: Path) -> None:
    deploy.write_nir(imported_of(given).graph, tmp_path / "a.nir")
    network = deploy.lower(deploy.read_nir(tmp_path / "a.nir"))
    assert network.frames == 4
