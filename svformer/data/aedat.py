"""AEDAT 3.1, the format of IBM's original recordings: lines of text, then packets of events.

A packet has a header of 28 bytes (type and source, 16 bits each; size of an event, offset of its time stamp, overflow
of the time stamps, capacity, number, number of valid events, 32 bits each), then its events. A polarity event has 8
bytes: y in bits 2-16, x in bits 17-31, polarity in bit 1, then the time in microseconds; little-endian throughout.
Format: docs.inivation.com, "AEDAT 3.1".

The reader for IBM's files in tonic 1.7 cannot be called (github.com/neuromorphs/tonic/issues/302), assumes that every
packet holds polarity events, and reads whole recordings. The reader here skips other packets and can read a part of a
recording. Like tonic's it reads all events, also those that are marked as not valid.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svformer.common.errors import InputError
from svformer.data.events import EVENT, Events

VERSION, END_OF_TEXT = b"#!AER-DAT3.1\r\n", b"#!END-HEADER\r\n"
HEADER = struct.Struct("<hhiiiiii")
POLARITY, EVENT_BYTES, PACKET_EVENTS = 1, 8, 4096
Words = NDArray[np.uint32]  # [N, 2]: address and time of every event


def read_aedat(path: str | Path, start_us: int | None = None, end_us: int | None = None) -> Events:
    """The polarity events of a file from `start_us` to before `end_us` (microseconds); packets outside are skipped.

    Raises `InputError` where the file is not AEDAT 3.1 or ends within a packet.
    """
    path = Path(path)
    first = -np.inf if start_us is None else start_us
    last = np.inf if end_us is None else end_us
    parts = [np.empty(0, EVENT)]
    for overflow, words in _packets(path):
        begins_us, ends_us = (int(word) + (overflow << 31) for word in words[[0, -1], 1])
        if ends_us >= first and begins_us < last:
            time_us = words[:, 1].astype(np.int64) + (overflow << 31)
            inside = (time_us >= first) & (time_us < last)
            parts.append(_events(words[inside, 0], time_us[inside]))
    return np.concatenate(parts)


def _events(address: NDArray[np.uint32], time_us: NDArray[np.int64]) -> Events:
    events = np.empty(len(address), EVENT)
    events["x"], events["y"] = address >> 17, address >> 2 & 0x7FFF
    events["p"], events["t"] = address >> 1 & 1, time_us
    return events


def _packets(path: Path) -> Iterator[tuple[int, Words]]:
    """For every packet of polarity events that is not empty: overflow of the time stamps, and words."""
    try:
        content = np.asarray(np.memmap(path, np.uint8, mode="r"))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise InputError(f"{path}: not a readable AEDAT file ({error})") from error
    at = _end_of_text(path, bytes(content[:4096]))
    while at < len(content):
        header = bytes(content[at : at + HEADER.size])
        if len(header) < HEADER.size:
            raise InputError(f"{path}: ends within the header of a packet; copy it again")
        kind, _, size, _, overflow, capacity, number, _ = HEADER.unpack(header)
        body = content[at + HEADER.size : at + HEADER.size + size * capacity]
        if min(size, number) < 0 or number > capacity or len(body) < size * capacity:
            raise InputError(f"{path}: ends within a packet, or holds something else at byte {at}; copy it again")
        at += HEADER.size + size * capacity
        if kind == POLARITY and size == EVENT_BYTES and number:
            yield overflow, body[: size * number].view("<u4").reshape(number, 2)


def _end_of_text(path: Path, beginning: bytes) -> int:
    """The position of the first packet, in bytes from the start of the file."""
    if not beginning.startswith(VERSION):
        raise InputError(f"{path}: not an AEDAT 3.1 file; allowed: recordings that begin with #!AER-DAT3.1")
    end = beginning.find(END_OF_TEXT)
    if end < 0:
        raise InputError(f"{path}: no line #!END-HEADER near its beginning; copy it again")
    return end + len(END_OF_TEXT)


def write_aedat(path: str | Path, events: Events) -> None:
    """Write events, in order of time and before 2**31 microseconds, in the form of a DVS128 recording."""
    text = b"#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2016-01-01 00:00:00 (TZ+0000)\r\n"
    with Path(path).open("wb") as file:
        file.write(VERSION + text + END_OF_TEXT)
        for first in range(0, len(events), PACKET_EVENTS):
            part = events[first : first + PACKET_EVENTS]
            address = (part["x"].astype(np.uint32) << 17) | (part["y"].astype(np.uint32) << 2)
            address |= (part["p"].astype(np.uint32) << 1) | 1  # bit 0: valid
            file.write(HEADER.pack(POLARITY, 1, EVENT_BYTES, 4, 0, len(part), len(part), len(part)))
            file.write(np.stack([address, part["t"].astype(np.uint32)], axis=1).astype("<u4").tobytes())
