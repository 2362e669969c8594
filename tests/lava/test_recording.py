"""Recordings of a run on Lava: every message comes back as it was."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy.lava_network.recording import Recording

GRADED, SPIKES = np.dtype(np.int32), np.dtype(np.int8)
SHAPE = (3, 2, 3)


@given(largest=st.sampled_from([5, 2**15 - 1, 2**15, 2**23]), seed=st.integers(0, 2**32 - 1))
def test_graded_messages_of_any_size(largest: int, seed: int) -> None:
    """Two clips of two frames; the ends of the range are among the messages of the last frame."""
    messages = np.random.default_rng(seed).integers(-largest, largest + 1, size=(2, 2, *SHAPE)).astype(np.int32)
    messages[1, 1, 0, 0, :2] = -largest, largest
    recording = Recording(4, SHAPE, GRADED)
    for frame, of_frame in enumerate(messages.reshape(4, *SHAPE)):
        recording.store(frame, of_frame)
    found = recording.take(2)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, messages)
    assert recording.is_wide[3] == (largest >= 2**15)


def test_upper_halves_are_kept_of_frames_that_need_them_alone() -> None:
    recording = Recording(3, (4,), GRADED)
    recording.store(0, np.array([-32768, 32767, -1, 0], np.int32))
    recording.store(1, np.array([-32769, 32768, -1, 0], np.int32))
    assert recording.is_wide.tolist() == [False, True, False]
    assert recording.upper.tolist() == [[0, 0, 0, 0], [-1, 0, -1, 0], [0, 0, 0, 0]]
    assert recording.take(1).tolist() == [[[-32768, 32767, -1, 0], [-32769, 32768, -1, 0], [0, 0, 0, 0]]]
    assert not recording.memory.any(), "given back"


def test_spikes_take_a_bit_each_and_other_steps_are_left_out() -> None:
    spikes = (np.arange(18).reshape(SHAPE) % 3 == 0).astype(np.int8)
    recording = Recording(2, SHAPE, SPIKES)
    for frame in (-1, 1, 2):
        recording.store(frame, spikes)
    assert recording.memory.shape == (2, 3), "18 bits take 3 bytes"
    np.testing.assert_array_equal(recording.take(1), [[np.zeros(SHAPE), spikes]])
