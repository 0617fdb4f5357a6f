"""What a parked job's message says: which job it is, and which of its events made it work. Pure.

The payload stays in the job's history, which the worker reads again: a parked job takes about 300 bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import timestamp
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.event import instant
from trellis_nats.jobs.model.states import EventType

__all__ = ["ParkedJob"]

_WORK_EVENTS: Final = (EventType.CREATED, EventType.RETRIED)


class ParkedJob(BaseModel):
    """A parked job."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    job_id: str
    event_type: str
    """The event that made the job work: `created` or `retried`."""
    sequence: int = Field(ge=1)
    """The sequence of that event."""
    until: str
    """When the server makes the job due, by the server's clock."""

    @classmethod
    def of(cls, job_id: str, event_type: str, sequence: int, until: datetime) -> Self:
        """Return the message of a job that waits until an instant."""
        return cls(job_id=job_id, event_type=event_type, sequence=sequence, until=timestamp(until))

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read a message; None for bytes that are not one, or that name what is not a job."""
        try:
            parked = cls.model_validate_json(data)
        except ValidationError:
            return None
        return parked if is_token(parked.job_id) and parked.event_type in _WORK_EVENTS else None

    def encode(self) -> bytes:
        """Write the message."""
        return self.model_dump_json(by_alias=True).encode()

    def is_overdue(self, at: datetime) -> bool:
        """Return whether the server should have made the job due before an instant."""
        until = instant(self.until)
        return until is None or until < at
