"""What must exist, as data; and which differences matter."""

from __future__ import annotations

from datetime import timedelta

import pytest
from trellis_nats.provision.compare import consumer_deviations, consumer_differences, stream_differences
from trellis_nats.provision.plan import plan
from trellis_nats.provision.requirements import BucketNeed, QueueNeed, Requirements

QUEUE = QueueNeed(
    consumer="shop__pack", work_subject="trellis.work.shop.pack", ack_wait=timedelta(seconds=30)
)
NEEDS = Requirements(queues=(QUEUE,), buckets=(BucketNeed(bucket="b"),), events=True, replicas=3)
PLAN = plan(NEEDS, atomic=True)
JOBS, WORK, ADVISORIES, EVENTS, BUCKET = PLAN.streams
CONSUMER = PLAN.consumers[0]


def test_streams_stand_in_the_order_in_which_they_can_be_created() -> None:
    names = [stream.name for stream in PLAN.streams]

    assert names == ["JOBS", "JOBS_WORK", "JOBS_ADVISORIES", "trellis", "KV_b"]
    assert [stream.config["num_replicas"] for stream in PLAN.streams] == [3] * 5


def test_nothing_is_wanted_that_is_not_needed() -> None:
    assert plan(Requirements(), atomic=True).streams == ()
    assert [stream.name for stream in plan(Requirements(events=True), atomic=True).streams] == ["trellis"]


def test_old_servers_do_not_hear_of_atomic_batches() -> None:
    assert JOBS.config["allow_atomic"] is True
    assert "allow_atomic" not in plan(NEEDS, atomic=False).streams[0].config


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
        ({"max_bytes": 5}, "max_bytes is 5, not unlimited"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject is 1, not unlimited"),
    ],
)
def test_what_would_lose_jobs_differs(changed: dict[str, object], sentence: str) -> None:
    assert stream_differences(JOBS, {**JOBS.config, **changed}) == [f'stream "JOBS" differs: {sentence}']


def test_advisories_of_the_work_stream_alone_will_do() -> None:
    narrow = ["$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.>"]

    assert stream_differences(ADVISORIES, {**ADVISORIES.config, "subjects": narrow}) == []
    assert len(stream_differences(ADVISORIES, {**ADVISORIES.config, "subjects": ["else.>"]})) == 1


def test_more_sources_than_needed_will_do() -> None:
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
        ({"ack_wait": 60_000_000_000}, "ack_wait is 60 s, not 30 s"),
        (
            {"max_ack_pending": 7},
            "max_ack_pending is 7, less than 10000: retries that wait would stop the queue",
        ),
    ],
)
def test_a_consumer_that_would_work_otherwise_differs(changed: dict[str, object], sentence: str) -> None:
    existing = {**CONSUMER.config, **changed}
    assert consumer_differences(CONSUMER, existing) + consumer_deviations(CONSUMER, existing) == [
        f'consumer "shop__pack" of stream "JOBS_WORK" differs: {sentence}'
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"max_ack_pending": -1},
        {"max_ack_pending": 20_000},
        {"filter_subject": "", "filter_subjects": ["trellis.work.shop.pack"]},
    ],
)
def test_a_consumer_with_more_room_or_another_spelling_will_do(changed: dict[str, object]) -> None:
    existing = {**CONSUMER.config, **changed}
    assert consumer_differences(CONSUMER, existing) + consumer_deviations(CONSUMER, existing) == []
