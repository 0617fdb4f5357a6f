"""The timeline of a job."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from trellis_admin.queries import Attempt, AttemptEnd, JobHistory, Wait, WaitReason
from trellis_admin.web.timeline import draw_timeline
from trellis_nats.jobs.model.states import JobState

CREATED = datetime(2026, 11, 29, 14, 15, 2, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return CREATED + timedelta(seconds=seconds)


def attempt(number: int, start: float, end: float | None, how: AttemptEnd, **given: Any) -> Attempt:
    values: dict[str, Any] = {
        "number": number,
        "worker": "orders-7c9f6b-x2k4",
        "started_at": after(start),
        "ended_at": None if end is None else after(end),
        "seen_at": after(start + 1),
        "waited": timedelta(seconds=1),
        "end": how,
        "error": None,
        "error_type": None,
        "stack": None,
        "logs": (),
        "progress": None,
        "checkpoints": (),
        "next_at": None,
    }
    return Attempt(**values | given)


def history(*attempts: Attempt, ended: float | None = None, waits: tuple[Wait, ...] = ()) -> JobHistory:
    values: dict[str, Any] = dict.fromkeys(JobHistory.__dataclass_fields__)
    values |= {
        "id": "j",
        "prefix": "p",
        "service": "s",
        "queue": "q",
        "state": JobState.ACTIVE,
        "created_at": CREATED,
        "ended_at": None if ended is None else after(ended),
        "attempts": attempts,
        "waits": waits,
        "events": (),
    }
    return JobHistory(**values)


def places(drawing: str) -> list[float]:
    return [float(place) for place in re.findall(r'(?:x|x1|x2)="(-?[\d.]+)%"', drawing)]


def test_each_attempt_has_a_lane_with_its_outcome() -> None:
    job = history(
        attempt(1, 1, 31, AttemptEnd.RETRY, error_type="GatewayTimeout"),
        attempt(2, 36, 45, AttemptEnd.RELEASED),
        attempt(2, 46, None, AttemptEnd.RUNNING),
    )

    drawn = draw_timeline(job, after(100))

    assert [lane.name for lane in drawn.lanes] == ["Attempt 1", "Attempt 2", "Attempt 2"]
    assert [lane.outcome for lane in drawn.lanes] == [
        "30 s · GatewayTimeout",
        "9.0 s · given back",
        "54 s · running",
    ]
    assert "tl-run failed" in drawn.lanes[0].drawing
    assert "tl-run back" in drawn.lanes[1].drawing
    assert "tl-now" in drawn.lanes[2].drawing


@pytest.mark.parametrize("seconds", [0.001, 1, 45, 600, 7200, 90_000, 40 * 86_400])
def test_everything_is_inside_and_the_grid_is_not_dense(seconds: float) -> None:
    drawn = draw_timeline(
        history(attempt(1, 0, seconds, AttemptEnd.COMPLETED), ended=seconds), after(seconds + 5)
    )

    found = places(drawn.lanes[0].drawing)
    assert all(0 <= place <= 100 for place in found)
    widths = [float(width) for width in re.findall(r' width="([\d.]+)%"', drawn.lanes[0].drawing)]
    assert all(0 < width <= 100 for width in widths)
    assert 1 <= drawn.axis.count("<text") <= 10


def test_the_bar_of_a_lost_worker_ends_with_its_last_event() -> None:
    """Nothing says when it was lost: the next attempt begins after an ack wait."""
    job = history(
        attempt(1, 0, 60, AttemptEnd.LOST, seen_at=after(3)),
        attempt(2, 60, 100, AttemptEnd.COMPLETED),
        ended=100,
    )

    lost = draw_timeline(job, after(100)).lanes[0]

    (width,) = re.findall(r'class="tl-lost" x="0.00%" y="10" width="([\d.]+)%"', lost.drawing)
    assert float(width) == 3
    assert lost.drawing.count("tl-wait") == 2
    assert lost.outcome == "at most 1 m 00 s · worker lost"


def test_a_job_that_waits_has_a_lane_for_it() -> None:
    drawn = draw_timeline(history(waits=(Wait(WaitReason.QUEUED, CREATED, None),)), after(30))

    assert [(lane.name, lane.outcome) for lane in drawn.lanes] == [("Waits", "30 s")]


def test_only_the_newest_attempts_are_drawn() -> None:
    job = history(*(attempt(number, number, number + 0.5, AttemptEnd.RETRY) for number in range(1, 51)))

    drawn = draw_timeline(job, after(60))

    assert drawn.left_out == 20
    assert drawn.lanes[-1].name == "Attempt 50"


def test_names_are_text() -> None:
    job = history(attempt(1, 0, 1, AttemptEnd.RETRY, error_type='<b>"', worker="<i>"))

    lane = draw_timeline(job, after(2)).lanes[0]

    assert "<b>" not in lane.drawing
    assert lane.outcome.endswith('<b>"')


def test_a_lane_begins_with_the_backoff_before_its_attempt() -> None:
    job = history(
        attempt(1, 1, 2, AttemptEnd.RETRY),
        attempt(2, 50, 100, AttemptEnd.COMPLETED, waited=timedelta(seconds=5)),
        ended=100,
        waits=(
            Wait(WaitReason.QUEUED, CREATED, after(1)),
            Wait(WaitReason.BACKOFF, after(2), after(45)),
            Wait(WaitReason.QUEUED, after(45), after(50)),
        ),
    )

    lane = draw_timeline(job, after(100)).lanes[1]

    assert '<line class="tl-wait" x1="2.00%" x2="50.00%"' in lane.drawing
    assert "Waited 48 s, ran 50 s" in lane.drawing


def test_under_a_clock_that_is_ahead_of_this_machine_a_run_is_drawn_as_long_as_it_was() -> None:
    """By the machine of the console, the job is created and begins in an hour."""
    job = history(
        attempt(1, 3601, 3631, AttemptEnd.RETRY),
        attempt(2, 3641, None, AttemptEnd.RUNNING, seen_at=after(3661)),
    )

    first, second = draw_timeline(job, after(10)).lanes

    assert [lane.outcome for lane in (first, second)] == ["30 s · failed", "20 s · running"]
    assert "tl-run active" in second.drawing
    (run,) = re.findall(r'class="tl-run active" x="([\d.]+)%" y="10" width="([\d.]+)%"', second.drawing)
    assert (float(run[0]) < 99, float(run[1]) > 0.4) == (True, True)
    assert all(0 <= place <= 100 for lane in (first, second) for place in places(lane.drawing))


def test_a_wait_that_begins_behind_now_has_no_negative_length() -> None:
    drawn = draw_timeline(history(waits=(Wait(WaitReason.QUEUED, after(3600), None),)), after(10))

    assert [lane.outcome for lane in drawn.lanes] == ["0 s"]
