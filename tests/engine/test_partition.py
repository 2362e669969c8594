"""Layers are cut into runs of even work; threads share a run's layers."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.engine.partition import WORTH_A_THREAD_NS, place, threads_for
from deploy.engine.workers import Workers
from processes import HANG_S


def test_work_is_cut_where_the_largest_part_is_smallest() -> None:
    """5 | 1 1 2 | 4 has a largest of 5; every other cut in three has one of 6 or more, but 5 | 1 1 | 2 4, of 6."""
    assert place({"a": 5, "b": 1, "c": 1, "d": 2, "e": 4}, 3) == [["a"], ["b", "c", "d"], ["e"]]


def test_more_processes_than_layers_give_one_to_each() -> None:
    assert place({"a": 5, "b": 0, "c": 1}, 10) == [["a"], ["b"], ["c"]]


@given(work=st.lists(st.integers(0, 20), min_size=1, max_size=7), processes=st.integers(1, 7))
def test_no_other_cut_is_better(work: list[int], processes: int) -> None:
    """All ways to cut are tried; the order stays, nothing is lost, and no run is empty."""
    runs = place({str(i): value for i, value in enumerate(work)}, processes)
    assert [int(name) for run in runs for name in run] == list(range(len(work)))
    assert len(runs) == min(processes, len(work))
    assert all(runs)
    largest = max(sum(work[int(name)] for name in run) for run in runs)
    cuts = itertools.combinations(range(1, len(work)), min(processes, len(work)) - 1)
    others = (max(sum(work[a:b]) for a, b in itertools.pairwise([0, *cut, len(work)])) for cut in cuts)
    assert largest == min(others)


def test_little_work_gets_one_thread() -> None:
    assert threads_for(0.5 * WORTH_A_THREAD_NS, 8) == 1
    assert threads_for(3.5 * WORTH_A_THREAD_NS, 8) == 3
    assert threads_for(100 * WORTH_A_THREAD_NS, 8) == 8
    assert threads_for(100 * WORTH_A_THREAD_NS, 0) == 1  # more processes than cores


@pytest.mark.parametrize("threads", [1, 4])
def test_every_name_is_worked_on_once(threads: int) -> None:
    names, done, workers = [str(i) for i in range(500)], [], Workers(threads)
    for _ in range(2):
        workers.begin(done.append, names)
        workers.finish()
    assert sorted(done) == sorted(2 * names)


def test_threads_work_at_the_same_time_and_beside_the_caller() -> None:
    """Each of three waits for the others: fewer would never get on."""
    together, workers = threading.Barrier(3, timeout=HANG_S), Workers(2)
    workers.begin(lambda name: together.wait() and None, ["a", "b"])
    together.wait()
    workers.finish()


def test_what_a_thread_raises_is_raised_where_its_end_is_waited_for() -> None:
    def fail(name: str) -> None:
        raise ValueError(name)

    workers = Workers(2)
    workers.begin(fail, ["a", "b"])
    with pytest.raises(ValueError, match=r"^[ab]$"):
        workers.finish()
    workers.finish()  # nothing is left of it
