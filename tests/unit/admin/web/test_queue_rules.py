"""The rules of a queue, as its page shows them."""

from datetime import timedelta

import pytest
from trellis_admin.web.queue_rules import exact_duration, list_rules
from trellis_nats.binding import KeyBinding, KeyQueueBinding, QueueBinding


def queue(**fields: object) -> QueueBinding:
    own = {
        "queue_type": "sync",
        "publish_prefix": "trellis.jobs.s.sync",
        "work_subject": "trellis.work.s.sync",
        "consumer_name": "s-sync",
    }
    return QueueBinding.model_validate(own | fields)


def test_a_queue_with_keys_states_all_of_them() -> None:
    rules = list_rules(
        queue(
            max_deliver=5,
            backoff_ms=(5_000, 30_000, 120_000, 600_000),
            concurrency=4,
            ack_wait_ms=30_000,
            default_deadline_ms=3_600_000,
            key_concurrency=KeyBinding(key=("zendesk", "/origin", "tickets"), stale_policy="block"),
            queue=KeyQueueBinding(max_queued_per_key=1, when_full="coalesce"),
        )
    )

    assert {rule.word: rule.text for rule in rules} == {
        "Attempts": "5, after 5 s, 30 s, 2 min, 10 min",
        "Concurrency": "4 in each process",
        "Deadline": "1 h after its creation",
        "Key": "zendesk:{origin}:tickets",
        "At a time": "1 active and 1 waiting of a key",
        "When full": "coalesce",
        "Owner gone": "block: only its own job, or an operator, frees the key",
        "Lease": "30 s, renewed every 10 s",
    }


@pytest.mark.parametrize(
    ("attempts", "waits", "text"),
    [
        (1, (5_000,), "1, no retry"),
        (2, (500, 30_000), "2, after 0.5 s"),
        (4, (5_000,), "4, after 5 s, then the same again"),
        (3, (), "3, without a wait"),
    ],
)
def test_waits_are_those_between_attempts(attempts: int, waits: tuple[int, ...], text: str) -> None:
    rules = list_rules(queue(max_deliver=attempts, backoff_ms=waits))

    assert [rule.text for rule in rules] == [text, "1 in each process"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (59, "59 s"), (90, "90 s"), (7200, "2 h"), (172_800, "2 d")]
)
def test_durations_of_a_contract_are_exact(seconds: float, text: str) -> None:
    assert exact_duration(timedelta(seconds=seconds)) == text
