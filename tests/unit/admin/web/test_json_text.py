"""Payloads as pages print them: digit by digit, without what is secret."""

import json

import pytest
from markupsafe import Markup
from pydantic import JsonValue
from trellis_admin.samples.redaction import is_replaced
from trellis_admin.web.json_text import SECRET, print_editable, print_json


def test_numbers_keep_every_digit() -> None:
    stored = (
        b'{"id":90071992547409931,"big":18446744073709551615,"price":1.10,"tiny":1e-400,"long":'
        + b"9" * 5000
        + b"}"
    )

    shown = print_json(stored).striptags()

    for number in ("90071992547409931", "18446744073709551615", "1.10", "1e-400", "9" * 5000):
        assert number in shown


@pytest.mark.parametrize(
    "text", ["two  spaces", "\u00a0 \u3000\u2028", "<b> &amp; 'x'", "tab\t", "\\", "<!-- a -->", "\ud800"]
)
def test_what_is_edited_is_what_is_stored(text: str) -> None:
    stored: dict[str, JsonValue] = {
        "text": text,
        text: [text, 1, {"a": None, "b": []}],
        "id": 90071992547409931,
    }

    shown = print_editable(json.dumps(stored).encode())

    assert json.loads(shown.encode()) == stored
    assert "\n" in shown


def test_a_secret_is_not_in_the_text() -> None:
    stored = b'{"card":{"token":"tok_1"},"lines":[{"note":"n1"},{"note":"n2"}],"id":7}'

    shown = print_json(stored, lambda place: is_replaced(place, ("/card/token", "/lines/*/note")))

    assert "tok_1" not in shown
    assert "n1" not in shown
    assert shown.count(SECRET) == 3
    assert ">7<" in shown


def test_mark_up_in_a_payload_is_text() -> None:
    shown = print_json(b'{"<b>":"<script>alert(1)</script>","k":["&"]}')

    assert isinstance(shown, Markup)
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "&lt;script&gt;" in shown


def test_members_that_are_there_twice_are_shown_twice() -> None:
    assert print_json(b'{"a":1,"a":2}').striptags().count('"a"') == 2


def test_what_is_not_json_is_shown_as_it_is() -> None:
    assert print_json(b"<broken") == "&lt;broken"
    assert print_json(b"[" * 100_000).startswith("[[[")


def test_short_lists_stay_on_a_line_and_long_ones_do_not() -> None:
    shown = print_json(
        b'{"short":[1,2],"long":["' + b"x" * 40 + b'","' + b"y" * 40 + b'"],"none":[],"no":{}}'
    )
    lines = shown.striptags()

    assert "[ 1, 2 ]" in lines
    assert "[]" in lines
    assert "{}" in lines
    assert str(shown).count("\n") > 5
