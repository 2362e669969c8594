"""Checkpoints: ours (safetensors with the configuration inside) and the authors' `.pyth`, both strictly checked."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from svformer.common.errors import InputError
from svformer.common.files import write_bytes
from svformer.common.tensors import load_tensors
from svformer.config import SVFormerConfig
from svformer.model.network import Network
from svformer.model.svformer import SVFormer
from svformer.networks import build

FORMAT = "svformer-checkpoint/1"
StateDict = dict[str, Tensor]

# Patterns of the authors' key names and our names for them; the first match counts (github.com/yult0821/SVFormer).
_AUTHOR_NAMES = (
    (r"^patch_embed1\.proj\.", "stem.conv."),
    (r"^patch_embed1\.norm\.", "stem.norm."),
    (r"^patch_embed(\d)\.in_lif\.", r"down\1.plif.p."),
    (r"^patch_embed(\d)\.proj\.", r"down\1.conv."),
    (r"^patch_embed(\d)\.norm\.", r"down\1.norm."),
    (r"^blocks(\d)\.(\d+)\.act1\.", r"stage\1.block\2.local.plif.p."),
    (r"^blocks(\d)\.(\d+)\.attn\.(weight|bias)$", r"stage\1.block\2.local.dwconv.\3"),
    (r"^blocks(\d)\.(\d+)\.(conv[12])\.", r"stage\1.block\2.local.\3."),
    (r"^blocks(\d)\.(\d+)\.norm2\.", r"stage\1.block\2.local.norm."),
    (r"^blocks(\d)\.(\d+)\.mlp\.act([12])\.", r"stage\1.block\2.mlp.plif\3.p."),
    (r"^blocks(\d)\.(\d+)\.attn\.(in|q|k|v|proj)_lif\.", r"stage\1.block\2.attn.plif_\3.p."),
    (r"^blocks(\d)\.(\d+)\.", r"stage\1.block\2."),
    (r"^lplif\.", "localpath.plif.p."),
    (r"^lpDWConv\.", "localpath.dwconv."),
    (r"^lpPWConv\.", "localpath.pwconv."),
    (r"^lpBN\.", "localpath.norm."),
    (r"^lif_bf_head\.", "head.plif.p."),
    (r"^dwconv_bf_head\.", "head.conv3d."),
    (r"^dwconv_bn\.", "head.bn3d."),
    (r"^head\.", "head.fc."),
)


def save_checkpoint(model: Network, path: str | Path, notes: dict[str, str] | None = None) -> None:
    """Write weights and configuration to one safetensors file, with `notes` as further metadata."""
    metadata = {**(notes or {}), "format": FORMAT, "config": model.config.to_json()}
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(path, save(state, metadata))


def load_checkpoint(path: str | Path, *, head_dim: int = 64) -> SVFormer:
    """The SVFormer of a checkpoint, as `load_network` reads it; raises `InputError` for another network, too."""
    model = load_network(path, head_dim=head_dim)
    if not isinstance(model, SVFormer):
        raise InputError(f"{path}: holds model={model.config.model!r}; allowed here: an SVFormer")
    return model


def load_network(path: str | Path, *, head_dim: int = 64) -> Network:
    """The network of a checkpoint, SVFormer or one that it is compared with, in evaluation mode, float32.

    Our `.safetensors` hold their configuration. For the authors' `.pyth` the geometry follows from the shapes of the
    weights, except `head_dim`, the channels of an attention head. No code of a file is executed. Raises `InputError`
    when the file is missing or damaged, or when any key or shape does not fit; the message names all of them.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; allowed: a .safetensors of ours or the authors' .pyth")
    config, state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pyth(path, head_dim)
    if sum(config.depths) > len(state):
        raise InputError(f"{path}: {len(state)} weights for {sum(config.depths)} blocks; restore it or train again")
    try:
        with torch.device("meta"):  # shapes without values: the file says how large they are, and need not be right
            expected = build(config).state_dict()
        _check_keys(path, state, expected)
        model = build(config)
    except RuntimeError as error:  # sizes beyond those of tensors, values beyond float32
        raise InputError(f"{path}: its geometry cannot be built ({error}); restore it or train again") from error
    model.load_state_dict(state)
    return model.eval()


def _read_safetensors(path: Path) -> tuple[SVFormerConfig, StateDict]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged safetensors file ({error}); restore it or train again") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format mark")
        raise InputError(f"{path}: not an SVFormer checkpoint ({found}), expected {FORMAT}")
    return SVFormerConfig.from_json(metadata.get("config", "")), state


def _read_pyth(path: Path, head_dim: int) -> tuple[SVFormerConfig, StateDict]:
    try:
        content: Any = load_tensors(path)
    except ValueError as error:
        raise InputError(
            f"{path}: not a readable weights-only checkpoint ({error}): damaged, or it holds code, "
            "which is never executed; restore it, or save its 'model_state' anew"
        ) from error
    found = content.get("model_state") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) and isinstance(n, str) for n, t in found.items()):
        raise InputError(f"{path}: no 'model_state' inside, so this is not a checkpoint of the SVFormer authors")
    if others := [name for name, tensor in found.items() if tensor.layout != torch.strided]:
        raise InputError(f"{path}: {', '.join(others)} of another form than rows of numbers; save tensor.to_dense()")
    state = {_our_name(name): tensor for name, tensor in found.items()}
    if len(state) < len(found):
        raise InputError(f"{path}: {len(found)} keys stand for {len(state)} weights; expected the authors' names alone")
    config = _geometry(path, state, head_dim)
    return config, {name: _as_convolution(name, tensor) for name, tensor in state.items()}


def _our_name(name: str) -> str:
    for pattern, replacement in _AUTHOR_NAMES:
        renamed, hits = re.subn(pattern, replacement, name)
        if hits:
            return renamed
    return name


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    """The authors' linear layers over tokens as 1x1 convolutions; the classifier stays linear."""
    if tensor.ndim == 2 and name != "head.fc.weight":
        return tensor[:, :, None, None]
    return tensor


def _geometry(path: Path, state: StateDict, head_dim: int) -> SVFormerConfig:
    """The configuration that follows from the shapes of the weights; raises `InputError` where none does."""
    try:
        widths = (state["stem.conv.weight"].shape[0], *(state[f"down{i}.conv.weight"].shape[0] for i in (2, 3, 4)))
        frames, size = state["head.conv3d.weight"].shape[2:4]
        return SVFormerConfig(
            num_classes=state["head.fc.weight"].shape[0],
            in_channels=state["stem.conv.weight"].shape[1],
            frames=frames,
            image_size=32 * size,
            embed_dims=(widths[0], widths[1], widths[2], widths[3]),
            depths=(_depth(state, 1), _depth(state, 2), _depth(state, 3), _depth(state, 4)),
            head_dim=head_dim,
            mlp_ratio=state["stage1.block0.mlp.fc1.weight"].shape[0] // widths[0],
            norm="shared" if state["stem.norm.weight"].shape[0] == widths[0] else "per_step",
        )
    except KeyError as error:
        raise InputError(f"{path}: cannot read the geometry, key {error} is missing") from error
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: cannot read the geometry, a weight has a wrong shape ({error})") from error


def _depth(state: StateDict, stage: int) -> int:
    found = {name.split(".")[1] for name in state if name.startswith(f"stage{stage}.block")}
    return len(found)


def _check_keys(path: Path, found: StateDict, expected: StateDict) -> None:
    missing = [f"missing {name}" for name in expected.keys() - found.keys()]
    extra = [f"unknown {name}" for name in found.keys() - expected.keys()]
    misshapen = [
        f"{name} has shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    if missing or extra or misshapen:
        raise InputError(f"{path}: does not fit the model: {'; '.join(sorted([*missing, *extra, *misshapen]))}")


def read_notes(path: Path) -> dict[str, str]:
    """`classes` (names as JSON), `dataset` and `stride` of our checkpoint, as far as it holds them; else nothing."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
    return {name: notes[name] for name in ("classes", "dataset", "stride") if name in notes}
