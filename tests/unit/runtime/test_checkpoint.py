"""Checkpoints as text, and the search for one that a replica does not have yet."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

import pytest
from pydantic import BaseModel, Field, JsonValue
from trellis_nats import InvalidPayload, Model
from trellis_nats.clock import Clock
from trellis_nats.context import new_context
from trellis_nats.jobs.model.checkpoint import parse_checkpoint, read_checkpoint, write_checkpoint
from trellis_nats.jobs.model.event import NewEvent, StoredEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.last_checkpoint import restore_checkpoint

if TYPE_CHECKING:
    from trellis_nats.jobs.store.event_log import EventLog
    from trellis_nats.jobs.work.work_item import WorkItem

AT: Final = datetime(2026, 11, 30, 5, tzinfo=UTC)
JOB: Final = JobIdentity(job_id="J1", service="s", queue="q", context=new_context())
WHAT: Final = "a checkpoint"


class Position(BaseModel):
    """A model of a user."""

    row: int = 0
    done: set[str] = Field(default_factory=set)
    at: datetime = AT
    by_number: dict[int, str] = {}


class Wire(Model):
    """A model of a contract."""

    order: str
    note: str = ""


def test_a_model_is_read_as_it_was_written_also_what_was_never_set() -> None:
    position = Position()
    position.done.add("a")
    position.by_number[3] = "c"

    assert read_checkpoint(write_checkpoint(position, what=WHAT), Position, what=WHAT) == position


def test_a_model_of_a_contract_leaves_out_what_was_never_set() -> None:
    text = write_checkpoint(Wire(order="o-1"), what=WHAT)

    assert text == b'{"order":"o-1"}'
    assert read_checkpoint(text, Wire, what=WHAT) == Wire(order="o-1")


@pytest.mark.parametrize("value", [None, 1, 2**63 + 1, "ä", [1, [2.5]], {"a": {"b": None}}, True])
def test_json_is_read_as_it_was_written(value: JsonValue) -> None:
    assert parse_checkpoint(write_checkpoint(value, what=WHAT)) == value


def test_the_error_does_not_hold_the_value() -> None:
    with pytest.raises(InvalidPayload) as raised:
        read_checkpoint(b'{"row":"secret"}', Position, what=WHAT)

    assert "secret" not in str(raised.value)
    assert raised.value.__context__ is None


def test_null_is_as_good_as_none() -> None:
    assert read_checkpoint(b"null", Position, what=WHAT) is None
    assert read_checkpoint(None, Position, what=WHAT) is None


class Replicas:
    """Answers with the newest checkpoint as each replica has it, one after the other."""

    def __init__(self, *answers: StoredEvent | None) -> None:
        self.answers = list(answers)

    async def newest_of(self, job_id: str, event: str) -> StoredEvent | None:
        """Return the next answer."""
        assert (job_id, event) == ("J1", EventType.CHECKPOINT)
        return self.answers.pop(0)


def stored(event: NewEvent, sequence: int) -> StoredEvent:
    return StoredEvent(event.read(), sequence, None)


def checkpoint(row: int, sequence: int) -> StoredEvent:
    return stored(JOB.checkpoint({"row": row}, tries=1, at=AT), sequence)


def started(sequence: int, checkpoint_at: int | None = None) -> StoredEvent:
    event = JOB.started(previous=JobState.PENDING, tries=1, instance_id="i", at=AT)
    if checkpoint_at is not None:
        event.tail["checkpointAt"] = checkpoint_at
    return stored(event, sequence)


async def restored(newest: StoredEvent, *answers: StoredEvent | None, created_at: int = 1) -> bytes | None:
    log = Replicas(*answers)
    attempt = Attempt(cast("EventLog", log), JOB, Clock(), tries=2, after=newest.sequence)
    item = SimpleNamespace(
        newest=newest,
        job_id="J1",
        queue="q",
        sequence=created_at,
        event=SimpleNamespace(event_type=EventType.CREATED),
    )
    await restore_checkpoint(attempt, cast("WorkItem", item), cast("EventLog", log))
    assert log.answers == []
    return attempt.checkpoint


async def test_a_replica_that_is_behind_is_asked_again() -> None:
    newest = started(9, checkpoint_at=7)

    assert await restored(newest, None, checkpoint(1, 4), checkpoint(2, 7)) == b'{"row":2}'


async def test_a_checkpoint_as_newest_event_needs_no_read() -> None:
    assert await restored(checkpoint(3, 8)) == b'{"row":3}'


async def test_a_checkpoint_of_an_earlier_life_does_not_count() -> None:
    assert await restored(started(9), checkpoint(1, 4), created_at=5) is None


async def test_one_that_is_gone_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert await restored(started(9, checkpoint_at=7), *[checkpoint(1, 4)] * 5) == b'{"row":1}'
    assert [record.__dict__["event_name"] for record in caplog.records] == ["checkpoint_not_found"]
