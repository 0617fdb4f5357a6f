"""What a refused action says: what happened to the job, when, and what is possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from trellis_nats.jobs.actions.wording import Action, describe_age, refuse
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.states import STATE_EVENTS, EventType, JobState

from tests.support.foreign_events import foreign_event

AT: Final = datetime(2026, 11, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0.0 s"),
        (0.04, "0.0 s"),
        (0.2, "0.2 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
        (90 * 86_400, "90 days"),
    ],
)
def test_an_age_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert describe_age(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize("kind", sorted(STATE_EVENTS))
@pytest.mark.parametrize("action", Action)
def test_each_refusal_is_a_sentence(action: Action, kind: EventType) -> None:
    stored = StoredEvent(foreign_event(kind), 7, None, AT - timedelta(seconds=0.2))
    error = refuse(action, stored, stored.event.effective_state, why="state", at=AT, allowed=(JobState.DEAD,))

    text = str(error)
    assert text.startswith(f"job {stored.event.job_id} was not ")
    assert " 0.2 s earlier (2026-11-30T04:59:59.800Z); " in text
    assert (error.event, error.sequence, error.at) == (kind, 7, AT - timedelta(seconds=0.2))


def test_an_event_of_an_unknown_time_counts_by_its_writer() -> None:
    stored = StoredEvent(foreign_event(EventType.COMPLETED), 7, None)
    error = refuse(Action.CANCEL, stored, JobState.COMPLETED, why="changed", at=stored.event.at)
    assert str(error).endswith(
        "it had completed 0.0 s earlier (2026-11-29T14:06:26.040Z); that was after it was looked at"
    )
