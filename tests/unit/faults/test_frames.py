"""The frames of a NATS connection are found however the bytes were cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.harness.frames import Frame, FrameReader

SAMPLES = [
    Frame(b'INFO {"a":1}\r\n', "INFO"),
    Frame(b"PING\r\n", "PING"),
    Frame(b"SUB a.b 7\r\n", "SUB"),
    Frame(b"PUB a.b 5\r\nhello\r\n", "PUB", "a.b", "", b"hello"),
    Frame(b"PUB a.b in.box 2\r\n\r\n\r\n", "PUB", "a.b", "in.box", b"\r\n"),
    Frame(b"HPUB a r 12 15\r\nNATS/1.0\r\n\r\nPUB\r\n", "HPUB", "a", "r", b"PUB"),
    Frame(b"MSG a.b 9 0\r\n\r\n", "MSG", "a.b", "", b""),
    Frame(b"MSG a.b 9 re.ply 3\r\nabc\r\n", "MSG", "a.b", "re.ply", b"abc"),
    Frame(b"HMSG s 1 12 12\r\nNATS/1.0\r\n\r\n\r\n", "HMSG", "s", "", b""),
]


@given(st.lists(st.sampled_from(SAMPLES), max_size=8), st.data())
def test_frames_are_found_however_the_bytes_were_cut(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.raw for frame in frames)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))) | {0, len(stream)})
    reader = FrameReader()
    found = [frame for start, end in pairwise(cuts) for frame in reader.feed(stream[start:end])]

    assert found == frames
