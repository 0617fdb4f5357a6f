"""Which stored payloads are taken as they are, which are upcast, by which upcaster, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, JsonValue
from trellis_nats import (
    ConfigurationError,
    HandlerConflict,
    InvalidPayload,
    JsonObject,
    Model,
    Options,
    Runtime,
    UpcastFailed,
)
from trellis_nats.codec import Codec
from trellis_nats.jobs.keys.model.event_fields import stored_key
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.payload_reader import PayloadReader, ReadPayload
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.writer import payload_writer

from tests.support.foreign_events import foreign_body
from tests.support.payload_readers import OWN
from tests.support.renamed_versions import NEW, OLD, NewNote, NewService, from_text

V1: Final = "1" * 43
V2: Final = "2" * 43


class Parcel(Model):
    model_config = ConfigDict(extra="forbid")

    grams: Annotated[int, Field(ge=1)]
    note: str | None = None


def reader() -> PayloadReader[Parcel]:
    return PayloadReader(Codec[Parcel](Parcel, what="the parcel"), queue="q", digest=OWN)


def from_v1(old: JsonObject) -> Parcel:
    return Parcel.model_validate({"grams": old["weight"]})


def of_any(old: JsonObject) -> Parcel:
    return Parcel.model_validate({"grams": old["g"]})


def test_an_upcaster_for_a_digest_also_reads_what_matches_the_new_schema() -> None:
    payloads = reader()
    payloads.register(lambda old: Parcel(grams=1, note=str(old["grams"])), from_digest=V1)

    assert payloads.read({"grams": 7}, V1).value == Parcel(grams=1, note="7")
    assert payloads.read({"grams": 7}, V2) == ReadPayload(Parcel(grams=7), None)
    assert payloads.read({"grams": 7}, "") == ReadPayload(Parcel(grams=7), None)


def test_each_upcaster_leads_to_this_version() -> None:
    payloads = reader()
    payloads.register(from_v1, from_digest=V1)
    payloads.register(of_any, from_digest=V2)

    assert payloads.read({"weight": 7}, V1) == ReadPayload(Parcel(grams=7), "from_v1")
    assert payloads.read({"g": 8}, V2) == ReadPayload(Parcel(grams=8), "of_any")


def test_one_function_may_be_registered_for_several_digests() -> None:
    payloads = reader()
    for digest in (V1, V2):
        payloads.register(from_v1, from_digest=digest)

    assert payloads.read({"weight": 7}, V2).value == Parcel(grams=7)


def test_an_upcaster_without_a_digest_reads_what_does_not_match() -> None:
    payloads = reader()
    payloads.register(of_any, from_digest=None)

    assert payloads.read({"g": 8}, V1) == ReadPayload(Parcel(grams=8), "of_any")
    assert payloads.read({"g": 8}, "") == ReadPayload(Parcel(grams=8), "of_any")
    assert payloads.read({"grams": 8}, "") == ReadPayload(Parcel(grams=8), None)


def test_a_payload_of_this_version_is_never_upcast() -> None:
    payloads = reader()
    payloads.register(of_any, from_digest=None)

    with pytest.raises(InvalidPayload) as refused:
        payloads.read({"g": 8}, OWN)

    assert not isinstance(refused.value, UpcastFailed)


def test_without_an_upcaster_only_the_schema_counts() -> None:
    with pytest.raises(
        InvalidPayload, match=r"^the parcel does not match its schema: #/grams: Field required"
    ):
        reader().read({}, V1)


def broken(old: JsonObject) -> Parcel:
    raise LookupError(f"no weight in {sorted(old)}")


def invalid(old: JsonObject) -> Parcel:
    return Parcel.model_validate({"grams": "12345"})


def forgetful(old: JsonObject) -> Any:
    return None


def wire_form(old: JsonObject) -> Any:
    return {"grams": 7}


def wrong_wire_form(old: JsonObject) -> Any:
    return {"grammes": 7}


def unchecked(old: JsonObject) -> Parcel:
    return Parcel.model_construct(grams=0)


class _Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def unreadable(old: JsonObject) -> Parcel:
    raise _Unreadable


def leaving(old: JsonObject) -> Parcel:
    raise SystemExit(2)


def hostile(old: JsonObject) -> Parcel:
    raise ValueError("\ud800\x1b[2J")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (hostile, "the upcaster hostile raised ValueError: \ufffd\ufffd[2J"),
        (broken, "the upcaster broken raised LookupError: no weight in ['weight']"),
        (
            invalid,
            "the upcaster invalid raised: what it builds does not match its schema: #/grams: Input should be",
        ),
        (
            forgetful,
            "the upcaster forgetful returned a value of type NoneType: the parcel does not match its schema",
        ),
        (wire_form, "the upcaster wire_form returned a value of type dict, not Parcel"),
        (
            wrong_wire_form,
            "the upcaster wrong_wire_form returned a value of type dict: the parcel does not match",
        ),
        (
            unchecked,
            "the upcaster unchecked returned a value of type Parcel: the parcel does not match its schema",
        ),
        (unreadable, "the upcaster unreadable raised _Unreadable: the error's text cannot be read"),
        (leaving, "the upcaster leaving raised SystemExit: 2"),
    ],
)
@pytest.mark.parametrize("from_digest", [V1, None])
def test_what_an_upcaster_does_wrong_names_it(
    function: Callable[[JsonObject], Parcel], problem: str, from_digest: str | None
) -> None:
    payloads = reader()
    payloads.register(function, from_digest=from_digest)

    with pytest.raises(UpcastFailed) as failed:
        payloads.read({"weight": 7}, V1)

    assert problem in str(failed.value)
    assert failed.value.upcaster == function.__name__
    assert "12345" not in str(failed.value)
    was_compared = str(failed.value).startswith(
        "the parcel does not match its schema: #/grams: Field required"
    )
    was_not = str(failed.value).startswith("the parcel was not upcast: the upcaster")
    assert (was_compared, was_not) == (from_digest is None, from_digest is not None)


def test_the_exception_of_an_upcaster_is_the_cause() -> None:
    payloads = reader()
    payloads.register(broken, from_digest=V1)

    with pytest.raises(UpcastFailed) as failed:
        payloads.read({"weight": 7}, V1)

    assert isinstance(failed.value.__cause__, LookupError)


@pytest.mark.parametrize("payload", [None, [1], "text", 7])
def test_a_payload_that_is_not_an_object_is_not_upcast(payload: JsonValue) -> None:
    payloads = reader()
    payloads.register(from_v1, from_digest=V1)

    with pytest.raises(UpcastFailed, match="takes a JSON object, and the stored payload is not one"):
        payloads.read(payload, V1)


@pytest.mark.parametrize("payload", [{"weight": float("nan")}, {"weight": "\ud800"}])
def test_what_is_not_json_is_not_upcast(payload: JsonValue) -> None:
    payloads = reader()
    payloads.register(from_v1, from_digest=V1)

    with pytest.raises(UpcastFailed, match="cannot be given the payload"):
        payloads.read(payload, V1)


def test_an_upcaster_may_change_what_it_is_given() -> None:
    payloads = reader()

    def emptying(old: JsonObject) -> Parcel:
        inner = old.pop("inner")
        assert isinstance(inner, dict)
        return Parcel.model_validate({"grams": inner.pop("weight")})

    payloads.register(emptying, from_digest=V1)
    stored: JsonValue = {"inner": {"weight": 7}}

    assert payloads.read(stored, V1).value == payloads.read(stored, V1).value == Parcel(grams=7)
    assert stored == {"inner": {"weight": 7}}


class _Callable:
    async def __call__(self, old: JsonObject) -> Parcel:
        return from_v1(old)


async def asynchronous(old: JsonObject) -> Any:
    return Parcel(grams=1)


@pytest.mark.parametrize("function", [asynchronous, _Callable()])
def test_an_async_upcaster_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a plain `def`"):
        reader().register(function, from_digest=None)


@pytest.mark.parametrize("digest", ["", "1" * 42, "1" * 44, "1" * 42 + "=", 7])
def test_only_a_whole_digest_is_accepted(digest: Any) -> None:
    with pytest.raises(ConfigurationError, match="from_digest must be the whole digest of a contract"):
        reader().register(from_v1, from_digest=digest)


def test_other_mistakes_are_refused() -> None:
    payloads, uncallable = reader(), cast_any("from_v1")
    payloads.register(from_v1, from_digest=V1)
    payloads.register(from_v1, from_digest=None)

    with pytest.raises(ConfigurationError, match="is the digest of this version of the contract"):
        payloads.register(from_v1, from_digest=OWN)
    with pytest.raises(HandlerConflict, match=f"from_v1 is already registered for from_digest {V1}"):
        payloads.register(of_any, from_digest=V1)
    with pytest.raises(HandlerConflict, match="of_any has no from_digest, and neither has from_v1"):
        payloads.register(of_any, from_digest=None)
    with pytest.raises(ConfigurationError, match="cannot be called"):
        payloads.register(uncallable, from_digest=V2)


def cast_any(value: object) -> Any:
    return value


def test_the_json_of_this_version_is_the_upcast_payload_or_the_stored_one() -> None:
    payloads = reader()
    payloads.register(from_v1, from_digest=V1)

    assert payloads.upcast_json({"weight": 7}, V1) == {"grams": 7}
    assert payloads.upcast_json({"grams": 7.0}, V2) == {"grams": 7.0}
    assert payloads.upcast_json({"other": 7}, V1) == {"other": 7}


def test_a_repeated_payload_has_the_writer_of_the_first_one() -> None:
    def opened(kind: str, payload: int, digest: str) -> StoredEvent:
        body = foreign_body(EventType(kind), "J1", {"payload": payload})
        return StoredEvent(LifecycleEvent.model_validate(body), 1, None, digest=digest)

    created = opened("created", 1, V1)
    assert payload_writer(created, created) == V1
    assert payload_writer(opened("retried", 1, ""), created) == V1
    assert payload_writer(opened("retried", 1, V2), created) == V2
    assert payload_writer(opened("retried", 2, ""), created) == ""


@pytest.mark.parametrize(
    ("concurrency", "key"),
    [
        ({"key": "ann", "keyHash": "a" * 64}, JobKey("ann", "a" * 64)),
        ({"key": "ann", "keyHash": "A" * 64}, None),
        ({"key": "ann", "keyHash": "a.>"}, None),
        ({"key": 1, "keyHash": "a" * 64}, None),
        ({"keyHash": "a" * 64}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_key_of_an_event_is_read_if_it_is_one(concurrency: JsonValue, key: JobKey | None) -> None:
    body = foreign_body(EventType.CREATED, "J1", {"concurrency": concurrency})

    assert stored_key(LifecycleEvent.model_validate(body)) == key


objects = st.dictionaries(
    st.sampled_from(["grams", "weight", "note", "g"]), st.integers(-1, 3) | st.text(max_size=2), max_size=3
)


@given(payload=objects, digest=st.sampled_from([OWN, V1, V2, ""]), has_shape=st.booleans())
def test_every_payload_is_taken_upcast_or_refused_by_the_rules(
    payload: dict[str, JsonValue], digest: str, has_shape: bool
) -> None:
    payloads = reader()
    payloads.register(from_v1, from_digest=V1)
    if has_shape:
        payloads.register(of_any, from_digest=None)

    def result(read: Callable[[], Parcel]) -> Parcel | None:
        try:
            return read()
        except (InvalidPayload, KeyError, ValueError):
            return None

    plain = result(lambda: reader().read(payload, digest).value)
    if digest == V1:
        expected = result(lambda: from_v1(dict(payload)))
    elif plain is None and has_shape and digest != OWN:
        expected = result(lambda: of_any(dict(payload)))
    else:
        expected = plain

    assert result(lambda: payloads.read(payload, digest).value) == expected


def test_a_queue_reads_payloads_without_a_connection() -> None:
    service = NewService(Runtime(NEW, Options()))
    service.jobs.notes.upcast(from_text, from_digest=OLD.digest)

    assert service.jobs.notes.read_payload({"text": "hi"}, digest=OLD.digest) == NewNote(body="hi")
    assert service.jobs.notes.read_payload({"text": "hi"}) == NewNote()


def test_the_decorator_returns_the_function() -> None:
    queue = NewService(Runtime(NEW, Options())).jobs.notes
    one = queue.upcast(from_digest=OLD.digest)(from_text)
    other = queue.upcast()(from_text)

    assert one is other is from_text
