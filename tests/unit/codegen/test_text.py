"""Bytes that are not JSON, or ambiguous JSON, are refused with a position."""

import pytest

from trellis_codegen.contract import text as json_text
from trellis_codegen.problems import Problem, ProblemsFound


def refusal(data: bytes) -> Problem:
    with pytest.raises(ProblemsFound) as raised:
        json_text.parse(json_text.decode(data))
    return raised.value.problems[0]


@pytest.mark.parametrize(
    ("data", "position", "what"),
    [
        (b"", (1, 1), "not JSON"),
        (b'{\n "a": }', (2, 7), "not JSON"),
        (b'{"a": 1', (1, 8), "not JSON"),
        (b'{"a": 1,\n}', (1, 8), "illegal trailing comma before end of object"),
        (b'{"a": [1,\n\t 2 ,\n]}', (2, 5), "illegal trailing comma before end of array"),
        (b'\xef\xbb\xbf{"a": 1}', (1, 1), "byte order mark"),
        (b'{"a": "\xff"}', (1, 8), "0xff is not UTF-8"),
        (b'{"a":\n NaN}', (2, 2), "NaN is not JSON"),
        (b'{"a": -Infinity}', (1, 7), "-Infinity is not JSON"),
        (b'{"a": 1e999}', (1, 7), "too large"),
        (b'{"a": ' + b"1" * 5000 + b"}", (1, 7), "too large"),
        (b'{"a": 1, "b": {"c": 1,\n "c": 2}}', (2, 2), 'duplicate name "c"'),
        (b'{"a": "\\ud800"}', (1, 7), "half of a character"),
        (b"[" * 100_000, (1, 1), "levels deep"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, (1, 1 + 5 * 161), "levels deep"),
        (b" " * (json_text.MAX_SIZE_BYTES + 1), (1, 1), "larger than 5,000,000"),
    ],
)
def test_it_says_what_and_where(data: bytes, position: tuple[int, int], what: str) -> None:
    problem = refusal(data)

    assert what in problem.what
    assert (problem.line, problem.column) == position


def test_strings_may_hold_what_numbers_may_not() -> None:
    assert json_text.parse('{"NaN": "1e999 Infinity \\" NaN"}') == {"NaN": '1e999 Infinity " NaN'}


def test_minus_zero_keeps_its_sign() -> None:
    assert str(json_text.parse("-0")) == "-0.0"
