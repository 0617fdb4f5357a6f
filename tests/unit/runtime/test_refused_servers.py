"""On another machine a service checks who calls, and a client signs, unless the options say otherwise."""

from datetime import timedelta

import pytest
from orders_participant import OrdersService
from trellis_nats import CannotConnect, ConfigurationError, Options, SessionKey
from trellis_nats.auth import Admitted, RequestProof
from trellis_nats.connect import refuse_unsigned

from tests.support.shop import Shop


class NoCallers:
    """An authority."""

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        raise NotImplementedError


SIGNS, CHECKS = Options(session_key=SessionKey.generate()), Options(callers=NoCallers())
ELSEWHERE = "nats://nats.example.org:4222"


@pytest.mark.parametrize(
    ("options", "is_client", "remedy"),
    [
        (Options(), True, "session_key"),
        (CHECKS, True, "session_key"),
        (Options(), False, "callers"),
        (SIGNS, False, "callers"),
    ],
)
def test_another_machine_is_refused_with_the_remedy(
    options: Options, remedy: str, *, is_client: bool
) -> None:
    with pytest.raises(ConfigurationError, match=rf"nats\.example\.org.* give Options\({remedy}=…\), or"):
        refuse_unsigned(ELSEWHERE, options, is_client=is_client)
    refuse_unsigned("nats://localhost,nats://127.0.0.1", options, is_client=is_client)


@pytest.mark.parametrize(
    ("options", "is_client"),
    [(SIGNS, True), (CHECKS, False), (Options(open=True), True), (Options(open=True), False)],
)
def test_another_machine_is_accepted_with_the_option(options: Options, *, is_client: bool) -> None:
    refuse_unsigned(ELSEWHERE, options, is_client=is_client)


async def test_only_a_service_that_answers_calls_is_refused() -> None:
    """Jobs are protected by permissions of NATS alone, in every mode: a service that has nothing else has no callers to check."""
    options = Options(connect_timeout=timedelta(milliseconds=50))

    with pytest.raises(CannotConnect):
        async with Shop.connect("nats://nats.invalid", options=options):
            pass
    with pytest.raises(ConfigurationError, match="callers are not checked"):
        async with OrdersService.connect("nats://nats.invalid", options=options):
            pass
