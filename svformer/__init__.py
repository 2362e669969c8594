"""SVFormer, a directly trained spiking video transformer, in PyTorch with norse neurons.

`SVFormer(config)` maps a normalised clip [B, C, T, H, W] to logits [B, K]; `load_checkpoint` reads a trained one.
`record_spikes` returns the spikes of every neuron layer, `record_membranes` currents and membrane potentials,
`attention_maps` the coincidences that attention counts; notebooks draw all of these with `svformer.pictures.plot`.
Source: Yu et al., "SVFormer", arXiv 2406.15034.
"""

from typing import TYPE_CHECKING

from svformer.common.lazy import exported

if TYPE_CHECKING:
    from svformer.common.errors import InputError
    from svformer.config import PRESETS, SVFormerConfig
    from svformer.data.catalogue import open_dataset
    from svformer.data.choice import DatasetChoice
    from svformer.evaluation.recording import (
        AttentionMap,
        MembraneTrace,
        attention_maps,
        record_membranes,
        record_spikes,
    )
    from svformer.model.svformer import SVFormer
    from svformer.networks.checkpoint import load_checkpoint, save_checkpoint
else:
    __getattr__ = exported(
        __name__,
        {
            "svformer.networks.checkpoint": ("load_checkpoint", "save_checkpoint"),
            "svformer.config": ("PRESETS", "SVFormerConfig"),
            "svformer.common.errors": ("InputError",),
            "svformer.data.catalogue": ("open_dataset",),
            "svformer.data.choice": ("DatasetChoice",),
            "svformer.model.svformer": ("SVFormer",),
            "svformer.evaluation.recording": (
                "AttentionMap",
                "MembraneTrace",
                "attention_maps",
                "record_membranes",
                "record_spikes",
            ),
        },
    )

__all__ = [
    "PRESETS",
    "AttentionMap",
    "DatasetChoice",
    "InputError",
    "MembraneTrace",
    "SVFormer",
    "SVFormerConfig",
    "attention_maps",
    "load_checkpoint",
    "open_dataset",
    "record_membranes",
    "record_spikes",
    "save_checkpoint",
]
