"""A clock that can be set back: `time.time` of every Python that has this folder on PYTHONPATH.

While the file that SVFORMER_FAULTS_CLOCK names is there, it is a day earlier. Only Python's clock is meant: that of C
libraries, of the file system and of `datetime` stays, and so does the monotonic one, which no clock setting changes.
"""

import os
import time

A_DAY_S = 86_400
_seconds, _nanoseconds = time.time, time.time_ns


def _back() -> bool:
    is_back = os.path.exists(os.environ.get("SVFORMER_FAULTS_CLOCK", ""))
    if is_back and (mark := os.environ.get("SVFORMER_FAULTS_MARK")):
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY))  # somebody has seen it
    return is_back


def _time() -> float:
    return _seconds() - A_DAY_S * _back()


def _time_ns() -> int:
    return _nanoseconds() - A_DAY_S * _back() * 10**9


time.time, time.time_ns = _time, _time_ns
