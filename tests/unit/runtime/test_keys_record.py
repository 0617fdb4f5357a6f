"""A record is encoded as other runtimes read it, keeps unknown members, and is never guessed."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats.jobs.keys.model.record import InvalidRecord, KeyRecord

from tests.support.keyed_records import AT, entry, record, slot

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc"), inner, max_size=2),
    max_leaves=4,
)
UNKNOWN = st.dictionaries(
    st.sampled_from(["submissionId", "x", "acceptedBySubmissionId"]), VALUES, max_size=2
)
FULL = record([slot("A")], [entry("B"), entry("C", retry_at=AT)])


def parsed(data: bytes) -> KeyRecord:
    return KeyRecord.parse(data, service="svc", queue="process", key_hash="h")


@given(UNKNOWN, UNKNOWN, UNKNOWN, VALUES)
def test_unknown_members_are_kept_at_every_level(
    of_record: dict[str, JsonValue],
    of_slot: dict[str, JsonValue],
    of_entry: dict[str, JsonValue],
    context: JsonValue,
) -> None:
    written = FULL._replace(
        extra=of_record,
        active=(slot("A")._replace(extra=of_slot, context=context),),
        queued=(entry("B")._replace(extra=of_entry, context=context), *FULL.queued[1:]),
    )

    assert parsed(written.encode()) == written


def test_a_record_is_encoded_as_in_the_reference() -> None:
    found = record([slot("A")], [entry("B")])._replace(max_queued=1, updated_at="2026-07-01T10:00:30.000Z")

    assert found.encode().decode() == (
        '{"version":1,"service":"svc","jobType":"process","key":"tenant:acme","keyHash":"h","maxActive":1,'
        '"maxQueuedPerKey":1,"active":[{"jobId":"A","slotToken":"token-A","instanceId":"worker",'
        '"startedAt":"2026-07-01T10:00:00.000Z","heartbeatAt":"2026-07-01T10:00:00.000Z",'
        '"leaseExpiresAt":"2026-07-01T10:00:30.000Z","tries":1,"context":null}],'
        '"queued":[{"jobId":"B","createdAt":"2026-07-01T10:00:00.000Z","requestId":"request","context":null}],'
        '"staleTakeoverCount":0,"updatedAt":"2026-07-01T10:00:30.000Z"}'
    )


def test_the_entry_of_a_retry_has_its_time() -> None:
    assert json.loads(FULL.encode())["queued"][1]["retryAt"] == "2026-07-01T10:00:00.000Z"


def test_members_that_other_runtimes_omit_are_optional() -> None:
    body = json.loads(FULL.encode())
    del body["maxQueuedPerKey"], body["active"][0]["context"], body["queued"][0]["context"]

    assert parsed(json.dumps(body).encode()) == FULL


def without(place: str) -> bytes:
    return changed(place, None, gone=True)


def changed(place: str, value: JsonValue, *, gone: bool = False) -> bytes:
    body = json.loads(FULL.encode())
    *steps, last = [int(step) if step.isdigit() else step for step in place.split("/")]
    target = body
    for step in steps:
        target = target[step]
    if gone:
        del target[last]
    else:
        target[last] = value
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "member",
    [
        "version", "service", "jobType", "key", "keyHash", "maxActive", "active", "queued", "staleTakeoverCount", "updatedAt",
        "active/0/jobId", "active/0/slotToken", "active/0/instanceId", "active/0/startedAt", "active/0/heartbeatAt",
        "active/0/leaseExpiresAt", "active/0/tries", "queued/0/jobId", "queued/0/createdAt", "queued/1/requestId",
    ],
)  # fmt: skip
def test_a_member_that_is_missing_or_has_another_type_is_named(member: str) -> None:
    place, _, name = member.rpartition("/")
    for data in (without(member), changed(member, None), changed(member, 1.5), changed(member, {"x": 1})):
        with pytest.raises(InvalidRecord, match=f"{place or 'the record'}: {name} is"):
            parsed(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"version": NaN}', "not JSON"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
        (b"{}", "version is missing"),
        (changed("version", 2), "version is not 1"),
        (changed("version", True), "version is missing, or is not of type int"),
        (changed("service", "other"), 'service is "other", not "svc"'),
        (changed("jobType", "other"), 'jobType is "other", not "process"'),
        (changed("keyHash", "other"), 'keyHash is "other", not "h"'),
        (changed("active/0", "A"), "active/0 is not an object"),
        (changed("queued/1", None), "queued/1 is not an object"),
        (changed("active/0/tries", True), "active/0: tries"),
        (changed("active/0/slotToken", ""), "active/0: jobId and slotToken must not be empty"),
        (changed("active/0/leaseExpiresAt", "soon"), "active/0: leaseExpiresAt is not a timestamp"),
        (changed("active/0/heartbeatAt", "2026-07-01T10:00:00"), "active/0: heartbeatAt is not a timestamp"),
        (changed("queued/0/createdAt", ""), "queued/0: createdAt is not a timestamp"),
        (changed("queued/1/retryAt", "2026-13-01T10:00:00Z"), "queued/1: retryAt is not a timestamp"),
    ],
)
def test_an_unreadable_record_is_an_error_that_names_the_position(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRecord, match=said):
        parsed(data)


@pytest.mark.parametrize("place", ["x", "active/0/x", "active/0/context", "queued/1/context"])
@pytest.mark.parametrize("around", ["%s", "[%s]", '{"deep": [[], {"er": ["", 1, -%s]}]}'])
def test_a_number_that_could_not_be_written_back_is_rejected(place: str, around: str) -> None:
    data = changed(place, "HERE").replace(b'"HERE"', (around % "1e999").encode())

    with pytest.raises(InvalidRecord, match="a number that is too large"):
        parsed(data)
    assert parsed(changed(place, "HERE").replace(b'"HERE"', (around % "1e99").encode()))


def test_two_slots_with_one_token_are_rejected() -> None:
    with pytest.raises(InvalidRecord, match="one slotToken"):
        parsed(record([slot("A", "same"), slot("B", "same")]).encode())


def test_a_lease_is_never_negative() -> None:
    assert slot("A").lease == timedelta(seconds=30)
    assert slot("A", lease=-timedelta(seconds=1)).lease == timedelta(0)


def test_slots_are_found_by_token_and_entries_by_job() -> None:
    assert FULL.slot("token-A") == FULL.active[0]
    assert FULL.slot("A") is None
    assert FULL.entry("C") == FULL.queued[1]
    assert FULL.entry("A") is None
