"""Two versions of a contract: the new one renames an optional member of an open object, and a required one of a closed object."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field
from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    JsonObject,
    KeySpec,
    Model,
    Runtime,
    Service,
)

__all__ = [
    "NEW",
    "OLD",
    "NewNote",
    "NewNoteJob",
    "NewService",
    "NewTask",
    "NewTaskJob",
    "OldNote",
    "OldNoteJob",
    "OldService",
    "OldTask",
    "OldTaskJob",
    "from_owner",
    "from_text",
]

OLD: Final = Contract(id="notes@v1", digest="a" * 43, generator="0.1.0", runtime_api=RUNTIME_API)
NEW: Final = replace(OLD, digest="b" * 43)
_ACK_WAIT: Final = timedelta(seconds=2)
_BACKOFF: Final = (timedelta(milliseconds=20),)


class OldNote(Model):
    """Open: the new schema allows it too."""

    text: str | None = None


class NewNote(Model):
    """`body` was `text`."""

    body: str | None = None


class OldTask(Model):
    """Closed: the new schema forbids it."""

    model_config = ConfigDict(extra="forbid")

    owner: str


class NewTask(Model):
    """`assigned_to` was `owner`."""

    model_config = ConfigDict(extra="forbid")

    assigned_to: Annotated[str, Field(alias="assignedTo")]


class _OldNotes(JobQueue[OldNote, str]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="notes", payload=OldNote, result=str, ack_wait=_ACK_WAIT, backoff=_BACKOFF
    )


class _NewNotes(JobQueue[NewNote, str]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="notes", payload=NewNote, result=str, ack_wait=_ACK_WAIT, backoff=_BACKOFF
    )


class _OldTasks(JobQueue[OldTask, str]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="tasks", payload=OldTask, result=str, key=KeySpec(template=("/owner",), max_queued=9)
    )


class _NewTasks(JobQueue[NewTask, str]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="tasks", payload=NewTask, result=str, key=KeySpec(template=("/assignedTo",), max_queued=9)
    )


class _OldJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.notes: Final = _OldNotes(runtime)
        self.tasks: Final = _OldTasks(runtime)


class _NewJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.notes: Final = _NewNotes(runtime)
        self.tasks: Final = _NewTasks(runtime)


class OldService(Service):
    """The old version."""

    contract: ClassVar[Contract] = OLD

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _OldJobs(runtime)


class NewService(Service):
    """The new version."""

    contract: ClassVar[Contract] = NEW

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _NewJobs(runtime)


OldNoteJob = ActiveJob[OldNote, str]
NewNoteJob = ActiveJob[NewNote, str]
OldTaskJob = ActiveJob[OldTask, str]
NewTaskJob = ActiveJob[NewTask, str]


def from_text(old: JsonObject) -> NewNote:
    """Upcast a note."""
    return NewNote.model_validate({"body": old["text"]} if "text" in old else {})


def from_owner(old: JsonObject) -> NewTask:
    """Upcast a task."""
    return NewTask.model_validate({"assignedTo": old["owner"]})
