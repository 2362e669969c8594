"""All networks by the name of their model, their checkpoints and their sizes."""

from svformer.baselines.ann2snn import ConvertedCnn
from svformer.baselines.r2plus1d import R2Plus1D
from svformer.baselines.rsnn import RecurrentSnn
from svformer.baselines.timesformer import TimeSformer
from svformer.baselines.tsm import TemporalShift
from svformer.config import Model, SVFormerConfig
from svformer.model.network import Network
from svformer.model.svformer import SVFormer

NETWORKS: dict[Model, type[Network]] = {
    "svformer": SVFormer,
    "tsm": TemporalShift,
    "r2plus1d": R2Plus1D,
    "timesformer": TimeSformer,
    "rsnn": RecurrentSnn,
    "ann2snn": ConvertedCnn,
}


def build(config: SVFormerConfig) -> Network:
    """A new network of this configuration, with random weights."""
    return NETWORKS[config.model](config)
