"""Tallies of batches add up."""

import numpy as np

from deploy.execution.tally import Tally
from deploy.gates.agreement import Agreement
from hardware import OpCounts


def test_tallies_add_up_by_hand() -> None:
    def part(spikes: int, first: float) -> Tally:
        return Tally(
            steps={"a": [OpCounts(spikes=spikes), OpCounts(spikes=1)]},
            layers={"a": Agreement(compared=10, different=spikes, layers=1)},
            float_spikes={"a": spikes},
            kept={"a": np.full((1, 2), spikes)},
            kept_differences={"a": np.full((1, 3), spikes)},
            kept_results=np.full((1, spikes, 1), first),
            run_s=0.5,
            peak_rss_mb=first,
            inputs=4,
        )

    total = sum([part(3, 7.0), part(5, 6.0)], Tally())
    assert total.steps == {"a": [OpCounts(spikes=8), OpCounts(spikes=2)]}
    assert total.counts == {"a": OpCounts(spikes=10)}
    assert total.layers["a"] == Agreement(compared=20, different=8, layers=1)
    assert total.exact is None
    assert total.bit_exact is None
    assert total.kept["a"].tolist() == [[3, 3], [5, 5]]
    assert total.kept_differences["a"].tolist() == [[3, 3, 3], [5, 5, 5]]
    assert total.kept_results[..., 0].tolist() == [[7.0, 7.0, 7.0, 0.0, 0.0], [6.0] * 5]  # type: ignore[index]
    assert (total.run_s, total.peak_rss_mb, total.inputs) == (1.0, 7.0, 8)
    exact = Tally(exact=Agreement(compared=3, different=0, layers=2))
    assert (exact + exact).exact == Agreement(compared=6, different=0, layers=2)
    assert (total + exact).bit_exact is True
