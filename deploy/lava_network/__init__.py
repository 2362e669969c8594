"""The integer network as a Lava process network: the only folder that imports Lava.

Python runs this file before any module of the folder, so Lava is made importable here, once: the modules
beside it import Lava's names like those of any other package, in any order.
"""

from deploy.lava_network.compat import load_lava_dl

load_lava_dl()

from deploy.lava_network.fast_models import FastLoihi2SimCfg  # noqa: E402  # needs the line above
from deploy.lava_network.library.spiking_attention import SpikingAttention  # noqa: E402

__all__ = ["FastLoihi2SimCfg", "SpikingAttention"]
