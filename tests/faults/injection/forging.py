"""Messages that no well-meaning client would publish."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats.ids import new_id

__all__ = ["EVENTS", "WORK", "created", "no_jobs", "publish_created", "unreadable_payloads"]

WORK: Final = "trellis.work.mill.grind"
"""Where the work messages of the mill's queue `grind` are."""
EVENTS: Final = "trellis.jobs.mill.grind"
"""Where its events are."""
_DEEP: Final = 20_000
"""Beyond every parser's limit, and less than a server's largest message."""


def created(job: str, **changes: JsonValue) -> dict[str, JsonValue]:
    """Return the body of a `created` event as a client of ours writes it, with some members changed."""
    body: dict[str, JsonValue] = {
        "jobId": job,
        "service": "mill",
        "jobType": "grind",
        "eventType": "created",
        "state": "pending",
        "tries": 0,
        "maxTries": 30,
        "context": {
            "requestId": "forged",
            "traceId": "1" * 32,
            "traceparent": f"00-{'1' * 32}-{'1' * 16}-01",
        },
        "payload": {"number": 1},
        "timestamp": "2026-01-01T00:00:00.000Z",
    }
    return {**body, **changes}


def no_jobs() -> Mapping[str, bytes]:
    """Return bodies of work messages that are not jobs of the queue `grind`, by what is wrong with each."""
    job = new_id()
    good = json.dumps(created(job), separators=(",", ":"))
    nested = "[" * _DEEP + "]" * _DEEP
    changed: Mapping[str, Mapping[str, JsonValue]] = {
        "an unknown event type": {"eventType": "exploded"},
        "an event that opens no job": {"eventType": "completed", "state": "completed"},
        "another queue's job": {"jobType": "single"},
        "another service's job": {"service": "bank"},
        "a payload of null": {"payload": None},
        "a job id that would be several": {"jobId": "*"},
        "a job id with a dot": {"jobId": f"{job}.x"},
        "an empty job id": {"jobId": ""},
        "a job id with a space": {"jobId": f"{job} x"},
        "a job id with line ends": {"jobId": f"{job}\r\nPUB x 0"},
        "a job id with a zero byte": {"jobId": f"{job}\x00"},
        "a job id of 2,000 characters": {"jobId": "x" * 2_000},
        "a job id that would be a tree": {"jobId": ">"},
        "tries below zero": {"tries": -1},
        "no context": {"context": None},
        "a number for a job id": {"jobId": 7},
        "a job id that exists nowhere": {},
    }
    raw = {
        "nothing": b"",
        "no JSON": b"\x00\xff not JSON",
        "JSON that is not an object": b"[1,2,3]",
        "null": b"null",
        "half an object": good[:-20].encode(),
        "bytes that are not UTF-8": good.replace('"forged"', '"\xff\xfe"').encode("latin-1"),
        "a lone surrogate": good.replace('"number":1', '"note":"\\ud800"').encode(),
        "an integer of 5,000 digits": good.replace('"number":1', f'"number":{"9" * 5_000}').encode(),
        "an integer of 5,000 digits for the tries": good.replace(
            '"tries":0', f'"tries":{"9" * 5_000}'
        ).encode(),
        "brackets without end": good.replace('{"number":1}', nested).encode(),
    }
    return raw | {what: json.dumps(created(job, **each)).encode() for what, each in changed.items()}


def unreadable_payloads() -> Mapping[str, str]:
    """Return payloads, as JSON text, that are read and match no schema of the mill."""
    return {
        "another schema": '{"weight":"heavy"}',
        "no object": "[]",
        "a text": '"grain"',
        "a number in a text": '{"number":"1"}',
        "a fraction": '{"number":1.5}',
        "an integer of 200 digits for seconds": f'{{"number":1,"seconds":"{"9" * 200}"}}',
        "nested 100 deep": '{"number":' + "[" * 100 + "]" * 100 + "}",
    }


async def publish_created(connection: Connection, job: str, payload: str) -> PubAck:
    """Store a `created` event with a payload given as JSON text, which nothing checks."""
    body = json.dumps(created(job, payload="PAYLOAD")).replace('"PAYLOAD"', payload)
    return await publish_acked(connection, f"{EVENTS}.{job}.created", body.encode())
