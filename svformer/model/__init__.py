"""The network: `SVFormer` in svformer.py, its parts, its neurons (the only importer of norse), its checkpoints."""

from svformer.model.svformer import SVFormer

__all__ = ["SVFormer"]
