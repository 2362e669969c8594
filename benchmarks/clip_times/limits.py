"""What the machine could do at best: dense products at its rate of int8, spikes at its rate of 16-bit additions.

Both rates are measured here, in the same run, on operands that lie in the caches. So the limits leave out all memory
traffic, neurons and messages: no execution can reach them.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clip_times.measuring import median_s
from deploy.costs.counting import count_operations
from deploy.engine.dense import byte_product_is_exact
from deploy.engine.simd import WIDE, add_wide_rows, jit
from deploy.ir.integer import IntNetwork
from deploy.ir.types import Signals
from deploy.passes.schedule import schedule
from hardware import OpCounts
from svformer.config import SVFormerConfig
from svformer.networks.dense_counts import sizes

SIDES = (512, 1024, 2048)  # of the square matrices among which the fastest product counts
ROWS = 64  # of 128 weights of 16 bits: half of a first-level cache of 32 KB
EVENTS = 4096  # of a pass, each of which adds a row
PASSES = 50


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Seconds that a clip takes if nothing but `operations` of one kind cost time, at `rate` a second.

    `seconds` and `rate` are None where the rate cannot be measured, and `reason` says why.
    """

    name: str
    operations: int
    unit: str
    by: str  # what the rate was measured with
    rate: float | None
    reason: str | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.rate is None else self.operations / self.rate


def limits(config: SVFormerConfig, network: IntNetwork, signals: Signals, threads: int) -> list[Limit]:
    """The dense limit of the geometry, and the limit of the events of a clip whose messages are `signals`."""
    dense = sizes(config)
    return [
        _dense_limit(dense.dense_macs + dense.attention_macs),
        Limit(
            name="event limit",
            operations=_additions(network, signals),
            unit="additions that spikes cause",
            by=f"16-bit additions of rows of {WIDE} weights in the first-level cache, {threads} threads",
            rate=additions_per_s(threads),
        ),
    ]


def _dense_limit(macs: int) -> Limit:
    exact = hasattr(torch, "_int_mm") and byte_product_is_exact()
    return Limit(
        name="dense int8 limit",
        operations=macs,
        unit="multiply-accumulates, attention included",
        by=f"torch._int_mm of square matrices of {', '.join(map(str, SIDES))}, {torch.get_num_threads()} threads",
        rate=max(map(_products_per_s, SIDES)) if exact else None,
        reason=None if exact else "torch has no exact product of int8 matrices on this processor",
    )


def _products_per_s(side: int) -> float:
    a, b = (torch.randint(-127, 128, (side, side), dtype=torch.int8) for _ in range(2))
    torch._int_mm(a, b)
    return side**3 / median_s(lambda: torch._int_mm(a, b))


def _additions(network: IntNetwork, signals: Signals) -> int:
    """Weights added because of a spike, attention's counts and additions included, in all clips of `signals`."""
    counted = sum(count_operations(network, schedule(network), signals).values(), OpCounts())
    return counted.synaptic_ops + counted.attention_coincidences + counted.attention_gated_adds


def additions_per_s(threads: int) -> float:
    """16-bit additions a second of the loop that adds rows of weights, all threads together."""
    rng = np.random.default_rng(0)
    work = [
        (np.zeros(WIDE, np.int32), np.ones(ROWS * WIDE, np.int16), rng.integers(0, ROWS, EVENTS, dtype=np.int32))
        for _ in range(threads)
    ]
    add_rows(*work[0], 1)  # compiled
    with ThreadPoolExecutor(threads) as pool:

        def together() -> None:
            list(pool.map(lambda own: add_rows(*own, PASSES), work))

        return threads * PASSES * EVENTS * WIDE / median_s(together)


@jit
def add_rows(sums: NDArray[Any], rows: NDArray[Any], events: NDArray[Any], passes: int) -> None:
    """The innermost loop of `deploy.engine.events.gather`, on rows that stay where they are."""
    for _ in range(passes):
        add_wide_rows(sums, 0, rows, 0, events, 0, events.size)
