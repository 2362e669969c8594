"""Checkpoints: ours come back bit for bit, the authors' are read strictly, damaged and foreign files are refused."""

import dataclasses
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from svformer import InputError, SVFormer, SVFormerConfig, load_checkpoint, save_checkpoint
from svformer.config import Norm
from svformer.networks.checkpoint import FORMAT

SMALL = SVFormerConfig(
    num_classes=5,
    in_channels=2,
    image_size=32,
    embed_dims=(8, 8, 16, 32),
    depths=(1, 2, 1, 1),
    head_dim=8,
    mlp_ratio=3,
    frames=4,
)

# Our names -> the authors' (reference: the checkpoint format), in the direction that the loader does not go.
TO_AUTHORS = {
    r"^stem\.conv": "patch_embed1.proj",
    r"^stem\.norm": "patch_embed1.norm",
    r"^down(\d)\.plif\.p": r"patch_embed\1.in_lif",
    r"^down(\d)\.conv": r"patch_embed\1.proj",
    r"^down(\d)\.norm": r"patch_embed\1.norm",
    r"^stage(\d)\.block(\d)\.local\.plif\.p": r"blocks\1.\2.act1",
    r"^stage(\d)\.block(\d)\.local\.dwconv": r"blocks\1.\2.attn",
    r"^stage(\d)\.block(\d)\.local\.conv": r"blocks\1.\2.conv",
    r"^stage(\d)\.block(\d)\.local\.norm": r"blocks\1.\2.norm2",
    r"^stage(\d)\.block(\d)\.attn\.plif_(\w+)\.p": r"blocks\1.\2.attn.\3_lif",
    r"^stage(\d)\.block(\d)\.mlp\.plif(\d)\.p": r"blocks\1.\2.mlp.act\3",
    r"^stage(\d)\.block(\d)": r"blocks\1.\2",
    r"^localpath\.plif\.p": "lplif",
    r"^localpath\.dwconv": "lpDWConv",
    r"^localpath\.pwconv": "lpPWConv",
    r"^localpath\.norm": "lpBN",
    r"^head\.plif\.p": "lif_bf_head",
    r"^head\.conv3d": "dwconv_bf_head",
    r"^head\.bn3d": "dwconv_bn",
    r"^head\.fc": "head",
}
LINEAR = re.compile(r"^blocks[34]\.\d\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight$")  # 1x1 convolutions of ours


def random_model(config: SVFormerConfig = SMALL) -> SVFormer:
    """Every weight and statistic different from its initial value."""
    torch.manual_seed(0)
    model = SVFormer(config).eval()
    for tensor in model.state_dict().values():
        tensor.copy_(torch.randint(3, 9, tensor.shape) if tensor.dtype == torch.int64 else torch.rand(tensor.shape))
    return model


def authors_state(model: SVFormer) -> dict[str, Tensor]:
    """The model as the authors name and shape it."""
    state = {}
    for ours, tensor in model.state_dict().items():
        pattern = next(pattern for pattern in TO_AUTHORS if re.search(pattern, ours))
        name = re.sub(pattern, TO_AUTHORS[pattern], ours)
        state[name] = tensor[:, :, 0, 0] if LINEAR.match(name) else tensor
    return state


def write_pyth(path: Path, model_state: object) -> Path:
    content = {"epoch": 3, "model_state": model_state, "optimizer_state": {"state": {}}, "cfg": "MODEL: svformer\n"}
    torch.save(content, path)
    return path


def assert_same(found: SVFormer, expected: SVFormer) -> None:
    """The same network, bit for bit."""
    assert found.config == expected.config
    assert not found.training
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert found.state_dict()[name].dtype == tensor.dtype, name
        assert torch.equal(found.state_dict()[name], tensor), name
    c = expected.config
    clip = torch.rand(1, c.in_channels, c.frames, c.image_size, c.image_size)
    with torch.no_grad():
        assert torch.equal(found(clip), expected(clip))


def refusal(path: Path, **options: int) -> str:
    """The one line with which a checkpoint is refused; it names the file."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# Ours


@pytest.mark.parametrize("norm", ["shared", "per_step"])
def test_ours_come_back_bit_for_bit(tmp_path: Path, norm: Norm) -> None:
    model = random_model(dataclasses.replace(SMALL, norm=norm, threshold=0.5, initial_tau=3.0))
    save_checkpoint(model, tmp_path / "new" / "a.safetensors")
    assert_same(load_checkpoint(tmp_path / "new" / "a.safetensors"), model)
    assert_same(load_checkpoint(str(tmp_path / "new" / "a.safetensors"), head_dim=1), model)  # ours hold their own


def test_notes_are_kept_but_do_not_replace_what_loading_needs(tmp_path: Path) -> None:
    path, model = tmp_path / "a.safetensors", random_model()
    save_checkpoint(model, path, {"command": "python -m svformer.train", "format": "mine", "config": "{}"})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata == {"command": "python -m svformer.train", "format": FORMAT, "config": SMALL.to_json()}
    assert_same(load_checkpoint(path), model)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(SVFormer(SMALL), path)
    save_checkpoint(random_model(), path)
    assert_same(load_checkpoint(path), random_model())
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_every_misfit_of_ours_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(random_model(), path)
    state = load_file(path)
    del state["stem.conv.bias"]
    state["stage5.block0.mlp.fc1.weight"] = torch.zeros(1)
    state["head.fc.bias"] = torch.zeros(6)
    save_file(state, path, {"format": FORMAT, "config": SMALL.to_json()})
    message = refusal(path)
    assert "missing stem.conv.bias" in message
    assert "unknown stage5.block0.mlp.fc1.weight" in message
    assert "head.fc.bias has shape [6], expected [5]" in message


def test_safetensors_without_their_configuration_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "a.safetensors", {"format": FORMAT})
    with pytest.raises(InputError, match="not an SVFormer configuration"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "svformer-checkpoint/2"}])
def test_safetensors_of_others_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    assert f"expected {FORMAT}" in refusal(tmp_path / "a.safetensors")


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(random_model(), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:8], whole[: len(whole) // 2], whole[:-1], whole + b"\0", b"<html>404 Not Found</html>"):
        path.write_bytes(damaged)
        assert "damaged safetensors file" in refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "a.safetensors", tmp_path / "a.pyth", tmp_path):
        assert "no such checkpoint; allowed: a .safetensors of ours or the authors' .pyth" in refusal(path)


# The authors'


@pytest.mark.parametrize("norm", ["shared", "per_step"])
def test_the_geometry_of_a_pyth_is_read_from_its_shapes(tmp_path: Path, norm: Norm) -> None:
    model = random_model(dataclasses.replace(SMALL, norm=norm))
    assert_same(load_checkpoint(write_pyth(tmp_path / "a.pyth", authors_state(model)), head_dim=8), model)


def test_a_pyth_of_an_old_torch_is_read(tmp_path: Path) -> None:
    content, path = {"model_state": authors_state(random_model())}, tmp_path / "a.pyth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert_same(load_checkpoint(path, head_dim=8), random_model())


def test_the_head_dimension_is_the_callers_word(tmp_path: Path) -> None:
    """A wrong head width that divides the layers makes another network, which no shape shows; others are refused."""
    path = write_pyth(tmp_path / "a.pyth", authors_state(random_model()))
    assert load_checkpoint(path, head_dim=16).config == dataclasses.replace(SMALL, head_dim=16)
    for head_dim in (5, 32, 64):
        with pytest.raises(InputError, match=rf"head_dim={head_dim} must divide the widths .* \(16, 32\)"):
            load_checkpoint(path, head_dim=head_dim)
    with pytest.raises(InputError, match="head_dim=64"):
        load_checkpoint(path)  # the published network's


def test_every_misfit_of_a_pyth_is_named(tmp_path: Path) -> None:
    state = authors_state(random_model())
    del state["blocks3.0.attn.proj_lif.w"]
    del state["lpBN.running_var"]
    state["blocks2.1.attn.rel_pos"] = torch.zeros(3)
    state["pos_embed"] = torch.zeros(3)
    state["head.bias"] = torch.zeros(6)
    state["blocks4.0.mlp.fc1.weight"] = torch.zeros(96, 31)
    message = refusal(write_pyth(tmp_path / "a.pyth", state), head_dim=8)
    for misfit in (
        "missing stage3.block0.attn.plif_proj.p.w",
        "missing localpath.norm.running_var",
        "unknown stage2.block1.attn.rel_pos",
        "unknown pos_embed",
        "head.fc.bias has shape [6], expected [5]",
        "stage4.block0.mlp.fc1.weight has shape [96, 31, 1, 1], expected [96, 32, 1, 1]",
    ):
        assert misfit in message
    assert message.count(";") == 5  # nothing else is reported


@pytest.mark.parametrize(
    ("name", "tensor", "misfit"),
    [
        ("lplif.w", None, "missing localpath.plif.p.w"),
        ("pos_embed", torch.zeros(3), "unknown pos_embed"),
        ("lplif.w", torch.zeros(1), "localpath.plif.p.w has shape [1], expected []"),
    ],
)
def test_one_misfit_is_enough(tmp_path: Path, name: str, tensor: Tensor | None, misfit: str) -> None:
    state = {key: value for key, value in authors_state(random_model()).items() if key != name}
    if tensor is not None:
        state[name] = tensor
    message = refusal(write_pyth(tmp_path / "a.pyth", state), head_dim=8)
    assert message.endswith(f"does not fit the model: {misfit}")


def test_a_pyth_without_what_tells_the_geometry_is_refused(tmp_path: Path) -> None:
    state = authors_state(random_model())
    del state["patch_embed1.proj.weight"]
    assert "key 'stem.conv.weight' is missing" in refusal(write_pyth(tmp_path / "a.pyth", state), head_dim=8)
    assert "key 'stem.conv.weight' is missing" in refusal(write_pyth(tmp_path / "a.pyth", {}), head_dim=8)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("patch_embed1.proj.weight", ()), ("patch_embed1.proj.weight", (0, 2, 6, 6)), ("dwconv_bf_head.weight", (64, 2))],
)
def test_a_pyth_whose_geometry_makes_no_sense_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    state = authors_state(random_model()) | {name: torch.zeros(shape)}
    assert "cannot read the geometry" in refusal(write_pyth(tmp_path / "a.pyth", state), head_dim=8)


def test_a_key_of_ours_beside_the_authors_is_refused(tmp_path: Path) -> None:
    """It would replace the authors' weight of the same meaning, or be replaced by it."""
    state = authors_state(random_model()) | {"stem.conv.weight": torch.zeros(8, 2, 6, 6)}
    assert "expected the authors' names alone" in refusal(write_pyth(tmp_path / "a.pyth", state), head_dim=8)


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, {"model_state": [1]}, {"model_state": {"a": 1}}])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pyth")
    assert "no 'model_state' inside" in refusal(tmp_path / "a.pyth")


class Payload:
    """Pickles as a call that makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.victim,)


def write_payload(path: Path, victim: Path, form: str) -> None:
    content = {"model_state": authors_state(random_model()), "cfg": Payload(victim)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["cfg"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_pyth_is_refused_and_not_executed(tmp_path: Path, form: str) -> None:
    path, victim = tmp_path / "a.pyth", tmp_path / "executed"
    write_payload(path, victim, form)
    assert "not a readable weights-only checkpoint" in refusal(path, head_dim=8)
    assert not victim.exists()


def test_the_payload_works_where_code_is_allowed(tmp_path: Path) -> None:
    path, victim = tmp_path / "a.pyth", tmp_path / "executed"
    write_payload(path, victim, "zip")
    torch.load(path, weights_only=False)
    assert victim.exists()


def test_damaged_pyth_are_refused(tmp_path: Path) -> None:
    path = write_pyth(tmp_path / "a.pyth", authors_state(random_model()))
    whole = path.read_bytes()
    torch.save({"model_state": authors_state(random_model())}, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    for damaged in (
        *(whole[:size] for size in (0, 1, 10, 100, len(whole) // 2, len(whole) - 1)),
        *(old[:size] for size in (10, 100, 1000, len(old) // 2, len(old) - 1)),
        *(b"<html>404 Not Found</html>", b"hello world\n", b"a", b"\x80\x02"),
    ):
        path.write_bytes(damaged)
        assert "not a readable weights-only checkpoint" in refusal(path)
