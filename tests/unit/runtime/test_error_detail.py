"""What the events of a failed attempt say about its exception: the class and the frames, no value, and not too much."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import NoReturn

import pytest
from pydantic import JsonValue
from trellis_nats import JobFailed, JobRetry
from trellis_nats.jobs.model.error_detail import ErrorDetail, fingerprint
from trellis_nats.jobs.work.failure_detail import describe_failure


def raised_by(raise_it: object, *arguments: object) -> BaseException:
    try:
        raise_it(*arguments)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it did not raise")


def charge(card: str) -> NoReturn:
    raise ConnectionError("no answer")


def check(card: str) -> NoReturn:
    raise ValueError(f"the card {card} was refused")


def give_up(card: str) -> NoReturn:
    try:
        check(card)
    except ValueError as error:
        raise JobFailed("refused") from error


def recurse(depth: int) -> None:
    if depth:
        recurse(depth - 1)
    charge("4711")


def test_an_exception_has_its_class_its_text_and_its_frames() -> None:
    detail = describe_failure(raised_by(charge, "4711"))

    assert detail is not None
    assert (detail.type, detail.message) == ("ConnectionError", "no answer")
    assert detail.stack is not None
    assert 'raise ConnectionError("no answer")' in detail.stack
    assert detail.stack.endswith("ConnectionError\n")
    assert "4711" not in detail.stack.replace("test_error_detail.py", "")


def test_the_text_of_the_exception_behind_it_stays_in_the_process() -> None:
    detail = describe_failure(raised_by(give_up, "4711"))

    assert detail is not None
    assert (detail.type, detail.message) == ("JobFailed", "refused")
    assert detail.stack is not None
    first, last = detail.stack.index("ValueError\n"), detail.stack.index("JobFailed\n")
    assert first < last, "the cause comes first, as in Python's tracebacks"
    assert "4711" not in json.dumps(detail.to_json("s", "q"))


def test_of_a_group_the_error_that_decides_is_described() -> None:
    errors = [JobRetry("later", after=timedelta(seconds=1)), raised_by(charge, "1")]
    detail = describe_failure(BaseExceptionGroup("group", errors))
    assert detail is not None
    assert detail.type == "ConnectionError"
    detail = describe_failure(BaseExceptionGroup("group", [*errors, raised_by(give_up, "1")]))
    assert detail is not None
    assert detail.type == "JobFailed"


def test_a_retry_on_purpose_has_no_stack() -> None:
    assert describe_failure(JobRetry("later")) == ErrorDetail(message="later", type="JobRetry")


def test_a_deep_stack_and_a_long_text_are_cut() -> None:
    detail = describe_failure(raised_by(recurse, 200))
    assert detail is not None
    assert detail.stack is not None
    assert len(detail.stack.encode()) <= 8 * 1024
    assert detail.stack.endswith('raise ConnectionError("no answer")\nConnectionError\n'), (
        "the innermost frames"
    )
    long = describe_failure(ValueError("x" * 10_000_000))
    assert long is not None
    assert len(long.message) == 1024


def test_frames_with_long_lines_are_cut_at_a_line() -> None:
    name = "a" * 3_000
    code = compile(f"def {name}(n):\n    {name}(n - 1) if n else charge('1')\n", "long.py", "exec")
    scope: dict[str, object] = {"charge": charge}
    exec(code, scope)  # noqa: S102 - a function with a long name
    detail = describe_failure(raised_by(scope[name], 20))
    assert detail is not None
    assert detail.stack is not None
    assert len(detail.stack.encode()) <= 8 * 1024
    assert detail.stack.startswith('[…]\n  File "')


def test_a_class_that_misbehaves_is_not_described() -> None:
    class WithoutText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe_failure(WithoutText()) is None


def by_the_book(data: bytes) -> str:
    mixed = 0xCBF29CE484222325
    for byte in data:
        mixed = ((mixed ^ byte) * 0x100000001B3) % 2**64
    return f"{mixed:016x}"


def test_the_fingerprint_is_that_of_the_wire() -> None:
    assert by_the_book(b"foobar") == "85944171f73967e8", "the vector of the algorithm's authors"
    assert fingerprint("shop", "pack", "No\t Answer  from X\nline two") == by_the_book(
        b"shop\0pack\0no answer from x"
    )
    assert fingerprint("shop", "pack", "") == by_the_book(b"shop\0pack\0")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (None, None),
        ("text", None),
        ({"type": "X"}, None),
        ({"message": "m"}, ErrorDetail(message="m")),
        (
            {"message": "m", "type": "T", "stack": 7, "fingerprint": "f", "causes": ["c"], "worker": {}},
            ErrorDetail(message="m", type="T", fingerprint="f"),
        ),
    ],
)
def test_what_other_runtimes_write_is_read(written: JsonValue, read: ErrorDetail | None) -> None:
    assert ErrorDetail.read(written) == read
