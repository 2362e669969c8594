"""The benchmark of the neuron: what it compares does the same work, at the batches that it takes by default."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from svformer.common.errors import InputError

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "neuron.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_of_the_neuron", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


def parsed(benchmark: ModuleType, *arguments: str) -> int:
    return benchmark.parse_arguments(arguments).batch


def test_all_contenders_compute_the_same_at_the_least_batch(benchmark: ModuleType) -> None:
    for build in benchmark.WORKS.values():
        what = {"work": "", "preset": "tiny", "batch": benchmark.LEAST_BATCH, "threads": 1, "device": "cpu"}
        jobs = {name: benchmark.Job(contender=name, **what) for name in benchmark.contenders(compiled=False)}
        assert {benchmark.OURS, "step loop (unbind)", "norse's SNN.forward"} <= jobs.keys()
        benchmark.check({name: build(job) for name, job in jobs.items()})


def test_batches(benchmark: ModuleType) -> None:
    assert parsed(benchmark) == 32
    assert parsed(benchmark, "--preset", "ucf101") == 2
    assert parsed(benchmark, "--batch", "3") == 3
    with pytest.raises(InputError, match=r"--batch 1; allowed: 2 or more \(in training a norm needs two clips\)"):
        parsed(benchmark, "--batch", "1")
