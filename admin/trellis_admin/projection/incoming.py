"""A message of stream JOBS, and what its subject says. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, WORKERS_PREFIX

__all__ = ["Incoming", "JobPlace", "heartbeat_place", "job_place", "read_value"]

_EVENTS: Final = EVENTS_PREFIX + "."
_HEARTBEATS: Final = WORKERS_PREFIX + "."
_JOB_TOKENS: Final = 6
"""`trellis.jobs.<service>.<queue>.<job>.<event>`: the only form that the work stream takes up."""
_HEARTBEAT_TOKENS: Final = 7
"""`trellis.jobs.workers.<service>.<queue>.<instance>.heartbeat`"""
_SUBJECT_MAX: Final = 500
"""Longer names are not those of a runtime, and would only fill the file."""


class Incoming(NamedTuple):
    """A message of the stream."""

    sequence: int
    stored_at: int
    """When the server stored it, in milliseconds since 1970."""
    subject: str
    data: bytes
    digest: str = ""
    """Of the contract by which it was written; empty where the message does not say."""


class JobPlace(NamedTuple):
    """Which job an event is of."""

    prefix: str
    id: str
    kind: str


def job_place(subject: str) -> JobPlace | None:
    """Return what the subject of a job's event says; None for every other subject."""
    tokens = subject.split(".")
    if len(tokens) != _JOB_TOKENS or not subject.startswith(_EVENTS) or not _is_plain(subject):
        return None
    return JobPlace(".".join(tokens[:4]), tokens[4], tokens[5])


def heartbeat_place(subject: str) -> tuple[str, str] | None:
    """Return the publish prefix and the process of a worker's heartbeat; None for every other subject."""
    tokens = subject.split(".")
    is_heartbeat = len(tokens) == _HEARTBEAT_TOKENS and tokens[6] == "heartbeat"
    if not is_heartbeat or not subject.startswith(_HEARTBEATS) or not _is_plain(subject):
        return None
    return f"{_EVENTS}{tokens[3]}.{tokens[4]}", tokens[5]


def read_value(message: Incoming, name: str) -> bytes | None:
    """Return a member of an event as it is stored, such as its payload; None where the event does not have it."""
    try:
        return raw_members(message.data).get(name)
    except ValueError:
        return None


def _is_plain(subject: str) -> bool:
    return len(subject) <= _SUBJECT_MAX and subject.isascii() and subject.isprintable()
