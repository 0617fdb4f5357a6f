"""The timeline of a job: a lane for each attempt, and what stands in it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup

from trellis_admin.queries import Attempt, AttemptEnd, JobHistory
from trellis_admin.web.text import clock, duration

__all__ = ["END_LOOKS", "Lane", "Timeline", "describe_run", "draw_timeline"]

_LANES_MAX: Final = 30
_TICKS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds between two lines of the grid."""
_TICKS_MAX: Final = 5
_NARROW_TICKS_MAX: Final = 3
_MINUTE: Final = 60
_ROOM: Final = 0.12
"""The share of the width behind now, while the job goes on."""
_NAME_MAX: Final = 6
"""Characters of a worker's name that fit a lane."""
_EDGE: Final = 4
"""Percent of the width within which a label does not stand in the middle of its line."""
_ROOM_FOR: Final = {True: 37, False: 24}
"""Percent of the width between a label at the edge and the next one, with and without seconds: nearer, they overlap."""
_SHORTEST: Final = 0.4
"""Percent of the width of a run that would be too short to see."""

END_LOOKS: Final = {
    AttemptEnd.RUNNING: ("s-active", "s-active", "active", "running"),
    AttemptEnd.COMPLETED: ("s-completed", "s-completed", "completed", "completed"),
    AttemptEnd.FAILED: ("s-failed", "s-failed", "failed", "failed"),
    AttemptEnd.RETRY: ("s-failed", "s-failed", "failed", "failed"),
    AttemptEnd.DEAD: ("s-dead", "s-dead", "dead", "died"),
    AttemptEnd.RELEASED: ("given", "muted", "", "given back"),
    AttemptEnd.LOST: ("warn", "s-stale", "stale", "worker lost"),
    AttemptEnd.CANCELLED: ("s-cancelled", "s-cancelled", "cancelled", "cancelled"),
    AttemptEnd.EXPIRED: ("s-expired", "s-expired", "expired", "expired"),
    AttemptEnd.STALE: ("s-stale", "s-stale", "stale", "stale"),
}
"""Of each end: its icon, its class, its state, and its word."""
_RUNS: Final = {
    AttemptEnd.RUNNING: "tl-run active",
    AttemptEnd.COMPLETED: "tl-run completed",
    AttemptEnd.RELEASED: "tl-run back",
    AttemptEnd.CANCELLED: "tl-run",
    AttemptEnd.EXPIRED: "tl-run",
    AttemptEnd.LOST: "tl-lost",
}
"""The look of a run; of all others, it failed."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A line of the timeline."""

    name: str
    worker: str | None
    icon: str
    style: str
    outcome: str
    drawing: Markup

    @property
    def short_worker(self) -> str:
        """The end of the worker's name, where it differs from others."""
        return (
            ""
            if self.worker is None
            else f"…{self.worker[-4:]}"
            if len(self.worker) > _NAME_MAX
            else self.worker
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """A drawn timeline."""

    axis: Markup
    lanes: tuple[Lane, ...]
    left_out: int
    """How many of the first attempts are left out."""


def draw_timeline(job: JobHistory, now: datetime) -> Timeline:
    """Draw the attempts of a job between its creation and its end, or now."""
    now = _newest_moment(job, now)
    shown = job.attempts[-_LANES_MAX:]
    first = job.created_at if len(shown) == len(job.attempts) else _begin_of_wait(job, shown[0])
    waits_until = [wait.until or now for wait in job.waits]
    last = max([job.ended_at or now, first + timedelta(seconds=1), *waits_until])
    if job.ended_at is None:
        last += (last - first) * _ROOM
    scale = _Scale(first, last)
    lanes = [
        _draw_attempt(attempt, _begin_of_wait(job, attempt), scale, now, is_over=job.ended_at is not None)
        for attempt in shown
    ]
    tail = _draw_wait(job, scale, now)
    return Timeline(
        scale.axis(), (*lanes, *([tail] if tail is not None else [])), len(job.attempts) - len(shown)
    )


def _newest_moment(job: JobHistory, now: datetime) -> datetime:
    """Return now, or what has happened since by a clock that is ahead of this machine's: nothing stands behind now."""
    known = [attempt.known_until or attempt.seen_at for attempt in job.attempts]
    return max([now, job.created_at, *known, *(wait.since for wait in job.waits)])


@dataclass(frozen=True, slots=True)
class _Scale:
    first: datetime
    last: datetime

    def ticks(self) -> list[datetime]:
        span = (self.last - self.first).total_seconds()
        # Labels with seconds are wider than those without.
        step = next(
            (
                tick
                for tick in _TICKS
                if span / tick <= (_TICKS_MAX if tick >= _MINUTE else _NARROW_TICKS_MAX)
            ),
            _TICKS[-1] * (1 + int(span / _TICKS[-1] / _TICKS_MAX)),
        )
        begin = self.first.timestamp() // step * step
        found = (
            self.first + timedelta(seconds=begin + step * n - self.first.timestamp())
            for n in range(_TICKS_MAX + 2)
        )
        return [tick for tick in found if self.first <= tick <= self.last]

    def place(self, when: datetime) -> float:
        share = (when - self.first) / (self.last - self.first)
        return 100 * min(max(share, 0.0), 1.0)

    def axis(self) -> Markup:
        ticks = self.ticks()
        has_seconds = len(ticks) > 1 and ticks[1] - ticks[0] < timedelta(minutes=1)
        texts = Markup("").join(
            Markup('<text x="{:.2f}%" y="13" text-anchor="{}">{}</text>').format(
                self.place(tick), _anchor(self.place(tick)), clock(tick) if has_seconds else clock(tick)[:5]
            )
            for tick in self._labelled(ticks, _ROOM_FOR[has_seconds])
        )
        return Markup("<svg>{}</svg>").format(texts)

    def _labelled(self, ticks: list[datetime], room: int) -> list[datetime]:
        """Return the ticks whose labels do not overlap: one at the edge stands to the side of its line."""
        places = [self.place(tick) for tick in ticks]
        return [
            tick
            for index, tick in enumerate(ticks)
            if _anchor(places[index]) == "middle"
            or all(
                abs(place - places[index]) >= room
                for place in places[max(0, index - 1) : index + 2]
                if place != places[index]
            )
        ]

    def grid(self) -> Markup:
        line = Markup('<line class="tl-grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>')
        return Markup("").join(line.format(self.place(tick)) for tick in self.ticks())

    def wait(self, since: datetime, until: datetime) -> Markup:
        return Markup('<line class="tl-wait" x1="{:.2f}%" x2="{:.2f}%" y1="18" y2="18"/>').format(
            self.place(since), self.place(until)
        )


def _anchor(place: float) -> str:
    return "start" if place < _EDGE else "end" if place > 100 - _EDGE else "middle"


def _begin_of_wait(job: JobHistory, attempt: Attempt) -> datetime:
    """Return from when a job waited for an attempt: its delay or backoff is part of that."""
    index = job.attempts.index(attempt)
    before = job.attempts[index - 1].ended_at if index else job.created_at
    waits = [
        wait.since
        for wait in job.waits
        if wait.since < attempt.started_at and (before is None or wait.since >= before)
    ]
    return min([*waits, attempt.started_at - attempt.waited])


def _draw_attempt(
    attempt: Attempt, waits_since: datetime, scale: _Scale, now: datetime, *, is_over: bool
) -> Lane:
    ran = describe_run(attempt, now)
    icon, style, _, word = END_LOOKS[attempt.end]
    begin = scale.place(attempt.started_at)
    width = min(
        max(scale.place(attempt.known_until or now) - begin, _SHORTEST), 100 - min(begin, 100 - _SHORTEST)
    )
    run = Markup('<rect class="{}" x="{:.2f}%" y="10" width="{:.2f}%" height="16" rx="3"/>').format(
        _RUNS.get(attempt.end, "tl-run failed"), min(begin, 100 - _SHORTEST), width
    )
    waited = scale.wait(waits_since, attempt.started_at)
    if attempt.end is AttemptEnd.LOST and attempt.ended_at is not None:
        waited += scale.wait(attempt.seen_at, attempt.ended_at)
    mark = (
        Markup("")
        if is_over
        else Markup('<line class="tl-now" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="100%"/>').format(
            scale.place(now)
        )
    )
    label = f"Waited {duration(max(attempt.started_at - waits_since, timedelta(0)))}, {'runs for' if attempt.ended_at is None else 'ran'} {ran}, {word}"
    drawing = Markup('<svg role="img" aria-label="{}">{}{}{}{}</svg>').format(
        label, scale.grid(), waited, run, mark
    )
    outcome = f"{ran} · {_outcome(attempt, word)}"
    return Lane(f"Attempt {attempt.number}", attempt.worker, icon, style, outcome, drawing)


def describe_run(attempt: Attempt, now: datetime) -> str:
    """Return how long an attempt ran; of a lost worker only that it cannot have been longer is known."""
    ran = duration(max((attempt.ended_at or now) - attempt.started_at, timedelta(0)))
    return f"at most {ran}" if attempt.end is AttemptEnd.LOST else ran


def _outcome(attempt: Attempt, word: str) -> str:
    is_error = attempt.end in {AttemptEnd.FAILED, AttemptEnd.RETRY, AttemptEnd.DEAD}
    return attempt.error_type or word if is_error else word


def _draw_wait(job: JobHistory, scale: _Scale, now: datetime) -> Lane | None:
    """Return the lane of a job that waits now."""
    open_waits = [wait for wait in job.waits if wait.until is None]
    if not open_waits or job.ended_at is not None:
        return None
    since = open_waits[-1].since
    drawing = Markup('<svg role="img" aria-label="Waits since {}">{}{}</svg>').format(
        clock(since), scale.grid(), scale.wait(since, now)
    )
    icon = "s-retry" if job.attempts else "s-pending"
    return Lane("Waits", None, icon, icon, duration(now - since), drawing)
