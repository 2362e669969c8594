"""Tuning: what was measured in it is what runs, and it makes a coarse network more like the one in real numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import reals
from deploy.exchange.integers import same_networks
from deploy.ir.integer import IntNetwork, run_integer
from deploy.ir.network import Network, run_float
from deploy.ir.operations.convolution import IntConvolution
from deploy.ir.populations.input import Input
from deploy.ir.readout import read_out
from deploy.passes.bounds import prove
from deploy.pipeline import quantize
from deploy.torch_network.network import IntegerNetwork, RealNetwork
from deploy.tuning.examples import Part, examples
from deploy.tuning.loop import SMOOTHING, TEMPERATURE, loss_of, tuned
from deploy.tuning.outcome import Tuned, TuningOptions
from svformer.common.errors import InputError

FRAMES, INPUTS, CLASSES, BITS = 6, 12, 5, 2


def network(seed: int = 0) -> Network:
    """Two layers of random neurons, and a readout fitted to tell the patterns of `clips` apart."""
    rng = np.random.default_rng(seed)
    layers = Network(
        populations={
            "input": Input(shape=(INPUTS, 1, 1)),
            "a": reals.lif((40, 1, 1), threshold=2.0, bias=rng.normal(0.2, 0.2, 40)),
            "b": reals.lif((40, 1, 1), threshold=2.0, bias=rng.normal(0.2, 0.2, 40)),
        },
        connections=(
            reals.link("input", "a", reals.dense(rng.normal(0, 0.6, (40, INPUTS)))),
            reals.link("a", "b", reals.dense(rng.normal(0, 0.5, (40, 40)))),
        ),
        output="b",
        frames=FRAMES,
    )
    rates = run_float(layers, clips(400, seed=9))["b"].mean(axis=1).reshape(400, -1)
    centred = rates - rates.mean(axis=0)
    fitted = np.linalg.solve(centred.T @ centred + np.eye(40), centred.T @ np.eye(CLASSES)[np.arange(400) % CLASSES])
    output = reals.relay((CLASSES, 1, 1), -8 * rates.mean(axis=0) @ fitted)
    return replace(
        layers,
        populations=layers.populations | {"output": output},
        connections=(*layers.connections, reals.link("b", "output", reals.dense(8 * fitted.T))),
        output="output",
        readout="mean",
    )


def clips(count: int, seed: int) -> np.ndarray:
    """Spikes whose rates are one of a few patterns, class by class in turn."""
    patterns = np.random.default_rng(0).choice([0.2, 0.8], size=(CLASSES, INPUTS))
    rates = patterns[np.arange(count) % CLASSES][:, np.newaxis]
    spikes = np.random.default_rng(seed).random((count, FRAMES, INPUTS)) < rates
    return spikes.astype(np.float64)[..., np.newaxis, np.newaxis]


def parts(*frames: np.ndarray) -> list[Part]:
    """Without classes."""
    return [(part, [None] * len(part)) for part in frames]


def taught(count: int = 200, epochs: int = 6) -> tuple[Network, IntNetwork, IntNetwork, Tuned]:
    """The network in real numbers, rounded, and tuned, and what tuning came to."""
    exact = network()
    frames = clips(count, seed=1)
    rounded = quantize(exact, frames[:16], weight_bits=BITS)
    found = examples(
        RealNetwork(exact),
        IntegerNetwork(rounded),
        parts(frames[: count // 2], frames[count // 2 :]),
        lambda done: None,
    )
    options = TuningOptions(epochs=epochs, learning_rate=1e-2)
    return exact, rounded, *tuned(rounded, found, options, weight_bits=BITS)


def same(exact: Network, rounded: IntNetwork, frames: np.ndarray) -> float:
    """Share of clips with the same prediction, by the interpreters."""
    wanted = read_out(run_float(exact, frames)["output"], exact.readout).argmax(1)
    return float((rounded.logits(run_integer(rounded, frames)).argmax(1) == wanted).mean())


def test_it_predicts_more_clips_as_in_real_numbers() -> None:
    exact, rounded, better, found = taught(count=600)
    others = clips(500, seed=2)
    before, after = same(exact, rounded, others), same(exact, better, others)
    assert before < 0.8
    assert after > before + 0.05
    assert found.best.number > 0
    prove(better)


def test_weights_keep_their_width_and_all_else_stays() -> None:
    _, rounded, better, _ = taught(epochs=2)
    for before, after in zip(rounded.connections, better.connections, strict=True):
        assert isinstance(after.operation, IntConvolution)
        assert isinstance(before.operation, IntConvolution)
        assert np.abs(after.operation.mantissa).max() <= 1
        assert after.operation.exponent == before.operation.exponent
    assert better.populations.keys() == rounded.populations.keys()


def test_what_it_measures_is_what_the_machine_runs() -> None:
    """The clips that it keeps back are the last tenth of a permutation; all of them together bound its share."""
    exact, rounded, better, found = taught(epochs=1)
    frames = clips(200, seed=1)
    back = np.random.default_rng(0).permutation(200)[:20]
    assert (found.clips, found.checked) == (180, 20)
    assert found.epochs[0].same == same(exact, rounded, frames[back])
    assert found.best.same == same(exact, better, frames[back])


def test_a_network_that_is_best_as_it_was_stays() -> None:
    exact, frames = network(), clips(30, seed=1)
    rounded = quantize(exact, frames, weight_bits=8)
    found = examples(RealNetwork(exact), IntegerNetwork(rounded), parts(frames), lambda done: None)
    kept, outcome = tuned(rounded, found, TuningOptions(epochs=1, learning_rate=10.0), weight_bits=8)
    assert outcome.best.number == 0
    assert kept is rounded


def test_a_tuning_that_was_stopped_goes_on_and_ends_alike(tmp_path: Path) -> None:
    """Stopped in its third epoch of four, it has to do two, and ends with the integers of one that was not."""
    exact, frames, file = network(), clips(60, seed=1), tmp_path / "cache" / "a.tuning"
    rounded = quantize(exact, frames, weight_bits=BITS)
    found = examples(RealNetwork(exact), IntegerNetwork(rounded), parts(frames), lambda done: None)
    options = TuningOptions(epochs=4, learning_rate=1e-2)
    wanted, outcome = tuned(rounded, found, options, weight_bits=BITS)
    assert outcome.best.number > 0

    def stop(epochs: float) -> None:
        if epochs > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(rounded, found, options, weight_bits=BITS, on_step=stop, unfinished=file)
    done: list[float] = []
    again, resumed = tuned(rounded, found, options, weight_bits=BITS, on_step=done.append, unfinished=file)
    assert min(done) > 2
    assert (same_networks(again, wanted), resumed) == (True, outcome)
    assert [path.name for path in file.parent.iterdir()] == ["a.tuning"], "nothing half-written"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"weights"])
def test_a_damaged_file_of_a_tuning_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    exact, frames, file = network(), clips(20, seed=1), tmp_path / "a.tuning"
    rounded = quantize(exact, frames, weight_bits=BITS)
    found = examples(RealNetwork(exact), IntegerNetwork(rounded), parts(frames), lambda done: None)
    options = TuningOptions(epochs=1, learning_rate=1e-2)
    wanted, outcome = tuned(rounded, found, options, weight_bits=BITS)
    file.write_bytes(content)
    again, found_again = tuned(rounded, found, options, weight_bits=BITS, unfinished=file)
    assert (same_networks(again, wanted), found_again) == (True, outcome)


def test_few_clips_are_trained_on_and_chosen_by_alike() -> None:
    *_, found = taught(count=12, epochs=1)
    assert (found.clips, found.checked, found.apart) == (12, 12, False)
    assert "the same clips" in str(found)


def test_a_loss_by_hand() -> None:
    """Two clips, one with a class: the divergence at the temperature, and half the cross entropy of the one class."""
    found, wanted = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    p = 1 / (1 + np.exp(-1 / TEMPERATURE))
    divergence = TEMPERATURE**2 * 0.5 * (np.log(0.5 / p) + np.log(0.5 / (1 - p))) / 2
    logs = -np.log1p(np.exp(-1)), -1 - np.log1p(np.exp(-1))
    entropy = -(1 - SMOOTHING / 2) * logs[0] - SMOOTHING / 2 * logs[1]
    loss = loss_of(found, wanted, torch.tensor([0, -1]))
    assert loss.item() == pytest.approx(divergence + entropy / 2, rel=1e-5)


def test_one_result_is_a_number_and_no_class() -> None:
    found, wanted = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [3.0]])
    assert loss_of(found, wanted, torch.tensor([0, -1])).item() == 0.5


def test_classes_are_counted_where_there_are_some() -> None:
    exact, frames = network(), clips(40, seed=1)
    rounded = quantize(exact, frames, weight_bits=8)
    known = [place % CLASSES if place % 2 else None for place in range(40)]
    found = examples(RealNetwork(exact), IntegerNetwork(rounded), [(frames, known)], lambda done: None)
    _, outcome = tuned(rounded, found, TuningOptions(epochs=1), weight_bits=8)
    back = [place for place in np.random.default_rng(0).permutation(40)[:4] if known[place] is not None]
    predicted = rounded.logits(run_integer(rounded, frames[back])).argmax(1)
    assert outcome.epochs[0].right == (predicted == [known[place] for place in back]).mean()


def test_nothing_to_train_is_refused() -> None:
    exact = Network(
        populations={"input": Input(shape=(1, 1, 1)), "output": reals.lif()},
        connections=(reals.link("input", "output", reals.same()),),
        output="output",
        frames=FRAMES,
        readout="count",
    )
    frames = np.ones((2, FRAMES, 1, 1, 1))
    rounded = quantize(exact, frames)
    found = examples(RealNetwork(exact), IntegerNetwork(rounded), parts(frames), lambda done: None)
    with pytest.raises(InputError, match="no weights to train"):
        tuned(rounded, found, TuningOptions(epochs=1), weight_bits=8)
