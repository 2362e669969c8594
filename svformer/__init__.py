"""SVFormer, a directly trained spiking video transformer, in PyTorch with norse neurons.

Data flow: a clip [B, C, T, H, W] goes through `SVFormer` (model.py) and gives logits [B, K]; `record_spikes` gives the
spikes of every neuron layer beside them. Source: Yu et al., "SVFormer", arXiv 2406.15034.
"""

from svformer.checkpoint import load_checkpoint, save_checkpoint
from svformer.config import PRESETS, SVFormerConfig
from svformer.errors import InputError
from svformer.model import SVFormer
from svformer.recording import record_spikes

__all__ = [
    "PRESETS",
    "InputError",
    "SVFormer",
    "SVFormerConfig",
    "load_checkpoint",
    "record_spikes",
    "save_checkpoint",
]
