"""Dates, times and UUIDs are read in the form of their RFC and in no other."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError
from trellis_nats.json_types import AwareDatetime, AwareTime, ExactDate, ExactUUID

from trellis_codegen.schemas.text_formats import fits_format

DATE_TIMES: TypeAdapter[object] = TypeAdapter(AwareDatetime)
TIMES: TypeAdapter[object] = TypeAdapter(AwareTime)
DATES: TypeAdapter[object] = TypeAdapter(ExactDate)
UUIDS: TypeAdapter[object] = TypeAdapter(ExactUUID)
MINUS_8 = timezone(timedelta(hours=-8))

READ: list[tuple[TypeAdapter[object], str, object]] = [
    (DATE_TIMES, "2026-11-23T08:30:00Z", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
    (DATE_TIMES, "2026-11-23t08:30:00.25z", datetime(2026, 11, 23, 8, 30, 0, 250_000, tzinfo=UTC)),
    (DATE_TIMES, "2026-11-23T08:30:00.1234567891234-08:00", datetime(2026, 11, 23, 8, 30, 0, 123_456, tzinfo=MINUS_8)),
    (DATE_TIMES, "2026-11-23T08:30:00-00:00", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
    (DATE_TIMES, "2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (DATE_TIMES, "2016-12-31T15:59:60.5-08:00", datetime(2016, 12, 31, 15, 59, 59, 500_000, tzinfo=MINUS_8)),
    (DATE_TIMES, "2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, 0, 59, 59, tzinfo=timezone(timedelta(hours=1)))),
    (TIMES, "08:30:00Z", time(8, 30, tzinfo=UTC)),
    (TIMES, "08:30:00.5-08:00", time(8, 30, 0, 500_000, tzinfo=MINUS_8)),
    (TIMES, "23:59:60Z", time(23, 59, 59, tzinfo=UTC)),
    (TIMES, "15:59:60-08:00", time(15, 59, 59, tzinfo=MINUS_8)),
    (DATES, "2024-02-29", date(2024, 2, 29)),
    (UUIDS, "2A1B2C3D-0000-4000-8000-00000000000f", UUID("2a1b2c3d-0000-4000-8000-00000000000f")),
]  # fmt: skip


@pytest.mark.parametrize(("adapter", "text", "expected"), READ)
def test_a_text_of_the_rfc_is_read(adapter: TypeAdapter[object], text: str, expected: object) -> None:
    value = adapter.validate_json(json.dumps(text), strict=True)

    assert value == expected
    assert adapter.validate_json(adapter.dump_json(value), strict=True) == value


REFUSED: list[tuple[TypeAdapter[object], list[object]]] = [
    (DATE_TIMES, [
        "2026-11-23T08:30:00", "2026-11-23 08:30:00Z", "2026-11-23T08:30:00+0000", "2026-11-23T08:30:00+00", "2026-11-23T08:30Z", "2026-11-23",
        "2026-11-23T08:30:00 Z", "2026-11-23T08:30:00,5Z", "2026-11-23T08:30:00.Z", "2026-11-23T24:00:00Z", "2026-11-23T08:60:00Z",
        "2026-11-23T08:30:61Z", "2026-11-23T08:30:00+24:00", "2026-11-23T08:30:00+01:60", "2026-02-29T08:30:00Z", "26-11-23T08:30:00Z",
        "2026-1-23T08:30:00Z", "2026-327T08:30:00Z", "1795422600", "2026-11-23T08:30:0\u0660Z", "2026-11-23T08:30:00Z\n", "now", "", 1795422600, None,
        "2016-12-31T23:58:60Z", "2016-12-31T22:59:60Z", "2016-12-31T23:59:60+01:00", "2016-12-31T23:59:60",
    ]),
    (TIMES, [
        "08:30:00", "08:30Z", "8:30:00Z", "08:30:00+0000", "08:30:00+1", "24:00:00Z", "08:30:00 PST", "22:59:60Z", "23:59:60+00:30", "30600", 30600, "083000Z",
    ]),
    (DATES, [
        "2026-02-29", "2026-13-01", "2026-1-1", "20261123", "2026-W48-1", "2026-327", "2026-11-23T00:00:00", "2026-11-23Z", "1795392000", 1795392000,
        "2026-11-2\u0663", "",
    ]),
    (UUIDS, [
        "2a1b2c3d000040008000000000000000", "{2a1b2c3d-0000-4000-8000-000000000000}", "urn:uuid:2a1b2c3d-0000-4000-8000-000000000000",
        "2a1b2c3d00004-000-8000-000000000000", "2a1b2c3d-0000-4000-8000-00000000000", "2g1b2c3d-0000-4000-8000-000000000000", "", 5,
        " 2a1b2c3d-0000-4000-8000-000000000000",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("adapter", "value"), [(adapter, value) for adapter, values in REFUSED for value in values]
)
def test_another_text_is_refused(adapter: TypeAdapter[object], value: object) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_json(json.dumps(value), strict=True)


FORMATS = {id(DATE_TIMES): "date-time", id(TIMES): "time", id(DATES): "date", id(UUIDS): "uuid"}


def test_the_generator_knows_the_same_texts() -> None:
    read = [(adapter, text) for adapter, text, _ in READ]
    refused = [(adapter, value) for adapter, values in REFUSED for value in values if isinstance(value, str)]

    assert [text for adapter, text in read if not fits_format(text, FORMATS[id(adapter)])] == []
    assert [text for adapter, text in refused if fits_format(text, FORMATS[id(adapter)])] == []


def test_a_naive_value_from_python_is_refused() -> None:
    with pytest.raises(ValidationError, match="must have an offset"):
        DATE_TIMES.validate_python(datetime(2026, 11, 23), strict=True)  # noqa: DTZ001 - what is refused
    with pytest.raises(ValidationError, match="must have an offset"):
        TIMES.validate_python(time(8, 30), strict=True)


def test_a_text_from_python_is_refused() -> None:
    with pytest.raises(ValidationError):
        DATE_TIMES.validate_python("2026-11-23T08:30:00Z", strict=True)
