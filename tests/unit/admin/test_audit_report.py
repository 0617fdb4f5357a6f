"""What an audit prints of ids, names and values that senders chose."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue
from trellis_admin.audit import Audit, Kind, Subject, to_json, to_text
from trellis_admin.audit.failures import Failure
from trellis_admin.audit.readers import Refused


def audit_of(value: JsonValue, *, job_id: str = "01A") -> Audit:
    subject = Subject(Kind.PAYLOAD, "pay")
    refused = Refused((Failure("missing", "/a", "Field required"),), value)
    subject.count("", refused, job_id, is_dead=False)
    return Audit(contract_id="till@v1", digest="1" * 43, subjects=(subject,))


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "\u202e", "\ud800", "\x7f"])
def test_the_text_has_nothing_that_steers_a_terminal_or_that_it_cannot_write(hostile: str) -> None:
    text = to_text([audit_of({"note": hostile, "ü": 1}, job_id=f"01{hostile}")], show_values=True)

    assert hostile not in text
    assert text.encode()
    assert all(line.isprintable() for line in text.splitlines())
    assert '"ü": 1' in text


def test_a_value_that_json_does_not_have_is_a_text() -> None:
    shown = to_json([audit_of({"n": float("nan"), "i": [float("-inf")], "x": 1.5})], show_values=True)
    (contract,) = json.loads(shown, parse_constant=pytest.fail)["contracts"]

    (example,) = contract["subjects"][0]["failures"][0]["examples"]
    assert example["value"] == {"n": "NaN", "i": ["-Infinity"], "x": 1.5}


@pytest.mark.parametrize(
    ("writers", "itself"), [("1", "; this version wrote them"), ("12", ""), ("2", ""), ("", "")]
)
def test_an_audit_of_what_the_contract_itself_wrote_says_so(writers: str, itself: str) -> None:
    """Perhaps the package of the next version is not generated yet."""
    subject = Subject(Kind.PAYLOAD, "pay")
    for number in range(2):
        for writer in writers:
            subject.count(writer * 43, None, str(number), is_dead=False)
    audit = Audit(contract_id="till@v1", digest="1" * 43, subjects=(subject,))

    assert (
        to_text([audit]).splitlines()[-1]
        == f"  {len(writers) * 2} values: the contract reads all of them{itself}"
    )
