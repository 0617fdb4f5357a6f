"""The plan of required resources, and the differences that matter."""

from __future__ import annotations

import pytest
from trellis_nats.binding import GroupBinding
from trellis_nats.errors import ConfigurationError
from trellis_nats.events.groups.consumer import group_consumer
from trellis_nats.provision.compare import (
    consumer_deviations,
    consumer_differences,
    consumer_remarks,
    stream_deviations,
    stream_differences,
    stream_remarks,
)
from trellis_nats.provision.plan import plan, stream_config
from trellis_nats.provision.requirements import BucketRequirement, ConsumerRequirement

from tests.support.needs import NEEDS

PLAN = plan(NEEDS)
JOBS, WORK, DELAYED, ADVISORIES, KEYS, EVENTS, BUCKET = PLAN.streams
CONSUMER = PLAN.consumers[0]


def test_streams_are_in_the_order_in_which_they_can_be_created() -> None:
    names = [stream.name for stream in PLAN.streams]

    assert names == [
        "JOBS",
        "JOBS_WORK",
        "JOBS_DELAYED",
        "JOBS_ADVISORIES",
        "KV_JOBS_KEYS_shop",
        "trellis",
        "KV_shop",
    ]


def test_what_several_surfaces_require_is_planned_once() -> None:
    assert plan([*NEEDS, *NEEDS]) == PLAN
    assert plan([]).streams == ()


def test_surfaces_that_require_one_bucket_differently_are_refused() -> None:
    with pytest.raises(ConfigurationError, match='two surfaces require bucket "b" with different settings'):
        plan([BucketRequirement(bucket="b"), BucketRequirement(bucket="b", history=2)])


@pytest.mark.parametrize("first", [True, False])
def test_what_one_surface_can_do_without_and_another_cannot_is_required(*, first: bool) -> None:
    needs = [BucketRequirement(bucket="b", is_optional=optional) for optional in (first, not first)]

    assert [stream.is_optional for stream in plan(needs).streams] == [False]
    assert [stream.is_optional for stream in plan([needs[0], needs[0]]).streams] == [first]
    with pytest.raises(ConfigurationError, match="different settings"):
        plan([BucketRequirement(bucket="b", is_optional=first), BucketRequirement(bucket="b", history=2)])


def test_streams_are_created_with_the_replicas_of_the_service() -> None:
    configs = [stream_config(stream, replicas=3, has_batches=True) for stream in PLAN.streams]

    assert [config["num_replicas"] for config in configs] == [3] * len(PLAN.streams)
    assert [config["name"] for config in configs] == [stream.name for stream in PLAN.streams]


def test_old_servers_are_not_sent_atomic_batches() -> None:
    assert stream_config(JOBS, replicas=1, has_batches=True)["allow_atomic"] is True
    assert "allow_atomic" not in stream_config(JOBS, replicas=1, has_batches=False)
    assert "allow_atomic" not in stream_config(EVENTS, replicas=1, has_batches=True)


def test_the_plan_agrees_with_itself() -> None:
    assert [text for stream in PLAN.streams for text in stream_differences(stream, stream.config)] == []
    assert consumer_differences(CONSUMER, CONSUMER.config) == []
    assert consumer_deviations(CONSUMER, CONSUMER.config) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"num_replicas": 1},
        {"max_age": 0},
        {"allow_atomic": False},
        {"description": "made by the control plane"},
        {"max_msgs": -1, "max_bytes": -1},
        {"duplicate_window": 120_000_000_000},
    ],
)
def test_what_an_operator_may_choose_does_not_differ(changed: dict[str, object]) -> None:
    assert stream_differences(JOBS, {**JOBS.config, **changed}) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"retention": "interest"}, "retention is interest, not limits"),
        ({"subjects": ["trellis.>"]}, "subjects is trellis.>, not trellis.jobs.>"),
        ({"no_ack": True}, "no_ack is true"),
        ({"sealed": True}, "sealed is true"),
        (
            {"subject_transform": {"src": "trellis.jobs.>", "dest": "else.>"}},
            (
                'subject_transform stores "trellis.jobs.>" as "else.>": what is published there is acknowledged, and '
                "no reader or worker finds it"
            ),
        ),
    ],
)
def test_what_would_lose_jobs_differs(changed: dict[str, object], sentence: str) -> None:
    assert stream_differences(JOBS, {**JOBS.config, **changed}) == [f'stream "JOBS" differs: {sentence}']


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"max_bytes": 5}, "max_bytes 5: when it is full, it drops the oldest messages"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject 1: when it is full, it drops the oldest"),
        ({"max_msgs": 7, "max_bytes": 5}, "max_msgs 7 and max_bytes 5: when it is full, it drops"),
        ({"max_bytes": 5, "discard": "new"}, "max_bytes 5: when it is full, it refuses new messages"),
    ],
)
def test_a_limit_is_a_remark_and_not_a_difference(changed: dict[str, object], sentence: str) -> None:
    existing = {**JOBS.config, **changed}

    assert stream_differences(JOBS, existing) == []
    (remark,) = stream_remarks(JOBS, existing)
    assert sentence in remark
    assert stream_remarks(JOBS, JOBS.config) == []


def test_a_limited_stream_of_jobs_refuses_instead_of_dropping() -> None:
    limited = [stream_config(need, replicas=1, has_batches=True, max_bytes=9) for need in PLAN.streams]

    assert [config["max_bytes"] for config in limited] == [9] * len(limited)
    discards = {config["name"]: config.get("discard") for config in limited}
    assert (discards["JOBS"], discards["JOBS_WORK"]) == ("new", "new")


def test_advisories_of_the_work_stream_alone_are_enough() -> None:
    narrow = ["$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.>"]

    assert stream_differences(ADVISORIES, {**ADVISORIES.config, "subjects": narrow}) == []
    assert len(stream_differences(ADVISORIES, {**ADVISORIES.config, "subjects": ["else.>"]})) == 1


def test_more_sources_than_needed_are_accepted() -> None:
    more: list[object] = [{"name": "JOBS"}, *_sources(), {"name": "OTHER"}]

    assert stream_differences(WORK, {**WORK.config, "sources": more}) == []
    assert len(stream_differences(WORK, {**WORK.config, "sources": [{"name": "OTHER"}]})) == 2


def _sources() -> list[object]:
    sources = WORK.config["sources"]
    assert isinstance(sources, list)
    return [*sources]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"filter_subject": "trellis.work.a.b"}, "it filters trellis.work.a.b, not trellis.work.shop.pack"),
        ({"filter_subject": ""}, "it filters nothing, not trellis.work.shop.pack"),
        ({"ack_policy": "none"}, "ack_policy is none, not explicit"),
    ],
)
def test_a_consumer_that_behaves_differently_differs(changed: dict[str, object], sentence: str) -> None:
    existing = {**CONSUMER.config, **changed}
    assert consumer_deviations(CONSUMER, existing) == []
    assert consumer_differences(CONSUMER, existing) == [
        f'consumer "shop__pack" of stream "JOBS_WORK" differs: {sentence}'
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ack_wait": 60_000_000_000}, "ack_wait is 60 s, not 30 s"),
        ({"deliver_policy": "new"}, "deliver_policy is new, not all"),
        (
            {"ack_wait": 60_000_000_000, "deliver_policy": "new"},
            "ack_wait is 60 s, not 30 s, deliver_policy is new, not all",
        ),
    ],
)
def test_what_the_contract_states_of_a_consumer_is_tolerated(changed: dict[str, object], words: str) -> None:
    existing = {**CONSUMER.config, **changed}
    assert consumer_differences(CONSUMER, existing) == []
    assert consumer_deviations(CONSUMER, existing) == [
        (
            'consumer "shop__pack" of stream "JOBS_WORK" is not as this version of the contract states: '
            f"{words}"
        )
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject is 5, not 2"),
        (
            {"max_age": 0, "max_msg_size": -1},
            "max_age is unlimited, not 3600 s, max_msg_size is unlimited, not 1000",
        ),
    ],
)
def test_what_the_contract_states_of_a_bucket_is_tolerated(changed: dict[str, object], words: str) -> None:
    existing = {**BUCKET.config, **changed}
    assert stream_differences(BUCKET, existing) == []
    assert stream_deviations(BUCKET, existing) == [
        f'bucket "shop" is not as this version of the contract states: {words}'
    ]


def test_the_bucket_of_the_keys_must_keep_its_records() -> None:
    """A lease that the server drops would be taken a second time."""
    assert stream_differences(KEYS, {**KEYS.config, "max_age": 5_000_000_000}) == [
        'bucket "JOBS_KEYS_shop" differs: max_age is 5 s, not unlimited'
    ]


def group_of(concurrency: int, *subjects: str) -> ConsumerRequirement:
    group = GroupBinding(
        alias="audit",
        stream="trellis",
        consumer_name="shop__audit",
        filter_subjects=subjects,
        concurrency=concurrency,
    )
    return group_consumer(group)


def test_a_group_leaves_the_events_of_another_version_to_it() -> None:
    newer, older = group_of(2, "events.v1.A", "events.v1.B"), group_of(2, "events.v1.A")

    assert consumer_differences(older, newer.config) == []
    assert "it also filters events.v1.B" in consumer_deviations(older, newer.config)[0]
    assert (
        "it filters events.v1.A, not events.v1.A, events.v1.B" in consumer_differences(newer, older.config)[0]
    )


def test_a_group_tolerates_another_concurrency() -> None:
    assert consumer_differences(group_of(4, "events.v1.A"), group_of(2, "events.v1.A").config) == []
    (text,) = consumer_deviations(group_of(4, "events.v1.A"), group_of(2, "events.v1.A").config)
    assert "max_ack_pending is 2, not 4" in text


def test_a_low_limit_of_deliveries_is_an_operators_choice() -> None:
    existing = {**CONSUMER.config, "max_ack_pending": 7}

    assert consumer_differences(CONSUMER, existing) + consumer_deviations(CONSUMER, existing) == []
    assert consumer_remarks(CONSUMER, existing) == [
        (
            'consumer "shop__pack" of stream "JOBS_WORK" differs: max_ack_pending is 7: while as many jobs run, or '
            "wait without being parked, no other is delivered"
        )
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"max_ack_pending": -1},
        {"max_ack_pending": 20_000},
        {"filter_subject": "", "filter_subjects": ["trellis.work.shop.pack"]},
    ],
)
def test_a_consumer_with_a_higher_limit_or_another_spelling_is_accepted(changed: dict[str, object]) -> None:
    existing = {**CONSUMER.config, **changed}
    assert consumer_remarks(CONSUMER, existing) == []
    assert consumer_differences(CONSUMER, existing) + consumer_deviations(CONSUMER, existing) == []
