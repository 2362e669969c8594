"""Attention of stages 3 and 4: a file for each kind, and the table of them. A new kind is a file and a line here.

Its name joins `svformer.config.Attention`, its form in NIR `deploy.frontend.attention`.
"""

from svformer.config import Attention
from svformer.model.attention.base import SelfAttention
from svformer.model.attention.qkta import TokenAttention
from svformer.model.attention.qkv import QkvAttention
from svformer.model.attention.sdsa import SpikeDrivenAttention

__all__ = ["ATTENTIONS", "QkvAttention", "SelfAttention", "SpikeDrivenAttention", "TokenAttention"]

ATTENTIONS: dict[Attention, type[SelfAttention]] = {
    "qkv": QkvAttention,
    "sdsa": SpikeDrivenAttention,
    "qkta": TokenAttention,
}
