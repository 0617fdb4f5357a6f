"""Whatever a server sends, in whatever pieces, is read as it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats._nats.wire.headers import encode_headers
from trellis_nats._nats.wire.incoming import IncomingCommands
from trellis_nats._nats.wire.message import Message

_SPLITS_WORDS: Final = b" \t\r\n"
WORDS: Final = st.binary(min_size=1, max_size=12).filter(lambda word: not set(word) & set(_SPLITS_WORDS))
HEADERS: Final = st.dictionaries(st.from_regex(r"[A-Za-z-]{1,8}", fullmatch=True), st.just("1"), max_size=3)


class Recorder:
    """Records the commands."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, Message]] = []
        self.commands: list[tuple[bytes, str]] = []

    def on_message(self, number: int, message: Message) -> None:
        self.messages.append((number, message))

    def on_command(self, name: bytes, text: str) -> None:
        self.commands.append((name, text))


def read(pieces: Sequence[bytes]) -> Recorder:
    recorder = Recorder()
    commands = IncomingCommands(recorder)
    for piece in pieces:
        commands.feed(piece)
    return recorder


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, tuple[int, Message]]:
    """A message, as a server sends it, and as it is read."""
    subject, number, data = draw(WORDS), draw(st.integers(1, 10**6)), draw(st.binary(max_size=40))
    reply, headers = draw(st.just(b"") | WORDS), draw(HEADERS)
    block = encode_headers(headers) + b"\r\n" if headers else b""
    words = [b"HMSG" if block else b"MSG", subject, b"%d" % number]
    words += [reply] if reply else []
    words += [b"%d" % len(block)] if block else []
    line = b" ".join([*words, b"%d" % (len(block) + len(data))])
    texts = subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace")
    return b"%b\r\n%b%b\r\n" % (line, block, data), (number, Message(texts[0], data, headers, texts[1]))


@given(st.lists(sent(), max_size=5), st.data())
def test_messages_are_read_in_any_pieces(
    messages: list[tuple[bytes, tuple[int, Message]]], data: st.DataObject
) -> None:
    stream = b"PING\r\n".join(raw for raw, _ in messages)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    recorder = read([stream[begin:end] for begin, end in pairwise([0, *cuts, len(stream)])])

    assert recorder.messages == [message for _, message in messages]
    assert recorder.commands == [(b"PING", "")] * max(0, len(messages) - 1)


@pytest.mark.parametrize("word", [b"a\x0bb", b"a\x0cb", b"\xff", b"\x00", "\x85".encode()])
def test_a_subject_may_hold_any_byte_that_does_not_split_words(word: bytes) -> None:
    recorder = read([b"MSG %b 1 %b 2\r\nhi\r\nPONG\r\n" % (word, word)])

    text = word.decode("utf-8", "replace")
    assert recorder.messages == [(1, Message(text, b"hi", {}, text))]
    assert recorder.commands == [(b"PONG", "")]


def test_other_commands_come_with_their_text() -> None:
    recorder = read([b"+OK\r\n-ERR 'Permissions Viol", b'ation\'\r\nINFO {"a": 1} \r', b"\n\r\n"])

    assert recorder.commands == [
        (b"+OK", ""),
        (b"-ERR", "'Permissions Violation'"),
        (b"INFO", '{"a": 1}'),
        (b"", ""),
    ]


@pytest.mark.parametrize("line", [b"MSG", b"MSG a 1 x", b"MSG a b 0\r\n", b"HMSG a 1 x 0\r\n"])
def test_a_line_that_is_not_of_the_protocol_is_an_error(line: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        read([line + b"\r\n"])


def test_a_large_message_is_joined_once() -> None:
    """A megabyte in a thousand pieces: each piece is copied twice, not five hundred times."""
    payload = b"x" * 2**20
    stream = b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload)
    recorder = Recorder()
    commands = IncomingCommands(recorder)
    for at in range(0, len(stream), 1024):
        assert not recorder.messages
        commands.feed(stream[at : at + 1024])

    assert recorder.messages == [(1, Message("a", payload, {}))]


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (b"HMSG a 1 $JS.ACK.S.c.1.2.3.4.0", b"NATS/1.0 503\r\n\r\n"),
        (b"HMSG a 1", b"NATS/1.0 404\r\nNats-Stream: S\r\nNats-Sequence: 7\r\n\r\n"),
        (b"HMSG a 1", b"NATS/1.0 404 Nats-Stream: S\r\nNats-Sequence: 7\r\n\r\n"),
    ],
)
def test_a_stored_message_has_no_status_whatever_its_publisher_wrote(head: bytes, block: bytes) -> None:
    recorder = read([b"%b %d %d\r\n%bhi\r\n" % (head, len(block), len(block) + 2, block)])

    assert [(message.status, message.data) for _, message in recorder.messages] == [(0, b"hi")]


@pytest.mark.parametrize(
    "status", [b"404 Message Not Found", b"503\r\nNats-Subject: a", b"204 EOB\r\nNats-Num-Pending: 0"]
)
def test_the_status_of_a_server_is_read(status: bytes) -> None:
    block = b"NATS/1.0 %b\r\n\r\n" % status
    recorder = read([b"HMSG a 1 %d %d\r\n%b\r\n" % (len(block), len(block), block)])

    assert [message.status for _, message in recorder.messages] == [int(status[:3])]


def test_messages_with_the_same_headers_do_not_share_them() -> None:
    block = b"NATS/1.0\r\na: 1\r\n\r\n"
    recorder = read([b"HMSG a 1 %d %d\r\n%b\r\n" % (len(block), len(block), block)] * 3)

    headers = [message.headers for _, message in recorder.messages]
    assert headers == [{"a": "1"}] * 3
    assert len({id(mapping) for mapping in headers}) == 3
