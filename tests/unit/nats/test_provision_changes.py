"""What applying a contract changes, and which version of a contract a resource follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import RUNTIME_API, Contract
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.binding import GroupBinding
from trellis_nats.events.groups.consumer import group_consumer
from trellis_nats.provision import (
    Creation,
    Refusal,
    ServerState,
    Setting,
    Update,
    plan,
    plan_changes,
)
from trellis_nats.provision.plan import stream_config
from trellis_nats.provision.revision import relate, stamp

from tests.support.needs import BUCKET, JOBS, NEEDS, work_consumer_of

FIRST = Contract(id="shop@v1", digest="1" * 43, generator="0.1.0", runtime_api=RUNTIME_API)
SECOND = replace(FIRST, digest="2" * 43)
THIRD = replace(FIRST, digest="3" * 43)
AT = datetime(2026, 1, 2, tzinfo=UTC)
NEWEST = (2, 15, 1)
CONSUMER = work_consumer_of()
PLAN = plan([CONSUMER, BUCKET])


def marked(*contracts: Contract, **other: str) -> dict[str, JsonValue]:
    config: dict[str, JsonValue] = {"metadata": {**other}}
    for contract in contracts:
        config = {"metadata": stamp(config, contract, AT)}
    return config


def state_of(
    consumer: dict[str, JsonValue] | None = None,
    bucket: dict[str, JsonValue] | None = None,
    *,
    ack_pending: int = 0,
    marks: dict[str, JsonValue] | None = None,
) -> ServerState:
    marks = marked(FIRST) if marks is None else marks
    config = {**CONSUMER.config, "durable_name": CONSUMER.name, **(consumer or {}), **marks}
    info = replace(ConsumerInfo.parse({"config": config}), ack_pending=ack_pending, pending=7)
    stored = {**stream_config(BUCKET.stream, replicas=1, has_batches=True), **(bucket or {}), **marks}
    return ServerState(NEWEST, {BUCKET.stream.name: stored}, {(CONSUMER.stream, CONSUMER.name): info})


def settings_of(state: ServerState, contract: Contract = SECOND) -> list[Setting]:
    changes = plan_changes(PLAN, state, contract)
    return [setting for change in changes if isinstance(change, Update) for setting in change.settings]


def test_what_is_missing_is_created_in_order() -> None:
    changes = plan_changes(plan(NEEDS), ServerState(NEWEST), FIRST)

    assert all(isinstance(change, Creation) for change in changes)
    assert [change.title for change in changes][:2] == ['stream "JOBS"', 'stream "JOBS_WORK"']
    assert changes[-1].title == CONSUMER.title


def test_what_an_old_server_cannot_have_is_not_planned() -> None:
    changes = plan_changes(plan(NEEDS), ServerState((2, 10, 26)), FIRST)

    assert 'stream "JOBS_DELAYED"' not in [change.title for change in changes]


def test_nothing_changes_where_the_server_has_what_the_contract_states() -> None:
    assert plan_changes(PLAN, state_of(), FIRST) == []


def test_a_consumer_that_leaves_out_bodies_is_put_right_on_purpose_only() -> None:
    (setting,) = settings_of(state_of({"headers_only": True}), FIRST)

    assert (setting.name, setting.value, setting.is_tolerated) == ("headers_only", False, False)


@pytest.mark.parametrize("marks", [{}, marked(FIRST)])
def test_another_version_only_marks_what_is_as_it_states(marks: dict[str, JsonValue]) -> None:
    changes = plan_changes(PLAN, state_of(marks=marks), SECOND)

    assert [change.settings for change in changes if isinstance(change, Update)] == [(), ()]


@pytest.mark.parametrize(
    ("consumer", "ack_pending", "effect"),
    [
        (
            {"ack_wait": 60 * 10**9},
            3,
            "applies at once: a dead worker is noticed after 30 s; until the workers notice",
        ),
        (
            {"ack_wait": 10**9},
            3,
            "a dead worker is noticed after 30 s; nothing is redelivered; 3 messages are in progress",
        ),
        ({"deliver_policy": "new"}, 0, "the server cannot change it"),
    ],
)
def test_the_effect_on_waiting_work_is_said(
    consumer: dict[str, JsonValue], ack_pending: int, effect: str
) -> None:
    (setting,) = settings_of(state_of(consumer, ack_pending=ack_pending))

    assert effect in setting.effect
    assert not setting.is_destructive
    assert setting.is_fixed is ("deliver_policy" in consumer)


@pytest.mark.parametrize(
    ("bucket", "is_destructive", "effect"),
    [
        ({"max_msgs_per_subject": 5}, True, "all but the newest 2 revisions of each key are deleted"),
        ({"max_msgs_per_subject": 1}, False, "up to 2 revisions of each key are kept"),
        ({"max_age": 0}, True, "what is older than 3600 s is deleted"),
        ({"max_age": 10**9}, False, "what is stored now is kept longer too"),
        ({"max_msg_size": -1}, True, "larger values than 1000 bytes are refused from now on"),
        ({"max_msg_size": 5}, False, "larger values are accepted"),
    ],
)
def test_what_deletes_or_limits_is_destructive(
    bucket: dict[str, JsonValue], is_destructive: bool, effect: str
) -> None:
    (setting,) = settings_of(state_of(bucket=bucket))

    assert setting.is_destructive is is_destructive
    assert effect in setting.effect


def test_what_breaks_correctness_is_refused() -> None:
    changes = plan_changes(PLAN, state_of({"ack_policy": "none"}, {"retention": "interest"}), SECOND)

    assert [change.problems for change in changes if isinstance(change, Refusal)] == [
        ('bucket "shop" differs: retention is interest, not limits',),
        ('consumer "shop__pack" of stream "JOBS_WORK" differs: ack_policy is none, not explicit',),
    ]


def test_a_consumer_of_another_runtime_is_changed_only_on_purpose() -> None:
    settings = settings_of(state_of({"backoff": [5 * 10**9], "ack_wait": 5 * 10**9, "max_deliver": 3}))

    assert [(setting.name, setting.value, setting.is_tolerated) for setting in settings] == [
        ("backoff", None, False),
        ("max_deliver", -1, False),
        ("ack_wait", 30 * 10**9, True),
    ]


def group(concurrency: int, *subjects: str) -> GroupBinding:
    return GroupBinding(
        alias="audit",
        stream="trellis",
        consumer_name="shop__audit",
        filter_subjects=subjects,
        concurrency=concurrency,
    )


@pytest.mark.parametrize(
    ("have", "want", "is_destructive", "effect"),
    [
        (
            ("events.a",),
            ("events.a", "events.b"),
            False,
            "events.b: what is stored behind the last delivered message",
        ),
        (("events.a", "events.b"), ("events.a",), True, "events.b: what waits is no longer delivered"),
    ],
)
def test_events_are_added_to_a_group_and_removed_only_on_purpose(
    have: tuple[str, ...], want: tuple[str, ...], is_destructive: bool, effect: str
) -> None:
    wanted = group_consumer(group(1, *want))
    info = ConsumerInfo.parse({"config": {**group_consumer(group(1, *have)).config, **marked(FIRST)}})
    state = ServerState(NEWEST, {}, {("trellis", "shop__audit"): info})

    (change,) = plan_changes(plan([wanted]), state, SECOND)

    assert isinstance(change, Update)
    (setting,) = change.settings
    assert (setting.value, setting.is_destructive) == ([*want], is_destructive)
    assert effect in setting.effect


def test_the_streams_that_services_share_are_not_marked() -> None:
    streams = {
        stream.name: {"name": stream.name, **stream.config, "max_age": 5, "num_replicas": 3}
        for stream in plan(NEEDS).streams
        if not stream.tolerated
    }
    changes = plan_changes(plan(NEEDS), ServerState(NEWEST, streams), SECOND)

    assert [change for change in changes if not isinstance(change, Creation)] == []
    assert JOBS.work_stream in streams


# --- marks -----------------------------------------------------------------------------------------------------------


def test_an_older_version_is_known_by_what_was_there_before() -> None:
    config = marked(FIRST, SECOND)

    assert [relate(config, each) for each in (FIRST, SECOND, THIRD)] == ["older", "same", "newer"]
    assert relate({}, FIRST) == "unmarked"


def test_a_version_that_is_applied_again_is_the_newest() -> None:
    config = marked(FIRST, SECOND, FIRST)

    assert [relate(config, each) for each in (FIRST, SECOND)] == ["same", "older"]


def test_marks_keep_what_others_wrote_and_leave_the_servers_own() -> None:
    config = marked(FIRST, **{"owner": "team", "_nats.ver": "2.15.1"})

    assert stamp(config, SECOND, AT + timedelta(days=1)) == {
        "owner": "team",
        "trellis.contract": "shop@v1",
        "trellis.digest": "2" * 43,
        "trellis.generator": "0.1.0",
        "trellis.since": "2026-01-03T00:00:00.000Z",
        "trellis.before": "1" * 43,
    }


def test_the_first_start_of_a_version_is_kept() -> None:
    config = marked(FIRST)

    assert stamp(config, FIRST, AT + timedelta(days=1)) == config["metadata"]


def test_only_so_many_versions_are_remembered() -> None:
    versions = [replace(FIRST, digest=f"{number:043}") for number in range(100)]
    config = marked(*versions)

    assert len(str(config)) < 2_000
    assert relate(config, versions[-2]) == "older"
