"""Permission violations are parsed, passed on, and logged once."""

from __future__ import annotations

import pytest
from trellis_nats._nats.permission_errors import PermissionErrors, PermissionViolation, parse_violation
from trellis_nats._nats.subscriptions import Refusal
from trellis_nats.errors import PermissionDenied


@pytest.mark.parametrize(
    ("text", "denial"),
    [
        (
            "'permissions violation for publish to \"$js.api.info\"'",
            PermissionViolation("publish to", "$js.api.info"),
        ),
        ("'Permissions Violation for Publish to \"A.b\"'", PermissionViolation("publish to", "a.b")),
        ("'permissions violation for subscription to \"a.>\"'", PermissionViolation("subscribe to", "a.>")),
        (
            '\'permissions violation for subscription to "a" using queue "q"\'',
            PermissionViolation("subscribe to", "a"),
        ),
        ("'permissions violation'", None),
    ],
)
def test_the_text_of_a_server_is_read(text: str, denial: PermissionViolation | None) -> None:
    assert parse_violation(text) == denial


def known(subject: str) -> Refusal:
    return Refusal(subject, is_new=False, is_repeated=False)


def test_a_denied_subscription_is_raised_once_by_its_own_name() -> None:
    denials = PermissionErrors(
        lambda _: False, lambda subject: Refusal(subject.upper(), is_new=True, is_repeated=False)
    )

    denials.handle("'permissions violation for subscription to \"a.>\"'")

    with pytest.raises(PermissionDenied, match=r'subscribe to "A\.>"'):
        denials.raise_refused_subscription()
    denials.raise_refused_subscription()


def test_a_denied_publish_without_a_waiting_caller_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def no_caller_waits(subject: str) -> bool:
        asked.append(subject)
        return False

    denials = PermissionErrors(no_caller_waits, known)

    denials.handle("'permissions violation for publish to \"$js.ack.a\"'")

    assert asked == ["$js.ack.a"]
    assert "$js.ack.a" in caplog.text


def test_a_denial_for_each_message_is_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    denials = PermissionErrors(lambda _: False, known)

    for number in range(100):
        denials.handle(f"'permissions violation for publish to \"$js.ack.work.{number}\"'")
    denials.handle("'permissions violation for publish to \"orders.v1.placed\"'")

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        'the account may not publish to "$js.ack.work.0"; the message is lost',
        'the account may not publish to "orders.v1.placed"; the message is lost',
    ]


def test_who_takes_a_denial_keeps_it_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    denials = PermissionErrors(lambda _: False, known)
    taken: list[PermissionViolation] = []

    def take(denial: PermissionViolation) -> bool:
        taken.append(denial)
        return denial.subject == "a"

    remove = denials.add_handler(take)
    denials.handle("'permissions violation for subscription to \"a\"'")
    denials.handle("'permissions violation for publish to \"b\"'")
    remove()
    denials.handle("'permissions violation for publish to \"a\"'")

    denials.raise_refused_subscription()
    assert taken == [PermissionViolation("subscribe to", "a"), PermissionViolation("publish to", "b")]
    assert [each.getMessage().split('"')[1] for each in caplog.records] == ["b", "a"]


def test_a_lost_answer_names_the_limit_of_answers(caplog: pytest.LogCaptureFixture) -> None:
    denials = PermissionErrors(lambda _: False, known)

    denials.handle('permissions violation for publish to "_inbox.ojql9hpnwyav-vx4.1"')

    assert '"allow_responses" of the user permits' in caplog.text
