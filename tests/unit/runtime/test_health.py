"""The status that follows from checks and consumers, and as much HTTP as probes need."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from trellis_nats import CheckResult, ConfigurationError, HealthStatus
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.health.consumer_problem import Problem, find_problem
from trellis_nats.health.http import Refusal, Request, read_head, write_answer
from trellis_nats.health.listener import parse_address
from trellis_nats.health.report import conclude

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
FULL = ConsumerInfo(pending=5, ack_pending=10, max_ack_pending=10, waiting=1)


def result(*, ok: bool, critical: bool = True, needed: bool = True) -> CheckResult:
    return CheckResult(
        name="one",
        ok=ok,
        latency=timedelta(microseconds=1500),
        error=None if ok else "broken",
        critical=critical,
        needed=needed,
    )


@pytest.mark.parametrize(
    ("checks", "status", "ready"),
    [
        ([], HealthStatus.HEALTHY, True),
        ([result(ok=True)], HealthStatus.HEALTHY, True),
        ([result(ok=True), result(ok=False)], HealthStatus.UNHEALTHY, False),
        ([result(ok=False, critical=False)], HealthStatus.DEGRADED, False),
        ([result(ok=False, critical=False, needed=False)], HealthStatus.DEGRADED, True),
        ([result(ok=False, critical=False), result(ok=False)], HealthStatus.UNHEALTHY, False),
    ],
)
def test_the_worst_check_decides(checks: list[CheckResult], status: HealthStatus, ready: bool) -> None:
    report = conclude(checks, AT)

    assert (report.status, report.ready) == (status, ready)


def test_a_report_is_written_as_on_the_wire() -> None:
    report = conclude([result(ok=False), result(ok=True)], AT)

    assert report.problems == ("one: broken",)
    assert report.to_wire() == {
        "status": "unhealthy",
        "ready": False,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "checks": [
            {"name": "one", "status": "failed", "latencyMs": 1.5, "error": "broken"},
            {"name": "one", "status": "ok", "latencyMs": 1.5},
        ],
    }


@pytest.mark.parametrize(
    ("info", "previous", "free", "problem"),
    [
        (ConsumerInfo(waiting=1), None, True, None),
        (None, None, False, Problem("the consumer does not exist")),
        (ConsumerInfo(is_paused=True), None, False, Problem("the consumer is paused", critical=False)),
        (FULL, None, False, None),
        (ConsumerInfo(pending=0, ack_pending=10, max_ack_pending=10, waiting=1), None, True, None),
        (ConsumerInfo(pending=5, ack_pending=10, max_ack_pending=-1, waiting=1), None, True, None),
        (ConsumerInfo(waiting=0), None, True, None),
        (ConsumerInfo(waiting=0), ConsumerInfo(waiting=1), True, None),
        (ConsumerInfo(waiting=0), ConsumerInfo(waiting=0), True, Problem("the server holds no pull request")),
        (ConsumerInfo(waiting=0), ConsumerInfo(waiting=0), False, None),
    ],
)
def test_the_report_of_the_server_explains_why_nothing_arrives(
    info: ConsumerInfo | None, previous: ConsumerInfo | None, free: bool, problem: Problem | None
) -> None:
    assert find_problem(info, previous, has_free_capacity=free) == problem


def test_a_consumer_at_its_limit_is_named_with_the_numbers() -> None:
    problem = find_problem(FULL, None, has_free_capacity=True)

    assert problem is not None
    assert "max_ack_pending 10" in problem.reason
    assert (problem.critical, problem.needed) == (False, False)


@pytest.mark.parametrize(
    ("head", "understood"),
    [
        ("GET /livez HTTP/1.1\r\nHost: x", Request("/livez", wants_body=True)),
        ("HEAD /readyz?full HTTP/1.1\r\nhost:x\r\nA: b:c", Request("/readyz", wants_body=False)),
        ("GET /livez HTTP/1.0", Request("/livez", wants_body=True)),
        ("PUT /livez HTTP/1.1\r\nHost: x", Refusal(HTTPStatus.METHOD_NOT_ALLOWED)),
        ("GET  /livez HTTP/1.1\r\nHost: x", Refusal(HTTPStatus.BAD_REQUEST)),
        ("GET http://x/livez HTTP/1.1\r\nHost: x", Refusal(HTTPStatus.BAD_REQUEST)),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nHost: y", Refusal(HTTPStatus.BAD_REQUEST)),
        ("GET /livez HTTP/1.1\r\nHost: x\r\n folded", Refusal(HTTPStatus.BAD_REQUEST)),
        ("GET /livez HTTP/1.1\r\nHost : x", Refusal(HTTPStatus.BAD_REQUEST)),
        ("GET /livez HTTP/3\r\nHost: x", Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)),
        ("\x16\x03\x01\x02", Refusal(HTTPStatus.BAD_REQUEST)),
        ("", Refusal(HTTPStatus.BAD_REQUEST)),
    ],
)
def test_a_request_is_read_or_refused(head: str, understood: Request | Refusal) -> None:
    assert read_head(head.encode("latin-1") + b"\r\n\r\n") == understood


def test_a_refused_method_names_those_that_are_not() -> None:
    assert b"\r\nAllow: GET, HEAD\r\n" in write_answer(HTTPStatus.METHOD_NOT_ALLOWED, b"")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),  # noqa: S104 - only parsed
        ("[::1]:0", ("::1", 0)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_an_address_is_a_port_or_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":80", "host", "host:", "host:x", "1.2.3.4:65536", "-1", "²"])
def test_any_other_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="give a port"):
        parse_address(text)
