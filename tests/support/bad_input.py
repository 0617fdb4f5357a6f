"""Input that no honest client sends: bodies, header blocks and reply subjects, fixed ones and random ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, cast

from pydantic import JsonValue

__all__ = ["BODIES", "HEADERS", "Bad", "bad_messages", "large_messages", "random_messages"]

_DEEP: Final = 20_000
"""Beyond every parser's limit, and less than a server's largest message."""

BODIES: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "a zero byte": b"\x00",
    "not JSON": b"\x00\xff not JSON",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "half an object": b'{"a":',
    "two objects": b"{}{}",
    "null": b"null",
    "a number": b"1",
    "a text": b'"text"',
    "a list": b"[1,2,3]",
    "NaN": b"NaN",
    "an object that is empty": b"{}",
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a name that is not UTF-8": b'{"\xff":1}',
    "a member twice": b'{"a":1,"a":2}',
    "a number of 5,000 digits": b'{"a":%b}' % (b"9" * 5000),
    "a number that is too large": b'{"a":1e999}',
    "lists without end": b"[" * _DEEP,
    "lists in lists": b"[" * _DEEP + b"]" * _DEEP,
    "objects in objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "a name of 100 kB": b'{"%b":1}' % (b"n" * 100_000),
    "a name with line ends and escapes": b'{"\\n\\r\\u001b[31m ERROR forged":1}',
    "a list of 50,000 numbers": b"[%b0]" % (b"1," * 50_000),
    "900 kB of spaces": b" " * 900_000,
    "a text of 900 kB": b'{"a":"%b"}' % (b"x" * 900_000),
}
"""Bodies that match hardly any schema, by what is wrong with each."""

HEADERS: Final[Mapping[str, bytes]] = {
    "no version": b"no headers",
    "no end": b"NATS/1.0\r\n",
    "a status": b"NATS/1.0 503\r\n\r\n",
    "a status of streams": b"NATS/1.0 404 Message Not Found\r\n\r\n",
    "a status of pulls": b"NATS/1.0 409 Consumer Deleted xx",
    "a status of 5,000 digits": b"NATS/1.0 " + b"9" * 5000 + b"\r\n\r\n",
    "a value of 50 kB": b"NATS/1.0\r\nrequest-id: " + b"x" * 50_000 + b"\r\n\r\n",
    "5,000 names": b"NATS/1.0\r\n" + b"".join(b"n%d:\r\n" % n for n in range(5_000)) + b"\r\n",
    "names twice": b"NATS/1.0\r\nrequest-id: a\r\nrequest-id: b\r\n: c\r\nno colon\r\n\r\n",
    "not UTF-8": b"NATS/1.0\r\nrequest-id: \xff\r\ntraceparent: \xfe\r\n\r\n",
    "line ends": b"NATS/1.0\r\nrequest-id: a\nERROR forged\r\n\r\n",
    "no trace": b"NATS/1.0\r\ntraceparent: 00-"
    + b"0" * 32
    + b"-"
    + b"0" * 16
    + b"-01\r\ntracestate: \x01\r\n\r\n",
    "no timeout": b"NATS/1.0\r\ntrellis-timeout-ms: -1\r\n\r\n",
    "a timeout without end": b"NATS/1.0\r\ntrellis-timeout-ms: " + b"9" * 5_000 + b"\r\n\r\n",
    "an error": b"NATS/1.0\r\nstatus: error\r\nfeed-status: end\r\nKV-Operation: DEL\r\n\r\n",
}
"""Header blocks, by what is wrong with each. None of them says how long the caller waits."""

_MANY_HEADERS: Final = b"NATS/1.0\r\n%b\r\n" % b"".join(b"n%d:\r\n" % n for n in range(90_000))
_LONG_HEADER: Final = b"NATS/1.0\r\nnote: %b\r\n\r\n" % (b"x" * 900_000)
_VALUES: Final = (
    b"null",
    b"true",
    b"-1",
    b"1.5",
    b"1e400",
    b'""',
    b"[]",
    b"{}",
    b"[[[]]]",
    b'"\\u0000"',
    b"NaN",
)


class Bad(NamedTuple):
    """A message that no honest client sends."""

    what: str
    body: bytes
    headers: bytes = b""


def bad_messages(good: bytes) -> Iterator[Bad]:
    """Yield every fixed message, given a body that is valid."""
    for what, body in BODIES.items():
        yield Bad(what, body)
    for what, headers in HEADERS.items():
        yield Bad(f"headers: {what}", good, headers)
        yield Bad(f"nothing, and headers: {what}", b"", headers)


def large_messages(good: bytes) -> Iterator[Bad]:
    """Yield messages of almost a megabyte, which is what a server takes, without end: as text, as values, as headers."""
    numbers = b"1," * 440_000 + b"1"
    while True:
        yield Bad("a text", b'{"a":"%b"}' % (b"x" * 900_000))
        yield Bad("as many errors as fit", b'{"customerId":"c1","orderId":"o1","items":[%b]}' % numbers)
        yield Bad("as many members as fit", b"{%b}" % b",".join(b'"%d":1' % n for n in range(80_000)))
        yield Bad("a valid body, and as many headers as fit", good, _MANY_HEADERS)
        yield Bad("a valid body, and a header that is as long as fits", good, _LONG_HEADER)


def random_messages(seed: int, good: bytes) -> Iterator[Bad]:
    """Yield random messages without end; a seed always gives the same ones."""
    source = random.Random(seed)  # noqa: S311 - a test must be able to repeat it
    # A part of a number would be a timeout, after which no answer comes.
    fixed = [block for block in HEADERS.values() if b"timeout" not in block]
    while True:
        changes = source.choices(_CHANGES, k=source.randint(1, 4))
        body = good
        for change in changes:
            body = change(source, body)
        headers = source.choice((b"", b"", b"", source.choice(fixed), _cut(source, source.choice(fixed))))
        yield Bad("+".join(change.__name__.strip("_") for change in changes), body[:900_000], headers)


def _flip(source: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(min(len(changed), source.randint(1, 4))):
        changed[source.randrange(len(changed))] = source.randrange(256)
    return bytes(changed)


def _cut(source: random.Random, body: bytes) -> bytes:
    return body[: source.randint(0, len(body))]


def _insert(source: random.Random, body: bytes) -> bytes:
    at = source.randint(0, len(body))
    return body[:at] + source.randbytes(source.choice((1, 3, 100, 5_000))) + body[at:]


def _repeat(source: random.Random, body: bytes) -> bytes:
    begin = source.randint(0, len(body))
    part = body[begin : begin + source.randint(1, 40)]
    return body[:begin] + part * source.choice((2, 10, 1_000)) + body[begin:]


def _nest(source: random.Random, body: bytes) -> bytes:
    depth = source.choice((1, 100, 250))
    return b'[{"a":' * depth + body + b"}]" * depth


def _retype(source: random.Random, body: bytes) -> bytes:
    """Replace one value of an object, at any depth, by one of another type."""
    try:
        value = cast("JsonValue", json.loads(body))
    except (ValueError, RecursionError):
        return _insert(source, body)
    mark = "\x02value\x02"
    place = value
    while isinstance(place, dict) and place:
        name = source.choice(list(place))
        inner = place[name]
        if not isinstance(inner, dict) or source.random() < 0.4:
            place[name] = mark
            break
        place = inner
    return json.dumps(value).encode().replace(json.dumps(mark).encode(), source.choice(_VALUES))


def _drop(source: random.Random, body: bytes) -> bytes:
    begin = source.randint(0, len(body))
    return body[:begin] + body[begin + source.randint(1, 20) :]


_CHANGES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flip,
    _cut,
    _insert,
    _repeat,
    _nest,
    _retype,
    _retype,
    _drop,
)
