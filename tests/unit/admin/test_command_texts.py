"""What the commands print, with a fixed clock and fixed ids: compared with the files in `command_texts`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from trellis_admin.queries import (
    Attempt,
    AttemptEnd,
    Count,
    ErrorGroup,
    HistoryEvent,
    JobHistory,
    JobPage,
    JobRow,
    LogLine,
    StoredCheckpoint,
    VersionWait,
    Wait,
    WaitReason,
)
from trellis_admin.terminal import to_plain
from trellis_admin.texts.history import describe_event, describe_history, describe_stack
from trellis_admin.texts.job_lists import describe_page, tabulate_groups, tabulate_jobs
from trellis_nats.jobs.model.event import JobProgress
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.stacks import JobStack, StackFrame

from tests.support.command_texts import ID, NOW, OTHER, PREFIX, WORKER, ago, check_text

ROW: Final = JobRow(
    id=ID,
    prefix=PREFIX,
    service="orders-service",
    queue="charge-payment",
    state=JobState.DEAD,
    created_sequence=48_206_101,
    state_sequence=48_211_902,
    last_sequence=48_211_902,
    created_at=ago(366),
    updated_at=ago(66),
    state_at=ago(66),
    started_at=ago(96),
    ended_at=ago(66),
    next_at=None,
    deadline=None,
    tries=5,
    max_tries=5,
    error="POST https://payments.internal/v2/charges did not answer",
    error_type="GatewayTimeout",
    fingerprint="f3a91c07",
    key=None,
    key_hash=None,
    worker=WORKER,
    digest="5c02e7b1",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    request_id="01M8KTHH14AMCRNFRYY01VEKDS",
    trigger="serviceCode",
    parent_id=None,
    root_id=None,
    progress=None,
    bulk=None,
    actor=None,
    payload_bytes=412,
)


def test_a_list_of_jobs() -> None:
    waiting = replace(
        ROW,
        id=OTHER,
        state=JobState.RETRY,
        tries=2,
        next_at=NOW + timedelta(minutes=2),
        key="zendesk:acme",
        error="first line\nsecond line \x1b[2J",
    )
    page = JobPage(
        rows=(ROW, waiting), total=Count(10_000, is_exact=False), at=48_211_906, newer=Count(12), next=7
    )

    check_text(
        "jobs-list",
        to_plain(tabulate_jobs(page.rows, NOW)) + "\n" + describe_page(page, "trellis jobs list state:dead"),
    )


def test_groups_of_dead_jobs() -> None:
    group = ErrorGroup(
        fingerprint="f3a91c07",
        error_type="GatewayTimeout",
        pattern="POST <url> did not answer within <number> s",
        service="orders-service",
        queue="charge-payment",
        prefix=PREFIX,
        jobs=2914,
        first_seen=ago(7_200),
        last_seen=ago(3),
        per_hour=(*[0] * 20, 1, 40, 2000, 873),
    )

    check_text("dead-groups", to_plain(tabulate_groups([group], NOW)))


def attempt(
    number: int, begin: float, end: float | None, how: AttemptEnd, error: str | None = None
) -> Attempt:
    return Attempt(
        number=number,
        worker=WORKER,
        started_at=ago(begin),
        ended_at=None if end is None else ago(end),
        seen_at=ago(begin) + timedelta(seconds=3),
        waited=timedelta(seconds=0.4),
        end=how,
        error=error,
        error_type=None if error is None else "GatewayTimeout",
        stack=None
        if error is None
        else 'File "orders_service/main.py", line 88, in charge_payment\n  charge()',
        logs=(LogLine(ago(begin - 1), "info", "fraud score 0.031, threshold 0.650", 48_210_600 + number),),
        progress=JobProgress(step="charge", message="Asking the payment gateway", current=3, total=4)
        if end is None
        else None,
        checkpoints=(StoredCheckpoint(ago(begin - 2), 48_210_700 + number, 10),) if end is None else (),
        next_at=None,
    )


HISTORY: Final = JobHistory(
    id=ID,
    prefix=PREFIX,
    service="orders-service",
    queue="charge-payment",
    state=JobState.ACTIVE,
    state_sequence=48_210_502,
    last_sequence=48_211_874,
    tries=3,
    max_tries=5,
    error=None,
    created_at=ago(366),
    ended_at=None,
    deadline=NOW + timedelta(minutes=24),
    events=(
        HistoryEvent(
            sequence=48_206_101,
            kind="created",
            is_counted=True,
            state=JobState.PENDING,
            tries=0,
            stored_at=ago(366),
            written_at=ago(366),
        ),
        HistoryEvent(
            sequence=48_207_118,
            kind="retry",
            is_counted=True,
            state=JobState.RETRY,
            tries=1,
            stored_at=ago(330),
            written_at=ago(330),
            error="did not answer",
            error_type="GatewayTimeout",
            not_before=ago(210),
        ),
        HistoryEvent(
            sequence=48_208_000,
            kind="retried",
            is_counted=True,
            state=JobState.PENDING,
            tries=0,
            stored_at=ago(200),
            written_at=ago(200),
            actor="oncall-eu",
            reason="gateway is back, INC-2287",
            source="console",
            bulk="01M8KWHCQ3XJ7VDGZ0S4N3F1PA",
        ),
    ),
    attempts=(
        attempt(1, 360, 330, AttemptEnd.RETRY, "POST did not answer within 30.0 s"),
        attempt(2, 210, 200.8, AttemptEnd.RELEASED),
        attempt(2, 199, 140, AttemptEnd.LOST, "POST did not answer within 30.0 s"),
        attempt(3, 66, None, AttemptEnd.RUNNING),
    ),
    waits=(
        Wait(WaitReason.QUEUED, ago(366), ago(360)),
        Wait(WaitReason.BACKOFF, ago(330), ago(210)),
        Wait(WaitReason.QUEUED, ago(199.05), ago(199)),
    ),
    logs=(),
    payload_size=17,
    payload_sequence=48_206_101,
    result_size=None,
    result_sequence=None,
    checkpoint=StoredCheckpoint(ago(64), 48_210_703, 10),
    key="order-90071992547409931",
    key_hash="ab" * 32,
    trigger={"kind": "parentJob"},
    lineage=None,
    digest="5c02e7b1",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    request_id="01M8KTHH14AMCRNFRYY01VEKDS",
    traceparent="",
    is_cut=False,
)


def test_one_job() -> None:
    check_text("jobs-show", describe_history(HISTORY, None, NOW))


def test_a_job_that_needs_an_operator_names_the_next_command() -> None:
    dead, failed, stale = (
        describe_history(replace(HISTORY, state=state), None, NOW)
        for state in (JobState.DEAD, JobState.FAILED, JobState.STALE)
    )

    assert dead.endswith(f"\n\nnext: trellis dead replay {HISTORY.id}, or trellis dead dismiss {HISTORY.id}")
    assert failed.endswith(f"\n\nnext: trellis jobs retry {HISTORY.id}")
    assert stale.endswith(f"trellis jobs recreate {HISTORY.id} --contract PACKAGE")


def test_a_stale_job_that_was_created_again_names_the_new_one() -> None:
    text = describe_history(replace(HISTORY, state=JobState.STALE), None, NOW, recreated="01NEW")

    assert text.endswith("\n\ncreated again as 01NEW")
    assert "next:" not in text


def test_a_job_that_no_free_worker_can_read_says_so() -> None:
    wait = VersionWait("shop", "pack", "trellis.jobs.shop.pack", "old", 1, NOW, ("new",))
    text = describe_history(replace(HISTORY, state=JobState.PENDING), None, NOW, version_wait=wait)

    assert "contract version old wrote it, and they have new\nnext: run a process of that version" in text


def test_a_running_job_of_a_silent_worker_says_so() -> None:
    running = replace(HISTORY, state=JobState.ACTIVE)
    text = describe_history(running, None, NOW, silent_since=NOW - timedelta(minutes=2))

    assert "its worker sent its last heartbeat 2 m ago: it was killed, lost the network, or is frozen" in text
    assert "next:" not in describe_history(running, None, NOW)


def test_the_events_of_a_job() -> None:
    check_text("jobs-watch", "\n".join(describe_event(event) for event in HISTORY.events))


def test_the_stack_of_a_job() -> None:
    stack = JobStack(
        job_id=ID,
        instance_id=WORKER,
        attempt=3,
        at=NOW,
        place="event loop",
        frames=(
            StackFrame("orders_service/main.py", 88, "charge_payment"),
            StackFrame("ssl.py", 1134, "read"),
        ),
        is_cut=True,
        loop_lag=timedelta(seconds=4.2),
    )

    check_text("jobs-stack", describe_stack(stack))
