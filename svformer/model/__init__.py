"""The network: `SVFormer` in svformer.py, its blocks, neurons (the only file that imports norse), checkpoints."""

from svformer.model.svformer import SVFormer

__all__ = ["SVFormer"]
