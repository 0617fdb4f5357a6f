"""Numbers of a contract, described in English and written as Python."""

import pytest

from tests.unit.codegen.contracts import TEXT, JsonObject, contract, job, manifest, rpc
from trellis_codegen.plan.jobs import describe_retries
from trellis_codegen.plan.usage import find_purposes
from trellis_codegen.plan.wording import describe_duration, write_duration


@pytest.mark.parametrize(
    ("max_deliver", "backoff_ms", "expected"),
    [
        (1, (5_000,), "One attempt, no retries."),
        (2, (5_000, 30_000), "At most 2 attempts; retries after 5 s."),
        (3, (5_000, 30_000, 120_000), "At most 3 attempts; retries after 5 s, then 30 s."),
        (5, (5_000, 30_000, 120_000), "At most 5 attempts; retries after 5 s, 30 s, then every 2 min."),
        (4, (5_000,), "At most 4 attempts; retries every 5 s."),
        (3, (), "At most 3 attempts; retries immediately."),
        (3, (0,), "At most 3 attempts; retries immediately."),
        (3, (0, 1_500), "At most 3 attempts; retries after 0 s, then 1.5 s."),
    ],
)
def test_only_waits_that_can_be_reached_are_described(
    max_deliver: int, backoff_ms: tuple[int, ...], expected: str
) -> None:
    assert describe_retries(max_deliver, backoff_ms) == expected


@pytest.mark.parametrize(
    ("milliseconds", "words", "code"),
    [
        (0, "0 s", "timedelta()"),
        (250, "250 ms", "timedelta(milliseconds=250)"),
        (1_500, "1.5 s", "timedelta(milliseconds=1500)"),
        (90_000, "90 s", "timedelta(seconds=90)"),
        (120_000, "2 min", "timedelta(minutes=2)"),
        (7_200_000, "2 h", "timedelta(hours=2)"),
        (86_400_000, "1 d", "timedelta(days=1)"),
    ],
)
def test_a_duration_is_written_in_the_largest_whole_unit(milliseconds: int, words: str, code: str) -> None:
    assert (describe_duration(milliseconds), write_duration("wait", milliseconds).value) == (words, code)


def test_a_schema_is_described_by_its_uses() -> None:
    run: JsonObject = {**rpc("Run", output={"schema": "Done"}), "subject": "operations.v1.Run"}
    stop: JsonObject = {"Stop": {"input": {"schema": "Stop"}}}
    document = contract(
        schemas=dict.fromkeys(["Thing", "Done", "Stop"], TEXT),
        jobs={"import": job(), "print": job(result={"schema": "Done"})},
        rpc={"Get": rpc("Get")},
        operations={"Run": {**run, "signals": stop}},
    )

    assert find_purposes(manifest(document)) == {
        "Thing": "The payload of `import` jobs, the payload of `print` jobs, the request of `Get` and 2 more.",
        "Done": "The result of `print` jobs and the result of `Run`.",
        "Stop": "The input of the signal `Stop` of `Run`.",
    }
