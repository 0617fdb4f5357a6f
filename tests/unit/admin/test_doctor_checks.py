"""The checks of `trellis doctor` on facts that are hard to seed on a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue
from trellis_admin.doctor import CHECKS, Facts, Severity, examine, to_text
from trellis_admin.doctor.facts import (
    ContractFacts,
    HeartbeatFacts,
    IndexFacts,
    ProjectionFacts,
    QueueFacts,
    ServerFacts,
    StreamFacts,
)
from trellis_admin.queries import Attention, AttentionKind, VersionWait
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.grants import publish
from trellis_nats.jobs.pause import QueuePause
from trellis_nats.provision import plan
from trellis_nats.provision.changes import Refusal

from tests.support.needs import NEEDS
from tests.support.shop import Shop

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
SERVER = ServerFacts(version=(2, 15, 1))
FACTS = Facts(at=AT, server=SERVER)
RENAME: dict[str, JsonValue] = {"src": "", "dest": "else.>"}


def found(facts: Facts) -> dict[str, Severity]:
    return {finding.check: finding.severity for finding in examine(facts)}


def beat(age: timedelta, *, is_stopping: bool = False) -> HeartbeatFacts:
    return HeartbeatFacts(service="shop", queue="pack", instance="01A", at=AT - age, is_stopping=is_stopping)


def test_a_clock_is_wrong_beyond_what_was_measured() -> None:
    skewed = replace(SERVER, clock_offset=timedelta(seconds=-3), clock_error=timedelta(milliseconds=2))
    unsure = replace(skewed, clock_error=timedelta(seconds=3))

    assert "clock-skew" in found(replace(FACTS, server=skewed))
    assert "clock-skew" not in found(replace(FACTS, server=unsure))


def test_a_worker_is_silent_after_two_missed_heartbeats() -> None:
    assert "heartbeats-silent" in found(replace(FACTS, heartbeats=(beat(timedelta(seconds=80)),)))
    assert "heartbeats-silent" not in found(replace(FACTS, heartbeats=(beat(timedelta(seconds=60)),)))


def test_a_worker_that_said_that_it_stops_is_not_silent() -> None:
    assert "heartbeats-silent" not in found(
        replace(FACTS, heartbeats=(beat(timedelta(seconds=80), is_stopping=True),))
    )


def test_queues_that_stand_still_are_named_with_what_to_look_at() -> None:
    full = Attention(
        kind=AttentionKind.NO_SLOT,
        service="shop",
        queue="pack",
        subject="pack",
        fingerprint=None,
        number=432,
        since=AT - timedelta(minutes=17),
    )
    facts = replace(FACTS, index=IndexFacts(attention=(full, replace(full, kind=AttentionKind.STUCK))))

    taken, stuck = [one for one in examine(facts) if one.subject == "shop/pack"]

    assert (taken.check, taken.severity, stuck.check) == (
        "slots-taken",
        Severity.WARNING,
        "queue-stands-still",
    )
    assert (
        taken.text == "432 jobs wait, and none has begun for 17 min: every slot is taken by a job that runs"
    )
    assert "`trellis jobs list queue:shop/pack state:active`" in taken.remedy
    assert (
        stuck.text == "432 jobs wait, the oldest for 17 min, and no worker begins it, although slots are free"
    )


def test_jobs_that_a_dead_worker_had_fetched_wait_for_a_worker_too() -> None:
    work = ConsumerInfo(pending=1, ack_pending=6)
    queue = QueueFacts(service="shop", queue="pack", consumer="c", work=work, work_stream="JOBS_WORK")
    named = replace(FACTS, queues=(queue,))

    (finding,) = [one for one in examine(named) if one.check == "queue-without-workers"]

    assert (
        finding.text
        == "7 jobs wait, and no worker pulls from the queue; a worker that is gone had fetched 6 of them"
    )
    assert "queue-without-workers" not in found(replace(named, heartbeats=(beat(timedelta(seconds=5)),)))


def test_a_blocked_event_loop_is_named_by_its_worker() -> None:
    blocked = replace(beat(timedelta(seconds=5)), loop_lag=timedelta(seconds=45))
    (finding,) = [
        one for one in examine(replace(FACTS, heartbeats=(blocked,))) if one.check == "event-loop-blocked"
    ]

    assert (finding.severity, finding.subject) == (Severity.WARNING, "shop")
    assert finding.text == "the event loop of 01A was blocked for 45 s: none of its jobs went on meanwhile"
    assert "trellis jobs stack" in finding.remedy
    silent = replace(blocked, at=AT - timedelta(seconds=80))
    assert "event-loop-blocked" not in found(replace(FACTS, heartbeats=(silent,)))


@pytest.mark.parametrize(
    ("stream", "edit", "check", "said"),
    [
        ("JOBS", {"subject_transform": RENAME}, "subjects-renamed", "are acknowledged and never run"),
        (
            "JOBS_WORK",
            {"subject_transform": RENAME},
            "subjects-renamed",
            "Do not create the jobs of that time again",
        ),
        ("JOBS_WORK", {"sealed": True}, "stream-differs", "the leader enqueues"),
        ("KV_JOBS_KEYS_shop", {"allow_direct": False}, "direct-reads-off", "keyed jobs do not run"),
    ],
)
def test_an_edited_stream_is_a_fault_with_a_remedy_of_its_own(
    stream: str, edit: dict[str, JsonValue], check: str, said: str
) -> None:
    needed = {need.name: need.config for need in plan(NEEDS).streams}
    healthy = {name: StreamFacts(config=config) for name, config in needed.items()}
    edited = {**healthy, stream: StreamFacts(config={**needed[stream], **edit})}

    assert check not in found(replace(FACTS, streams=healthy))
    (finding,) = [each for each in examine(replace(FACTS, streams=edited)) if each.check == check]
    assert finding.severity is Severity.FAULT
    assert said in f"{finding.text} {finding.remedy}"


def test_a_stream_without_a_leader_is_a_fault() -> None:
    stream = StreamFacts(config={}, is_clustered=True)

    assert found(replace(FACTS, streams={"JOBS": stream}))["no-leader"] is Severity.FAULT


def test_a_replica_that_is_behind_is_named() -> None:
    stream = StreamFacts(config={}, is_clustered=True, leader="n1", replicas_behind=("n2",))

    assert found(replace(FACTS, streams={"JOBS": stream}))["replica-behind"] is Severity.WARNING


def test_a_full_account_is_a_fault_and_a_nearly_full_one_a_warning() -> None:
    nearly = replace(SERVER, storage_used=85, storage_limit=100)

    assert found(replace(FACTS, server=nearly))["storage-nearly-full"] is Severity.WARNING
    full = replace(nearly, storage_used=100)
    assert found(replace(FACTS, server=full))["storage-nearly-full"] is Severity.FAULT


def test_a_replicated_stream_on_a_version_that_one_header_ends_is_a_hint() -> None:
    stream = StreamFacts(config={"num_replicas": 3}, leader="n1")

    assert found(replace(FACTS, streams={"JOBS": stream}))["expected-last-msg-id"] is Severity.HINT


def test_an_account_without_jobs_is_a_hint() -> None:
    assert found(FACTS)["no-jobs"] is Severity.HINT


def test_one_server_with_files_is_a_hint() -> None:
    files = {"JOBS": StreamFacts(config={"storage": "file"})}

    assert found(replace(FACTS, streams=files))["sync-interval"] is Severity.HINT
    assert "sync-interval" not in found(replace(FACTS, streams=files, server=replace(SERVER, servers=3)))


def test_few_dead_jobs_are_a_hint() -> None:
    assert found(replace(FACTS, died=3, died_lately=3))["dead-jobs"] is Severity.HINT


def test_deaths_are_not_called_jobs() -> None:
    """One job that is replayed and dies again has died twice."""
    (finding,) = [
        one for one in examine(replace(FACTS, died=1, died_lately=12)) if one.check == "dead-growing"
    ]

    assert finding.text == "12 deaths of jobs within the last hour"


def test_jobs_that_no_running_version_can_read_are_named_with_both_versions() -> None:
    wait = VersionWait("shop", "pack", "p", "o" * 43, 10, AT - timedelta(minutes=7), ("n" * 43,))
    facts = replace(FACTS, index=IndexFacts(version_waits=(wait,)))

    (finding,) = [one for one in examine(facts) if one.check == "waiting-for-version"]

    assert (finding.severity, finding.subject) == (Severity.WARNING, "shop/pack")
    assert finding.text.startswith("10 jobs are due, the oldest for 7 min, and no worker begins them")
    assert f"contract version {'o' * 43} wrote them, and the workers have {'n' * 43}" in finding.text
    assert "version_patience" in finding.remedy


def test_stale_jobs_of_late_are_a_warning() -> None:
    assert found(replace(FACTS, index=IndexFacts(stale_lately=1)))["stale-jobs"] is Severity.WARNING
    assert "stale-jobs" not in found(replace(FACTS, index=IndexFacts()))


def test_an_index_that_differs_is_named() -> None:
    index = ProjectionFacts(path=Path("p"), compared=9, differences=("a: dead, not failed",), number=1)

    assert found(replace(FACTS, projection=index))["projection-differs"] is Severity.WARNING
    assert "projection-differs" not in found(
        replace(FACTS, projection=replace(index, differences=(), number=0))
    )


def test_what_a_contract_needs_and_cannot_have_is_a_fault() -> None:
    refusal = Refusal(title='stream "JOBS"', problems=("it is kept in memory",))
    contract = ContractFacts(contract=Shop.contract, jobs=None, changes=(refusal,))

    assert found(replace(FACTS, contracts=(contract,)))["resource-unusable"] is Severity.FAULT


def test_findings_are_listed_the_worst_first_and_counted() -> None:
    facts = replace(FACTS, died=3, streams={"JOBS": StreamFacts(config={}, is_clustered=True)})
    findings = examine(facts)
    order = list(Severity)

    assert [finding.severity for finding in findings] == sorted(
        (finding.severity for finding in findings), key=order.index
    )
    assert f"{len(CHECKS)} checks: " in to_text(facts, findings)


def test_nothing_found_is_said() -> None:
    assert to_text(FACTS, []).endswith(f"{len(CHECKS)} checks, nothing found")


def test_processes_that_have_stopped_are_not_counted_as_workers() -> None:
    stopped = replace(FACTS, heartbeats=(beat(timedelta(seconds=80), is_stopping=True),))

    assert to_text(stopped, []).splitlines()[0].endswith("; 0 queues, 0 workers")
    late = replace(FACTS, heartbeats=(beat(timedelta(seconds=50)),))
    silent = replace(FACTS, heartbeats=(beat(timedelta(seconds=80)),))
    assert to_text(late, []).splitlines()[0].endswith("; 0 queues, 1 worker, 1 of them late")
    assert to_text(silent, []).splitlines()[0].endswith("; 0 queues, 0 workers")
    assert (
        to_text(replace(FACTS, heartbeats=(beat(timedelta(seconds=5)),)), [])
        .splitlines()[0]
        .endswith("1 worker")
    )


def test_what_a_viewer_may_not_look_up_is_a_hint_where_the_account_has_the_role() -> None:
    contract = ContractFacts(contract=Shop.contract, jobs=None, role="viewer")
    facts = replace(FACTS, unreadable=("may not list buckets",))

    assert found(facts)["permissions-narrow"] is Severity.WARNING
    assert found(replace(facts, contracts=(contract,)))["permissions-narrow"] is Severity.HINT
    lacking = replace(contract, missing=(publish("x", "do it"),))
    assert found(replace(facts, contracts=(lacking,)))["permissions-narrow"] is Severity.WARNING
    operator = replace(contract, role="operator")
    assert found(replace(facts, contracts=(operator,)))["permissions-narrow"] is Severity.WARNING


@pytest.mark.parametrize(
    ("is_held", "age", "version", "expected"),
    [
        (False, timedelta(minutes=2), (2, 12, 0), True),
        (True, timedelta(minutes=2), (2, 12, 0), False),
        (False, timedelta(seconds=2), (2, 12, 0), False),
        (False, timedelta(minutes=2), (2, 10, 26), False),
    ],
)
def test_a_pause_that_the_server_does_not_hold(
    is_held: bool, age: timedelta, version: tuple[int, int, int], expected: bool
) -> None:
    queue = QueueFacts(
        service="shop",
        queue="pack",
        consumer="shop__pack",
        work=ConsumerInfo(is_paused=is_held),
        work_stream="JOBS_WORK",
        pause=QueuePause(by="ada", since=FACTS.at - age, source="test", reason=None),
    )
    facts = replace(FACTS, queues=(queue,), server=replace(SERVER, version=version))

    assert ("pause-not-held" in found(facts)) is expected


def test_what_a_control_plane_made_is_named_and_no_fault() -> None:
    """Its names are opaque: remedies for consumers of this runtime would name one that does not exist."""
    made = ConsumerInfo(
        config={"filter_subject": "trellis.work.tr_jobs_1.tr_jq_2", "ack_policy": "explicit"},
        backoff=(timedelta(seconds=1),),
        max_deliver=3,
        max_ack_pending=2,
    )
    queue = QueueFacts(
        service="tr_jobs_1",
        queue="tr_jq_2",
        consumer="tr_jobs_1_tr_jq_2",
        work=made,
        work_stream="JOBS_WORK",
    )
    facts = replace(FACTS, queues=(queue,))

    named = {finding.check: finding for finding in examine(facts) if finding.subject == queue.name}

    assert named.keys() == {"control-plane"}
    assert named["control-plane"].severity is Severity.HINT
    assert "consumer tr_jobs_1_tr_jq_2: its ack wait is 1 s" in named["control-plane"].text
    edited = replace(queue, work=replace(made, config={"ack_policy": "none"}))
    remedies = [finding.remedy for finding in examine(replace(FACTS, queues=(edited,)))]
    assert any("nats consumer rm JOBS_WORK tr_jobs_1_tr_jq_2`" in remedy for remedy in remedies)
