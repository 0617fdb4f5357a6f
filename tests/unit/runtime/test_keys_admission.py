"""The table of the reference, 10.7, one test per row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys.model.admission import (
    AdmissionResult,
    Admitted,
    Displaced,
    Full,
    Joined,
    admit,
    evict,
    restore,
    withdraw,
)
from trellis_nats.jobs.keys.model.policy import KeyPolicy, StalePolicy, WhenFull
from trellis_nats.jobs.keys.model.record import KeyRecord

from tests.support.keyed_records import LIMIT_BYTES, entry, record, slot


def admit_job(
    before: KeyRecord,
    *,
    when_full: WhenFull = "reject",
    max_active: int = 1,
    max_queued: int = 0,
    strict: bool = False,
    expired: frozenset[str] = frozenset(),
    stale_policy: StalePolicy = "fail-stale",
    unjoinable: frozenset[str] = frozenset(),
) -> tuple[str, AdmissionResult]:
    policy = KeyPolicy(
        template=("k",),
        max_active=max_active,
        max_queued=max_queued,
        when_full=when_full,
        stale_policy=stale_policy,
    )

    def answer(found: KeyRecord) -> tuple[KeyRecord, AdmissionResult]:
        return admit(
            found,
            entry("N"),
            policy,
            strict=strict,
            expired=expired,
            limit_bytes=LIMIT_BYTES,
            unjoinable=unjoinable,
        )

    after, result = answer(before)
    assert answer(after)[0] == after
    assert after.active == before.active
    return "".join(each.job_id for each in after.queued), result


@pytest.mark.parametrize(
    ("active", "queued", "max_active", "max_queued", "has_room"),
    [
        ("", "", 1, 0, True), ("", "A", 1, 0, False), ("A", "", 1, 0, False), ("A", "", 1, 1, True), ("A", "B", 1, 1, False),
        ("", "A", 1, 1, True), ("", "AB", 1, 1, False), ("A", "", 2, 0, True), ("A", "B", 2, 0, False), ("AB", "", 1, 0, False),
        ("AB", "", 1, 1, True),
    ],
)  # fmt: skip
def test_free_slots_count_as_room(
    active: str, queued: str, max_active: int, max_queued: int, has_room: bool
) -> None:
    waiting, result = admit_job(record(active, queued), max_active=max_active, max_queued=max_queued)

    assert isinstance(result, Admitted if has_room else Full)
    assert waiting == (queued + "N" if has_room else queued)


@pytest.mark.parametrize("before", [record("N"), record("", "N"), record("A", "BN")])
def test_a_job_that_is_already_in_the_record_is_admitted_again(before: KeyRecord) -> None:
    waiting, result = admit_job(before)

    assert result == Admitted()
    assert waiting == "".join(each.job_id for each in before.queued)


@pytest.mark.parametrize("strict", [True, False])
def test_reject_names_the_limit_of_active_jobs(strict: bool) -> None:
    assert admit_job(record("A", "BC"), max_queued=2, strict=strict) == (
        "BC",
        Full(
            reason="active-limit",
            active=1,
            queued=2,
            limit=1,
            existing="B",
            room="room for 3 (maxActive 1 + maxQueuedPerKey 2)",
        ),
    )


@pytest.mark.parametrize("strict", [True, False])
def test_reject_names_the_depth_of_the_queue_when_a_slot_is_free(strict: bool) -> None:
    assert admit_job(record("", "BC"), max_queued=1, strict=strict) == (
        "BC",
        Full(
            reason="queue-depth",
            active=0,
            queued=2,
            limit=2,
            existing="B",
            room="room for 2 (maxActive 1 + maxQueuedPerKey 1)",
        ),
    )


@pytest.mark.parametrize(("active", "queued", "limit"), [("", "BCD", 3), ("A", "BC", 2), ("AE", "B", 2)])
def test_a_full_key_has_the_same_room_whether_jobs_are_active_or_wait(
    active: str, queued: str, limit: int
) -> None:
    _, full = admit_job(record(active, queued), max_queued=1, max_active=2)

    assert isinstance(full, Full)
    assert full.reason == ("active-limit" if len(active) == 2 else "queue-depth")
    assert (full.limit, full.room) == (limit, "room for 3 (maxActive 2 + maxQueuedPerKey 1)")


@pytest.mark.parametrize(("queued", "existing"), [("BC", "B"), ("", "A")])
def test_coalesce_joins_the_first_waiting_job_or_an_active_one(queued: str, existing: str) -> None:
    before = record("A", queued)

    assert admit_job(before, when_full="coalesce", max_queued=len(queued)) == (queued, Joined(existing))


def test_coalesce_never_joins_an_unjoinable_job() -> None:
    before = record("AB", "C")

    assert admit_job(before, when_full="coalesce", max_active=2, max_queued=1, unjoinable=frozenset("C")) == (
        "C",
        Joined("A"),
    )
    assert admit_job(
        before, when_full="coalesce", max_active=2, max_queued=1, unjoinable=frozenset("ABC")
    ) == (
        "C",
        Full(
            reason="active-limit",
            active=2,
            queued=1,
            limit=2,
            existing="C",
            room="room for 3 (maxActive 2 + maxQueuedPerKey 1)",
        ),
    )


@given(
    max_active=st.one_of(st.integers(1, 40), st.just(10_000)),
    limit_bytes=st.integers(4_000, 120_000),
    state=st.text("x", max_size=512),
)
def test_every_slot_of_an_admitted_record_fits_into_it(max_active: int, limit_bytes: int, state: str) -> None:
    """A slot is longer than an entry, and so is the entry of a retry."""
    policy = KeyPolicy(template=("k",), max_active=max_active, max_queued=10_000)
    context: JsonValue = {
        "requestId": new_id(),
        "traceparent": "0" * 55,
        "traceId": "0" * 32,
        "tracestate": state,
    }
    waiting = record()
    for number in range(1_000):
        more = entry(f"{number:026}")._replace(request_id=new_id(), context=context)
        waiting, result = admit(
            waiting, more, policy, strict=True, expired=frozenset(), limit_bytes=limit_bytes
        )
        if isinstance(result, Full):
            assert (result.reason, result.limit) == ("queue-depth", number)
            break
    begun, left = waiting.queued[:max_active], waiting.queued[max_active:]
    busy = waiting._replace(
        queued=tuple(each._replace(retry_at=each.created_at) for each in left),
        active=tuple(
            slot(each.job_id, new_id())._replace(instance_id="i" * 64, context=context) for each in begun
        ),
    )

    assert len(begun) >= 1
    assert len(busy.encode()) <= limit_bytes


def test_replace_oldest_displaces_the_job_that_waited_longest() -> None:
    before = record("A", "BC")

    assert admit_job(before, when_full="replace-oldest", max_queued=2) == ("CN", Displaced(before.queued[0]))


def test_replace_oldest_never_displaces_an_active_job() -> None:
    waiting, result = admit_job(record("A"), when_full="replace-oldest")

    assert waiting == ""
    assert result == Full(
        reason="active-limit",
        active=1,
        queued=0,
        limit=1,
        existing="A",
        room="room for 1 (maxActive 1 + maxQueuedPerKey 0)",
    )


@pytest.mark.parametrize("when_full", ["coalesce", "replace-oldest"])
def test_a_strict_creation_never_joins_or_displaces(when_full: WhenFull) -> None:
    waiting, result = admit_job(record("A", "B"), when_full=when_full, max_queued=1, strict=True)

    assert waiting == "B"
    assert isinstance(result, Full)


@pytest.mark.parametrize(
    ("stale_policy", "expired", "reason"),
    [
        ("block", {"token-A"}, "stale-blocked"),
        ("block", set[str](), "active-limit"),
        ("block", {"token-X"}, "active-limit"),
        ("fail-stale", {"token-A"}, "active-limit"),
    ],
)
def test_only_block_reports_an_expired_lease(
    stale_policy: StalePolicy, expired: set[str], reason: str
) -> None:
    _, result = admit_job(record("A"), stale_policy=stale_policy, expired=frozenset(expired))

    assert isinstance(result, Full)
    assert result.reason == reason


def test_withdrawing_a_job_keeps_the_order_of_the_others() -> None:
    assert withdraw(record("A", "BCD"), "C") == record("A", "BD")
    assert withdraw(record("A", "B"), "A") == record("A", "B")


def test_a_displaced_job_gets_its_entry_back() -> None:
    replaced = entry("B")
    restored = restore(record("A", "CN"), replaced, by="N")

    assert restored == record("A", "BC")
    assert restore(restored, replaced, by="N") == restored


def test_a_displaced_job_that_became_active_gets_no_entry() -> None:
    assert restore(record("B", "CN"), entry("B"), by="N") == record("B", "C")


def test_eviction_removes_entries_by_job_and_slots_by_token() -> None:
    before = record("AB", "ACD")

    after = evict(before, entries={"C"}, slots={"token-A"})

    assert after == record("B", "AD")
    assert evict(after, entries={"C"}, slots={"token-A"}) == after
